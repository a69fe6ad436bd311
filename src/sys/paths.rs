//! Trees of files, named by path: for paths of the store, which nobody but root can change.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::errno::Errno;

use super::{Call, Error, Result, tree};

/// Removes what is at `path`, with all that is below it. Nothing is followed, and no mount point is entered. Nothing happens
/// when it is not there.
///
/// # Errors
/// The call that failed; `EXDEV` where a mount point is in the way.
pub fn remove_tree(path: &Path) -> Result<()> {
    let (parent, name) = split(path)?;
    match File::open(parent) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        opened => tree::remove_tree(opened.call(|| format!("open({parent:?})"))?.as_fd(), name),
    }
}

fn split(path: &Path) -> Result<(&Path, &OsStr)> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, name)),
        _ => Err(Error::new(format!("open({path:?})"), Errno::EINVAL)),
    }
}

/// Makes the directory `to`, a complete copy of the tree at `from`.
///
/// # Errors
/// The call that failed; what was copied until then stays.
pub fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let (from, to) = (open(from)?, create(to)?);
    tree::copy_tree(from.as_fd(), to.as_fd())
}

/// Makes the empty directory `to`, with the properties of the directory `from`.
///
/// # Errors
/// The call that failed.
pub fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    let (from, to) = (open(from)?, create(to)?);
    tree::copy_properties(from.as_fd(), to.as_fd())
}

fn open(path: &Path) -> Result<File> {
    File::open(path).call(|| format!("open({path:?})"))
}

fn create(path: &Path) -> Result<File> {
    std::fs::DirBuilder::new().mode(0o700).create(path).call(|| format!("mkdir({path:?})"))?;
    open(path)
}
