//! `jetpack import`

use std::fs::File;
use std::io::Read;

use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::saveid::SaveId;
use super::{Host, output};
use crate::appc::AcIdentifier;
use crate::error::{Context, Error, Result};
use crate::stage0::dependencies::Provide;
use crate::stage0::fetch::{Fetcher, Pull, Web};
use crate::stage0::import::Imported;
use crate::stage0::keystore::{Check, MAX_KEYS, Signature};
use crate::stage0::location::Location;
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
    /// The archive or package: a file, - for standard input, or a file: or https: URL
    location: Location,
    /// Refuse the image if it is not called this
    #[arg(long, value_name = "NAME")]
    name: Option<AcIdentifier>,
    /// The signature of the file: a file, -, or a URL
    #[arg(long, value_name = "LOCATION")]
    sig: Option<Location>,
    #[command(flatten)]
    saveid: SaveId,
}

impl Import {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        host.note(|| format!("importing {}", self.location));
        if self.sig.as_ref() == Some(&self.location) {
            return Err(Error::new(format!("{} cannot be an image and its signature", self.location)));
        }
        match bring(host, &store, (&self.location, self.sig.as_ref()), self.name.as_ref(), Pull::Always)? {
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

/// Imports what is at a location; its signature is at `sig`, or beside it.
pub(super) fn bring(
    host: &Host,
    store: &Store,
    (location, sig): (&Location, Option<&Location>),
    name: Option<&AcIdentifier>,
    pull: Pull,
) -> Result<Arrived> {
    let web = host.web()?;
    let policy = host.policy()?;
    let fetcher = Fetcher::new(store, &web, host, policy, pull);
    let signature = match signature(&web, (location, sig)) {
        Err(error) if policy.allow_bad => {
            host.warn(&format!("{}; that is ignored", error.one_line()));
            None
        }
        signature => signature?,
    };
    if let Some(signature) = &signature {
        host.note(|| format!("{location} is signed by {}", signature.origin()));
    }
    if let Location::Web(url) = location {
        return fetcher.by_url(url, name, signature);
    }
    let check =
        Check { name, signature: signature.as_ref(), keys: &host.keys()?, policy, warn: &|text| host.warn(text) };
    let provider: Option<&dyn Provide> = Some(&fetcher);
    let (mut source, origin) = open(&web, location)?;
    store.import(&mut source, &origin, &check, provider)
}

/// The signature of what is at a location, if it is known where that is. On the web it is looked for with the archive.
fn signature(web: &Web, (location, sig): (&Location, Option<&Location>)) -> Result<Option<Signature>> {
    let read = |place: &Location| open(web, place).and_then(|(source, origin)| Signature::read(source, &origin));
    match (sig, location.signature()) {
        (Some(sig), _) => read(sig).map(Some),
        (None, Some(Location::Path(beside))) if beside.symlink_metadata().is_ok() => {
            read(&Location::Path(beside)).map(Some)
        }
        _ => Ok(None),
    }
}

/// What can be read, and its name for people.
type Source = (Box<dyn Read + Send + Sync>, String);

/// Opens what a location means; of the web, small files only.
pub(super) fn open(web: &Web, location: &Location) -> Result<Source> {
    let source: Box<dyn Read + Send + Sync> = match location {
        Location::StandardInput => Box::new(std::io::stdin()),
        Location::Web(url) => {
            let bytes = web.document(url, MAX_KEYS)?;
            let bytes = bytes.map_err(|why| Error::with_source(format!("cannot fetch {url}"), why))?;
            Box::new(std::io::Cursor::new(bytes))
        }
        Location::Path(path) => {
            let file = File::open(path).context(|| format!("cannot open {location}"))?;
            if file.metadata().is_ok_and(|found| found.is_dir()) {
                return Err(Error::with_source(format!("cannot read {location}"), nix::errno::Errno::EISDIR));
            }
            Box::new(file)
        }
    };
    Ok((source, location.to_string()))
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
