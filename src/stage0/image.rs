//! Images in the store: reading, listing, removing.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::compression::Compression;
use super::dependencies;
use super::keystore::Trust;
use super::pod;
use super::render::own_layers;
use super::store::Store;
use super::tags::Tag;
use crate::appc::{AcIdentifier, ImageId, ImageManifest};
use crate::error::{Context, Error, Result};
use crate::sys;

/// What the store keeps of an image beside its manifest (`image.json`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The digests that name its layers, the lowest first.
    pub layers: Vec<String>,
    /// The images that its manifest's dependencies are, in the same order.
    #[serde(default)]
    pub dependencies: Vec<ImageId>,
    /// When it was imported, in seconds since 1970.
    pub imported: u64,
    /// Where it came from.
    pub origin: String,
    /// How the archive is compressed.
    pub compression: Compression,
    /// The length of the archive as it came, in bytes.
    pub archive_size: u64,
    /// The length of the uncompressed archive, in bytes.
    pub size: u64,
    /// How many files, directories and links it has.
    pub files: u64,
    /// How it came to be trusted.
    pub trust: Trust,
    /// Files that run with their owner's or group's rights.
    pub setuid: Vec<PathBuf>,
}

/// An image of the store.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its id: the digest of its uncompressed archive.
    pub id: ImageId,
    /// Its manifest.
    pub manifest: ImageManifest,
    /// What the store knows of it.
    pub record: Record,
}

impl Image {
    /// Its version label, or nothing.
    pub fn version(&self) -> &str {
        self.manifest.labels.get("version").unwrap_or("")
    }
}

/// The file of the image's directory that holds the archive as it came.
pub const ARCHIVE: &str = "image.aci";
/// The file of the image's directory that holds the signatures of the archive as they came, if it has any.
pub const SIGNATURE: &str = "image.aci.asc";
/// How long what is left of a download that broke off is kept for another try.
const GRACE: Duration = Duration::from_hours(24);

pub(super) const MANIFEST: &str = "manifest";
pub(super) const RECORD: &str = "image.json";

impl Store {
    /// The directory of an image.
    pub fn image_directory(&self, id: &ImageId) -> PathBuf {
        self.images().join(id.as_str())
    }

    /// All images, by name, then the newest first. One that cannot be read hides no other.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn list_images(&self) -> Result<Images> {
        let mut images = Images::default();
        for id in self.image_ids()? {
            match self.read_image(&id) {
                Ok(image) => images.whole.push(image),
                // Removed since its name was read.
                Err(_) if !self.image_directory(&id).exists() => {}
                Err(error) => images.broken.push((id, error)),
            }
        }
        // By their own clock several images have the same second; that of their files tells which was the last.
        images.whole.sort_by_cached_key(|image| {
            let written = fs::metadata(self.image_directory(&image.id).join(RECORD)).and_then(|found| found.modified());
            (image.manifest.name.clone(), Reverse((image.record.imported, written.ok())), image.id.clone())
        });
        Ok(images)
    }

    fn image_ids(&self) -> Result<Vec<ImageId>> {
        let images = self.images();
        let what = || format!("cannot read {}", images.display());
        let names = fs::read_dir(&images).context(what)?.map(|entry| entry.map(|e| e.file_name()));
        let names = names.collect::<std::io::Result<Vec<_>>>().context(what)?;
        Ok(names.iter().filter_map(|name| name.to_str()?.parse().ok()).collect())
    }

    /// Reads one image.
    ///
    /// # Errors
    /// It is not there, or its files are broken.
    pub fn read_image(&self, id: &ImageId) -> Result<Image> {
        let directory = self.image_directory(id);
        let what = || format!("cannot read image {}", id.short());
        let manifest = read(&directory.join(MANIFEST)).context(what)?;
        let record = read(&directory.join(RECORD)).context(what)?;
        Ok(Image {
            id: id.clone(),
            manifest: ImageManifest::parse(&manifest).context(what)?,
            record: serde_json::from_slice(&record).context(what)?,
        })
    }

    /// The bytes of the image's manifest, as they were in the archive.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn image_manifest(&self, id: &ImageId) -> Result<Vec<u8>> {
        read(&self.image_directory(id).join(MANIFEST))
    }

    /// The signatures of the image's archive as they came, if it has any.
    ///
    /// # Errors
    /// They are there and cannot be read.
    pub fn image_signature(&self, id: &ImageId) -> Result<Option<Vec<u8>>> {
        let path = self.image_directory(id).join(SIGNATURE);
        match fs::read(&path) {
            Err(e) if is_missing(&e) => Ok(None),
            read => read.map(Some).context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Removes the image that `reference` means, and the layers that no other image has. An image whose files are broken can
    /// be removed too, by its id. Its tags go with it.
    ///
    /// # Errors
    /// There is none, a pod stands on it or an image depends on it (the error names them), or a file cannot be removed.
    pub fn destroy_image(&self, reference: &str) -> Result<Destroyed> {
        let (id, layers) = match self.find_image(reference) {
            Ok(image) => (image.id, image.record.layers),
            Err(error) => match self.find_broken_image(reference)? {
                Some(id) => (id.clone(), own_layers(&id).to_vec()),
                None => return Err(error),
            },
        };
        let tags = self.remove_image(&id, &layers)?;
        Ok(Destroyed { id, tags })
    }

    /// Removes what commands left half-made when they were killed.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn collect_garbage(&self) -> Result<()> {
        self.storage().sweep()?;
        self.sweep_downloads(GRACE)?;
        self.forget_sending()?;
        self.drop_unused_layers()
    }

    /// Removes the layers that a command left when it was killed between a layer and its image, as far as they can be, and the tags
    /// that one left when it was killed between an image and those. While somebody uses images they stay: they stand in nobody's way.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn drop_unused_layers(&self) -> Result<()> {
        let Some(_lock) = self.change_images_at_once()? else { return Ok(()) };
        let images = self.list_images()?;
        // What a broken image stands on is not known.
        if !images.broken.is_empty() {
            return Ok(());
        }
        let used: HashSet<&String> = images.whole.iter().flat_map(|image| &image.record.layers).collect();
        for layer in self.storage().layers()?.iter().filter(|layer| !used.contains(layer)) {
            // One that cannot be removed stands in no import's way.
            let _ = self.storage().remove_layer(layer);
        }
        self.drop_stray_tags()
    }

    /// Whether the manifest of a broken image, if that can be read, has a dependency that the image called `id` can be, which has
    /// this name.
    pub(super) fn asks_for(&self, broken: &ImageId, id: &ImageId, name: Option<&AcIdentifier>) -> Option<bool> {
        let manifest = self.image_manifest(broken).ok().and_then(|bytes| ImageManifest::parse(&bytes).ok())?;
        Some(manifest.dependencies.iter().any(|dependency| match &dependency.image_id {
            Some(other) => other == id,
            None => Some(&dependency.image_name) == name,
        }))
    }

    /// Removes an image, and gives the tags that it had.
    fn remove_image(&self, id: &ImageId, layers: &[String]) -> Result<Vec<Tag>> {
        let _lock = self.change_images()?;
        let users = pod::users_of(self, id)?;
        if !users.is_empty() {
            return Err(Error::new(format!("image {} is in use by pods: {}", id.short(), users.join(", ")))
                .help("destroy those pods first (`jetpack destroy POD`)"));
        }
        let images = self.list_images()?;
        let mut dependents = dependencies::dependents(id, &images.whole);
        let name = images.whole.iter().find(|image| image.id == *id).map(|image| &image.manifest.name);
        let broken = images.broken.iter().map(|(broken, _)| broken).filter(|broken| *broken != id);
        let asking = broken.filter(|broken| self.asks_for(broken, id, name) == Some(true));
        dependents.extend(asking.map(|broken| broken.short().to_string()));
        if !dependents.is_empty() {
            return Err(Error::new(format!(
                "image {} has images that depend on it: {}",
                id.short(),
                dependents.join(", ")
            ))
            .help("destroy those images first (`jetpack destroy-image IMAGE`)"));
        }
        self.remove_locked(id, layers)
    }

    /// Removes an image that nobody needs, and gives the tags that it had. The caller keeps everybody else from using images.
    pub(super) fn remove_locked(&self, id: &ImageId, layers: &[String]) -> Result<Vec<Tag>> {
        let what = || format!("cannot remove image {}", id.short());
        let images = self.list_images()?;
        let others = images.whole.iter().filter(|other| other.id != *id);
        let used: Vec<&String> = others.flat_map(|other| &other.record.layers).collect();
        // What a broken image stands on is not known, but its own layers have its name.
        let used_by_broken =
            |layer: &String| images.broken.iter().any(|(b, _)| b != id && own_layers(b).contains(layer));
        let tags = self.tags_of(id)?;
        let rubbish = crate::storage::staging(self.root())?;
        fs::rename(self.image_directory(id), rubbish.path().join("image")).context(what)?;
        tags.iter().try_for_each(|tag| self.remove_tag(tag).map(drop))?;
        for layer in layers.iter().filter(|layer| !used.contains(layer) && !used_by_broken(layer)) {
            self.storage().remove_layer(layer)?;
        }
        sys::paths::remove_tree(rubbish.path()).context(what)?;
        Ok(tags)
    }
}

/// An image that was removed.
#[derive(Debug)]
pub struct Destroyed {
    /// Its id.
    pub id: ImageId,
    /// The tags that it had.
    pub tags: Vec<Tag>,
}

/// What is in the store.
#[derive(Debug, Default)]
pub struct Images {
    /// The images.
    pub whole: Vec<Image>,
    /// Those whose files cannot be read, and why.
    pub broken: Vec<(ImageId, Error)>,
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).context(|| format!("cannot read {}", path.display()))
}

/// Whether the error says that there is no such file.
pub(super) fn is_missing(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// An image whose id consists of `n`, and whose manifest has these further fields, which begin with a comma.
    pub(crate) fn image(n: u8, name: &str, more: &str) -> Image {
        let text = format!(r#"{{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "{name}"{more}}}"#);
        let id = ImageId::from_digest(&[n; 64]);
        let record = Record {
            layers: vec![id.to_string()],
            dependencies: Vec::new(),
            imported: 0,
            origin: "a test".to_owned(),
            compression: Compression::None,
            archive_size: 0,
            size: 0,
            files: 0,
            trust: Trust::Unsigned,
            setuid: Vec::new(),
        };
        Image { id, manifest: ImageManifest::parse(text.as_bytes()).unwrap(), record }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::sys::testing::Scratch;

    #[test]
    fn an_image_that_goes_while_others_are_listed_is_not_broken() {
        let scratch = Scratch::new();
        let root = format!("root.path={}", scratch.path().join("store").display());
        let config = Config::parse("linux", Path::new("jetpack.conf"), b"", &[root, "storage=dir".to_owned()]).unwrap();
        let store = Store::init(&config).unwrap().0;
        let ids: Vec<ImageId> = (0..100).map(|n| ImageId::from_digest(&[n; 64])).collect();
        for id in &ids {
            let directory = store.image_directory(id);
            fs::create_dir(&directory).unwrap();
            let manifest = r#"{ "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "a" }"#;
            fs::write(directory.join(MANIFEST), manifest).unwrap();
            let record = r#"{ "layers": [], "imported": 0, "origin": "", "compression": "none", "archive_size": 0,
                              "size": 0, "files": 0, "trust": "unsigned", "setuid": [] }"#;
            fs::write(directory.join(RECORD), record).unwrap();
        }
        assert_eq!(store.list_images().unwrap().whole.len(), ids.len());
        let paths: Vec<PathBuf> = ids.iter().map(|id| store.image_directory(id)).collect();
        std::thread::scope(|scope| {
            let remover = scope.spawn(|| {
                for (n, path) in paths.iter().enumerate() {
                    fs::rename(path, scratch.outside().join(n.to_string())).unwrap();
                    std::thread::sleep(std::time::Duration::from_micros(100));
                }
            });
            while !remover.is_finished() {
                let broken = store.list_images().unwrap().broken;
                assert!(broken.is_empty(), "{}", broken[0].1.one_line());
            }
        });
    }
}
