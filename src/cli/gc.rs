//! `jetpack gc`

use clap::Args;
use serde_json::json;

use super::{Host, output};
use crate::error::Result;
use crate::stage1::lifecycle::Engine;

/// Remove what crashes left
///
/// Half-made images and pods, layers that no image has, working files, downloads that broke off a day ago, and, on FreeBSD, jails and
/// mounts of pods whose runner was killed. What a running command is making stays, and so do pods that have exited: they can run
/// again.
#[derive(Debug, Args)]
pub(super) struct Gc {}

impl Gc {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let warn = |text: &str| host.warn(text);
        let engine = Engine::new(&store, &host.config, &warn)?;
        let pods: Vec<String> = engine.collect_garbage()?.iter().map(ToString::to_string).collect();
        if host.json() {
            output::json(&json!({ "pods": pods }))?;
        } else if !host.global.quiet {
            pods.iter().try_for_each(|pod| output::line(format!("removed what was left of pod {pod}")))?;
        }
        Ok(0)
    }
}
