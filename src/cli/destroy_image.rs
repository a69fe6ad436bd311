//! `jetpack destroy-image`

use clap::Args;

use super::Host;
use crate::error::Result;

/// Remove images from the store
///
/// An image that a pod stands on stays, and so does one that another image depends on.
#[derive(Debug, Args)]
pub(super) struct DestroyImage {
    /// The images: names[:version][,label=value…], ids, or beginnings of ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl DestroyImage {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        for reference in &self.images {
            let id = store.destroy_image(reference)?;
            host.note(|| format!("removed image {id}"));
        }
        Ok(0)
    }
}
