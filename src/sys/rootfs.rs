//! How the root filesystem of an app comes to stand on one path.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A root filesystem, as storage keeps it and isolation mounts it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootFs {
    /// A directory that holds the whole tree already: a copy, or the mount point of a dataset.
    Directory {
        /// The directory.
        path: PathBuf,
    },
    /// An overlayfs stack that nobody writes to: to look at, and never a pod's own.
    Layers {
        /// The layers, the uppermost first.
        lower: Vec<PathBuf>,
        /// An empty directory to mount the stack on.
        mountpoint: PathBuf,
    },
    /// An overlayfs stack, mounted by whoever isolates the pod.
    Overlay {
        /// Read-only layers, the uppermost first.
        lower: Vec<PathBuf>,
        /// The writable layer.
        upper: PathBuf,
        /// The directory that overlayfs works in, on the filesystem of `upper`.
        work: PathBuf,
        /// An empty directory to mount the stack on.
        mountpoint: PathBuf,
    },
}

impl RootFs {
    /// The path on which the root stands once it is mounted.
    pub fn path(&self) -> &std::path::Path {
        match self {
            RootFs::Directory { path } => path,
            RootFs::Layers { mountpoint, .. } | RootFs::Overlay { mountpoint, .. } => mountpoint,
        }
    }

    /// The directory in which something can be put into the root while nobody has it mounted; none where nobody writes.
    pub fn writable(&self) -> Option<&std::path::Path> {
        match self {
            RootFs::Directory { path } => Some(path),
            RootFs::Layers { .. } => None,
            RootFs::Overlay { upper, .. } => Some(upper),
        }
    }
}
