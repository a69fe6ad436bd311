//! From an archive to an image of the store.
//!
//! Everything is made in a private directory; the image's directory gets its name last, by rename, when all of it is on the
//! disk. So an image is either whole or not there.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use super::collect::USED;
use super::dependencies;
use super::dependencies::Provide;
use super::discovery::ImageRef;
use super::image::{ARCHIVE, Image, MANIFEST, RECORD, Record, SIGNATURE, is_missing};
use super::interruptible::Interruptible;
use super::keystore::{Check, Trust, Verified};
use super::package::{self, Arrived, Received};
use super::render::{Rendered, Rendering, Whitelist, own_layers};
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

/// What is known of an image before its archive is read.
#[derive(Clone, Copy, Default)]
pub(super) struct Expected<'a> {
    /// What it must be called.
    pub(super) name: Option<&'a AcIdentifier>,
    /// The name and the labels by which it was found.
    pub(super) reference: Option<&'a ImageRef>,
    /// Its id.
    pub(super) id: Option<&'a ImageId>,
    /// The images that its dependencies are.
    pub(super) dependencies: Option<&'a [ImageId]>,
    /// What another store knows of it; its layers are that store's own.
    pub(super) record: Option<&'a Record>,
    /// Who brings in what it depends on and the store does not have.
    pub(super) provider: Option<&'a dyn Provide>,
    /// A stream of its dataset, which is to be kept.
    pub(super) received: Option<Received<'a>>,
}

impl Expected<'_> {
    /// Whether the image is the one.
    pub(super) fn check(&self, id: &ImageId, manifest: &ImageManifest) -> Result<()> {
        self.reference.map_or(Ok(()), |reference| reference.check(manifest))?;
        if let Some(name) = self.name.filter(|name| **name != manifest.name) {
            return Err(Error::new(format!("the image is called {}, not {name}", manifest.name)));
        }
        match self.id.filter(|expected| *expected != id) {
            Some(expected) => {
                Err(Error::new(format!("the archive is that of {}, not {}", id.short(), expected.short())))
            }
            None => Ok(()),
        }
    }
}

impl Store {
    /// Imports the archive or package that `source` gives, if it may be. `origin` is its name for people. What the image depends on
    /// and is not in the store comes from `provider`.
    ///
    /// # Errors
    /// The file may not be imported, is broken, or breaks the specification; nothing is left in the store.
    pub fn import(
        &self,
        source: &mut (impl Read + Send + Sync),
        origin: &str,
        check: &Check<'_>,
        provider: Option<&dyn Provide>,
    ) -> Result<Arrived> {
        let what = || format!("cannot import {origin}");
        let staging = self.begin_image()?;
        let copying = Step::begin(self.progress(), &format!("copying {origin}"), None);
        let place = staging.path().join(ARCHIVE);
        let verified = Verified::copy(&mut copying.count(source), &place, origin, check).context(what)?;
        drop(copying);
        let expected = Expected { name: check.name, provider, ..Expected::default() };
        self.import_checked(verified, staging, expected, check).context(what)
    }

    /// Imports what was verified: an image, or a package where no image is expected.
    pub(super) fn import_checked(
        &self,
        verified: Verified,
        staging: Staging,
        expected: Expected<'_>,
        check: &Check<'_>,
    ) -> Result<Arrived> {
        if package::recognise(&verified)? == package::Kind::Package {
            return match expected.reference {
                Some(reference) => Err(Error::new(format!("it is a package, and not the image {reference}"))),
                None => self.import_package(verified, staging, check),
            };
        }
        self.import_verified(verified, staging, expected).map(|image| Arrived::Image(Box::new(image)))
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
        self.import_verified(verified, staging, Expected::default()).context(what)
    }

    pub(super) fn import_verified(
        &self,
        verified: Verified,
        staging: Staging,
        expected: Expected<'_>,
    ) -> Result<Imported> {
        // What was let in before, or made here, is not a stranger's.
        let is_known = expected.record.is_some() || *verified.trust() == Trust::Built;
        let max_size = if is_known { None } else { self.max_image_size() };
        let mut unpacked = self.unpack_into(&verified, &staging.tree(), max_size)?;
        let manifest = ImageManifest::parse(&unpacked.manifest).context(|| "the manifest breaks the specification")?;
        let id = ImageId::from_digest(&unpacked.id_digest);
        expected.check(&id, &manifest)?;
        let (verified, warning) = verified.named(&manifest.name)?;
        unpacked.warnings.extend(warning);
        if let Some(image) = self.known_image(&id)? {
            let image = self.keep_signature(image, &verified, &unpacked, &staging)?;
            return Ok(Imported { image, known: true, warnings: unpacked.warnings });
        }
        // No lock is held meanwhile, and of the unpacked files nobody but this knows.
        expected.provider.map_or(Ok(()), |provider| provider.provide(&id, &manifest))?;
        let mut record = expected.record.map_or_else(|| record(&verified, &unpacked), Record::clone);
        let dependencies = (&manifest, expected.dependencies);
        // Nothing that this stands on goes while it is read.
        let lock = self.use_images()?;
        let (mut rendered, dependencies) = self.render(&staging, &unpacked, dependencies, &mut record)?;
        dependencies.iter().try_for_each(|image| self.note_use(&image.id))?;
        drop(lock);
        let mut staging = staging;
        if let Some(received) = expected.received {
            (staging, rendered) = self.put_received(received, staging, rendered, &dependencies)?;
        }
        let mut warnings = unpacked.warnings;
        if rendered.missing > 0 {
            warnings.push(match rendered.missing {
                1 => "1 path of the pathWhitelist is not in the image".to_owned(),
                count => format!("{count} paths of the pathWhitelist are not in the image"),
            });
        }
        let image = Image { id, manifest, record };
        let files = (&*unpacked.manifest, verified.signature());
        let known = !self.commit(staging, rendered, (&image, files), &dependencies)?;
        Ok(Imported { image, known, warnings })
    }

    /// Renders the image, and writes down what it depends on and which layers it has. Gives what it depends on, too. The caller
    /// keeps images from being removed meanwhile.
    pub(super) fn render(
        &self,
        own: &Staging,
        unpacked: &Unpacked,
        (manifest, known): (&ImageManifest, Option<&[ImageId]>),
        record: &mut Record,
    ) -> Result<(Rendered, Vec<Image>)> {
        let whitelist = Whitelist::parse(&manifest.path_whitelist)?;
        let id = ImageId::from_digest(&unpacked.id_digest);
        let dependencies = match manifest.dependencies.as_slice() {
            [] => Vec::new(),
            _ => dependencies::resolve(manifest, known, &self.list_images()?.whole)?,
        };
        let rendering = Rendering {
            storage: self.storage(),
            id: &id,
            own: (own, &unpacked.undescribed),
            dependencies: &dependencies,
            whitelist: whitelist.as_ref(),
        };
        let rendered = rendering.render()?;
        record.dependencies = dependencies.iter().map(|image| image.id.clone()).collect();
        record.layers.clone_from(&rendered.layers);
        Ok((rendered, dependencies))
    }

    fn unpack_into(&self, verified: &Verified, tree: &Path, max_size: Option<u64>) -> Result<Unpacked> {
        let directory = File::open(tree).context(|| format!("cannot open {}", tree.display()))?;
        let options = Options { owners: self.storage().keeps_owners(), max_size };
        let unpacking =
            Step::begin(self.progress(), &format!("unpacking {}", verified.origin()), Some(verified.size()));
        unpack(Interruptible(unpacking.count(verified.reader()?)), directory.as_fd(), &options)
    }

    /// Gives the image its place, also that of a broken one; false if it is there already.
    fn commit(
        &self,
        own: Staging,
        rendered: Rendered,
        (image, (manifest, signature)): (&Image, (&[u8], Option<&[u8]>)),
        dependencies: &[Image],
    ) -> Result<bool> {
        let what = || format!("cannot keep image {}", image.id.short());
        let _lock = self.change_images()?;
        let place = self.image_directory(&image.id);
        if self.whole_image(&image.id)?.is_some() {
            return Ok(false);
        }
        self.check_dependencies(dependencies)?;
        // The last moment: soon it is there.
        sys::signal::go_on().context(what)?;
        let directory = crate::storage::staging(self.root())?;
        fs::write(directory.path().join(MANIFEST), manifest).context(what)?;
        let json = serde_json::to_vec_pretty(&image.record).context(what)?;
        fs::write(directory.path().join(RECORD), json).context(what)?;
        // It is new in this store, however old its record is.
        fs::write(directory.path().join(USED), "").context(what)?;
        if let Some(signature) = signature {
            fs::write(directory.path().join(SIGNATURE), signature).context(what)?;
        }
        fs::rename(own.path().join(ARCHIVE), directory.path().join(ARCHIVE)).context(what)?;
        let own = image.record.layers.contains(&image.id.to_string()).then(|| (own, image.id.to_string()));
        let in_use = if place.exists() { self.layers_in_use(&image.id)? } else { HashSet::new() };
        let mut steps = Steps::new();
        for (staging, name) in own.into_iter().chain(rendered.made) {
            // What nobody has, a killed command left, maybe with other dependencies.
            if in_use.contains(&name) && self.storage().layers()?.contains(&name) {
                continue;
            }
            self.storage().remove_layer(&name)?;
            let undo = {
                let name = name.clone();
                move || self.storage().remove_layer(&name)
            };
            steps.step("keep a layer", undo, || self.storage().commit_layer(staging, &name))?;
        }
        let broken = crate::storage::staging(self.root())?;
        steps.check(|| match fs::rename(&place, broken.path().join("image")) {
            Err(e) if !is_missing(&e) => Err(e).context(what),
            // What was there was broken, and goes with its new place.
            _ => fs::rename(directory.path(), &place).context(what),
        })?;
        steps.keep();
        sys::os::sync_filesystem(&place).context(what)?;
        Ok(true)
    }

    /// Keeps the signature of an image that was here without one. The archive that it is of may be compressed in another way, so
    /// that it comes along. Whenever this is interrupted, the image is whole.
    fn keep_signature(
        &self,
        mut image: Image,
        verified: &Verified,
        unpacked: &Unpacked,
        staging: &Staging,
    ) -> Result<Image> {
        let what = || format!("cannot keep the signature of image {}", image.id.short());
        let signature = match (&image.record.trust, verified.signature()) {
            (Trust::Unsigned | Trust::Built, Some(signature)) => signature,
            (Trust::Signed(_), _) | (_, None) => return Ok(image),
        };
        let _lock = self.change_images()?;
        image.record = self.read_image(&image.id).context(what)?.record;
        let new = record(verified, unpacked);
        let record = Record {
            origin: new.origin,
            compression: new.compression,
            archive_size: new.archive_size,
            trust: new.trust,
            ..image.record.clone()
        };
        fs::write(staging.path().join(SIGNATURE), signature).context(what)?;
        fs::write(staging.path().join(RECORD), serde_json::to_vec_pretty(&record).context(what)?).context(what)?;
        let place = self.image_directory(&image.id);
        for file in [ARCHIVE, SIGNATURE, RECORD] {
            fs::rename(staging.path().join(file), place.join(file)).context(what)?;
        }
        sys::os::sync_filesystem(&place).context(what)?;
        image.record = record;
        Ok(image)
    }

    /// The image, if it is there with all that it stands on. What a broken one lacks, importing it again brings.
    pub(super) fn whole_image(&self, id: &ImageId) -> Result<Option<Image>> {
        let Ok(image) = self.read_image(id) else { return Ok(None) };
        let has_archive = self.image_directory(id).join(ARCHIVE).exists();
        let layers = self.storage().layers()?;
        Ok((has_archive && image.record.layers.iter().all(|layer| layers.contains(layer))).then_some(image))
    }

    /// The same, when it is about to be used: it is no longer one that nobody has used for long.
    fn known_image(&self, id: &ImageId) -> Result<Option<Image>> {
        let _lock = self.use_images()?;
        let image = self.whole_image(id)?;
        image.as_ref().map_or(Ok(()), |image| self.note_use(&image.id))?;
        Ok(image)
    }

    /// Checks that nobody has removed what the image depends on since it was rendered, or imported it again, which may have given
    /// it other layers.
    fn check_dependencies(&self, dependencies: &[Image]) -> Result<()> {
        for image in dependencies {
            let what = |how| format!("image {}, which it depends on, was {how} meanwhile", image.id.short());
            if !self.image_directory(&image.id).exists() {
                return Err(Error::new(what("removed")));
            }
            if self.read_image(&image.id)?.record.layers != image.record.layers {
                return Err(Error::new(what("made anew")).help("import the image again"));
            }
        }
        Ok(())
    }

    /// The layers that pods may stand on though the image called `id` is broken.
    fn layers_in_use(&self, id: &ImageId) -> Result<HashSet<String>> {
        let mut used: HashSet<String> =
            self.list_images()?.whole.into_iter().flat_map(|image| image.record.layers).collect();
        if !super::pod::users_of(self, id)?.is_empty() {
            used.extend(own_layers(id));
        }
        Ok(used)
    }
}

fn record(verified: &Verified, unpacked: &Unpacked) -> Record {
    Record {
        layers: Vec::new(),
        dependencies: Vec::new(),
        imported: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        origin: verified.origin().to_owned(),
        compression: unpacked.compression,
        archive_size: verified.size(),
        size: unpacked.size,
        files: unpacked.files,
        trust: verified.trust().clone(),
        setuid: unpacked.setuid.clone(),
    }
}

#[cfg(test)]
mod tests {
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
