//! Where root trees are kept: one small trait, and its backends.
//!
//! A *layer* is a tree of files: what an archive holds, named by the digest of the uncompressed archive, or what rendering
//! made of an image, named after that. It is written once and never changed. A *root* is what an app of a pod stands on: made
//! from layers, writable, the pod's own. Backends know directories and datasets; images and manifests are stage0's. Names are
//! checked before they get here: a layer is `sha512-…`, `mask-…` or `rendered-…`, a pod a UUID, an app an AC name, and none of
//! them holds a slash.
//!
//! | backend | layer | root |
//! |---|---|---|
//! | `overlay` | a directory | an overlayfs stack over its layers, mounted by the pod itself |
//! | `dir` | a directory | a copy of its one layer; works on every filesystem |
//! | `zfs` | a dataset, maybe a clone of another layer's | a clone of its one layer's dataset |

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::sys::rootfs::RootFs;

mod dir;
mod layers;
mod overlay;
mod streams;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod view;
mod zfs;

pub use dir::Dir;
pub use layers::{Staging, staging, sweep};
pub use overlay::Overlay;
pub use streams::{Part, Source, Streams};
pub use view::{Tree, view};
pub use zfs::{Setting, Settings, Zfs};

/// Keeps layers and makes roots of them.
pub trait Storage {
    /// The word by which the configuration and the store name this backend.
    fn name(&self) -> &'static str;

    /// The directories of the store. What is kept in plain directories needs no more than these: the functions below do it.
    fn layout(&self) -> &Layout;

    /// Makes or finds what the store's directory itself stands on, before `init` puts anything there. Where that is on a disk
    /// that came from another host, the store is there afterwards. Where a store is in that directory already, it is only checked
    /// that it is the one that is meant.
    ///
    /// # Errors
    /// The host cannot do it, or something else is in that place.
    fn establish(&self, _is_there: bool) -> Result<()> {
        Ok(())
    }

    /// Whether the host can do it, at the place where the store is; called once, by `init`, when the store's directories
    /// are there.
    ///
    /// # Errors
    /// It cannot; the help line says what to use instead.
    fn probe(&self) -> Result<()>;

    /// Whether files keep the owners and devices of the archive. Only the backend for tests without root does not.
    fn keeps_owners(&self) -> bool {
        true
    }

    /// On how many layers a root can stand.
    fn most_layers(&self) -> usize;

    /// A private, empty place for a layer that is being unpacked; it vanishes when dropped.
    ///
    /// # Errors
    /// The store cannot be written.
    fn begin_layer(&self) -> Result<Staging> {
        layers::begin(self.layout())
    }

    /// The same with all files of `layer` in it already, where that costs next to nothing; none where they would be copied.
    ///
    /// # Errors
    /// The store cannot be written.
    fn begin_layer_on(&self, _layer: &str) -> Result<Option<Staging>> {
        Ok(None)
    }

    /// Removes what commands that began layers, or used other private places, left when they were killed.
    ///
    /// # Errors
    /// The store cannot be read.
    fn sweep(&self) -> Result<()> {
        layers::sweep(self.layout())
    }

    /// Makes an unpacked layer durable, and then visible under `name`. A layer that is there already is left as it is: the
    /// same name means the same bytes.
    ///
    /// # Errors
    /// The disk fails or is full; nothing is visible then.
    fn commit_layer(&self, staging: Staging, name: &str) -> Result<()> {
        layers::commit(self.layout(), &staging, name)
    }

    /// Where the tree of the layer `name` is.
    fn layer(&self, name: &str) -> PathBuf {
        self.layout().layer(name)
    }

    /// The same, when its files can be seen there: a dataset may have to be mounted first.
    ///
    /// # Errors
    /// It is missing, or cannot be mounted.
    fn open_layer(&self, name: &str) -> Result<PathBuf> {
        Ok(self.layer(name))
    }

    /// The names of all layers.
    ///
    /// # Errors
    /// The store cannot be read.
    fn layers(&self) -> Result<Vec<String>> {
        layers::names(self.layout())
    }

    /// Removes a layer; one that is not there is no error.
    ///
    /// # Errors
    /// A file cannot be removed.
    fn remove_layer(&self, name: &str) -> Result<()> {
        layers::remove(self.layout(), name)
    }

    /// Makes the place of a pod's roots and volumes.
    ///
    /// # Errors
    /// The disk fails or is full.
    fn create_pod(&self, _pod: &str) -> Result<()> {
        Ok(())
    }

    /// Whether roots can be kept from holding more than some size.
    fn limits_roots(&self) -> bool {
        false
    }

    /// Makes the root of an app from `layers`, the lowest first, which may hold `most` bytes with all that is theirs.
    ///
    /// # Errors
    /// A layer is missing, the layers hold more than that, or the disk fails or is full.
    fn create_root(&self, pod: &str, app: &str, layers: &[String], most: Option<u64>) -> Result<()>;

    /// The root that [`Storage::create_root`] made.
    fn root(&self, pod: &str, app: &str, layers: &[String]) -> RootFs;

    /// Makes a volume of the pod's own: an empty directory.
    ///
    /// # Errors
    /// The disk fails or is full.
    fn create_volume(&self, pod: &str, volume: &EmptyVolume<'_>) -> Result<()> {
        layers::create_volume(&self.layout().volume(pod, volume.name), volume, self.keeps_owners())
    }

    /// Where the volume is that [`Storage::create_volume`] made.
    fn volume(&self, pod: &str, name: &str) -> PathBuf {
        self.layout().volume(pod, name)
    }

    /// Sees to it that the files of a pod's roots and volumes are where [`Storage::root`] and [`Storage::volume`] say: datasets
    /// are not mounted after a boot.
    ///
    /// # Errors
    /// One is missing, or cannot be mounted.
    fn open_pod(&self, _pod: &str) -> Result<()> {
        Ok(())
    }

    /// The opposite: nobody needs them for now. What somebody still uses may stay.
    ///
    /// # Errors
    /// The disk fails.
    fn close_pod(&self, _pod: &str) -> Result<()> {
        Ok(())
    }

    /// What the pod has changed in the root of an app, as far as that can be told without comparing it with its layers. Paths are
    /// relative to the root. Nobody may be working in it.
    ///
    /// # Errors
    /// It cannot be read, or what `note` fails with.
    fn changes(&self, _pod: &str, _app: &str, _layers: &[String], _note: Note<'_>) -> Result<Knowledge> {
        Ok(Knowledge::Nothing)
    }

    /// The same backend where it can move layers, and what pods have, as streams.
    fn streams(&self) -> Option<&dyn Streams> {
        None
    }

    /// Removes all roots and volumes of a pod; a pod that has none is no error.
    ///
    /// # Errors
    /// A file cannot be removed, or something is still mounted there.
    fn remove_pod(&self, pod: &str) -> Result<()> {
        layers::remove_pod(self.layout(), pod)
    }
}

/// Hears of a path that may have changed. If that is a directory and the answer is false, nothing need be said of what is in it.
pub type Note<'a> = &'a mut dyn FnMut(&Path) -> Result<bool>;

/// What is known of a root from the paths that [`Storage::changes`] has noted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Knowledge {
    /// Nothing.
    Nothing,
    /// Whatever has not been noted has the content that it has in the layers, unless it is one of several names of a file, or
    /// was.
    Contents,
    /// Nothing has vanished without another in its place, and whatever has not been noted, nor anything that is in it, is in
    /// every respect what it is in the layers.
    Everything,
}

/// A volume of a pod's own, as it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EmptyVolume<'a> {
    /// Its name, an AC name.
    pub name: &'a str,
    /// Its permissions.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// The directories of a store that storage owns.
#[derive(Clone, Debug)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// The layout of the store at `root`.
    pub fn new(root: &Path) -> Layout {
        Layout { root: root.to_path_buf() }
    }

    /// The directories that `init` makes.
    pub fn directories(&self) -> [PathBuf; 3] {
        [self.layers(), self.pods(), self.staging()]
    }

    fn layers(&self) -> PathBuf {
        self.root.join("layers")
    }

    fn layer(&self, name: &str) -> PathBuf {
        self.layers().join(name)
    }

    fn pods(&self) -> PathBuf {
        self.root.join("pods")
    }

    fn pod(&self, pod: &str) -> PathBuf {
        self.pods().join(pod)
    }

    fn app(&self, pod: &str, app: &str) -> PathBuf {
        self.pod(pod).join("apps").join(app)
    }

    fn volume(&self, pod: &str, volume: &str) -> PathBuf {
        self.pod(pod).join("volumes").join(volume)
    }

    /// Where unfinished things are: swept when nobody holds them.
    pub fn staging(&self) -> PathBuf {
        self.root.join("tmp")
    }
}
