//! Unpacks an App Container image: one pass from the compressed file to the tree on disk.
//!
//! A thread of its own decompresses; this one hashes the plain tar, reads it, and writes the tree. The archive may come from
//! anybody, and root unpacks it, so:
//!
//! * nothing is written through a symlink: every part of every name is opened in its turn with `O_NOFOLLOW`, and every file
//!   is made with `O_EXCL`, so a name given twice is an error;
//! * nothing depends on the host's users: owners are numbers, and names in access control lists are looked up in the image;
//! * an archive that ends early, or goes on after its end, is an error, and so is whatever this host cannot represent, apart
//!   from what protects nothing, which is counted in [`Unpacked::warnings`];
//! * memory is bounded by constants of this module, whatever a header claims.
//!
//! The manifest is returned and never written. When unpacking fails, what was written stays; the caller removes the tree.

mod accounts;
mod acl;
mod archive;
mod entry;
mod file;
mod later;
mod meta;
mod name;
mod pax;
mod plain;
mod sparse;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tree;
mod walk;

use std::io::Read;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::stage0::compression::Compression;

pub(super) use archive::MAX_EXTENDED;
pub(super) use meta::{Warnings, is_overlay};
pub(super) use name::{MAX_NAME, show};

use archive::Archive;
use entry::{Entry, Kind};
use name::Place;
use tree::Tree;

/// The longest manifest that is accepted. Most have a few kilobytes; a `pathWhitelist` names every file of the image, and a
/// system of a hundred thousand files has six megabytes of names.
pub const MAX_MANIFEST: u64 = 16 << 20;

/// How to unpack.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether files get their owners and devices are made. Only root can; without it, devices are left out with a warning.
    pub owners: bool,
    /// The most bytes that the archive may have when decompressed, and the most that its files may have together, with their
    /// holes; no limit where it is none.
    pub max_size: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Options { owners: true, max_size: None }
    }
}

/// What was unpacked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// The SHA-512 of the uncompressed archive, all of it: the image's ID.
    pub id_digest: [u8; 64],
    /// The bytes of the image manifest.
    pub manifest: Vec<u8>,
    /// The length of the uncompressed archive.
    pub size: u64,
    /// How many entries of any kind the root filesystem had.
    pub files: u64,
    /// The regular files with a setuid or setgid bit, relative to the root filesystem.
    pub setuid: Vec<PathBuf>,
    /// The directories, relative to the root filesystem, that have to be there and of which the archive says nothing: they
    /// have mode 0755.
    pub undescribed: Vec<PathBuf>,
    /// What this host could not keep and what protects nothing, one line for each kind of thing.
    pub warnings: Vec<String>,
    /// How the archive was compressed.
    pub compression: Compression,
}

/// Unpacks the image `archive`, compressed or not, into the directory `into`, which becomes its root filesystem.
///
/// # Errors
/// Whatever is wrong with the archive, with the name of its entry, or what the system refused. The tree is then incomplete.
pub fn unpack(archive: impl Read + Send, into: BorrowedFd<'_>, options: &Options) -> Result<Unpacked> {
    plain::decompress(archive, options.max_size, |compression, plain| {
        let mut archive = Archive::new(plain);
        let mut image = Image { manifest: None, tree: Tree::new(into, options) };
        while let Some(entry) = archive.next()? {
            image.take(&entry, &mut archive)?;
        }
        let (id_digest, size) = archive.finish()?;
        image.finish(id_digest, size, compression)
    })
}

/// The SHA-512 of the uncompressed archive alone, whatever is in it.
///
/// # Errors
/// It cannot be read or decompressed.
pub(super) fn id_digest(archive: impl Read + Send) -> Result<[u8; 64]> {
    plain::decompress(archive, None, |_, mut plain| {
        loop {
            match plain.fill()?.len() {
                0 => return Ok(plain.finish().0),
                length => plain.consume(length),
            }
        }
    })
}

/// The error of an archive that has more bytes than `limit`.
pub(super) fn too_large(what: &str, limit: u64) -> Error {
    Error::new(format!("{what} more than {limit} bytes")).help(
        "if it is to be trusted, raise `images.max-size` in jetpack.conf(5), or for once pass `-o images.max-size=SIZE`",
    )
}

/// An image while it is unpacked.
struct Image<'a> {
    manifest: Option<Vec<u8>>,
    tree: Tree<'a>,
}

impl Image<'_> {
    /// Puts one entry where it belongs.
    fn take(&mut self, entry: &Entry, archive: &mut Archive) -> Result<()> {
        if entry.kind != Kind::File && entry.stored != 0 {
            return Err(Error::new(format!("{} has content and is not a regular file", entry.shown())));
        }
        match name::place(&entry.name)? {
            Place::Top if entry.kind == Kind::Directory => Ok(()),
            Place::Top => Err(Error::new(format!("{} is not a directory", entry.shown()))),
            Place::Manifest => self.take_manifest(entry, archive),
            Place::Inside(path) if path.is_empty() && entry.kind != Kind::Directory => {
                Err(Error::new("rootfs is not a directory"))
            }
            Place::Inside(path) => self.tree.make(&path, entry, archive),
        }
    }

    /// Keeps the manifest.
    fn take_manifest(&mut self, entry: &Entry, archive: &mut Archive) -> Result<()> {
        if self.manifest.is_some() {
            return Err(Error::new("manifest is given twice"));
        }
        if entry.kind != Kind::File || entry.is_sparse() {
            return Err(Error::new("manifest is not a regular file"));
        }
        if entry.stored > MAX_MANIFEST {
            return Err(Error::new(format!("manifest has {} bytes, more than {MAX_MANIFEST}", entry.stored)));
        }
        self.manifest = Some(archive.content()?);
        Ok(())
    }

    /// Does what has to wait for the last entry.
    fn finish(self, id_digest: [u8; 64], size: u64, compression: Compression) -> Result<Unpacked> {
        let manifest = self.manifest.ok_or_else(|| Error::new("the archive has no manifest"))?;
        let made = self.tree.finish()?;
        Ok(Unpacked {
            id_digest,
            manifest,
            size,
            files: made.files,
            setuid: made.setuid,
            undescribed: made.undescribed,
            warnings: made.warnings,
            compression,
        })
    }
}
