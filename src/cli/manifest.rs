//! `jetpack manifest`

use clap::Args;

use super::{Host, output};
use crate::error::Result;

/// Print a pod's manifest
#[derive(Debug, Args)]
#[command(name = "manifest")]
pub(super) struct ShowManifest {
    /// The pod: a UUID or the beginning of one
    pod: String,
}

impl ShowManifest {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let manifest = host.store()?.find_pod(&self.pod)?.manifest()?;
        output::json_text(&manifest.to_json_pretty())?;
        Ok(0)
    }
}
