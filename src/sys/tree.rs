//! Trees of files: naming what is in one without ever following a symlink, removing one, copying one.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};

use super::{Call, Error, Result};

mod content;
mod copy;
mod merge;
mod remove;
mod rename;
mod resolve;
#[cfg(test)]
mod tests;
mod walk;

pub use copy::{copy_file_for, copy_merged, copy_properties, copy_tree, copy_tree_for, lay_tree};
pub use remove::remove_tree;
pub use rename::move_protected;
pub use resolve::resolve_directory;
pub use walk::Walk;

/// The names and values of extended attributes.
pub type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// A file named without a path: it is open, or it is an entry of an open directory and is never followed.
#[derive(Clone, Copy, Debug)]
pub enum Node<'a> {
    /// An open regular file or directory.
    Open(BorrowedFd<'a>),
    /// An entry of a directory: a symlink, a device, a fifo.
    At(BorrowedFd<'a>, &'a OsStr),
}

impl fmt::Display for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Open(fd) => write!(f, "{}", fd.as_raw_fd()),
            Node::At(dir, name) => write!(f, "{}/{}", dir.as_raw_fd(), name.display()),
        }
    }
}

/// How every file is opened here: closed on exec, and not if it is a symlink.
pub const CAREFUL: OFlag = OFlag::O_NOFOLLOW.union(OFlag::O_CLOEXEC);

/// Opens the directory `name` of `dir`; a symlink in its place fails.
///
/// # Errors
/// The call that failed.
pub fn open_directory(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd> {
    nix::fcntl::openat(dir, name, CAREFUL | OFlag::O_DIRECTORY, Mode::empty())
        .call(|| format!("openat({}, {name:?}, O_DIRECTORY|O_NOFOLLOW)", dir.as_raw_fd()))
}

/// Opens the directory at `path` below `root`, part by part: a path may be longer than the kernel takes at once, and a symlink
/// anywhere on the way fails.
///
/// # Errors
/// The call that failed.
pub fn open_path(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd> {
    let mut here = open_directory(root, OsStr::new("."))?;
    for part in path {
        here = open_directory(here.as_fd(), part)?;
    }
    Ok(here)
}

/// Opens the directory `name` of `dir`, which has to be on the same device.
///
/// # Errors
/// The call that failed, with `EXDEV` for another device.
pub(super) fn open_same_device(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd> {
    let opened = open_directory(dir, name)?;
    let device = |fd: BorrowedFd<'_>| fstat(fd).map(|stat| stat.st_dev).call(|| "fstat");
    if device(dir)? != device(opened.as_fd())? {
        return Err(Error::new(format!("openat({}, {name:?}, O_DIRECTORY)", dir.as_raw_fd()), Errno::EXDEV));
    }
    Ok(opened)
}

/// Opens the entry `name` of `dir`, a regular file or a directory, for reading.
///
/// # Errors
/// The call that failed.
pub fn open_entry(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd> {
    nix::fcntl::openat(dir, name, CAREFUL | OFlag::O_NONBLOCK, Mode::empty())
        .call(|| format!("openat({}, {name:?}, O_RDONLY|O_NOFOLLOW)", dir.as_raw_fd()))
}

/// Opens the regular file `name` of `dir` for reading, and nothing else: opening a device does something. None where something
/// else has that name. The directory has to be at rest.
///
/// # Errors
/// The call that failed; `ESTALE` where another file has taken its place.
pub fn open_regular(dir: BorrowedFd<'_>, name: &OsStr) -> Result<Option<File>> {
    let before = stat_entry(dir, name)?;
    if file_type(&before) != SFlag::S_IFREG {
        return Ok(None);
    }
    let opened = open_entry(dir, name)?;
    let after = fstat(&opened).call(|| format!("fstat({name:?})"))?;
    if (after.st_dev, after.st_ino) != (before.st_dev, before.st_ino) {
        return Err(Error::new(format!("open({name:?}) of a file that was replaced meanwhile"), Errno::ESTALE));
    }
    Ok(Some(File::from(opened)))
}

/// What lstat(2) says of the entry `name` of `dir`.
///
/// # Errors
/// The call that failed.
pub fn stat_entry(dir: BorrowedFd<'_>, name: &OsStr) -> Result<FileStat> {
    nix::sys::stat::fstatat(dir, name, AtFlags::AT_SYMLINK_NOFOLLOW)
        .call(|| format!("fstatat({}, {name:?}, AT_SYMLINK_NOFOLLOW)", dir.as_raw_fd()))
}

/// The type of a file.
pub fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// An entry of a directory.
struct Listed {
    name: OsString,
    /// Its type, where the filesystem tells.
    kind: Option<Type>,
}

/// The entries of a directory, which has not been read before, without `.` and `..`.
fn list(dir: BorrowedFd<'_>) -> Result<Vec<Listed>> {
    let call = || format!("getdents({})", dir.as_raw_fd());
    let own = dir.try_clone_to_owned().call(|| format!("dup({})", dir.as_raw_fd()))?;
    let mut entries = Vec::new();
    for entry in Dir::from_fd(own).call(call)?.iter() {
        let entry = entry.call(call)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            entries.push(Listed { name: OsStr::from_bytes(name).to_owned(), kind: entry.file_type() });
        }
    }
    Ok(entries)
}

/// The flags of a file, read from their names as chflags(1) writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Those that protect the file, in the kernel's own bits.
    pub protecting: u64,
    /// Those that only tell something about it, in the kernel's own bits.
    pub informing: u64,
    /// The names of those that tell something and that this kernel does not know.
    pub unheld: Vec<String>,
}

/// The flags, of FreeBSD and of Linux, that protect nothing: a file without them works the same.
const INFORMING: [&str; 25] = [
    "archive",
    "arch",
    "uarch",
    "uarchive",
    "nodump",
    "hidden",
    "uhidden",
    "offline",
    "uoffline",
    "sparse",
    "usparse",
    "system",
    "usystem",
    "reparse",
    "ureparse",
    "opaque",
    "noatime",
    "compress",
    "nocow",
    "journal-data",
    "projinherit",
    "dirsync",
    "sync",
    "tail",
    "topdir",
];

/// Whether the flag `name` protects nothing.
pub fn is_informing(name: &str) -> bool {
    INFORMING.contains(&name)
}
