//! The store: its place, its format, its locks.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use serde::Serialize;

use crate::config::{Config, Origin, StorageKind};
use crate::error::{Context, Error, Result};
use crate::progress::{Progress, Silent};
use crate::storage::{self, Layout, Setting, Settings, Storage};
use crate::sys::lock::Lock;

/// The version of the layout that this program reads and writes.
pub const FORMAT: u32 = 1;

/// Room on a disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Space {
    /// What root may still fill.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// An open store.
pub struct Store {
    root: PathBuf,
    storage: Box<dyn Storage>,
    progress: Box<dyn Progress>,
    max_image_size: Option<u64>,
}

impl Store {
    /// Makes the store that the configuration asks for, or checks the one that is there. Returns whether it was made.
    ///
    /// # Errors
    /// The host cannot do it at that place, or another kind of store, or anything else, is there.
    pub fn init(config: &Config) -> Result<(Store, bool)> {
        let root = config.root_path();
        match Store::open(config) {
            Err(_) if !marker(&root).exists() => {}
            opened => {
                let store = opened?;
                store.storage.establish(true)?;
                return Ok((store, false));
            }
        }
        let storage = backend(config, &root)?;
        check_free(&root)?;
        storage.establish(false)?;
        if marker(&root).exists() {
            // A pool that came from another host.
            return Ok((Store::open(config)?, false));
        }
        check_free(&root)?;
        let own = ["images", "state"].map(|name| root.join(name));
        make_directory(&root)?;
        let new = root.join(UNFINISHED);
        let what = || format!("cannot write the store's marker in {}", root.display());
        fs::write(&new, "").context(what)?;
        for directory in Layout::new(&root).directories().iter().chain(&own) {
            make_directory(directory)?;
        }
        super::pod::make_places(&root.join("state"))
            .context(|| format!("cannot make directories in {}", root.display()))?;
        storage.probe()?;
        fs::write(root.join("lock"), "").context(what)?;
        let text = format!(
            "# A Jetpack store. Made by `jetpack init`; not to be edited.\nformat = {FORMAT}\nstorage = {}\n",
            storage.name()
        );
        fs::write(&new, text).context(what)?;
        fs::rename(&new, marker(&root)).context(what)?;
        let max_image_size = config.max_image_size();
        Ok((Store { root, storage, progress: Box::new(Silent), max_image_size }, true))
    }

    /// Opens the store that the configuration names.
    ///
    /// # Errors
    /// There is none (the help line says how to make it), it has a newer format, is of another kind than configured, or
    /// somebody else can reach into it.
    pub fn open(config: &Config) -> Result<Store> {
        let root = config.root_path();
        let text = read_marker(&root)?
            .ok_or_else(|| none(&root, "run `jetpack init`, or set `root.path` to where the store is"))?;
        let storage = backend(config, &root)?;
        check_marker(&text, storage.name(), &root)?;
        let max_image_size = config.max_image_size();
        Ok(Store { root, storage, progress: Box::new(Silent), max_image_size })
    }

    /// Opens the store at `root`, of whatever kind it is, to read what every kind keeps in plain files: images' manifests, records
    /// and archives, and which pods there are. Its storage is not to be asked for anything.
    ///
    /// # Errors
    /// There is none, it has a newer format, or somebody else can reach into it.
    pub(super) fn open_files(root: &Path) -> Result<Store> {
        let text = read_marker(root)?
            .ok_or_else(|| none(root, "name the directory of a store; one in a ZFS pool has to be mounted"))?;
        check_format(&text, root)?;
        let storage = Box::new(storage::Dir::new(root));
        Ok(Store { root: root.to_path_buf(), storage, progress: Box::new(Silent), max_image_size: None })
    }

    /// The same store, whose long work is shown by `progress`.
    pub fn with_progress(self, progress: Box<dyn Progress>) -> Store {
        Store { progress, ..self }
    }

    /// What shows long work on the store.
    pub fn progress(&self) -> &dyn Progress {
        &*self.progress
    }

    /// The most bytes that an image from elsewhere may have.
    pub(super) fn max_image_size(&self) -> Option<u64> {
        self.max_image_size
    }

    /// The backend.
    pub fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    /// The room on the disk that the store is on.
    ///
    /// # Errors
    /// The disk does not say.
    pub fn space(&self) -> Result<Space> {
        let found = statvfs(&self.root).context(|| format!("cannot ask for the room at {}", self.root.display()))?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.fragment_size());
        Ok(Space { free: bytes(found.blocks_available()), total: bytes(found.blocks()) })
    }

    /// The directory of the store.
    pub fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    pub(super) fn cache(&self) -> PathBuf {
        self.root.join("cache")
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

    /// The same if nobody else uses images at present.
    pub(super) fn change_images_at_once(&self) -> Result<Option<Lock>> {
        Lock::exclusive_at_once(&self.root.join("lock")).context(|| "cannot lock the store")
    }
}

fn marker(root: &Path) -> PathBuf {
    root.join("store")
}

/// The marker until the store is whole: a directory with it is a store that `init` has begun to make.
const UNFINISHED: &str = "store.new";

/// Checks that a store can be made at `root`: nothing is there yet, or an empty directory of whom the store will belong to.
fn check_free(root: &Path) -> Result<()> {
    // Where there is no directory, making it tells what is in the way.
    let Ok(entries) = fs::read_dir(root) else { return Ok(()) };
    check_owner(root)?;
    let mut names = entries.filter_map(|entry| entry.ok().map(|e| e.file_name()));
    // The root of a filesystem of its own has a lost+found.
    if root.join(UNFINISHED).exists() || names.all(|name| name == "lost+found") {
        return Ok(());
    }
    Err(Error::new(format!("{} is neither empty nor a store", root.display()))
        .help("set `root.path` to a directory that is empty or not there yet"))
}

/// Checks that nobody but its owner and at most one group can reach into the store, and that nobody else can change it.
fn check_private(root: &Path) -> Result<()> {
    check_owner(root)?;
    let what = || format!("cannot look at {}", root.display());
    let mode = fs::metadata(root).context(what)?.permissions().mode() & 0o7777;
    if mode & !MOST == 0 {
        return Ok(());
    }
    let at = root.display();
    Err(Error::new(format!("the store at {at} is open to others: its mode is {mode:04o}"))
        .help(format!("if nobody has changed it meanwhile, close it with `chmod 0700 {at}`")))
}

/// All that the mode of the store's directory may allow: a group may look into it.
const MOST: u32 = 0o750;

/// Checks that the directory belongs to the user that this runs as: root.
fn check_owner(root: &Path) -> Result<()> {
    let owner = fs::metadata(root).context(|| format!("cannot look at {}", root.display()))?.uid();
    let user = nix::unistd::geteuid().as_raw();
    if owner == user {
        return Ok(());
    }
    Err(Error::new(format!("{} belongs to user {owner}, not to user {user}", root.display()))
        .help("set `root.path` to a directory of your own, or to one that is not there yet"))
}

/// Makes a directory for root alone; one that is there is made root's alone. Directories above it are everybody's to look
/// into.
fn make_directory(path: &Path) -> Result<()> {
    let what = || format!("cannot make {}", path.display());
    let make = |path: &Path, mode: u32| fs::DirBuilder::new().recursive(true).mode(mode).create(path).context(what);
    path.parent().map_or(Ok(()), |parent| make(parent, 0o755))?;
    make(path, 0o700)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).context(what)
}

/// The backend that the configuration chooses: the one place where it is chosen.
fn backend(config: &Config, root: &Path) -> Result<Box<dyn Storage>> {
    match config.storage() {
        StorageKind::Overlay => Ok(Box::new(storage::Overlay::new(root))),
        StorageKind::Dir => Ok(Box::new(storage::Dir::new(root))),
        StorageKind::Zfs => Ok(Box::new(storage::Zfs::new(root, datasets(config))?)),
        #[cfg(feature = "testing")]
        StorageKind::Fake => Ok(Box::new(storage::Dir::fake(root))),
    }
}

/// What the configuration says of datasets.
fn datasets(config: &Config) -> Settings {
    let all = config.entries();
    let of = |prefix: &str| {
        let set = all.iter().filter_map(|entry| Some((entry.key.strip_prefix(prefix)?, entry)));
        let set =
            set.filter(|(name, entry)| !entry.value.is_empty() && format!("{prefix}{name}") != "root.zfs.mountpoint");
        set.map(|(name, entry)| Setting {
            name: name.to_owned(),
            value: entry.value.to_owned(),
            default: entry.origin == Origin::Default,
        })
        .collect()
    };
    Settings {
        dataset: config.get("root.zfs").unwrap_or_default().to_owned(),
        root: of("root.zfs."),
        images: of("images.zfs."),
        pods: of("pods.zfs."),
    }
}

/// What the marker of the store at `root` says; none where there is no store.
fn read_marker(root: &Path) -> Result<Option<String>> {
    if marker(root).is_file() {
        check_private(root)?;
    }
    match fs::read_to_string(marker(root)) {
        Ok(text) => Ok(Some(text)),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => Ok(None),
        Err(e) => Err(Error::with_source(format!("cannot read the store at {}", root.display()), e)),
    }
}

fn none(root: &Path, help: &str) -> Error {
    Error::new(format!("there is no store at {}", root.display())).help(help)
}

/// The value of a key of the marker, which consists of `key = value` lines.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

/// Checks that this program knows the store's format.
fn check_format(text: &str, root: &Path) -> Result<()> {
    match value(text, "format").and_then(|v| v.parse::<u32>().ok()) {
        Some(FORMAT) => Ok(()),
        Some(newer) if newer > FORMAT => {
            Err(Error::new(format!("the store at {} has format {newer}, this program knows {FORMAT}", root.display()))
                .help("use the version of Jetpack that made it, or a newer one"))
        }
        _ => Err(Error::new(format!("the store at {} has no readable format version", root.display()))),
    }
}

/// Checks that the store is of the kind that is configured.
fn check_marker(text: &str, configured: &str, root: &Path) -> Result<()> {
    check_format(text, root)?;
    let kind = value(text, "storage").unwrap_or("");
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
