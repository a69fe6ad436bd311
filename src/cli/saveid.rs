//! `--saveid FILE`, wherever an id is made.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::{Context, Result};

/// The option.
#[derive(Debug, Args)]
pub(super) struct SaveId {
    /// Write the id to this file
    #[arg(long, value_name = "FILE")]
    saveid: Option<PathBuf>,
}

impl SaveId {
    /// Writes the id, if that was asked for.
    pub(super) fn save(&self, id: &str) -> Result<()> {
        self.saveid.as_deref().map_or(Ok(()), |path| write(path, id))
    }
}

fn write(path: &Path, id: &str) -> Result<()> {
    std::fs::write(path, format!("{id}\n")).context(|| format!("cannot write the id to {}", path.display()))
}
