//! Removing a tree.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmod, fchmodat, fstat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::{Node, file_type, list, open_directory, open_entry, stat_entry};
use crate::sys::os::attrs;
use crate::sys::{Call, Error, Result};

/// A directory on the way down: what it is, its name in the one above, and which of its directories are still to be removed.
struct Level {
    stat: FileStat,
    name: OsString,
    directories: Vec<OsString>,
}

/// Removes the entry `name` of `parent`, with all that is below it when it is a directory. Nothing is followed, no mount point
/// is entered, and flags that forbid the removal are cleared. Nothing happens when it is not there.
///
/// However deep the tree is, two descriptors are open: the way up goes by `..`, and arrives where the way down came from or
/// ends in an error.
///
/// # Errors
/// The call that failed; `EXDEV` where a mount point is in the way. What was removed until then is gone.
pub fn remove_tree(parent: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    match stat_entry(parent, name) {
        Err(e) if e.errno() == Errno::ENOENT => return Ok(()),
        Err(e) => return Err(e),
        Ok(stat) if file_type(&stat) != SFlag::S_IFDIR => {
            return remove_entry(parent, name, UnlinkatFlags::NoRemoveDir);
        }
        Ok(_) => {}
    }
    let (mut current, level) = enter(parent, name)?;
    let mut levels = vec![level];
    while let Some(level) = levels.last_mut() {
        if let Some(next) = level.directories.pop() {
            let (fd, level) = enter(current.as_fd(), &next)?;
            current = fd;
            levels.push(level);
            continue;
        }
        let done = levels.pop().map(|level| level.name).unwrap_or_default();
        match levels.last() {
            Some(above) => {
                current = leave(current.as_fd(), &above.stat)?;
                remove_entry(current.as_fd(), &done, UnlinkatFlags::RemoveDir)?;
            }
            None => remove_entry(parent, &done, UnlinkatFlags::RemoveDir)?,
        }
    }
    Ok(())
}

/// Opens a directory and removes everything in it but directories, which it lists.
fn enter(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(OwnedFd, Level)> {
    let fd = match attrs::open_same_mount(parent, name) {
        Err(e) if e.errno() == Errno::EACCES => {
            // Only when not root: a directory that its owner may not read.
            fchmodat(parent, name, Mode::S_IRWXU, FchmodatFlags::NoFollowSymlink)
                .call(|| format!("fchmodat({}, {name:?})", parent.as_raw_fd()))?;
            attrs::open_same_mount(parent, name)?
        }
        other => other?,
    };
    let stat = fstat(&fd).call(|| format!("fstat({name:?})"))?;
    if stat.st_mode & 0o700 != 0o700 {
        // Whoever is not root needs all three. Where it cannot be had, what follows says so.
        fchmod(&fd, Mode::S_IRWXU).ok();
    }
    let mut directories = Vec::new();
    for entry in list(fd.as_fd())? {
        let is_directory = match entry.kind {
            Some(kind) => kind == nix::dir::Type::Directory,
            None => file_type(&stat_entry(fd.as_fd(), &entry.name)?) == SFlag::S_IFDIR,
        };
        if is_directory {
            directories.push(entry.name);
        } else {
            remove_entry(fd.as_fd(), &entry.name, UnlinkatFlags::NoRemoveDir)?;
        }
    }
    Ok((fd, Level { stat, name: name.to_owned(), directories }))
}

/// Goes up, to the directory that `expected` describes.
pub(super) fn leave(from: BorrowedFd<'_>, expected: &FileStat) -> Result<OwnedFd> {
    let up = open_directory(from, OsStr::new(".."))?;
    let stat = fstat(&up).call(|| "fstat(\"..\")")?;
    if (stat.st_dev, stat.st_ino) != (expected.st_dev, expected.st_ino) {
        return Err(Error::new("openat(\"..\") of a directory that was moved meanwhile", Errno::ESTALE));
    }
    Ok(up)
}

/// A file that has other names, too, and its flags: under those names it keeps them.
fn protected_by_other_names(parent: BorrowedFd<'_>, name: &OsStr) -> Option<(OwnedFd, u64)> {
    let stat = stat_entry(parent, name).ok()?;
    if file_type(&stat) != SFlag::S_IFREG || stat.st_nlink < 2 {
        return None;
    }
    let file = open_entry(parent, name).ok()?;
    let flags = attrs::get_flags(Node::Open(file.as_fd())).ok()?;
    Some((file, flags))
}

/// Removes one entry, after clearing its flags and those of its directory where they forbid it.
fn remove_entry(parent: BorrowedFd<'_>, name: &OsStr, how: UnlinkatFlags) -> Result<()> {
    let result = match unlinkat(parent, name, how) {
        Err(Errno::EPERM) => {
            let others = protected_by_other_names(parent, name);
            attrs::set_flags(Node::Open(parent), 0).ok();
            attrs::set_flags(Node::At(parent, name), 0).ok();
            let removed = unlinkat(parent, name, how);
            if let Some((file, flags)) = others {
                attrs::set_flags(Node::Open(file.as_fd()), flags).ok();
            }
            removed
        }
        other => other,
    };
    match result {
        Err(Errno::ENOENT) => Ok(()),
        other => other.call(|| format!("unlinkat({}, {name:?})", parent.as_raw_fd())),
    }
}
