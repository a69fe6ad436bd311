//! `jetpack gc`

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::age::age;
use super::{Host, output};
use crate::error::Result;
use crate::stage1::lifecycle::Engine;

/// Remove what crashes left
///
/// Half-made images and pods, layers that no image has, working files, downloads that broke off a day ago, and, on FreeBSD, jails and
/// mounts of pods whose runner was killed. What a running command is making stays, and so do pods that have exited: they can run
/// again.
///
/// With --images, images go, too, that no pod stands on, no other image depends on, and that have no tag, if they have not been
/// used for a day: since they, or others on them, were imported or asked for, or a pod of theirs was made or destroyed. What a broken
/// image may need stays.
#[derive(Debug, Args)]
pub(super) struct Gc {
    /// Remove images that nobody needs
    #[arg(long)]
    images: bool,
    /// Remove those that have not been used for this long: a number of s, m, h, d or w
    #[arg(long, value_name = "AGE", default_value = "24h", requires = "images", value_parser = age)]
    older: Duration,
}

impl Gc {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let warn = |text: &str| host.warn(text);
        let engine = Engine::new(&store, &host.config, &warn)?;
        let pods: Vec<String> = engine.collect_garbage()?.iter().map(ToString::to_string).collect();
        let images = if self.images { store.collect_images(self.older)? } else { Vec::new() };
        let images: Vec<String> = images.iter().map(|image| image.id.to_string()).collect();
        if host.json() {
            output::json(&json!({ "pods": pods, "images": images }))?;
        } else if !host.global.quiet {
            pods.iter().try_for_each(|pod| output::line(format!("removed what was left of pod {pod}")))?;
            images.iter().try_for_each(|image| output::line(format!("removed image {image}")))?;
        }
        Ok(0)
    }
}
