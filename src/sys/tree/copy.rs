//! Copying a tree.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmod, fchmodat, fstat, futimens, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat, linkat, symlinkat};

use super::content::copy_content;
use super::merge::{Directory, Level, Places};
use super::{CAREFUL, Node, file_type, open_directory, open_entry, remove_tree, stat_entry};
use crate::sys::os::attrs;
use crate::sys::signal::go_on;
use crate::sys::{Call, Error, Result};

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
/// The call that failed; `EXDEV` where a mount point is in the way; `ECANCELED` where [`go_on`](crate::sys::signal::go_on) says
/// so. What was copied until then stays.
pub fn copy_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    copy_merged(&[from], to, &|_| true)
}

/// Copies as [`copy_tree`] does, from several trees what they are when laid on one another, the uppermost first: a directory
/// has the properties of the uppermost of its path, and what is in all of them; anything else hides what is below it. Of that,
/// only the paths, relative to the root, that `keep` wants are copied; what is in a directory goes with it.
///
/// Two descriptors are open for each tree.
///
/// # Errors
/// As [`copy_tree`].
pub fn copy_merged(from: &[BorrowedFd<'_>], to: BorrowedFd<'_>, keep: &dyn Fn(&Path) -> bool) -> Result<()> {
    copy_all(Copy::new(to, None), from, keep)
}

/// Lays the tree `from` on the tree `to`: directories of one path become one, with the properties of the upper one, and anything
/// else replaces what is at its path. As [`copy_tree`] otherwise.
///
/// # Errors
/// As [`copy_tree`]; what was laid until then stays.
pub fn lay_tree(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    clear_properties(to)?;
    copy_all(Copy { over: true, ..Copy::new(to, None) }, &[from], &|_| true)
}

/// As [`copy_tree`], but for `owner`, to whom everything in the copy belongs. What says more of the owners and the system that the
/// tree comes from stays behind: the set-user-ID and set-group-ID bits, access control lists, file flags, and extended attributes
/// other than `user.*`. So do devices, with which overlayfs would hide files. `visit` is called with the path of each entry, from
/// `from`, and what it is, before it is copied or left out, the root first, with an empty path; the copy ends where it says false.
///
/// # Errors
/// As [`copy_tree`], at the path that was visited last; `ECANCELED` where `visit` said false.
pub fn copy_tree_for(
    owner: (Uid, Gid),
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    visit: &mut dyn FnMut(&Path, &FileStat) -> bool,
) -> Result<()> {
    copy_all(Copy::new(to, Some(Adoption { owner, visit })), &[from], &|_| true)
}

/// Copies the regular file `model` to the new entry `name` of the directory `to`, as [`copy_tree_for`] would.
///
/// # Errors
/// The call that failed.
pub fn copy_file_for(owner: (Uid, Gid), model: &File, to: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let stat = fstat(model).call(|| format!("fstat({})", model.as_raw_fd()))?;
    Copy::new(to, Some(Adoption { owner, visit: &mut |_, _| true })).put(model, to, name, &stat)
}

fn copy_all(mut copy: Copy<'_>, from: &[BorrowedFd<'_>], keep: &dyn Fn(&Path) -> bool) -> Result<()> {
    let mut places = Places::new(from, copy.root)?;
    let mut levels = vec![copy.fill(&places, keep)?];
    while let Some(here) = levels.last_mut() {
        if let Some(next) = here.directories.pop() {
            copy.visit_entry(&next.name, &next.stat)?;
            let there = copy.over && make_way(places.to(), &next.name, true)?;
            places.enter(&next, there)?;
            copy.path = copy.path_of(&next.name);
            levels.push(copy.fill(&places, keep)?);
            continue;
        }
        if let Some((model, stat)) = places.model(&here.level) {
            copy.properties(Node::Open(model), Node::Open(places.to()), &stat)?;
        }
        levels.pop();
        if let Some(above) = levels.last() {
            places.leave(&above.level)?;
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
    let mut copy = Copy::new(to, None);
    let stat = fstat(from).call(|| format!("fstat({})", from.as_raw_fd()))?;
    copy.properties(Node::Open(from), Node::Open(to), &stat)
}

/// A directory on the way down.
struct Here {
    level: Level,
    directories: Vec<Directory>,
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
    adoption: Option<Adoption<'a>>,
    /// Whether something may be where it goes.
    over: bool,
}

/// A copy that belongs to somebody else.
struct Adoption<'a> {
    owner: (Uid, Gid),
    visit: &'a mut dyn FnMut(&Path, &FileStat) -> bool,
}

impl<'a> Copy<'a> {
    fn new(root: BorrowedFd<'a>, adoption: Option<Adoption<'a>>) -> Self {
        Copy { root, path: Vec::new(), links: HashMap::new(), flags: Vec::new(), adoption, over: false }
    }

    /// Tells of the entry at the present path.
    fn visit(&mut self, stat: &FileStat) -> Result<()> {
        go_on()?;
        let path = Path::new(OsStr::from_bytes(&self.path));
        let goes_on = self.adoption.as_mut().is_none_or(|adoption| (adoption.visit)(path, stat));
        if goes_on { Ok(()) } else { Err(Error::new("copy", Errno::ECANCELED)) }
    }

    /// Copies everything in a directory but directories, which it lists.
    fn fill(&mut self, places: &Places, keep: &dyn Fn(&Path) -> bool) -> Result<Here> {
        let level = places.level()?;
        if let Some((_, root)) = places.model(&level).filter(|_| self.path.is_empty()) {
            self.visit(&root)?;
        }
        let wanted = |name: &OsStr| keep(Path::new(OsStr::from_bytes(&self.path_of(name))));
        let (files, directories) = places.merge(wanted)?;
        for found in &files {
            self.visit_entry(&found.name, &found.stat)?;
            let kind = file_type(&found.stat);
            let is_device = matches!(kind, SFlag::S_IFCHR | SFlag::S_IFBLK);
            if kind != SFlag::S_IFSOCK && !(is_device && self.adoption.is_some()) {
                if self.over {
                    make_way(places.to(), &found.name, false)?;
                }
                self.entry((places.of(found), places.to()), &found.name, kind, &found.stat)?;
            }
        }
        Ok(Here { level, directories, path: self.path.len() })
    }

    /// Tells of an entry of the present directory.
    fn visit_entry(&mut self, name: &OsStr, stat: &FileStat) -> Result<()> {
        let length = self.path.len();
        self.path = self.path_of(name);
        let visited = self.visit(stat);
        self.path.truncate(length);
        visited
    }

    /// Copies one entry that is no directory.
    fn entry(
        &mut self,
        (from, to): (BorrowedFd<'_>, BorrowedFd<'_>),
        name: &OsStr,
        kind: SFlag,
        stat: &FileStat,
    ) -> Result<()> {
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
        self.put(&File::from(open_entry(from, name)?), to, name, stat)
    }

    /// Copies an open regular file.
    fn put(&mut self, model: &File, to: BorrowedFd<'_>, name: &OsStr, stat: &FileStat) -> Result<()> {
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | CAREFUL;
        let copy = openat(to, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)
            .call(|| format!("openat({}, {name:?}, O_CREAT|O_EXCL)", to.as_raw_fd()))?;
        let copy = File::from(copy);
        let length = u64::try_from(stat.st_size).unwrap_or_default();
        copy_content(model, &copy, length).call(|| format!("copy_file_range({name:?})"))?;
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
        let mut stat = *stat;
        if let Some(Adoption { owner: (uid, gid), .. }) = self.adoption {
            (stat.st_uid, stat.st_gid) = (uid.as_raw(), gid.as_raw());
            stat.st_mode &= !(Mode::S_ISUID | Mode::S_ISGID).bits();
        }
        set_owner_and_mode(to, &stat)?;
        for (name, value) in attrs::get_xattrs(from)? {
            if self.adoption.is_none() || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay.")) {
                attrs::set_xattr(to, &name, &value)?;
            }
        }
        if self.adoption.is_none() {
            attrs::copy_acls(from, to)?;
        }
        let atime = TimeSpec::new(stat.st_atime, stat.st_atime_nsec as _);
        let mtime = TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec as _);
        match to {
            Node::Open(fd) => futimens(fd, &atime, &mtime),
            Node::At(dir, name) => utimensat(dir, name, &atime, &mtime, UtimensatFlags::NoFollowSymlink),
        }
        .call(|| format!("utimensat({to})"))?;
        let flags = if self.adoption.is_none() { attrs::get_flags(from)? } else { 0 };
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

/// Removes what is at `name`, but for a directory that is to stay one: that loses what protects it and what is not written anew
/// with its properties. Gives whether it is there.
fn make_way(to: BorrowedFd<'_>, name: &OsStr, is_directory: bool) -> Result<bool> {
    let there = match stat_entry(to, name) {
        Err(e) if e.errno() == Errno::ENOENT => return Ok(false),
        other => other?,
    };
    if is_directory && file_type(&there) == SFlag::S_IFDIR {
        return clear_properties(open_directory(to, name)?.as_fd()).map(|()| true);
    }
    remove_tree(to, name).map(|()| false)
}

/// Takes flags, extended attributes and access control lists away from a directory, but not the labels of security modules, which
/// are the host's.
fn clear_properties(directory: BorrowedFd<'_>) -> Result<()> {
    let node = Node::Open(directory);
    if attrs::get_flags(node)? != 0 {
        attrs::set_flags(node, 0)?;
    }
    let mut xattrs = attrs::get_xattrs(node)?;
    xattrs.retain(|(name, _)| !name.starts_with(b"security."));
    xattrs.iter().try_for_each(|(name, _)| attrs::remove_xattr(node, name))
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
