//! `jetpack init`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Host, output, progress};
use crate::error::{Error, Result};
use crate::stage0::migrate::{Brought, OldStore};
use crate::stage0::store::{FORMAT, Store};
use crate::stage1::watch::Watch;

/// Make the store
///
/// The store is a directory that belongs to root alone: `root.path` in jetpack.conf(5), /var/jetpack by default. A store
/// that is there already is checked and left as it is.
///
/// With --from, all images of another store that are not in this one are copied, whatever kinds of store the two are. Ids,
/// dependencies and what is known of their trust stay the same, and so does the other store. Pods stay there.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// Copy the images of this store, which is of any kind
    #[arg(long, value_name = "OLD-STORE")]
    from: Option<PathBuf>,
}

impl Init {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        host.need_root()?;
        // What cannot be brought is no reason to make a store.
        let old = self.from.as_ref().map(|path| OldStore::open(path, &host.config.root_path())).transpose()?;
        let (store, made) = Store::init(&host.config)?;
        let store = store.with_progress(progress::shown(!host.global.quiet));
        let (root, kind) = (store.root().display(), store.storage().name());
        let told = json!({ "root": store.root(), "storage": kind, "format": FORMAT, "made": made });
        if !host.json() && !host.global.quiet {
            let did = if made { "made a store" } else { "there is a store" };
            output::line(format!("{did} at {root} (storage {kind}, format {FORMAT})"))?;
        }
        match old {
            Some(old) => self.bring(host, &store, &old, told),
            None if host.json() => output::json(&told).map(|()| 0),
            None => Ok(0),
        }
    }

    /// Brings the images, and tells of it. `told` is what JSON says of the store.
    fn bring(&self, host: &Host, store: &Store, old: &OldStore, mut told: serde_json::Value) -> Result<u8> {
        let watch = Watch::begin()?;
        let brought = store.bring(old);
        if let Some(signal) = watch.end() {
            let error = Error::new(format!("the copying was {signal}"));
            output::error(&error.help("what was copied stays; the same command goes on with the rest"));
            return Ok(signal.code());
        }
        let brought = brought?;
        if host.json() {
            told["brought"] = json!({
                "from": self.from,
                "copied": brought.copied,
                "present": brought.present,
                "failed": brought.failed.iter().map(|(id, _)| id).collect::<Vec<_>>(),
                "pods": brought.pods,
            });
            output::json(&told)?;
        } else if !host.global.quiet {
            self.tell(&brought)?;
        }
        let count = brought.failed.len();
        for (id, error) in brought.failed {
            output::error(&Error::with_source(format!("cannot copy image {}", id.short()), error));
        }
        if count == 0 {
            return Ok(0);
        }
        Err(Error::new(format!("{count} of the images could not be copied"))
            .help("mend or destroy them in the old store; the same command goes on with the rest"))
    }

    fn tell(&self, brought: &Brought) -> Result<()> {
        let from = self.from.as_deref().unwrap_or(Path::new("")).display();
        let plural = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        output::line(format!(
            "copied {} from {from}; {} here already, {} left there",
            plural(brought.copied.len(), "image"),
            brought.present,
            plural(brought.pods, "pod"),
        ))
    }
}
