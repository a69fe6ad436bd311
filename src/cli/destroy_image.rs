//! `jetpack destroy-image`

use clap::Args;

use super::Host;
use crate::error::Result;

/// Remove images from the store
///
/// An image that a pod stands on stays, and so does one that another image depends on. The tags of an image go with it.
#[derive(Debug, Args)]
pub(super) struct DestroyImage {
    /// The images: names[:version][,label=value…], names@tag, ids, or beginnings of ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl DestroyImage {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        for reference in &self.images {
            let destroyed = store.destroy_image(reference)?;
            let tags = destroyed.tags.iter().map(|tag| format!(", {tag}")).collect::<String>();
            host.note(|| format!("removed image {}{tags}", destroyed.id));
        }
        Ok(0)
    }
}
