//! Copying a tree.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstat, futimens, mkdirat, mknodat,
    utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, linkat, symlinkat};

use super::content::copy_content;
use super::remove::leave;
use super::{CAREFUL, Node, file_type, list, open_directory, open_entry, stat_entry};
use crate::sys::os::attrs;
use crate::sys::{Call, Result};

/// Which file it is.
type Identity = (libc::dev_t, libc::ino_t);

/// Copies all that is in the directory `from` into the directory `to`, which has to be empty, and gives `to` the properties of
/// `from`: owners, modes, times, extended attributes, access control lists, file flags, hard links among what is copied,
/// symlinks, devices, fifos and holes. Sockets are left out, since nobody could listen on the copies.
///
/// Nothing is followed and no mount point is entered. Four descriptors are open, however deep the tree is. Where the filesystem
/// can share blocks, it does.
///
/// # Errors
/// The call that failed; `EXDEV` where a mount point is in the way. What was copied until then stays.
pub fn copy_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let mut copy = Copy { root: to, path: Vec::new(), links: HashMap::new(), flags: Vec::new() };
    let mut here = (open_directory(from, OsStr::new("."))?, open_directory(to, OsStr::new("."))?);
    let mut levels = vec![copy.fill(&here, OsString::new())?];
    while let Some(level) = levels.last_mut() {
        if let Some(next) = level.directories.pop() {
            here = copy.enter(&here, &next)?;
            levels.push(copy.fill(&here, next)?);
            continue;
        }
        copy.properties(Node::Open(here.0.as_fd()), Node::Open(here.1.as_fd()), &level.from)?;
        levels.pop();
        if let Some(above) = levels.last() {
            here = (leave(here.0.as_fd(), &above.from)?, leave(here.1.as_fd(), &above.to)?);
            copy.path.truncate(above.path);
        }
    }
    copy.set_flags()
}

/// Gives the directory `to` the owner, mode, extended attributes, access control lists and times of the directory `from`, and
/// nothing of what is in it. File flags stay behind: they would protect a directory that is to be written.
///
/// # Errors
/// The call that failed.
pub fn copy_properties(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    let mut copy = Copy { root: to, path: Vec::new(), links: HashMap::new(), flags: Vec::new() };
    let stat = fstat(from).call(|| format!("fstat({})", from.as_raw_fd()))?;
    copy.properties(Node::Open(from), Node::Open(to), &stat)
}

/// A directory on the way down.
struct Level {
    from: FileStat,
    to: FileStat,
    directories: Vec<OsString>,
    /// The length of its path.
    path: usize,
}

/// A copy while it is made.
struct Copy<'a> {
    root: BorrowedFd<'a>,
    /// The path of the directory that is being filled.
    path: Vec<u8>,
    /// Where the first of the names of a file with several was put.
    links: HashMap<Identity, Vec<u8>>,
    /// What gets flags in the end: they would forbid hard links.
    flags: Vec<(Vec<u8>, u64)>,
}

impl Copy<'_> {
    /// Makes a directory and opens it and its model.
    fn enter(&mut self, here: &(OwnedFd, OwnedFd), name: &OsStr) -> Result<(OwnedFd, OwnedFd)> {
        let from = attrs::open_same_mount(here.0.as_fd(), name)?;
        mkdirat(&here.1, name, Mode::S_IRWXU).call(|| format!("mkdirat({}, {name:?})", here.1.as_raw_fd()))?;
        let to = open_directory(here.1.as_fd(), name)?;
        self.path = self.path_of(name);
        Ok((from, to))
    }

    /// Copies everything in a directory but directories, which it lists.
    fn fill(&mut self, here: &(OwnedFd, OwnedFd), name: OsString) -> Result<Level> {
        let stat = |fd: &OwnedFd| fstat(fd).call(|| format!("fstat({name:?})"));
        let mut level =
            Level { from: stat(&here.0)?, to: stat(&here.1)?, directories: Vec::new(), path: self.path.len() };
        for entry in list(here.0.as_fd())? {
            let stat = stat_entry(here.0.as_fd(), &entry.name)?;
            match file_type(&stat) {
                SFlag::S_IFDIR => level.directories.push(entry.name),
                SFlag::S_IFSOCK => {}
                kind => self.entry(here, &entry.name, kind, &stat)?,
            }
        }
        Ok(level)
    }

    /// Copies one entry that is no directory.
    fn entry(&mut self, here: &(OwnedFd, OwnedFd), name: &OsStr, kind: SFlag, stat: &FileStat) -> Result<()> {
        let (from, to) = (here.0.as_fd(), here.1.as_fd());
        if stat.st_nlink > 1 {
            let identity = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&identity) {
                let (directory, last) = self.parent(first)?;
                return linkat(&directory, last, to, name, AtFlags::empty())
                    .call(|| format!("linkat({last:?}, {name:?})"));
            }
            self.links.insert(identity, self.path_of(name));
        }
        if kind == SFlag::S_IFREG {
            return self.file(from, to, name, stat);
        }
        let call = || format!("mknodat({}, {name:?}, {kind:?})", to.as_raw_fd());
        if kind == SFlag::S_IFLNK {
            let target = readlinkat(from, name).call(|| format!("readlinkat({}, {name:?})", from.as_raw_fd()))?;
            symlinkat(target.as_os_str(), to, name).call(|| format!("symlinkat({target:?}, {name:?})"))?;
        } else {
            // FreeBSD has a number for a fifo too, with which it would make none.
            let number = if kind == SFlag::S_IFIFO { 0 } else { stat.st_rdev };
            mknodat(to, name, kind, Mode::S_IRUSR, number).call(call)?;
        }
        self.path_properties(Node::At(from, name), Node::At(to, name), stat, name)
    }

    /// Copies a regular file.
    fn file(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &OsStr, stat: &FileStat) -> Result<()> {
        let model = File::from(open_entry(from, name)?);
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | CAREFUL;
        let copy = openat(to, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .call(|| format!("openat({}, {name:?}, O_CREAT|O_EXCL)", to.as_raw_fd()))?;
        let copy = File::from(copy);
        let length = u64::try_from(stat.st_size).unwrap_or_default();
        copy_content(&model, &copy, length).call(|| format!("copy_file_range({name:?})"))?;
        self.path_properties(Node::Open(model.as_fd()), Node::Open(copy.as_fd()), stat, name)
    }

    /// Copies the properties of the entry `name` of the present directory.
    fn path_properties(&mut self, from: Node<'_>, to: Node<'_>, stat: &FileStat, name: &OsStr) -> Result<()> {
        let length = self.path.len();
        self.path = self.path_of(name);
        let result = self.properties(from, to, stat);
        self.path.truncate(length);
        result
    }

    /// Copies owner, mode, attributes, lists and times, and notes the flags.
    fn properties(&mut self, from: Node<'_>, to: Node<'_>, stat: &FileStat) -> Result<()> {
        set_owner_and_mode(to, stat)?;
        for (name, value) in attrs::get_xattrs(from)? {
            attrs::set_xattr(to, &name, &value)?;
        }
        attrs::copy_acls(from, to)?;
        let atime = TimeSpec::new(stat.st_atime, stat.st_atime_nsec as _);
        let mtime = TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec as _);
        match to {
            Node::Open(fd) => futimens(fd, &atime, &mtime),
            Node::At(dir, name) => utimensat(dir, name, &atime, &mtime, UtimensatFlags::NoFollowSymlink),
        }
        .call(|| format!("utimensat({to})"))?;
        let flags = attrs::get_flags(from)?;
        if flags != 0 {
            self.flags.push((self.path.clone(), flags));
        }
        Ok(())
    }

    /// Sets the flags that were noted.
    fn set_flags(&self) -> Result<()> {
        for (path, flags) in &self.flags {
            if path.is_empty() {
                attrs::set_flags(Node::Open(self.root), *flags)?;
            } else {
                let (directory, last) = self.parent(path)?;
                attrs::set_flags(Node::At(directory.as_fd(), last), *flags)?;
            }
        }
        Ok(())
    }

    /// The path of an entry of the present directory.
    fn path_of(&self, name: &OsStr) -> Vec<u8> {
        let mut path = self.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name.as_bytes());
        path
    }

    /// Opens the directory of a path in the copy, and returns the last part.
    fn parent<'p>(&self, path: &'p [u8]) -> Result<(OwnedFd, &'p OsStr)> {
        let mut parts: Vec<&OsStr> = path.split(|b| *b == b'/').map(OsStr::from_bytes).collect();
        let last = parts.pop().unwrap_or_default();
        let mut directory = open_directory(self.root, OsStr::new("."))?;
        for part in parts {
            directory = open_directory(directory.as_fd(), part)?;
        }
        Ok((directory, last))
    }
}

/// Owner, then mode, since a change of the owner clears bits of the mode.
fn set_owner_and_mode(to: Node<'_>, stat: &FileStat) -> Result<()> {
    let (uid, gid) = (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
    match to {
        Node::Open(fd) => fchown(fd, uid, gid),
        Node::At(dir, name) => fchownat(dir, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW),
    }
    .call(|| format!("fchownat({to}, {}, {})", stat.st_uid, stat.st_gid))?;
    let mode = Mode::from_bits_truncate(stat.st_mode & 0o7777);
    match to {
        Node::Open(fd) => fchmod(fd, mode),
        Node::At(..) if file_type(stat) == SFlag::S_IFLNK => Ok(()),
        Node::At(dir, name) => fchmodat(dir, name, mode, FchmodatFlags::NoFollowSymlink),
    }
    .call(|| format!("fchmodat({to}, {:o})", mode.bits()))
}
