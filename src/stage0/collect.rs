//! Removing images that nobody needs: `gc --images`.
//!
//! An image is needed while a pod stands on it, an image depends on it, or it has a tag. And it is not old until some time has
//! gone by since it was used last: since it was imported, or a pod that stands on it was made or destroyed.

use std::fs::{self, File};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::dependencies::dependents;
use super::image::{Destroyed, Image};
use super::store::Store;
use crate::appc::ImageId;
use crate::error::{Context, Result};

/// The file of the image's directory whose time is that of the last use.
const USED: &str = "used";

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
        let tags = self.tags()?;
        let now = SystemTime::now();
        for image in &images.whole {
            // Of a clock that was set back nothing is old.
            let is_old = now.duration_since(self.last_use(image)).is_ok_and(|unused| unused >= age);
            let is_tagged = tags.values().any(|id| *id == image.id);
            if is_old
                && !is_tagged
                && dependents(&image.id, &images.whole).is_empty()
                && !images.broken.iter().any(|(broken, _)| self.asks_for(broken, &image.id))
                && super::pod::users_of(self, &image.id)?.is_empty()
            {
                return Ok(Some(image.clone()));
            }
        }
        Ok(None)
    }
}
