//! Where a path leads in a tree that is nobody's root at present.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::sys::stat::SFlag;

use super::{file_type, open_path, stat_entry};
use crate::sys::{Call, Result};

/// How many symlinks are followed, as by the kernel.
const MOST_LINKS: usize = 40;

/// The path, relative to `root` and without symlinks, of the directory that `path` leads to for whoever has `root` for their
/// root: no link leads out. None where no directory is. The tree has to be at rest.
///
/// # Errors
/// The call that failed.
pub fn resolve_directory(root: BorrowedFd<'_>, path: &Path) -> Result<Option<PathBuf>> {
    let (mut here, mut rest, mut links) = (PathBuf::new(), path.to_owned(), 0);
    loop {
        let mut parts = rest.components();
        let name = match parts.next() {
            None => return Ok(Some(here)),
            Some(Component::Normal(name)) => name,
            Some(other) => {
                match other {
                    Component::RootDir => here.clear(),
                    Component::ParentDir => drop(here.pop()),
                    _ => {}
                }
                rest = parts.as_path().to_owned();
                continue;
            }
        };
        let directory = open_path(root, &here)?;
        let stat = match stat_entry(directory.as_fd(), name) {
            Err(e) if e.errno() == Errno::ENOENT => return Ok(None),
            other => other?,
        };
        rest = match file_type(&stat) {
            SFlag::S_IFDIR => {
                here.push(name);
                parts.as_path().to_owned()
            }
            SFlag::S_IFLNK if links < MOST_LINKS => {
                links += 1;
                target(directory.as_fd(), name)?.join(parts.as_path())
            }
            _ => return Ok(None),
        };
    }
}

fn target(directory: BorrowedFd<'_>, name: &OsStr) -> Result<PathBuf> {
    readlinkat(directory, name).map(PathBuf::from).call(|| format!("readlinkat({}, {name:?})", directory.as_raw_fd()))
}
