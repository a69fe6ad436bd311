//! Layers as directories, for the backends that keep them so; and the private places where things are unpacked.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::zfs::Unfinished;
use super::{EmptyVolume, Layout};
use crate::error::{Context, Result};
use crate::sys;
use crate::sys::lock::Lock;

/// A private directory of the store, locked while it is in use and removed when dropped.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    tree: PathBuf,
    /// Where the tree is in a dataset of its own; it goes before the lock does.
    dataset: Option<Unfinished>,
    _lock: Lock,
}

impl Staging {
    pub(super) fn create(layout: &Layout) -> Result<Staging> {
        let path = layout.staging().join(uuid::Uuid::new_v4().to_string());
        let what = || format!("cannot make the working directory {}", path.display());
        // Nobody sweeps between the making of the directory and its lock.
        let _making = Lock::shared(&layout.staging()).context(what)?;
        fs::DirBuilder::new().mode(0o700).create(&path).context(what)?;
        let lock = Lock::exclusive(&path).context(what)?;
        Ok(Staging { tree: path.join("tree"), path, dataset: None, _lock: lock })
    }

    /// The same with its tree elsewhere, in a dataset that goes with it.
    pub(super) fn in_dataset(self, tree: PathBuf, dataset: Unfinished) -> Staging {
        let mut staging = self;
        (staging.tree, staging.dataset) = (tree, Some(dataset));
        staging
    }

    /// The same of a dataset that has its snapshot already.
    pub(super) fn sealed(self) -> Staging {
        let mut staging = self;
        if let Some(dataset) = &mut staging.dataset {
            dataset.is_sealed = true;
        }
        staging
    }

    /// The dataset that goes with it.
    pub(super) fn dataset(&self) -> Option<&Unfinished> {
        self.dataset.as_ref()
    }

    /// The directory itself, for files that go with the tree.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the tree goes.
    pub fn tree(&self) -> PathBuf {
        self.tree.clone()
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next command that needs the directory.
        let _ = sys::paths::remove_tree(&self.path);
    }
}

/// A new private directory of the store at `root`.
///
/// # Errors
/// The store cannot be written.
pub fn staging(root: &Path) -> Result<Staging> {
    Staging::create(&Layout::new(root))
}

/// Removes what earlier commands left in the staging directory when they were killed.
///
/// # Errors
/// The directory cannot be read.
pub fn sweep(layout: &Layout) -> Result<()> {
    let staging = layout.staging();
    let what = || format!("cannot read {}", staging.display());
    let Some(alone) = Lock::try_exclusive(&staging).context(what)? else { return Ok(()) };
    let mut rubbish = Vec::new();
    for entry in fs::read_dir(&staging).context(what)? {
        let path = entry.context(what)?.path();
        if let Ok(Some(unused)) = Lock::try_exclusive(&path) {
            rubbish.push((path, unused));
        }
    }
    // What is locked by now can be removed beside others who make directories.
    drop(alone);
    for (path, _unused) in rubbish {
        let _ = sys::paths::remove_tree(&path);
    }
    Ok(())
}

/// Begins a layer: an empty `tree` in a new staging directory.
pub(super) fn begin(layout: &Layout) -> Result<Staging> {
    sweep(layout)?;
    let staging = Staging::create(layout)?;
    let tree = staging.tree();
    fs::create_dir(&tree).context(|| format!("cannot make {}", tree.display()))?;
    Ok(staging)
}

/// Flushes the layer to the disk and gives it its name.
pub(super) fn commit(layout: &Layout, staging: &Staging, name: &str) -> Result<()> {
    let target = layout.layer(name);
    if target.exists() {
        return Ok(());
    }
    let what = || format!("cannot keep the layer {name}");
    sys::os::sync_filesystem(&staging.path).context(what)?;
    rename_new(&staging.tree(), &target).context(what)?;
    sys::os::sync_filesystem(&staging.path).context(what)
}

/// Renames `from` to `to`, which must not exist; that somebody else made it in the meantime is no error.
fn rename_new(from: &Path, to: &Path) -> std::io::Result<()> {
    match fs::rename(from, to) {
        Err(e) if e.kind() == std::io::ErrorKind::DirectoryNotEmpty => Ok(()),
        other => other,
    }
}

/// The names of the layers that are there.
pub(super) fn names(layout: &Layout) -> Result<Vec<String>> {
    let directory = layout.layers();
    let what = || format!("cannot read {}", directory.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(&directory).context(what)? {
        names.extend(entry.context(what)?.file_name().into_string());
    }
    Ok(names)
}

/// Removes a layer: first its name, so that a half-removed layer is never found.
pub(super) fn remove(layout: &Layout, name: &str) -> Result<()> {
    let what = || format!("cannot remove the layer {name}");
    let staging = Staging::create(layout)?;
    match fs::rename(layout.layer(name), staging.tree()) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.context(what)?,
    }
    sys::paths::remove_tree(staging.path()).context(what)
}

/// Makes the directory of a volume at `at`. Its owner is left out where owners are not kept.
pub(super) fn create_volume(at: &Path, volume: &EmptyVolume<'_>, keeps_owners: bool) -> Result<()> {
    let what = || format!("cannot make the volume {} in {}", volume.name, at.display());
    fs::create_dir_all(at).context(what)?;
    if keeps_owners {
        std::os::unix::fs::chown(at, Some(volume.uid), Some(volume.gid)).context(what)?;
    }
    // Afterwards, since a change of the owner clears the set-id bits.
    fs::set_permissions(at, fs::Permissions::from_mode(volume.mode)).context(what)
}

/// Removes the directories of a pod.
pub(super) fn remove_pod(layout: &Layout, pod: &str) -> Result<()> {
    let at = layout.pod(pod);
    sys::paths::remove_tree(&at).context(|| format!("cannot remove {}", at.display()))
}
