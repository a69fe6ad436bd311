//! From an archive to an image of the store.
//!
//! Everything is made in a private directory; the image's directory gets its name last, by rename, when all of it is on the
//! disk. So an image is either whole or not there.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::image::{ARCHIVE, Image, MANIFEST, RECORD, Record};
use super::keystore::{Download, Policy, Verified};
use super::store::Store;
use super::unpack::{Options, Unpacked, unpack};
use crate::appc::{AcIdentifier, ImageId, ImageManifest};
use crate::error::{Context, Error, Result};
use crate::progress::Step;
use crate::steps::Steps;
use crate::storage::Staging;
use crate::sys;

/// What an import did.
#[derive(Debug)]
pub struct Imported {
    /// The image.
    pub image: Image,
    /// Whether it was in the store already.
    pub known: bool,
    /// What the person should know.
    pub warnings: Vec<String>,
}

impl Store {
    /// Imports the archive that `source` gives. `origin` is its name for people; `name`, if given, is what the image must be
    /// called.
    ///
    /// # Errors
    /// The archive may not be imported, is broken, or breaks the specification; nothing is left in the store.
    pub fn import(
        &self,
        source: &mut impl Read,
        origin: &str,
        name: Option<&AcIdentifier>,
        policy: Policy,
    ) -> Result<Imported> {
        let what = || format!("cannot import {origin}");
        let staging = self.begin_image()?;
        let copying = Step::begin(self.progress(), &format!("copying {origin}"), None);
        let download = Download::copy(&mut copying.count(source), &staging.path().join(ARCHIVE), origin)?;
        drop(copying);
        let verified = Verified::unsigned(download, policy).context(what)?;
        self.import_verified(&verified, staging, name).context(what)
    }

    /// Begins an image that this program makes: a private place whose file [`ARCHIVE`] is to become its archive. It vanishes
    /// when dropped.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn begin_image(&self) -> Result<Staging> {
        self.drop_unused_layers()?;
        self.storage().begin_layer()
    }

    /// Imports the archive that was written into `staging`, which [`Store::begin_image`] made. `origin` says for people what
    /// it was made of. It needs no signature (see [`Trust::Built`](super::keystore::Trust)), and is checked like any other.
    ///
    /// # Errors
    /// The archive is broken or breaks the specification; nothing is left in the store.
    pub fn import_built(&self, staging: Staging, origin: &str) -> Result<Imported> {
        let what = || format!("cannot import {origin}");
        let verified = Verified::built(&staging.path().join(ARCHIVE), origin).context(what)?;
        self.import_verified(&verified, staging, None).context(what)
    }

    fn import_verified(&self, verified: &Verified, staging: Staging, name: Option<&AcIdentifier>) -> Result<Imported> {
        let unpacked = self.unpack_into(verified, &staging.tree())?;
        let manifest = ImageManifest::parse(&unpacked.manifest).context(|| "the manifest breaks the specification")?;
        check_supported(&manifest)?;
        if let Some(name) = name.filter(|name| **name != manifest.name) {
            return Err(Error::new(format!("the image is called {}, not {name}", manifest.name)));
        }
        let id = ImageId::from_digest(&unpacked.id_digest);
        let record = record(verified, &unpacked, &id);
        let warnings = unpacked.warnings;
        let known = !self.commit(staging, &id, &unpacked.manifest, &record)?;
        Ok(Imported { image: Image { id, manifest, record }, known, warnings })
    }

    fn unpack_into(&self, verified: &Verified, tree: &Path) -> Result<Unpacked> {
        let directory = File::open(tree).context(|| format!("cannot open {}", tree.display()))?;
        let options = Options { owners: self.storage().keeps_owners(), ..Options::default() };
        let unpacking =
            Step::begin(self.progress(), &format!("unpacking {}", verified.origin()), Some(verified.size()));
        unpack(unpacking.count(verified.reader()?), directory.as_fd(), &options)
    }

    /// Gives the image its place; false if it had one.
    fn commit(&self, staging: Staging, id: &ImageId, manifest: &[u8], record: &Record) -> Result<bool> {
        let what = || format!("cannot keep image {}", id.short());
        let _lock = self.change_images()?;
        let place = self.image_directory(id);
        if place.exists() {
            return Ok(false);
        }
        let image = crate::storage::staging(self.root())?;
        fs::write(image.path().join(MANIFEST), manifest).context(what)?;
        let json = serde_json::to_vec_pretty(record).context(what)?;
        fs::write(image.path().join(RECORD), json).context(what)?;
        fs::rename(staging.path().join(ARCHIVE), image.path().join(ARCHIVE)).context(what)?;
        let mut steps = Steps::new();
        let undo = || self.storage().remove_layer(id.as_str());
        steps.step("keep the layer", undo, || self.storage().commit_layer(staging, id.as_str()))?;
        steps.check(|| fs::rename(image.path(), &place).context(what))?;
        steps.keep();
        sys::os::sync_filesystem(&place).context(what)?;
        Ok(true)
    }
}

fn record(verified: &Verified, unpacked: &Unpacked, id: &ImageId) -> Record {
    Record {
        layers: vec![id.as_str().to_owned()],
        imported: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        origin: verified.origin().to_owned(),
        compression: unpacked.compression,
        archive_size: verified.size(),
        size: unpacked.size,
        files: unpacked.files,
        trust: verified.trust(),
        setuid: unpacked.setuid.clone(),
    }
}

/// What appc knows and this version cannot honour is refused rather than dropped.
fn check_supported(manifest: &ImageManifest) -> Result<()> {
    if let Some(first) = manifest.dependencies.first() {
        return Err(Error::new(format!("the image depends on {}", first.image_name))
            .help("this version runs images without dependencies only"));
    }
    if !manifest.path_whitelist.is_empty() {
        return Err(Error::new("the image has a pathWhitelist").help("this version runs images without one only"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::keystore::Trust;
    use super::super::unpack::testing::{Item, entries};
    use super::*;
    use crate::config::Config;
    use crate::sys::testing::Scratch;

    #[test]
    fn what_was_built_here_needs_no_signature_and_is_checked() {
        let scratch = Scratch::new();
        let options = [format!("root.path={}", scratch.path().join("store").display()), "storage=dir".to_owned()];
        let config = Config::parse("linux", Path::new("jetpack.conf"), b"", &options).unwrap();
        let store = Store::init(&config).unwrap().0;
        let manifest = r#"{ "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "a" }"#;
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        let root = Item::directory("rootfs").owner(uid.into(), gid.into());
        let archive = [entries(vec![Item::file("manifest", manifest), root]), vec![0; 1024]].concat();
        for (bytes, whole) in [(&archive[..], true), (&archive[..700], false)] {
            let staging = store.begin_image().unwrap();
            fs::write(staging.path().join(ARCHIVE), bytes).unwrap();
            match store.import_built(staging, "a build of x") {
                Ok(imported) => {
                    let kept = fs::read(store.image_directory(&imported.image.id).join(ARCHIVE)).unwrap();
                    assert!(whole && !imported.known && kept == *bytes);
                    let record = store.read_image(&imported.image.id).unwrap().record;
                    assert_eq!((record.trust, record.origin.as_str()), (Trust::Built, "a build of x"));
                }
                Err(error) => assert!(!whole && error.to_string() == "cannot import a build of x", "{error}"),
            }
            assert_eq!(store.list_images().unwrap().whole.len(), 1);
            assert_eq!(fs::read_dir(store.storage().layout().staging()).unwrap().count(), 0);
        }
    }
}
