//! Whole archives, good and bad.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use sha2::{Digest, Sha512};

use super::testing::{Item, compress, entries, image, record};
use super::*;
use crate::sys::os::attrs;
use crate::sys::testing::{Scratch, skipped_without_root};
use crate::sys::tree::Node;

mod hostile;
mod kept;

const ALL: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Xz, Compression::Bzip2, Compression::Zstd];

/// A file that is larger than a piece and does not compress to nothing.
fn noise() -> Vec<u8> {
    (0u32..700_000).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

#[test]
fn an_image_of_each_compression() {
    let plain = image(vec![
        Item::directory("rootfs/bin/"),
        Item::file("rootfs/bin/sh", noise()).mode(0o755),
        Item::file("rootfs/empty", ""),
        Item::link(b'2', "rootfs/link", "/bin/sh"),
        Item::link(b'1', "rootfs/hard", "rootfs/bin/sh"),
    ]);
    for compression in ALL {
        let scratch = Scratch::new();
        let made = scratch.unpack(&compress(compression, &plain)).unwrap();
        assert_eq!(made.compression, compression);
        assert_eq!(made.id_digest, <[u8; 64]>::from(Sha512::digest(&plain)));
        assert_eq!((made.size, made.files, made.manifest), (plain.len() as u64, 6, b"{}".to_vec()));
        assert_eq!((made.setuid, made.warnings), (vec![], Vec::<String>::new()));
        let at = |name: &str| scratch.rootfs().join(name);
        assert!(fs::read(at("bin/sh")).unwrap() == noise());
        assert_eq!(fs::read_link(at("link")).unwrap(), Path::new("/bin/sh"));
        assert_eq!(fs::metadata(at("hard")).unwrap().ino(), fs::metadata(at("bin/sh")).unwrap().ino());
        assert_eq!(fs::metadata(at("empty")).unwrap().len(), 0);
        assert!(!at("manifest").exists());
    }
}

#[test]
fn order_and_spelling_of_names_do_not_matter() {
    let mut bytes = entries(vec![
        Item::directory("./"),
        Item::file("./rootfs/a//b/./c", "c"),
        Item::directory("./rootfs/a").mode(0o700),
        Item::file("./manifest", "{ }"),
        Item::directory("rootfs/").mode(0o711),
        Item::new(0, "rootfs/old/"),
    ]);
    bytes.resize(bytes.len() + 512, 0);
    let scratch = Scratch::new();
    assert_eq!(scratch.unpack(&bytes).unwrap().manifest, b"{ }");
    let mode = |name: &str| fs::metadata(scratch.rootfs().join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode(""), mode("a"), mode("a/b"), mode("a/b/c"), mode("old")), (0o711, 0o700, 0o755, 0o644, 0o644));
}

#[test]
fn long_names_of_both_kinds() {
    let long = format!("rootfs/{}", vec!["x".repeat(200); 4].join("/"));
    let other = format!("rootfs/{}", vec!["y".repeat(200); 4].join("/"));
    let gnu = |kind: u8, text: &str| {
        Item::file("././@LongLink", format!("{text}\0")).with(|h| h.as_old_mut().linkflag[0] = kind)
    };
    let scratch = Scratch::new();
    let items = vec![
        gnu(b'L', &long),
        Item::file("short", "1"),
        Item::file("short", "2").pax("path", &other),
        gnu(b'K', &long),
        Item::link(b'1', "rootfs/1", "short"),
        Item::link(b'1', "rootfs/2", "short").pax("linkpath", &other),
        Item::link(b'2', "rootfs/3", "short").pax("linkpath", &other),
    ];
    scratch.unpack(&image(items)).unwrap();
    let read = |name: &str| fs::read_to_string(scratch.path().join(name)).unwrap();
    assert_eq!((read(&long), read(&other)), ("1".to_owned(), "2".to_owned()));
    assert_eq!((read("rootfs/1"), read("rootfs/2")), ("1".to_owned(), "2".to_owned()));
    assert_eq!(fs::read_link(scratch.rootfs().join("3")).unwrap(), Path::new(&other));
}

#[test]
fn holes_stay_holes_and_sparse_formats_are_read() {
    let mut content = vec![0; 3 << 20];
    content[5_000..5_010].copy_from_slice(b"0123456789");
    content[2_000_000] = 1;
    let sparse = |name: &str| Item::file(name, "abcXYZ").pax("GNU.sparse.name", format!("rootfs/{name}"));
    let version_1 = [b"2\n4096\n3\n8192\n3\n".to_vec(), vec![0; 512 - 16], b"abcXYZ".to_vec()].concat();
    let old = Item::file("rootfs/old", "abcXYZ").with(|header| {
        header.as_old_mut().linkflag[0] = b'S';
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(10_000);
        for (at, piece) in [(4096, 3), (8192, 3), (10_000, 0)].iter().zip(&mut gnu.sparse) {
            piece.set_offset(at.0);
            piece.set_length(at.1);
        }
    });
    let scratch = Scratch::new();
    let items = vec![
        Item::file("rootfs/zeros", &content),
        old,
        sparse("v01").pax("GNU.sparse.map", "4096,3,8192,3").pax("GNU.sparse.size", "10000"),
        Item::file("v1", version_1)
            .pax("GNU.sparse.major", "1")
            .pax("GNU.sparse.minor", "0")
            .pax("GNU.sparse.name", "rootfs/v1")
            .pax("GNU.sparse.realsize", "10000"),
    ];
    scratch.unpack(&image(items)).unwrap();
    let zeros = fs::metadata(scratch.rootfs().join("zeros")).unwrap();
    assert!(fs::read(scratch.rootfs().join("zeros")).unwrap() == content);
    assert!(zeros.blocks() * 512 < 64 << 10, "{} blocks", zeros.blocks());
    let mut expected = vec![0; 10_000];
    expected[4096..4099].copy_from_slice(b"abc");
    expected[8192..8195].copy_from_slice(b"XYZ");
    for name in ["old", "v01", "v1"] {
        assert!(fs::read(scratch.rootfs().join(name)).unwrap() == expected, "{name}");
    }
}

#[test]
fn an_archive_cut_anywhere_is_truncated() {
    let plain = image(vec![
        Item::file("rootfs/a", "some content"),
        Item::file("rootfs/b", vec![b'x'; 1000]).pax("mtime", "1.5"),
        Item::directory("rootfs/c"),
    ]);
    let end = plain.len() - plain.iter().rev().take_while(|b| **b == 0).count();
    let end = end.next_multiple_of(512);
    for cut in (262..end + 512).step_by(100).chain([end, end + 1, end + 511]) {
        let error = Scratch::new().unpack(&plain[..cut]).unwrap_err().to_string();
        assert!(error.starts_with("the archive is truncated"), "cut at {cut}: {error}");
    }
    Scratch::new().unpack(&plain[..end + 512]).unwrap();
    for compression in &ALL[1..] {
        let bytes = compress(*compression, &plain);
        for cut in [bytes.len() / 3, bytes.len() / 2, bytes.len() - 9, bytes.len() - 1] {
            let error = Scratch::new().unpack(&bytes[..cut]).unwrap_err().to_string();
            let expected = format!("the archive is truncated: its {compression} stream ends early");
            assert!(error == expected || error.starts_with("cannot decompress"), "{compression} {cut}: {error}");
        }
        let cut = compress(*compression, &plain[..end]);
        let error = Scratch::new().unpack(&cut).unwrap_err().to_string();
        assert!(error.starts_with("the archive is truncated: it ends"), "{compression}: {error}");
    }
}

#[test]
fn a_consumer_that_fails_early_does_not_wait_for_the_rest() {
    let mut plain = entries(vec![Item::file("nonsense", "")]);
    plain.resize(6 << 20, 0);
    let error = Scratch::new().unpack(&compress(Compression::Gzip, &plain)).unwrap_err();
    assert_eq!(error.to_string(), "nonsense is neither the manifest nor in rootfs");
}

#[test]
fn a_reader_that_fails_is_reported() {
    struct Broken(usize);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let bytes = image(vec![]);
            if self.0 > 2000 {
                return Err(std::io::Error::other("disk on fire"));
            }
            let length = buffer.len().min(700);
            buffer[..length].copy_from_slice(&bytes[self.0..self.0 + length]);
            self.0 += length;
            Ok(length)
        }
    }
    let scratch = Scratch::new();
    let into = fs::File::open(scratch.rootfs()).unwrap();
    let error = unpack(Broken(0), std::os::fd::AsFd::as_fd(&into), &Options::default()).unwrap_err();
    assert_eq!(error.one_line(), "cannot read the archive: disk on fire");
}

#[test]
fn the_size_can_be_limited() {
    let sparse = Item::file("x", "x").pax("GNU.sparse.name", "rootfs/x").pax("GNU.sparse.map", "0,1");
    let table = [
        (image(vec![Item::file("rootfs/a", noise())]), "the files have, with their holes,"),
        (image(vec![sparse.pax("GNU.sparse.size", "600001")]), "the files have, with their holes,"),
        ([image(vec![]), vec![0; 600_000]].concat(), "the archive has, when decompressed,"),
    ];
    for (plain, what) in table {
        let scratch = Scratch::new();
        let into = fs::File::open(scratch.rootfs()).unwrap();
        let options = |most| Options { owners: false, max_size: Some(most) };
        let packed = compress(Compression::Zstd, &plain);
        let unpack = |most| unpack(&packed[..], std::os::fd::AsFd::as_fd(&into), &options(most));
        let error = unpack(600_000).unwrap_err();
        assert_eq!(error.to_string(), format!("{what} more than 600000 bytes"));
        assert!(error.help_line().unwrap().contains("`images.max-size`"));
    }
}
