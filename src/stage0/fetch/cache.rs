//! What is kept of downloads: the directory `cache` of the store.
//!
//! Each URL has a directory there, called by the SHA-256 of the URL:
//!
//! | path | what |
//! |---|---|
//! | `lock` | held exclusively by whoever fetches the URL |
//! | `part` | the beginning of a file whose download broke off |
//! | `part.json` | which file that was |
//! | `image.json` | which image came last from there |
//!
//! All of it can be removed at any time when nobody holds the lock; it only saves downloads.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use url::Url;

use super::super::store::Store;
use crate::appc::ImageId;
use crate::error::{Context, Error, Result};
use crate::sys;
use crate::sys::lock::Lock;
use crate::sys::signal::go_on;

/// How long between two looks at a lock that somebody else holds.
const PAUSE: Duration = Duration::from_millis(100);

/// What tells one version of a file from another (RFC 9110).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Validators {
    /// The header ETag, as it came.
    pub(super) etag: Option<String>,
    /// The header Last-Modified, as it came.
    pub(super) last_modified: Option<String>,
}

impl Validators {
    /// What can be trusted to be the same only when every byte is the same: an ETag that is not weak. A date is not, since a file can
    /// change twice in a second.
    pub(super) fn strong(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| !etag.starts_with("W/"))
    }
}

/// The image that came last from a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) url: String,
    pub(super) validators: Validators,
    pub(super) id: ImageId,
}

/// Whose beginning is kept.
#[derive(Serialize, Deserialize)]
struct Begun {
    url: String,
    validators: Validators,
}

/// What is kept of one URL; nobody else has it meanwhile.
pub(super) struct Entry {
    directory: PathBuf,
    url: Url,
    _lock: Lock,
}

impl Entry {
    /// Waits until nobody else fetches the URL.
    pub(super) fn open(store: &Store, url: &Url) -> Result<Entry> {
        let what = || format!("cannot use the cache of {url}");
        let digest: String = Sha256::digest(url.as_str()).iter().map(|byte| format!("{byte:02x}")).collect();
        let directory = store.cache().join(digest);
        let path = directory.join("lock");
        loop {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory).context(what)?;
            let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(&path);
            match file.map(drop).map_err(|e| (e.kind(), e)) {
                // Somebody has just tidied up.
                Err((ErrorKind::NotFound, _)) => continue,
                other => other.map_err(|(_, e)| e).context(what)?,
            }
            match Lock::try_exclusive(&path) {
                // Of a file that was removed meanwhile the lock is worth nothing.
                Ok(Some(lock)) if is_of(&lock, &path) => return Ok(Entry { directory, url: url.clone(), _lock: lock }),
                Ok(None) => std::thread::sleep(PAUSE),
                Err(error) if path.exists() => return Err(Error::with_source(what(), error)),
                _ => {}
            }
            go_on().context(what)?;
        }
    }

    /// The image that came last.
    pub(super) fn known(&self) -> Option<Known> {
        read(&self.directory.join("image.json")).filter(|known: &Known| known.url == self.url.as_str())
    }

    /// Keeps in mind that the image came, and nothing else.
    pub(super) fn finish(&self, validators: &Validators, id: &ImageId) -> Result<()> {
        let known = Known { url: self.url.to_string(), validators: validators.clone(), id: id.clone() };
        self.write("image.json", &known)?;
        self.discard()
    }

    /// Where the bytes go.
    pub(super) fn part(&self) -> PathBuf {
        self.directory.join("part")
    }

    /// How many bytes are there.
    pub(super) fn length(&self) -> u64 {
        fs::metadata(self.part()).map_or(0, |found| found.len())
    }

    /// What the bytes are the beginning of, if more can be had of just that.
    pub(super) fn begun(&self) -> Option<Validators> {
        let begun: Begun = read(&self.directory.join("part.json"))?;
        let goes_on = begun.url == self.url.as_str() && begun.validators.strong().is_some() && self.length() > 0;
        goes_on.then_some(begun.validators)
    }

    /// Begins a file anew.
    pub(super) fn begin(&self, validators: &Validators) -> Result<File> {
        self.discard()?;
        self.write("part.json", &Begun { url: self.url.to_string(), validators: validators.clone() })?;
        let mut options = File::options();
        options.create(true).append(true).mode(0o600);
        options.open(self.part()).context(|| self.cannot())
    }

    /// Goes on with the file that is there.
    pub(super) fn go_on(&self) -> Result<File> {
        File::options().append(true).open(self.part()).context(|| self.cannot())
    }

    /// Forgets the file that is there.
    pub(super) fn discard(&self) -> Result<()> {
        for name in ["part.json", "part"] {
            match fs::remove_file(self.directory.join(name)) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e).context(|| self.cannot()),
                _ => {}
            }
        }
        Ok(())
    }

    fn cannot(&self) -> String {
        format!("cannot keep what comes from {}", self.url)
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let json = serde_json::to_vec(value).context(|| self.cannot())?;
        let new = self.directory.join("new");
        fs::write(&new, json).context(|| self.cannot())?;
        fs::rename(&new, self.directory.join(name)).context(|| self.cannot())
    }
}

/// Whether a lock is that of the file which is at `path` now, and not of one that was removed, in whose place somebody may have
/// made another.
fn is_of(lock: &Lock, path: &Path) -> bool {
    let held = lock.as_fd().try_clone_to_owned().and_then(|held| File::from(held).metadata());
    matches!((held, fs::metadata(path)), (Ok(held), Ok(there)) if (held.dev(), held.ino()) == (there.dev(), there.ino()))
}

/// What a file holds; nothing where it is not there or broken.
fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

impl Store {
    /// Removes what is kept of downloads that nobody has touched for `grace`, and what is known of URLs whose images are gone.
    /// What is being fetched stays.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(in super::super) fn sweep_downloads(&self, grace: Duration) -> Result<()> {
        let cache = self.cache();
        let entries = match fs::read_dir(&cache) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.context(|| format!("cannot read {}", cache.display()))?,
        };
        for directory in entries.flatten().map(|entry| entry.path()) {
            let Ok(Some(_lock)) = Lock::exclusive_at_once(&directory.join("lock")) else { continue };
            let is_old = |name: &str| {
                let changed = fs::metadata(directory.join(name)).and_then(|found| found.modified());
                changed.is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age >= grace))
            };
            let known: Option<Known> = read(&directory.join("image.json"));
            let is_here = known.is_some_and(|known| self.image_directory(&known.id).exists());
            if is_old("part") {
                // What cannot be removed now is removed the next time.
                let _ = fs::remove_file(directory.join("part"));
            }
            if !is_here && !directory.join("part").exists() && is_old("lock") {
                let _ = sys::paths::remove_tree(&directory);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::testing::Scratch;

    #[test]
    fn the_lock_of_a_file_that_was_removed_is_worth_nothing() {
        let scratch = Scratch::new();
        let path = scratch.path().join("lock");
        fs::write(&path, "").unwrap();
        let lock = Lock::try_exclusive(&path).unwrap().unwrap();
        assert!(is_of(&lock, &path));
        fs::remove_file(&path).unwrap();
        assert!(!is_of(&lock, &path));
        // Also if there is another one now.
        fs::write(&path, "").unwrap();
        assert!(!is_of(&lock, &path));
    }
}
