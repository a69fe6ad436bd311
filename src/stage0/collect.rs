//! Removing images that nobody needs: `gc --images`.
//!
//! An image is needed while a pod stands on it, an image depends on it, or it has a tag. And it is not old until some time has
//! gone by since it was used last: since it was imported or asked for, be it for the second time, or another that depends on it
//! was imported, or a pod that stands on it was made or destroyed. Whoever is about to use an image notes that down first, so that it stays until
//! then. Where it cannot be told what a broken image needs, that stays.

use std::fs::{self, File};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::dependencies::dependents;
use super::image::{Destroyed, Image};
use super::store::Store;
use crate::appc::ImageId;
use crate::error::{Context, Error, Result};

/// The file of the image's directory whose time is that of the last use.
pub(super) const USED: &str = "used";

impl Store {
    /// Notes down that the image is used now.
    ///
    /// # Errors
    /// The disk fails or is full, or the image has gone.
    pub(super) fn note_use(&self, id: &ImageId) -> Result<()> {
        let path = self.image_directory(id).join(USED);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        file.and_then(|file| file.set_modified(SystemTime::now()))
            .context(|| format!("cannot note down in {} that the image is used", path.display()))
    }

    /// Notes down that somebody is about to use the image.
    ///
    /// # Errors
    /// It has gone since it was found, or the disk fails or is full.
    pub fn begin_use(&self, image: &Image) -> Result<()> {
        let _lock = self.use_images()?;
        if !self.image_directory(&image.id).exists() {
            return Err(Error::new(format!("image {} was removed meanwhile", image.id.short())));
        }
        self.note_use(&image.id)
    }

    /// When the image was used last.
    fn last_use(&self, image: &Image) -> SystemTime {
        let imported = UNIX_EPOCH + Duration::from_secs(image.record.imported);
        let used = fs::metadata(self.image_directory(&image.id).join(USED)).and_then(|found| found.modified());
        used.map_or(imported, |used| used.max(imported))
    }

    /// Removes the images that nobody needs and that have not been used for `age`, and then those that only these needed.
    ///
    /// # Errors
    /// The store cannot be read, it cannot be told whether an image is needed, or a file cannot be removed.
    pub fn collect_images(&self, age: Duration) -> Result<Vec<Destroyed>> {
        let _lock = self.change_images()?;
        let mut removed = Vec::new();
        while let Some(image) = self.unneeded(age)? {
            let tags = self.remove_locked(&image.id, &image.record.layers)?;
            removed.push(Destroyed { id: image.id, tags });
        }
        Ok(removed)
    }

    /// An image that can go.
    fn unneeded(&self, age: Duration) -> Result<Option<Image>> {
        let images = self.list_images()?;
        let tagged = self.tagged_images()?;
        let now = SystemTime::now();
        for image in &images.whole {
            // Of a clock that was set back nothing is old.
            let is_old = now.duration_since(self.last_use(image)).is_ok_and(|unused| unused >= age);
            let name = Some(&image.manifest.name);
            let may_need = |broken: &ImageId| self.asks_for(broken, &image.id, name).unwrap_or(true);
            if is_old
                && !tagged.contains(&image.id)
                && dependents(&image.id, &images.whole).is_empty()
                && !images.broken.iter().any(|(broken, _)| may_need(broken))
                && super::pod::users_of(self, &image.id)?.is_empty()
            {
                return Ok(Some(image.clone()));
            }
        }
        Ok(None)
    }
}
