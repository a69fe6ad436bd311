//! Plain directories: a root is a copy of its layers. For filesystems that can do neither overlays nor clones.

use std::fs;
use std::path::Path;

use super::{Layout, Storage};
use crate::error::{Context, Error, Result};
use crate::sys;
use crate::sys::rootfs::RootFs;

/// The backend.
#[derive(Debug)]
pub struct Dir {
    layout: Layout,
    keeps_owners: bool,
}

impl Dir {
    /// The backend of the store at `root`.
    pub fn new(root: &Path) -> Dir {
        Dir { layout: Layout::new(root), keeps_owners: true }
    }

    /// The same for a store of an ordinary user: all files are that user's. For tests of the command line.
    #[cfg(feature = "testing")]
    pub fn fake(root: &Path) -> Dir {
        Dir { layout: Layout::new(root), keeps_owners: false }
    }
}

impl Storage for Dir {
    fn name(&self) -> &'static str {
        if self.keeps_owners { "dir" } else { "fake" }
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn probe(&self) -> Result<()> {
        Ok(())
    }

    fn keeps_owners(&self) -> bool {
        self.keeps_owners
    }

    fn most_layers(&self) -> usize {
        1
    }

    fn create_root(&self, pod: &str, app: &str, layers: &[String], _most: Option<u64>) -> Result<()> {
        let [layer] = layers else {
            return Err(Error::new("directories hold one layer only: the image must have been rendered"));
        };
        let at = self.layout.app(pod, app);
        let what = || format!("cannot copy the image's files to {}", at.display());
        fs::create_dir_all(&at).context(what)?;
        sys::paths::copy_tree(&self.layer(layer), &at.join("root")).context(what)
    }

    fn root(&self, pod: &str, app: &str, _layers: &[String]) -> RootFs {
        RootFs::Directory { path: self.layout.app(pod, app).join("root") }
    }
}
