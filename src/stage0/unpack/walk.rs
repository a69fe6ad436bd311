//! Finding the directory of a path without following a symlink.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, fchmod, mkdirat};
use nix::unistd::{Gid, Uid, fchown};

use crate::error::{Context, Error, Result};
use crate::sys::tree as files;

use super::name;

/// A root directory, and the directory that was used last: most entries are in the one of the entry before.
pub(super) struct Walk<'a> {
    root: BorrowedFd<'a>,
    owners: bool,
    last: Option<(Vec<u8>, OwnedFd)>,
    /// The directories that were made on the way since somebody asked.
    made: Vec<Vec<u8>>,
}

impl<'a> Walk<'a> {
    /// With `owners`, directories that are made on the way belong to root.
    pub(super) fn new(root: BorrowedFd<'a>, owners: bool) -> Self {
        Walk { root, owners, last: None, made: Vec::new() }
    }

    /// The directories that were made on the way since this was asked last.
    pub(super) fn take_made(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.made)
    }

    /// Opens the directory `path`, part by part. With `make`, those that are missing are made, with mode 0755.
    ///
    /// # Errors
    /// A part is a symlink or no directory, is missing, or cannot be opened or made. `entry` is who wants it.
    fn directory(&mut self, path: &[u8], make: bool, entry: &str) -> Result<BorrowedFd<'_>> {
        if path.is_empty() {
            return Ok(self.root);
        }
        let (mut at, mut known) = match self.last.take() {
            Some((last, fd)) if path == last || (path.starts_with(&last) && path[last.len()] == b'/') => {
                (last.len(), Some(fd))
            }
            _ => (0, None),
        };
        while at < path.len() {
            let start = if at == 0 { 0 } else { at + 1 };
            let end = path[start..].iter().position(|b| *b == b'/').map_or(path.len(), |length| start + length);
            let from = known.as_ref().map_or(self.root, AsFd::as_fd);
            let opened = step(from, &path[..end], start, entry)?;
            known = Some(match opened {
                Some(fd) => fd,
                None if make => {
                    let made = make_step(from, &path[..end], start, self.owners)?;
                    self.made.push(path[..end].to_vec());
                    made
                }
                None => return Err(Error::new(format!("{entry} wants {}, which is not there", shown(&path[..end])))),
            });
            at = end;
        }
        let fd = known.ok_or_else(|| Error::new("a path without parts"))?;
        Ok(self.last.insert((path.to_vec(), fd)).1.as_fd())
    }

    /// Opens the directory `path`, which has to be there.
    ///
    /// # Errors
    /// As [`Walk::directory`].
    pub(super) fn existing(&mut self, path: &[u8], entry: &str) -> Result<BorrowedFd<'_>> {
        self.directory(path, false, entry)
    }

    /// Opens the directory of the entry `path`, and returns the entry's name in it.
    ///
    /// # Errors
    /// As [`Walk::directory`].
    pub(super) fn parent<'p>(
        &mut self,
        path: &'p [u8],
        make: bool,
        entry: &str,
    ) -> Result<(BorrowedFd<'_>, &'p OsStr)> {
        let (directory, last) = name::split(path);
        Ok((self.directory(directory, make, entry)?, OsStr::from_bytes(last)))
    }
}

/// Goes down into the last part of `path`, which begins at `start`; none where it is missing.
fn step(from: BorrowedFd<'_>, path: &[u8], start: usize, entry: &str) -> Result<Option<OwnedFd>> {
    let part = OsStr::from_bytes(&path[start..]);
    let error = match files::open_directory(from, part) {
        Ok(opened) => return Ok(Some(opened)),
        Err(e) if e.errno() == Errno::ENOENT => return Ok(None),
        Err(e) => e,
    };
    Err(match files::stat_entry(from, part).map(|stat| files::file_type(&stat)) {
        Ok(SFlag::S_IFLNK) => Error::new(format!("{entry} goes through the symlink {}", shown(path))),
        Ok(SFlag::S_IFDIR) | Err(_) => Error::with_source(format!("cannot open {} for {entry}", shown(path)), error),
        Ok(_) => Error::new(format!("{entry} goes through {}, which is not a directory", shown(path))),
    })
}

/// Makes the last part of `path`, of which the archive has said nothing so far.
fn make_step(from: BorrowedFd<'_>, path: &[u8], start: usize, owners: bool) -> Result<OwnedFd> {
    let part = OsStr::from_bytes(&path[start..]);
    mkdirat(from, part, Mode::S_IRWXU).context(|| format!("cannot make the directory {}", shown(path)))?;
    let made = files::open_directory(from, part).context(|| format!("cannot open {}", shown(path)))?;
    if owners {
        fchown(&made, Some(Uid::from_raw(0)), Some(Gid::from_raw(0)))
            .context(|| format!("cannot give {} to root", shown(path)))?;
    }
    // Not at its making, where the umask has a say.
    fchmod(&made, Mode::from_bits_truncate(0o755)).context(|| format!("cannot set the mode of {}", shown(path)))?;
    Ok(made)
}

/// A path as errors show it.
fn shown(path: &[u8]) -> String {
    format!("rootfs/{}", name::show(path))
}
