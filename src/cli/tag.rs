//! `jetpack tag`

use clap::Args;
use serde_json::json;

use super::{Host, output};
use crate::error::Result;
use crate::stage0::tags;

/// Give an image a tag
///
/// NAME@TAG then means that image wherever an image is named. Another image that had the tag loses it.
#[derive(Debug, Args)]
pub(super) struct Tag {
    /// The image: a name[:version][,label=value…], a name@tag, an id, or the beginning of one
    image: String,
    /// The tag, or NAME@TAG, where NAME is what the image is called
    tag: String,
}

impl Tag {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let image = store.find_image(&self.image)?;
        let tag = match self.tag.contains('@') {
            true => self.tag.parse()?,
            false => tags::Tag::new(image.manifest.name.clone(), &self.tag)?,
        };
        let before = store.tag(&image, &tag)?.filter(|before| *before != image.id);
        host.note(|| {
            let from = before.as_ref().map(|id| format!(", and no longer {}", id.short())).unwrap_or_default();
            format!("{tag} is image {}{from}", image.id.short())
        });
        if host.json() {
            output::json(&json!({ "tag": tag.to_string(), "id": image.id, "before": before }))?;
        }
        Ok(0)
    }
}
