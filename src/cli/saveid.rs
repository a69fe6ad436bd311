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

/// Writes the file by renaming another one, so that it holds one whole id whenever somebody reads it, however many write it at
/// once. What is no regular file, such as a pipe, is written to.
fn write(path: &Path, id: &str) -> Result<()> {
    let what = || format!("cannot write the id to {}", path.display());
    let text = format!("{id}\n");
    let place = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let is_special = |found: std::fs::Metadata| !found.is_file();
    let special = place.symlink_metadata().is_ok_and(is_special);
    let (Some(new), false) = (temporary(&place), special) else { return std::fs::write(&place, text).context(what) };
    let renamed = std::fs::write(&new, text).and_then(|()| std::fs::rename(&new, &place));
    renamed.or_else(|error| {
        // It may not even have been made.
        let _ = std::fs::remove_file(&new);
        Err(error).context(what)
    })
}

/// A name in the directory of `place` that nobody has. It does not hold the name of `place`, which may be as long as a name can be;
/// none where that is no name.
pub(super) fn temporary(place: &Path) -> Option<PathBuf> {
    place.file_name()?;
    Some(place.with_file_name(format!(".jetpack-{}", uuid::Uuid::new_v4())))
}
