//! `jetpack init`

use clap::Args;

use super::{Host, output};
use crate::error::Result;
use crate::stage0::store::{FORMAT, Store};

/// Make the store
///
/// The store is a directory that belongs to root alone: `root.path` in jetpack.conf(5), /var/jetpack by default. A store
/// that is there already is checked and left as it is.
#[derive(Debug, Args)]
pub(super) struct Init {}

impl Init {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        host.need_root()?;
        let (store, made) = Store::init(&host.config)?;
        let (root, kind) = (store.root().display(), store.storage().name());
        if host.json() {
            let root = store.root();
            output::json(&serde_json::json!({ "root": root, "storage": kind, "format": FORMAT, "made": made }))?;
        } else if !host.global.quiet {
            let did = if made { "made a store" } else { "there is a store" };
            output::line(format!("{did} at {root} (storage {kind}, format {FORMAT})"))?;
        }
        Ok(0)
    }
}
