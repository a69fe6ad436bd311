//! overlayfs(5): a root is a stack of directories, of which only the uppermost is the pod's own.
//!
//! Nothing is mounted here. The pod mounts its stack in its own mount namespace, so that the kernel takes it off when the
//! pod dies. `init` tries one mount, in a namespace of a child process.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::sys::stat::SFlag;

use super::{Knowledge, Layout, Note, Staging, Storage};
use crate::error::{Context, Error, Result};
use crate::sys;
use crate::sys::os::attrs;
use crate::sys::rootfs::RootFs;
use crate::sys::tree::{Walk, file_type};

/// How many layers the kernel stacks (`OVL_MAX_STACK`).
const MOST_LAYERS: usize = 500;

/// The extended attribute by which overlayfs notes that a directory is another's under a new name.
const REDIRECT: &[u8] = b"trusted.overlay.redirect";

/// The backend.
#[derive(Debug)]
pub struct Overlay {
    layout: Layout,
}

impl Overlay {
    /// The backend of the store at `root`.
    pub fn new(root: &Path) -> Overlay {
        Overlay { layout: Layout::new(root) }
    }
}

impl Storage for Overlay {
    fn name(&self) -> &'static str {
        "overlay"
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn probe(&self) -> Result<()> {
        let staging = Staging::create(&self.layout)?;
        let stack = stack(staging.path(), vec![staging.path().join("lower")]);
        let make = |name: &str| fs::create_dir(staging.path().join(name));
        for name in ["lower", "upper", "work", "root"] {
            make(name).context(|| format!("cannot make a directory in {}", staging.path().display()))?;
        }
        let written = super::view::mounted(std::slice::from_ref(&stack), || {
            fs::write(stack.path().join("probe"), "").context(|| "cannot write there")
        });
        written.map_err(|e| {
            Error::with_source(format!("overlayfs does not work on {}", staging.path().display()), e)
                .help("choose a filesystem that can hold an overlay's upper layer, or set `storage = dir` (copies; works everywhere)")
        })
    }

    fn most_layers(&self) -> usize {
        MOST_LAYERS
    }

    fn create_root(&self, pod: &str, app: &str, layers: &[String], _most: Option<u64>) -> Result<()> {
        let at = self.layout.app(pod, app);
        let what = || format!("cannot make the root of {app} in {}", at.display());
        fs::create_dir_all(&at).context(what)?;
        for name in ["work", "root"] {
            fs::create_dir(at.join(name)).context(what)?;
        }
        // overlayfs shows the attributes of the upper directory at the root: they must be the image's.
        let top = layers.last().ok_or_else(|| Error::new("a root needs at least one layer"))?;
        sys::paths::copy_directory(&self.layer(top), &at.join("upper")).context(what)
    }

    /// Whatever is not in the upper layer has the content of those below it, unless a directory is another's under a new name.
    fn changes(&self, pod: &str, app: &str, _layers: &[String], note: Note<'_>) -> Result<Knowledge> {
        let upper = self.layout.app(pod, app).join("upper");
        let what = || format!("cannot read {}", upper.display());
        let opened = File::open(&upper).context(what)?;
        let mut walk = Walk::new(opened.as_fd()).context(what)?;
        while let Some(stat) = walk.advance().context(what)? {
            if !note(walk.path())? {
                walk.skip();
            } else if file_type(&stat) == SFlag::S_IFDIR {
                let attributes = attrs::get_xattrs(walk.node().context(what)?).context(what)?;
                if attributes.iter().any(|(name, _)| name == REDIRECT) {
                    return Ok(Knowledge::Nothing);
                }
            }
        }
        Ok(Knowledge::Contents)
    }

    fn root(&self, pod: &str, app: &str, layers: &[String]) -> RootFs {
        stack(&self.layout.app(pod, app), layers.iter().rev().map(|name| self.layer(name)).collect())
    }
}

/// The stack whose own directories are in `at`.
fn stack(at: &Path, lower: Vec<PathBuf>) -> RootFs {
    RootFs::Overlay { lower, upper: at.join("upper"), work: at.join("work"), mountpoint: at.join("root") }
}
