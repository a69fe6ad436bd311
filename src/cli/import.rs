//! `jetpack import`

use std::fs::File;
use std::path::Path;

use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::saveid::SaveId;
use super::{Host, output};
use crate::appc::AcIdentifier;
use crate::error::{Context, Result};
use crate::stage0::import::Imported;
use crate::stage0::package::Arrived;
use crate::stage0::store::Store;

/// Bring an image into the store
///
/// The archive is an App Container Image: a tar file, plain or compressed with gzip, xz, bzip2 or zstd. Its id, the SHA-512
/// of the uncompressed file, is printed. An image without a signature needs --insecure-options image.
///
/// A store in a ZFS pool also takes a package that `jetpack export --zfs` has made of an image or a pod; of a pod, its UUID is
/// printed.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The archive or package: a file, or - for standard input
    location: String,
    /// Refuse the image if it is not called this
    #[arg(long, value_name = "NAME")]
    name: Option<AcIdentifier>,
    #[command(flatten)]
    saveid: SaveId,
}

impl Import {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let policy = host.policy()?;
        host.note(|| format!("importing {}", self.location));
        let arrived = if self.location == "-" {
            store.import(&mut std::io::stdin().lock(), "standard input", self.name.as_ref(), policy)
        } else {
            let path = self.location.strip_prefix("file://").unwrap_or(&self.location);
            let mut file = File::open(Path::new(path)).context(|| format!("cannot open {path}"))?;
            store.import(&mut file, path, self.name.as_ref(), policy)
        }?;
        match arrived {
            Arrived::Image(imported) => tell(host, &store, &self.saveid, &imported)?,
            Arrived::Pod(id) => self.tell_pod(host, &store, id)?,
        }
        Ok(0)
    }

    /// Tells of a pod that was brought in; one whose id cannot be saved is removed again.
    fn tell_pod(&self, host: &Host, store: &Store, id: Uuid) -> Result<()> {
        if let Err(error) = self.saveid.save(&id.to_string()) {
            let undo = store.find_pod(&id.to_string()).and_then(|pod| store.destroy_pod(store.lock_pod(&pod)?));
            return Err(match undo {
                Ok(()) => error,
                Err(undo) => error.and_undo(undo),
            });
        }
        if host.json() { output::json(&json!({ "pod": id })) } else { output::line(id) }
    }
}

/// Tells of an image that was brought in; one whose id cannot be saved is removed again.
pub(super) fn tell(host: &Host, store: &Store, saveid: &SaveId, imported: &Imported) -> Result<()> {
    imported.warnings.iter().for_each(|warning| host.warn(warning));
    if imported.known {
        host.warn("this image was in the store already");
    }
    let (id, name) = (imported.image.id.as_str(), &imported.image.manifest.name);
    host.note(|| {
        let record = &imported.image.record;
        format!("{name} is {id}: {} files, {}", record.files, output::bytes(record.size))
    });
    if let Err(error) = saveid.save(id) {
        // Nobody would know of the image, unless it was here before.
        let undo = if imported.known { Ok(()) } else { store.destroy_image(id).map(drop) };
        return Err(match undo {
            Ok(()) => error,
            Err(undo) => error.and_undo(undo),
        });
    }
    if host.json() {
        output::json(&serde_json::json!({ "id": id, "name": name, "known": imported.known }))
    } else {
        output::line(id)
    }
}
