//! What the tests of this module and of others share: archives written byte by byte.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd as _;

use crate::error::Result;
use crate::stage0::compression::Compression;
use crate::stage0::unpack::{Options, Unpacked, unpack};
use crate::sys::testing::Scratch;

/// Compresses bytes.
pub(crate) fn compress(compression: Compression, plain: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    match compression {
        Compression::None => return plain.to_vec(),
        Compression::Gzip => {
            flate2::read::GzEncoder::new(plain, flate2::Compression::default()).read_to_end(&mut bytes)
        }
        Compression::Xz => xz2::read::XzEncoder::new(plain, 3).read_to_end(&mut bytes),
        Compression::Bzip2 => bzip2::read::BzEncoder::new(plain, bzip2::Compression::fast()).read_to_end(&mut bytes),
        Compression::Zstd => zstd::stream::read::Encoder::new(plain, 3).unwrap().read_to_end(&mut bytes),
    }
    .unwrap();
    bytes
}

/// One entry of an archive, with whatever in its header.
pub(crate) struct Item {
    header: tar::Header,
    content: Vec<u8>,
    pax: Vec<u8>,
}

impl Item {
    /// An entry of any type.
    pub(crate) fn new(kind: u8, name: impl AsRef<[u8]>) -> Self {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.as_ref().len().min(100)].copy_from_slice(name.as_ref());
        header.as_old_mut().linkflag[0] = kind;
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        header.set_uid(u64::from(uid));
        header.set_gid(u64::from(gid));
        header.set_mtime(1_500_000_000);
        header.set_size(0);
        Item { header, content: Vec::new(), pax: Vec::new() }
    }

    /// A regular file.
    pub(crate) fn file(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> Self {
        let mut item = Item::new(b'0', name);
        item.content = content.as_ref().to_vec();
        item.header.set_size(item.content.len() as u64);
        item
    }

    /// A directory.
    pub(crate) fn directory(name: impl AsRef<[u8]>) -> Self {
        Item::new(b'5', name)
    }

    /// A symlink (`2`) or hard link (`1`).
    pub(crate) fn link(kind: u8, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Self {
        let mut item = Item::new(kind, name);
        item.header.as_old_mut().linkname[..target.as_ref().len()].copy_from_slice(target.as_ref());
        item
    }

    /// A character (`3`) or block (`4`) device.
    pub(crate) fn device(kind: u8, name: impl AsRef<[u8]>, major: u32, minor: u32) -> Self {
        Item::new(kind, name).with(|header| {
            header.set_device_major(major).unwrap();
            header.set_device_minor(minor).unwrap();
        })
    }

    /// Changes the header.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut tar::Header)) -> Self {
        change(&mut self.header);
        self
    }

    /// Sets the mode.
    pub(crate) fn mode(self, mode: u32) -> Self {
        self.with(|header| header.set_mode(mode))
    }

    /// Sets the owner.
    pub(crate) fn owner(self, uid: u64, gid: u64) -> Self {
        self.with(|header| {
            header.set_uid(uid);
            header.set_gid(gid);
        })
    }

    /// Adds a record of an extended header.
    pub(crate) fn pax(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.pax.extend(record(key, value.as_ref()));
        self
    }

    /// Replaces the content and leaves the size alone.
    pub(crate) fn content(mut self, content: impl AsRef<[u8]>) -> Self {
        self.content = content.as_ref().to_vec();
        self
    }

    /// The entry as an archive has it.
    pub(crate) fn bytes(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if !self.pax.is_empty() {
            let pax = std::mem::take(&mut self.pax);
            bytes = Item::file("pax", pax).with(|header| header.as_old_mut().linkflag[0] = b'x').bytes();
        }
        self.header.set_cksum();
        bytes.extend(self.header.as_bytes());
        bytes.extend(&self.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

/// A record of an extended header.
pub(crate) fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (1..).map(|digits| rest + digits).find(|n| n.to_string().len() + rest == *n).unwrap();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// The entries one after the other, without an end.
pub(crate) fn entries(items: Vec<Item>) -> Vec<u8> {
    items.into_iter().flat_map(Item::bytes).collect()
}

/// A manifest, a root filesystem, and what is given: a whole archive.
pub(crate) fn image(items: Vec<Item>) -> Vec<u8> {
    let mut bytes = entries(vec![Item::file("manifest", "{}"), Item::directory("rootfs")]);
    bytes.extend(entries(items));
    bytes.resize((bytes.len() + 1024).next_multiple_of(10240), 0);
    bytes
}

impl Scratch {
    /// Unpacks an archive.
    pub(crate) fn unpack(&self, archive: &[u8]) -> Result<Unpacked> {
        let options = Options { owners: crate::sys::is_root(), max_size: None };
        unpack(archive, File::open(self.rootfs()).unwrap().as_fd(), &options)
    }
}
