//! `jetpack import`

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::saveid::SaveId;
use super::{Host, output};
use crate::appc::AcIdentifier;
use crate::error::{Context, Error, Result};
use crate::stage0::import::Imported;
use crate::stage0::keystore::{Check, Signature};
use crate::stage0::package::Arrived;
use crate::stage0::store::Store;

/// Bring an image into the store
///
/// The archive is an App Container Image: a tar file, plain or compressed with gzip, xz, bzip2 or zstd. Its id, the SHA-512
/// of the uncompressed file, is printed. It has to be signed by a key that is trusted for images of its name (`jetpack trust`);
/// what beside FILE is called FILE.asc is its signature. An image without one needs --insecure-options image.
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
    /// The signature of the file: a file, or - for standard input
    #[arg(long, value_name = "LOCATION")]
    sig: Option<String>,
    #[command(flatten)]
    saveid: SaveId,
}

impl Import {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let policy = host.policy()?;
        let (mut source, origin) = open(&self.location)?;
        let signature = match self.signature(&origin).transpose() {
            Some(Err(error)) if policy.allow_bad => {
                host.warn(&format!("{}; that is ignored", error.one_line()));
                None
            }
            signature => signature.transpose()?,
        };
        let keys = host.keys()?;
        let warn = |text: &str| host.warn(text);
        let check = Check { name: self.name.as_ref(), signature: signature.as_ref(), keys: &keys, policy, warn: &warn };
        host.note(|| match &signature {
            Some(signature) => format!("importing {origin}, signed by {}", signature.origin()),
            None => format!("importing {origin}"),
        });
        match store.import(&mut source, &origin, &check)? {
            Arrived::Image(imported) => tell(host, &store, &self.saveid, &imported)?,
            Arrived::Pod(id) => self.tell_pod(host, &store, id)?,
        }
        Ok(0)
    }

    /// The signature that goes with what is imported from `origin`.
    fn signature(&self, origin: &str) -> Result<Option<Signature>> {
        match self.sig.as_deref() {
            Some(location) if location == self.location => {
                Err(Error::new(format!("{origin} cannot be an image and its signature")))
            }
            Some(location) => {
                let (source, origin) = open(location)?;
                Signature::read(source, &origin).map(Some)
            }
            None if self.location == "-" => Ok(None),
            None => {
                let beside = format!("{origin}.asc");
                match File::open(&beside) {
                    Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
                    opened => Signature::read(opened.context(|| format!("cannot open {beside}"))?, &beside).map(Some),
                }
            }
        }
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

/// What can be read, and its name for people.
type Source = (Box<dyn Read + Send + Sync>, String);

/// Opens what a location means: a file, or standard input.
pub(super) fn open(location: &str) -> Result<Source> {
    if location == "-" {
        return Ok((Box::new(std::io::stdin()), "standard input".to_owned()));
    }
    let path = location.strip_prefix("file://").unwrap_or(location);
    let file = File::open(Path::new(path)).context(|| format!("cannot open {path}"))?;
    if file.metadata().is_ok_and(|found| found.is_dir()) {
        return Err(Error::with_source(format!("cannot read {path}"), nix::errno::Errno::EISDIR));
    }
    Ok((Box::new(file), path.to_owned()))
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
