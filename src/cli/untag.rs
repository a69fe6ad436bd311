//! `jetpack untag`

use clap::Args;

use super::Host;
use crate::error::Result;
use crate::stage0::tags::Tag;

/// Remove tags from images, which stay
#[derive(Debug, Args)]
pub(super) struct Untag {
    /// The tags
    #[arg(required = true, value_name = "NAME@TAG")]
    tags: Vec<String>,
}

impl Untag {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let tags = self.tags.iter().map(|tag| tag.parse::<Tag>()).collect::<Result<Vec<_>>>()?;
        for tag in &tags {
            store.untag(tag)?;
            host.note(|| format!("removed the tag {tag}"));
        }
        Ok(0)
    }
}
