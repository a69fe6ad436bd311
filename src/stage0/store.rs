//! The store: its place, its format, its locks.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::config::{Config, StorageKind};
use crate::error::{Context, Error, Result};
use crate::storage::{self, Layout, Storage};
use crate::sys::lock::Lock;

/// The version of the layout that this program reads and writes.
pub const FORMAT: u32 = 1;

/// An open store.
pub struct Store {
    root: PathBuf,
    storage: Box<dyn Storage>,
}

impl Store {
    /// Makes the store that the configuration asks for, or checks the one that is there. Returns whether it was made.
    ///
    /// # Errors
    /// The host cannot do it at that place, or another kind of store is there.
    pub fn init(config: &Config) -> Result<(Store, bool)> {
        let root = config.root_path();
        match Store::open(config) {
            Err(_) if !marker(&root).exists() => {}
            opened => return Ok((opened?, false)),
        }
        let storage = backend(config, &root)?;
        let own = ["images", "state"].map(|name| root.join(name));
        make_directory(&root)?;
        for directory in Layout::new(&root).directories().iter().chain(&own) {
            make_directory(directory)?;
        }
        super::pod::make_places(&root.join("state"))
            .context(|| format!("cannot make directories in {}", root.display()))?;
        storage.probe()?;
        let what = || format!("cannot write the store's marker in {}", root.display());
        fs::write(root.join("lock"), "").context(what)?;
        let text = format!(
            "# A Jetpack store. Made by `jetpack init`; not to be edited.\nformat = {FORMAT}\nstorage = {}\n",
            storage.name()
        );
        let new = root.join("store.new");
        fs::write(&new, text).context(what)?;
        fs::rename(&new, marker(&root)).context(what)?;
        Ok((Store { root, storage }, true))
    }

    /// Opens the store that the configuration names.
    ///
    /// # Errors
    /// There is none (the help line says how to make it), it has a newer format, or is of another kind than configured.
    pub fn open(config: &Config) -> Result<Store> {
        let root = config.root_path();
        let text = match fs::read_to_string(marker(&root)) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Err(Error::new(format!("there is no store at {}", root.display()))
                    .help("run `jetpack init`, or set `root.path` to where the store is"));
            }
            Err(e) => return Err(Error::with_source(format!("cannot read the store at {}", root.display()), e)),
        };
        let storage = backend(config, &root)?;
        check_marker(&text, storage.name(), &root)?;
        Ok(Store { root, storage })
    }

    /// The backend.
    pub fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    /// The directory of the store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(super) fn states(&self) -> PathBuf {
        self.root.join("state")
    }

    /// Keeps images from being removed while the result lives.
    ///
    /// # Errors
    /// The lock cannot be opened.
    pub fn use_images(&self) -> Result<Lock> {
        Lock::shared(&self.root.join("lock")).context(|| "cannot lock the store")
    }

    /// Keeps everybody else from using, adding or removing images while the result lives.
    ///
    /// # Errors
    /// The lock cannot be opened.
    pub fn change_images(&self) -> Result<Lock> {
        Lock::exclusive(&self.root.join("lock")).context(|| "cannot lock the store")
    }
}

fn marker(root: &Path) -> PathBuf {
    root.join("store")
}

/// Makes a directory for root alone; one that is there is made root's alone. Directories above it are everybody's.
fn make_directory(path: &Path) -> Result<()> {
    let what = || format!("cannot make {}", path.display());
    path.parent().map_or(Ok(()), fs::create_dir_all).context(what)?;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).context(what)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).context(what)
}

/// The backend that the configuration chooses: the one place where it is chosen.
fn backend(config: &Config, root: &Path) -> Result<Box<dyn Storage>> {
    match config.storage() {
        StorageKind::Overlay => Ok(Box::new(storage::Overlay::new(root))),
        StorageKind::Dir => Ok(Box::new(storage::Dir::new(root))),
        StorageKind::Zfs => Err(Error::new("this version keeps no images and pods in ZFS datasets")
            .help("set `storage = dir` in jetpack.conf (plain directories, on any filesystem, a ZFS one included)")),
        #[cfg(feature = "testing")]
        StorageKind::Fake => Ok(Box::new(storage::Dir::fake(root))),
    }
}

/// Checks the store's marker: `key = value` lines.
fn check_marker(text: &str, configured: &str, root: &Path) -> Result<()> {
    let value = |key: &str| {
        text.lines().filter_map(|line| line.split_once('=')).find(|(k, _)| k.trim() == key).map(|(_, v)| v.trim())
    };
    let format = value("format").and_then(|v| v.parse::<u32>().ok());
    match format {
        Some(FORMAT) => {}
        Some(newer) if newer > FORMAT => {
            return Err(Error::new(format!(
                "the store at {} has format {newer}, this program knows {FORMAT}",
                root.display()
            ))
            .help("use the version of Jetpack that made it, or a newer one"));
        }
        _ => return Err(Error::new(format!("the store at {} has no readable format version", root.display()))),
    }
    let kind = value("storage").unwrap_or("");
    if kind == configured {
        return Ok(());
    }
    Err(Error::new(format!(
        "the store at {} is of kind {kind:?}, the configuration asks for {configured:?}",
        root.display()
    ))
    .help(format!("set `storage = {kind}` in jetpack.conf, or choose another `root.path`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_checked() {
        let root = Path::new("/store");
        let table = [
            ("format = 1\nstorage = dir\n", None),
            ("# x\nformat=1\nstorage=dir", None),
            ("format = 2\nstorage = dir\n", Some("the store at /store has format 2, this program knows 1")),
            ("", Some("the store at /store has no readable format version")),
            ("format = x\nstorage = dir\n", Some("the store at /store has no readable format version")),
            (
                "format = 1\nstorage = overlay\n",
                Some("the store at /store is of kind \"overlay\", the configuration asks for \"dir\""),
            ),
        ];
        for (text, error) in table {
            let got = check_marker(text, "dir", root).err().map(|e| e.to_string());
            assert_eq!(got.as_deref(), error, "{text:?}");
        }
    }
}
