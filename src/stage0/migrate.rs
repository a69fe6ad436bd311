//! Bringing the images of another store into this one, whatever kinds they are: `init --from`.
//!
//! What both kinds have in common is the archive, of which everything else is made. So each image is imported anew from there,
//! with what the other store knows of it: its id, its dependencies, its tags, where it came from and how it came to be trusted.
//! Its layers are made as the kind of this store wants them. The other store is only read.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::image::{ARCHIVE, Image, RECORD};
use super::import::Expected;
use super::interruptible::Interruptible;
use super::keystore::{Download, Verified};
use super::store::Store;
use crate::appc::ImageId;
use crate::error::{Context, Error, Result};
use crate::progress::Step;
use crate::sys::signal::go_on;

/// A store that images are brought from. Nothing but its files is read.
pub struct OldStore(Store);

/// What was brought.
#[derive(Debug, Default)]
pub struct Brought {
    /// The images that were copied.
    pub copied: Vec<ImageId>,
    /// How many were here already.
    pub present: usize,
    /// Those that could not be brought, and why.
    pub failed: Vec<(ImageId, Error)>,
    /// How many pods stay where they are.
    pub pods: usize,
}

impl OldStore {
    /// Opens the store at `root`, from which images are to be brought into the one at `new`, which need not be there yet.
    ///
    /// # Errors
    /// There is none, it has a newer format, somebody else can reach into it, or it is the same store.
    pub fn open(root: &Path, new: &Path) -> Result<OldStore> {
        let old = Store::open_files(root)?;
        let directory = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
        if directory(root) == directory(new) {
            return Err(Error::new(format!("{} is the store itself", root.display()))
                .help("set `root.path`, or `root.zfs`, to where the new store is to be"));
        }
        Ok(OldStore(old))
    }
}

impl Store {
    /// Brings all images of `old` that are not here. One that cannot be brought keeps no other from it.
    ///
    /// # Errors
    /// One of the stores cannot be read, or a signal has arrived. What was brought until then stays, and the rest can be brought by
    /// doing the same again.
    pub fn bring(&self, old: &OldStore) -> Result<Brought> {
        let old = &old.0;
        // Nothing of it is removed meanwhile.
        let _lock = old.use_images()?;
        let mut brought = Brought { pods: old.list_pods()?.len(), ..Brought::default() };
        let images = old.list_images()?;
        brought.failed.extend(images.broken);
        let images = in_order(images.whole);
        for (n, image) in images.iter().enumerate() {
            if self.whole_image(&image.id)?.is_some() {
                brought.present += 1;
                continue;
            }
            let label = format!("{} ({} of {})", image.manifest.name, n + 1, images.len());
            match self.bring_image(old, image, &label) {
                Ok(()) => brought.copied.push(image.id.clone()),
                Err(error) => {
                    go_on().context(|| "interrupted")?;
                    brought.failed.push((image.id.clone(), error));
                }
            }
        }
        self.bring_tags(old)?;
        Ok(brought)
    }

    /// Takes over the tags that this store does not have, of images that are here.
    fn bring_tags(&self, old: &Store) -> Result<()> {
        for (tag, id) in old.tags()? {
            if self.tagged(&tag)?.is_none()
                && let Some(image) = self.whole_image(&id)?
            {
                self.tag(&image, &tag)?;
            }
        }
        Ok(())
    }

    fn bring_image(&self, old: &Store, image: &Image, label: &str) -> Result<()> {
        let archive = old.image_directory(&image.id).join(ARCHIVE);
        let mut source = File::open(&archive).context(|| format!("cannot open {}", archive.display()))?;
        let staging = self.begin_image()?;
        let copying = Step::begin(self.progress(), &format!("copying {label}"), Some(image.record.archive_size));
        let place = staging.path().join(ARCHIVE);
        let download = Download::copy(&mut copying.count(Interruptible(&mut source)), &place, label)?;
        drop(copying);
        let verified = Verified::kept(download, image.record.trust.clone(), old.image_signature(&image.id)?);
        let expected = Expected {
            id: Some(&image.id),
            dependencies: Some(&image.record.dependencies),
            record: Some(&image.record),
            ..Expected::default()
        };
        self.import_verified(verified, staging, expected)?;
        // Of images that were imported in one second, the files tell which was the last.
        let record = |store: &Store| store.image_directory(&image.id).join(RECORD);
        let what = || format!("cannot set the time of {}", record(self).display());
        let imported = fs::metadata(record(old)).and_then(|found| found.modified()).context(what)?;
        File::open(record(self)).and_then(|file| file.set_modified(imported)).context(what)
    }
}

/// The images, each after those that it depends on, and otherwise the last one last.
fn in_order(mut left: Vec<Image>) -> Vec<Image> {
    // Of one name, the newest comes first.
    left.reverse();
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let waiting: HashSet<ImageId> = left.iter().map(|image| image.id.clone()).collect();
        let is_waiting = |image: &Image| image.record.dependencies.iter().any(|id| waiting.contains(id));
        let (later, next): (Vec<Image>, Vec<Image>) = left.into_iter().partition(is_waiting);
        // None depends on itself; if records say so, importing tells what is missing.
        left = if next.is_empty() { Vec::new() } else { later.clone() };
        ordered.extend(if next.is_empty() { later } else { next });
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::super::image::testing::image;
    use super::*;

    #[test]
    fn images_come_after_what_they_depend_on() {
        let depending = |n: u8, on: &[u8]| {
            let mut image = image(n, "a", "");
            image.record.dependencies = on.iter().map(|n| ImageId::from_digest(&[*n; 64])).collect();
            image
        };
        let order =
            |images: Vec<Image>| -> Vec<ImageId> { in_order(images).into_iter().map(|image| image.id).collect() };
        let ids =
            |numbers: &[u8]| -> Vec<ImageId> { numbers.iter().map(|n| ImageId::from_digest(&[*n; 64])).collect() };
        assert_eq!(
            order(vec![depending(1, &[2, 3]), depending(2, &[3]), depending(3, &[9]), depending(4, &[])]),
            ids(&[4, 3, 2, 1])
        );
        // Not that it could be.
        assert_eq!(order(vec![depending(1, &[2]), depending(2, &[1]), depending(3, &[])]), ids(&[3, 2, 1]));
    }
}
