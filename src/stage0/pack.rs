//! Writes an App Container image: a manifest and a tree, or a part of one, as a tar archive.
//!
//! The same manifest and the same tree give the same bytes, whatever host, clock or filesystem they come from:
//!
//! * the entries have the order of the parts of their paths, a directory before what is in it, and owners have numbers only;
//! * the format is ustar, with an extended pax header where that cannot say it: long names, large numbers, parts of seconds,
//!   extended attributes (`SCHILY.xattr.*`), access control lists (`SCHILY.acl.*`, with numbers for names), file flags
//!   (`SCHILY.fflags`);
//! * of the names of one file the first is the file, and the others are links to it;
//! * holes are written as the zeros that they read as, since where they are is the filesystem's choice;
//! * what belongs to the host is not written: overlayfs' own extended attributes, the labels of security modules, times of
//!   access, flags that the filesystem itself sets.
//!
//! Sockets are left out, counted in [`Packed::warnings`]. Nothing is followed and no mount point is entered: one in the way is
//! an error, and so is a file that changes while it is read: the tree has to be at rest. [`Selection::InUse`] is for others.

mod entry;
mod in_use;
mod select;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag, fstat};
use sha2::{Digest, Sha512};

use crate::error::{Context, Error, Result};
use crate::sys::tree::{Walk, file_type};

use super::properties::Properties;
use super::unpack::{MAX_MANIFEST, MAX_NAME, Warnings, show};
use entry::Entry;
use in_use::Head;
use select::Select;

/// How much is read at once.
const BUFFER: usize = 256 << 10;

/// What of a tree is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All of it.
    All,
    /// All of it, or the root and this one entry of it, of a tree in which others go on working. What is mounted in it and what
    /// vanishes is left out; a file that grows is cut where it ended, and one that shrinks ends in zeros, as tar(1) has it;
    /// all of that is counted in [`Packed::warnings`]. What a file holds is found out by reading, since files of proc(5) and
    /// its like say nothing of it.
    InUse(Option<OsString>),
    /// These paths, relative to the root and without `.` and `..`, and the directories on the way to them. A directory is
    /// written without what is in it, unless that is selected too.
    Paths(BTreeSet<PathBuf>),
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The SHA-512 of the archive before compression: the image's ID.
    pub id_digest: [u8; 64],
    /// The length of the archive before compression.
    pub size: u64,
    /// How many entries of any kind the root filesystem has, itself among them.
    pub files: u64,
    /// What no archive holds and was left out, one line for each kind of thing.
    pub warnings: Vec<String>,
}

/// Writes the image of `manifest` and of the selected part of the directory `root` to `out`, which is not flushed.
///
/// # Errors
/// The tree cannot be read or holds what no image may, something selected is not there, or `out` fails.
pub fn pack(manifest: &[u8], root: BorrowedFd<'_>, selection: &Selection, out: impl Write) -> Result<Packed> {
    pack_as_of(None, manifest, root, selection, out)
}

/// As [`pack`], with the time `latest`, in seconds since 1970, for the time of modification of whatever has a later one.
///
/// # Errors
/// As [`pack`].
pub fn pack_as_of(
    latest: Option<u64>,
    manifest: &[u8],
    root: BorrowedFd<'_>,
    selection: &Selection,
    out: impl Write,
) -> Result<Packed> {
    if manifest.len() as u64 > MAX_MANIFEST {
        return Err(Error::new(format!("the manifest has {} bytes, more than {MAX_MANIFEST}", manifest.len())));
    }
    let archive = Archive { out, hash: Sha512::new(), size: 0 };
    let in_use = matches!(selection, Selection::InUse(_));
    let (links, warnings) = (HashMap::new(), Warnings::default());
    let mut pack = Pack { archive, in_use, latest, links, warnings, files: 0, buffer: Vec::new() };
    pack.archive.add(&Entry::file(b"manifest", manifest.len() as u64).to_bytes()?)?;
    pack.archive.add(manifest)?;
    pack.archive.pad()?;
    let mut select = Select::new(selection);
    let walk = match selection {
        Selection::InUse(only) => Walk::in_use(root, only.as_deref()),
        Selection::All | Selection::Paths(_) => Walk::new(root),
    };
    let mut walk = walk.context(|| "cannot open the tree")?;
    while let Some(stat) = walk.advance().context(|| cannot_pack(walk.path()))? {
        let wanted = select.visit(walk.path())?;
        if !wanted.inside {
            walk.skip();
        }
        if wanted.itself || (wanted.inside && file_type(&stat) == SFlag::S_IFDIR) {
            let path = walk.path().to_owned();
            pack.entry(&mut walk, &path, &stat).context(|| cannot_pack(&path))?;
        }
    }
    select.finish()?;
    pack.warnings.count_all("what vanished meanwhile is left out", walk.vanished());
    pack.archive.add(&[0; 2 * entry::BLOCK])?;
    Ok(Packed {
        id_digest: pack.archive.hash.finalize().into(),
        size: pack.archive.size,
        files: pack.files,
        warnings: pack.warnings.lines(),
    })
}

fn cannot_pack(path: &Path) -> String {
    format!("cannot pack {}", shown(path))
}

/// A path as errors show it: as it is in the image.
pub(super) fn shown(path: &Path) -> String {
    format!("/{}", show(path.as_os_str().as_bytes()))
}

/// Checks that an archive can hold a path, before there are more below it.
///
/// # Errors
/// It is too long.
pub fn check_name(path: &Path) -> Result<()> {
    if name_in_archive(path).len() > MAX_NAME {
        let start: Vec<u8> = path.as_os_str().as_bytes().iter().copied().take(80).collect();
        return Err(Error::new(format!("the name /{}… is longer than {MAX_NAME} bytes", show(&start))));
    }
    Ok(())
}

/// The archive as it is written.
struct Archive<W> {
    out: W,
    hash: Sha512,
    size: u64,
}

impl<W: Write> Archive<W> {
    /// Adds bytes.
    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.hash.update(bytes);
        self.size += bytes.len() as u64;
        self.out.write_all(bytes).context(|| "cannot write the archive")
    }

    /// Fills the last block.
    fn pad(&mut self) -> Result<()> {
        let missing = self.size.wrapping_neg() % entry::BLOCK as u64;
        self.add(&[0; entry::BLOCK][..missing as usize])
    }
}

/// An archive of a tree while it is written.
struct Pack<W> {
    archive: Archive<W>,
    in_use: bool,
    latest: Option<u64>,
    /// The name in the archive of the first of the names of a file.
    links: HashMap<(libc::dev_t, libc::ino_t), Vec<u8>>,
    warnings: Warnings,
    files: u64,
    buffer: Vec<u8>,
}

impl<W: Write> Pack<W> {
    /// Adds the present entry of the walk.
    fn entry(&mut self, walk: &mut Walk, path: &Path, stat: &FileStat) -> Result<()> {
        let kind = file_type(stat);
        if kind == SFlag::S_IFSOCK {
            self.warnings.count("sockets are left out");
            return Ok(());
        }
        if self.in_use && is_mount_point(walk) {
            self.warnings.count("what is mounted there is left out");
            walk.skip();
            return Ok(());
        }
        check_name(path)?;
        match self.describe(walk, name_in_archive(path), stat) {
            Err(_) if walk.pass_if_vanished() => Ok(()),
            Err(error) => Err(error),
            Ok((header, content)) => {
                self.files += 1;
                self.archive.add(&header)?;
                match content {
                    Content::None => Ok(()),
                    Content::AtRest => self.content(walk, stat),
                    Content::InUse(head) => self.content_in_use(walk, stat, head),
                }
            }
        }
    }

    /// The headers of the present entry, and what follows them.
    fn describe(&mut self, walk: &mut Walk, name: Vec<u8>, stat: &FileStat) -> Result<(Vec<u8>, Content)> {
        let kind = file_type(stat);
        let identity = (stat.st_dev, stat.st_ino);
        let has_names = stat.st_nlink > 1 && kind != SFlag::S_IFDIR;
        let mut dated = self.dated(stat);
        if let Some(first) = self.links.get(&identity).filter(|_| has_names) {
            return Ok((Entry::hard_link(&name, &dated, first).to_bytes()?, Content::None));
        }
        let properties = Properties::read(walk.node().context(|| "cannot open it")?)?;
        let content = match kind {
            SFlag::S_IFREG if self.in_use => {
                let head = Head::read(walk.open().context(|| "cannot open it")?, stat)?;
                dated.st_size = head.size();
                Content::InUse(head)
            }
            SFlag::S_IFREG => Content::AtRest,
            _ => Content::None,
        };
        let mut entry = Entry::new(&name, &dated, &properties)?;
        if kind == SFlag::S_IFLNK {
            entry.link = walk.read_link().context(|| "cannot read it")?.as_os_str().as_bytes().to_vec();
        }
        let header = entry.to_bytes()?;
        for space in &properties.lost {
            self.warnings.count(&format!("extended attributes {}.* are not kept", show(space)));
        }
        if has_names {
            self.links.insert(identity, name);
        }
        Ok((header, content))
    }

    /// The same with a time that is late enough at most.
    fn dated(&self, stat: &FileStat) -> FileStat {
        let mut dated = *stat;
        if let Some(latest) = self.latest.and_then(|latest| i64::try_from(latest).ok())
            && (stat.st_mtime, stat.st_mtime_nsec) > (latest, 0)
        {
            (dated.st_mtime, dated.st_mtime_nsec) = (latest, 0);
        }
        dated
    }

    /// Adds the content of a regular file, which has to be what its header says.
    fn content(&mut self, walk: &mut Walk, stat: &FileStat) -> Result<()> {
        let mut file = walk.open().context(|| "cannot open it")?;
        self.buffer.resize(BUFFER, 0);
        let mut left = u64::try_from(stat.st_size).unwrap_or_default();
        loop {
            let most = usize::try_from(left).unwrap_or(BUFFER).clamp(1, BUFFER);
            let count = match file.read(&mut self.buffer[..most]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other.context(|| "cannot read it")?,
            };
            if count == 0 {
                break;
            }
            if left == 0 {
                return Err(Error::new(CHANGED));
            }
            self.archive.add(&self.buffer[..count])?;
            left -= count as u64;
        }
        let after = fstat(file).context(|| "cannot read it")?;
        let version = |stat: &FileStat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
        if left != 0 || version(&after) != version(stat) {
            return Err(Error::new(CHANGED));
        }
        self.archive.pad()
    }
}

/// What follows the headers of an entry.
enum Content {
    None,
    /// The file as it is.
    AtRest,
    /// What has been read of it, and the rest.
    InUse(Head),
}

const CHANGED: &str = "it changed while it was read";

/// Whether something is mounted on the present entry.
fn is_mount_point(walk: &mut Walk) -> bool {
    !walk.path().as_os_str().is_empty() && walk.node().is_err_and(|error| error.errno() == Errno::EXDEV)
}

/// The name of a path of the tree in the archive.
fn name_in_archive(path: &Path) -> Vec<u8> {
    let path = path.as_os_str().as_bytes();
    if path.is_empty() { b"rootfs".to_vec() } else { [b"rootfs/", path].concat() }
}
