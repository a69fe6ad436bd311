//! The tree on disk while it is written.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, mkdirat, mknodat};
use nix::unistd::{linkat, symlinkat};

use crate::error::{Context, Error, Result};
use crate::sys::tree::{CAREFUL, Node, file_type, stat_entry};

use super::archive::Archive;
use super::entry::{Entry, Kind};
use super::file;
use super::later::Later;
use super::meta::{Meta, Warnings};
use super::name::{self, Place};
use super::walk::Walk;
use super::{Options, too_large};

/// The tree, and what has to wait until it is whole.
pub(super) struct Tree<'a> {
    walk: Walk<'a>,
    owners: bool,
    warnings: Warnings,
    files: u64,
    /// How many bytes the files have together, and the most that they may have.
    claimed: u64,
    max_size: Option<u64>,
    setuid: Vec<PathBuf>,
    later: Later,
}

/// What was made.
pub(super) struct Made {
    pub(super) files: u64,
    pub(super) setuid: Vec<PathBuf>,
    pub(super) warnings: Vec<String>,
    pub(super) undescribed: Vec<PathBuf>,
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: BorrowedFd<'a>, options: &Options) -> Self {
        let Options { owners, max_size } = *options;
        let (walk, warnings, later) = (Walk::new(root, owners), Warnings::default(), Later::default());
        Tree { walk, owners, warnings, files: 0, claimed: 0, max_size, setuid: Vec::new(), later }
    }

    /// Adds to what the files have. Holes take no room here, but whoever reads or copies the file has to do with all of it.
    fn claim(&mut self, length: u64) -> Result<()> {
        self.claimed = self.claimed.saturating_add(length);
        match self.max_size.filter(|limit| self.claimed > *limit) {
            Some(limit) => Err(too_large("the files have, with their holes,", limit)),
            None => Ok(()),
        }
    }

    /// Makes the entry at `path`.
    ///
    /// # Errors
    /// The entry is refused, or the system refuses it. The error names it.
    pub(super) fn make(&mut self, path: &[u8], entry: &Entry, archive: &mut Archive) -> Result<()> {
        self.files += 1;
        match entry.kind {
            Kind::Directory => self.make_directory(path, entry),
            Kind::File => self.make_file(path, entry, archive),
            Kind::HardLink => self.make_hard_link(path, entry),
            Kind::Symlink | Kind::Character | Kind::Block | Kind::Fifo => self.make_node(path, entry),
        }?;
        self.later.made(self.walk.take_made())
    }

    /// A directory. It may exist, made on the way to an entry in it, but not be described twice.
    fn make_directory(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
        let shown = entry.shown();
        let mut meta = Meta::new(entry, &mut self.warnings)?;
        if !path.is_empty() {
            let (parent, last) = self.walk.parent(path, true, &shown)?;
            match mkdirat(parent, last, Mode::S_IRWXU) {
                Ok(()) => {}
                Err(Errno::EEXIST) if self.later.may_describe(path) && is_directory(parent, last) => {}
                Err(errno) => return Err(cannot_make(&shown, errno)),
            }
        } else if !self.later.may_describe(path) {
            return Err(cannot_make(&shown, Errno::EEXIST));
        }
        let node = self.walk.existing(path, &shown)?;
        meta.apply_early(Node::Open(node), &mut self.warnings).context(|| format!("cannot unpack {shown}"))?;
        self.later.directory(path, meta)
    }

    /// A regular file.
    fn make_file(&mut self, path: &[u8], entry: &Entry, archive: &mut Archive) -> Result<()> {
        let shown = entry.shown();
        self.claim(entry.length())?;
        let meta = Meta::new(entry, &mut self.warnings)?;
        let (parent, last) = self.walk.parent(path, true, &shown)?;
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | CAREFUL;
        let fd = openat(parent, last, flags, Mode::S_IRUSR | Mode::S_IWUSR).map_err(|e| cannot_make(&shown, e))?;
        let file = File::from(fd);
        file::write(entry, archive, &file)?;
        let node = Node::Open(file.as_fd());
        meta.apply(node, entry.kind, self.owners, &mut self.warnings).context(|| format!("cannot unpack {shown}"))?;
        if meta.is_setuid() {
            self.setuid.push(to_path(path.to_vec()));
        }
        self.later.file(path, meta)
    }

    /// A symlink, a device or a fifo.
    fn make_node(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
        let shown = entry.shown();
        let is_device = matches!(entry.kind, Kind::Character | Kind::Block);
        if entry.kind == Kind::Character && entry.device == (0, 0) {
            return Err(Error::new(format!("{shown} is a whiteout, the device 0:0, which belongs to overlayfs")));
        }
        if is_device && !self.owners {
            self.warnings.count("devices are left out");
            return Ok(());
        }
        let meta = Meta::new(entry, &mut self.warnings)?;
        let (parent, last) = self.walk.parent(path, true, &shown)?;
        let made = match entry.kind {
            Kind::Symlink => make_symlink(parent, last, entry)?,
            Kind::Fifo => mknodat(parent, last, SFlag::S_IFIFO, Mode::S_IRUSR, 0),
            Kind::Block => mknodat(parent, last, SFlag::S_IFBLK, Mode::S_IRUSR, number(entry)),
            _ => mknodat(parent, last, SFlag::S_IFCHR, Mode::S_IRUSR, number(entry)),
        };
        made.map_err(|e| cannot_make(&shown, e))?;
        let node = Node::At(parent, last);
        meta.apply(node, entry.kind, self.owners, &mut self.warnings).context(|| format!("cannot unpack {shown}"))?;
        self.later.file(path, meta)
    }

    /// Another name of a file that is there. The properties are those of the file; the archive repeats them.
    fn make_hard_link(&mut self, path: &[u8], entry: &Entry) -> Result<()> {
        let shown = entry.shown();
        let target = name::show(&entry.link);
        let Ok(Place::Inside(target_path)) = name::place(&entry.link) else {
            return Err(Error::new(format!("{shown} is a hard link to {target}, which is not in rootfs")));
        };
        let (from, last) = self.walk.parent(&target_path, false, &shown)?;
        let from = from.try_clone_to_owned().context(|| format!("cannot link {shown}"))?;
        let (parent, new) = self.walk.parent(path, true, &shown)?;
        linkat(from, last, parent, new, AtFlags::empty()).map_err(|errno| match errno {
            Errno::ENOENT => Error::new(format!("{shown} is a hard link to {target}, which is not there")),
            Errno::EPERM | Errno::EISDIR => {
                Error::with_source(format!("{shown} is a hard link to {target}, which cannot have one"), errno)
            }
            errno => cannot_make(&shown, errno),
        })
    }

    /// Does what had to wait.
    ///
    /// # Errors
    /// The system refuses it, or there was no root filesystem.
    pub(super) fn finish(mut self) -> Result<Made> {
        if self.files == 0 {
            return Err(Error::new("the archive has no rootfs"));
        }
        let undescribed = self.later.undescribed().iter().cloned().map(to_path).collect();
        self.later.finish(&mut self.walk, self.owners, &mut self.warnings)?;
        Ok(Made { files: self.files, setuid: self.setuid, warnings: self.warnings.lines(), undescribed })
    }
}

fn to_path(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

/// Makes a symlink to wherever the archive says: nothing here ever follows it.
fn make_symlink(parent: BorrowedFd<'_>, last: &OsStr, entry: &Entry) -> Result<nix::Result<()>> {
    if entry.link.is_empty() || entry.link.contains(&0) {
        return Err(Error::new(format!("{} is a symlink to {:?}", entry.shown(), name::show(&entry.link))));
    }
    Ok(symlinkat(OsStr::from_bytes(&entry.link), parent, last))
}

/// Whether a directory is there.
fn is_directory(parent: BorrowedFd<'_>, last: &OsStr) -> bool {
    stat_entry(parent, last).is_ok_and(|stat| file_type(&stat) == SFlag::S_IFDIR)
}

/// The number of a device as this kernel writes it.
fn number(entry: &Entry) -> libc::dev_t {
    libc::makedev(entry.device.0 as _, entry.device.1 as _)
}

/// Why an entry could not be made. What exists was made by this archive, since the directory was empty before.
fn cannot_make(shown: &str, errno: Errno) -> Error {
    match errno {
        Errno::EEXIST => Error::new(format!("{shown} is given twice")),
        errno => Error::with_source(format!("cannot make {shown}"), errno),
    }
}
