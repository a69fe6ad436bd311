//! The layer that hides what a whitelist does not want, where layers are stacked by overlayfs.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat};

use crate::error::{Context, Result};
use crate::sys::os::attrs;
use crate::sys::tree::{Node, copy_properties, open_path};

/// Makes, in the empty directory `mask`, a whiteout (overlayfs: a character device 0:0) for each path of `removed`. overlayfs
/// shows the properties of the uppermost directory of a path, so those on the way are as they are in the tree `merged`.
///
/// # Errors
/// The disk fails or is full.
pub(super) fn make(merged: BorrowedFd<'_>, mask: BorrowedFd<'_>, removed: &[PathBuf]) -> Result<()> {
    let ways: BTreeSet<&Path> = removed.iter().flat_map(|path| path.ancestors().skip(1)).collect();
    for way in ways.iter().filter(|way| !way.as_os_str().is_empty()) {
        let what = || format!("cannot make the directory {}", way.display());
        let (parent, name) = parent(mask, way)?;
        mkdirat(&parent, name, Mode::S_IRWXU).context(what)?;
    }
    for path in removed {
        let (parent, name) = parent(mask, path)?;
        mknodat(&parent, name, SFlag::S_IFCHR, Mode::empty(), 0)
            .context(|| format!("cannot hide {}", path.display()))?;
    }
    // What is put into a directory changes its time, and its flags may forbid it: those in it come first.
    for way in ways.iter().rev() {
        let what = || format!("cannot set the properties of {}", way.display());
        let (from, to) = (directory(merged, way)?, directory(mask, way)?);
        copy_properties(from.as_fd(), to.as_fd()).context(what)?;
        match attrs::get_flags(Node::Open(from.as_fd())).context(what)? {
            0 => {}
            flags => attrs::set_flags(Node::Open(to.as_fd()), flags).context(what)?,
        }
    }
    Ok(())
}

/// The directory of a path, and its last part.
fn parent<'p>(root: BorrowedFd<'_>, path: &'p Path) -> Result<(OwnedFd, &'p OsStr)> {
    let above = path.parent().unwrap_or(Path::new(""));
    Ok((directory(root, above)?, path.file_name().unwrap_or_default()))
}

fn directory(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    open_path(root, path).context(|| format!("cannot open the directory {}", path.display()))
}
