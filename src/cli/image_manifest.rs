//! `jetpack image-manifest`

use clap::Args;

use super::{Host, output};
use crate::error::Result;

/// Print an image's manifest, as it is in the archive
///
/// On a terminal, control characters in it are shown as JSON escapes.
#[derive(Debug, Args)]
#[command(name = "image-manifest")]
pub(super) struct ShowImageManifest {
    /// The image: a name[:version][,label=value…], a name@tag, an id, or the beginning of one
    image: String,
}

impl ShowImageManifest {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let image = store.find_image(&self.image)?;
        let manifest = store.image_manifest(&image.id)?;
        output::foreign_json(&manifest)?;
        Ok(0)
    }
}
