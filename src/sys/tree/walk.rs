//! Walking a tree in an order that depends on nothing but its names.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::sys::stat::{FileStat, SFlag, fstat};

use super::remove::leave;
use super::{Node, file_type, list, open_directory, open_entry, stat_entry};
use crate::sys::os::attrs;
use crate::sys::signal::go_on;
use crate::sys::{Call, Error, Result};

/// A walk through a tree: every entry, a directory before what is in it, the entries of a directory in the order of the bytes
/// of their names. That is the order of [`Path`], too.
///
/// Nothing is followed. Two descriptors are open, however deep the tree is; the way up goes by `..`, and arrives where the way
/// down came from or ends in an error. The tree has to be at rest, unless the walk is one of [`Walk::in_use`].
pub struct Walk {
    /// The directory in which the present entry is.
    here: OwnedFd,
    /// The directories on the way to it.
    levels: Vec<Level>,
    /// The path of the present entry, empty for the root.
    path: Vec<u8>,
    stat: FileStat,
    /// The present entry, once it has been opened.
    opened: Option<File>,
    state: State,
    /// The one entry of the root that is wanted, until the root is entered.
    only: Option<OsString>,
    /// How many entries have vanished, where that is no error.
    vanished: Option<u64>,
}

/// Where a walk stands.
#[derive(PartialEq)]
enum State {
    /// Before the root.
    New,
    /// At an entry; a directory is entered next.
    At,
    /// At an entry that is not entered.
    Skipping,
}

/// A directory on the way down.
struct Level {
    stat: FileStat,
    /// The length of its path.
    path: usize,
    /// What is still to come of its entries, the next one last.
    names: Vec<OsString>,
}

impl Walk {
    /// A walk through the directory `root`.
    ///
    /// # Errors
    /// The call that failed.
    pub fn new(root: BorrowedFd<'_>) -> Result<Self> {
        let here = open_directory(root, OsStr::new("."))?;
        let stat = fstat(&here).call(|| format!("fstat({})", here.as_raw_fd()))?;
        let (levels, path, opened, only, vanished) = (Vec::new(), Vec::new(), None, None, None);
        Ok(Walk { here, levels, path, stat, opened, state: State::New, only, vanished })
    }

    /// A walk through a directory that is in use: what vanishes before it is reached is passed over. If `only` is given, the
    /// walk is to the root and to that entry of it, which has to be there.
    ///
    /// # Errors
    /// The call that failed.
    pub fn in_use(root: BorrowedFd<'_>, only: Option<&OsStr>) -> Result<Self> {
        let only = only.map(OsStr::to_owned);
        let vanished = only.is_none().then_some(0);
        Ok(Walk { only, vanished, ..Walk::new(root)? })
    }

    /// Goes to the next entry, first of all to the root itself, and says what it is; none at the end.
    ///
    /// # Errors
    /// The call that failed; `EXDEV` where the directory that comes next is a mount point; `ECANCELED` where
    /// [`go_on`](crate::sys::signal::go_on) says so.
    pub fn advance(&mut self) -> Result<Option<FileStat>> {
        go_on()?;
        match self.state {
            State::New => {
                self.state = State::At;
                return Ok(Some(self.stat));
            }
            State::At if file_type(&self.stat) == SFlag::S_IFDIR => self.enter()?,
            State::At | State::Skipping => {}
        }
        (self.opened, self.state) = (None, State::At);
        while let Some(level) = self.levels.last_mut() {
            self.path.truncate(level.path);
            if let Some(name) = level.names.pop() {
                if !self.path.is_empty() {
                    self.path.push(b'/');
                }
                self.path.extend_from_slice(name.as_bytes());
                match (stat_entry(self.here.as_fd(), &name), &mut self.vanished) {
                    (Err(e), Some(count)) if e.errno() == Errno::ENOENT => *count += 1,
                    (found, _) => {
                        self.stat = found?;
                        return Ok(Some(self.stat));
                    }
                }
                continue;
            }
            self.levels.pop();
            if let Some(above) = self.levels.last() {
                self.here = leave(self.here.as_fd(), &above.stat)?;
            }
        }
        self.state = State::Skipping;
        Ok(None)
    }

    /// Passes over the present entry if that has vanished since, or another has taken its place; says whether it has. False where
    /// that is an error.
    pub fn pass_if_vanished(&mut self) -> bool {
        let Some(count) = &mut self.vanished else { return false };
        let start = self.path.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
        let stays = match stat_entry(self.here.as_fd(), OsStr::from_bytes(&self.path[start..])) {
            Ok(now) => (now.st_dev, now.st_ino) == (self.stat.st_dev, self.stat.st_ino),
            Err(e) => e.errno() != Errno::ENOENT,
        };
        if stays || self.path.is_empty() {
            return false;
        }
        *count += 1;
        self.state = State::Skipping;
        true
    }

    /// How many entries have been passed over because they vanished.
    pub fn vanished(&self) -> u64 {
        self.vanished.unwrap_or(0)
    }

    /// Leaves out what is in the present entry.
    pub fn skip(&mut self) {
        self.state = State::Skipping;
    }

    /// The path of the present entry from the root, which has an empty one.
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    /// Opens the present entry, a regular file or directory, for reading.
    ///
    /// # Errors
    /// The call that failed; `EXDEV` for a mount point, `ESTALE` where another file has taken its place.
    pub fn open(&mut self) -> Result<&File> {
        if self.opened.is_none() {
            let opened = self.open_again()?;
            self.opened = Some(opened);
        }
        self.opened.as_ref().ok_or_else(|| Error::new(format!("open({:?})", self.path()), Errno::EBADF))
    }

    /// Opens the present entry.
    fn open_again(&self) -> Result<File> {
        let opened = match file_type(&self.stat) {
            SFlag::S_IFDIR if self.path.is_empty() => open_directory(self.here.as_fd(), OsStr::new("."))?,
            SFlag::S_IFDIR => attrs::open_same_mount(self.here.as_fd(), self.name())?,
            _ => open_entry(self.here.as_fd(), self.name())?,
        };
        let stat = fstat(&opened).call(|| format!("fstat({:?})", self.path()))?;
        if (stat.st_dev, stat.st_ino) != (self.stat.st_dev, self.stat.st_ino) {
            return Err(Error::new(
                format!("open({:?}) of a file that was replaced meanwhile", self.name()),
                Errno::ESTALE,
            ));
        }
        Ok(File::from(opened))
    }

    /// The present entry for the calls about attributes: a regular file or directory is opened.
    ///
    /// # Errors
    /// As [`Walk::open`].
    pub fn node(&mut self) -> Result<Node<'_>> {
        if matches!(file_type(&self.stat), SFlag::S_IFREG | SFlag::S_IFDIR) {
            return Ok(Node::Open(self.open()?.as_fd()));
        }
        Ok(Node::At(self.here.as_fd(), self.name()))
    }

    /// What the present entry, a symlink, points to.
    ///
    /// # Errors
    /// The call that failed.
    pub fn read_link(&self) -> Result<PathBuf> {
        let target = readlinkat(&self.here, self.name())
            .call(|| format!("readlinkat({}, {:?})", self.here.as_raw_fd(), self.name()))?;
        Ok(PathBuf::from(target))
    }

    /// The last part of the path.
    fn name(&self) -> &OsStr {
        let start = self.path.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1);
        OsStr::from_bytes(&self.path[start..])
    }

    /// Goes down into the present entry.
    fn enter(&mut self) -> Result<()> {
        self.open()?;
        if let Some(opened) = self.opened.take() {
            self.here = OwnedFd::from(opened);
        }
        let mut names: Vec<OsString> = match self.only.take() {
            Some(only) => vec![only],
            None => list(self.here.as_fd())?.into_iter().map(|entry| entry.name).collect(),
        };
        names.sort_unstable_by(|a, b| b.cmp(a));
        self.levels.push(Level { stat: self.stat, path: self.path.len(), names });
        Ok(())
    }
}
