//! Looking at trees that only a mount makes whole.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Staging, Storage};
use crate::error::{Context, Error, Result, Told};
use crate::sys;
use crate::sys::rootfs::RootFs;

/// A tree to look at.
#[derive(Clone, Debug)]
pub enum Tree {
    /// What these layers make together, the lowest first: the files of an image.
    Layers(Vec<String>),
    /// The same of directories that are not layers yet.
    Directories(Vec<PathBuf>),
    /// The root of an app, as [`Storage::root`] gives it. Nobody else may have it mounted.
    Root(RootFs),
}

/// Does `work` where `trees` can be seen, and gives what it returns. It gets the directory of each tree, in order.
///
/// The work is done in a child process, in a mount namespace of its own where there is something to mount: what it changes
/// in memory is lost, and what it wants to tell it returns or writes to files. It must leave the directories of
/// layers as they are: where one layer is all, it is the store's own. The calling process must have one thread
/// only.
///
/// # Errors
/// A tree cannot be mounted, or what the work fails with.
pub fn view<T: Serialize + DeserializeOwned>(
    storage: &dyn Storage,
    trees: &[Tree],
    work: impl FnOnce(&[PathBuf]) -> Result<T>,
) -> Result<T> {
    let staging = Staging::create(storage.layout())?;
    let stack = |n: usize, mut lower: Vec<PathBuf>| match lower.as_slice() {
        [only] => Ok(RootFs::Directory { path: only.clone() }),
        _ => {
            lower.reverse();
            let mountpoint = staging.path().join(n.to_string());
            fs::create_dir(&mountpoint).context(|| format!("cannot make {}", mountpoint.display()))?;
            Ok(RootFs::Layers { lower, mountpoint })
        }
    };
    let root = |(n, tree): (usize, &Tree)| match tree {
        Tree::Root(root) => Ok(root.clone()),
        Tree::Layers(layers) => {
            stack(n, layers.iter().map(|layer| storage.open_layer(layer)).collect::<Result<Vec<_>>>()?)
        }
        Tree::Directories(directories) => stack(n, directories.clone()),
    };
    let roots = trees.iter().enumerate().map(root).collect::<Result<Vec<_>>>()?;
    let is_mounted = |(tree, root): &(&Tree, &RootFs)| match root {
        // The processes of a pod may have made devices in its root, which nobody is to open: it is mounted on itself, without
        // devices. Who keeps no owners has none.
        RootFs::Directory { .. } => storage.keeps_owners() && matches!(tree, Tree::Root(_)),
        RootFs::Layers { .. } | RootFs::Overlay { .. } => true,
    };
    let mounts: Vec<RootFs> = trees.iter().zip(&roots).filter(is_mounted).map(|(_, root)| root.clone()).collect();
    let paths: Vec<PathBuf> = roots.iter().map(|root| root.path().to_path_buf()).collect();
    mounted(&mounts, || work(&paths))
}

/// Does `work` in a child process where `roots` are mounted.
pub(super) fn mounted<T: Serialize + DeserializeOwned>(
    roots: &[RootFs],
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let do_it = || {
        if !roots.is_empty() {
            sys::os::mount_privately(roots).context(|| "cannot mount the files")?;
        }
        work()
    };
    let what = || "cannot look at the files in a process of its own";
    let answer = sys::process::answer_of_child(|| {
        let done = do_it().map_err(|error| Told::from(&error));
        // An answer that is no JSON is an error in the parent.
        serde_json::to_vec(&done).unwrap_or_default()
    });
    let done: std::result::Result<T, Told> = serde_json::from_slice(&answer.context(what)?).context(what)?;
    done.map_err(Error::from)
}
