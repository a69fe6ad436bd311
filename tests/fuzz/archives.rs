//! Archives, plain and compressed, unpacked as an import does it.

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::PathBuf;

use jetpack::stage0::unpack::{Options, unpack};
use tar::Header;

use crate::{Random, Target};

/// The unpacker, and a place for what it makes.
pub(crate) struct Archives {
    place: PathBuf,
}

/// The most that an archive may unpack to.
const MOST: u64 = 4 << 20;

/// Names of files and links.
const NAMES: [&str; 16] = [
    "manifest",
    "rootfs",
    "rootfs/",
    "./rootfs/a",
    "rootfs/a",
    "rootfs/a/b",
    "rootfs/a/b/c",
    "rootfs/../x",
    "/rootfs/a",
    "rootfs/etc/passwd",
    "rootfs/etc/group",
    "",
    ".",
    "..",
    "../outside/keep",
    "rootfs/\u{e9}",
];

/// Types of entries, with some that are none.
const KINDS: &[u8] = b"0012345567SLKxgDV\0";

/// Records of extended headers.
const RECORDS: [(&str, &str); 30] = [
    ("path", "rootfs/long"),
    ("path", "../outside/x"),
    ("linkpath", "rootfs/a"),
    ("size", "0"),
    ("size", "5"),
    ("size", "-1"),
    ("size", "9223372036854775807"),
    ("uid", "0"),
    ("gid", "4294967295"),
    ("mtime", "1.5"),
    ("mtime", "-1"),
    ("atime", "x"),
    ("SCHILY.xattr.user.a", "b"),
    ("SCHILY.xattr.trusted.overlay.opaque", "y"),
    ("LIBARCHIVE.xattr.user.a%20b", "eA=="),
    ("LIBARCHIVE.xattr.%", "*"),
    ("SCHILY.acl.access", "user::rwx,group::r-x,other::r--"),
    ("SCHILY.acl.access", "user::rwx,user:root:rwx,group::r-x,mask::rwx,other::---"),
    ("SCHILY.acl.default", "user::rwx"),
    ("SCHILY.acl.ace", "owner@:rwxp--aARWcCos:-------:allow"),
    ("SCHILY.fflags", "nodump"),
    ("SCHILY.fflags", "schg,uchg"),
    ("GNU.sparse.major", "1"),
    ("GNU.sparse.minor", "0"),
    ("GNU.sparse.realsize", "10000"),
    ("GNU.sparse.name", "rootfs/s"),
    ("GNU.sparse.map", "0,1,512,1"),
    ("GNU.sparse.size", "3000"),
    ("GNU.sparse.size", "99999999999999"),
    ("comment", "c"),
];

fn record((key, value): (&str, &str)) -> String {
    let rest = key.len() + value.len() + 3;
    let length = (1..).map(|digits| rest + digits).find(|n| n.to_string().len() + rest == *n).unwrap_or(rest);
    format!("{length} {key}={value}\n")
}

fn entry(kind: u8, name: &str, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name.as_bytes());
    old.linkname[..link.len()].copy_from_slice(link.as_bytes());
    old.linkflag[0] = kind;
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_000_000_000);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut bytes = [header.as_bytes().as_slice(), content].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// A record as it is written, or with something else in it.
fn random_record(random: &mut Random) -> String {
    let (key, value) = *random.pick(&RECORDS);
    match random.below(4) {
        0 | 1 => record((key, value)),
        2 => record((key, &random.vary(value))),
        _ => {
            let value = random.vary(value);
            record((&random.vary(key), &random.vary(&value)))
        }
    }
}

/// The same archive with something else in the records of one of its extended headers.
fn vary_records(random: &mut Random, bytes: &mut Vec<u8>) {
    let is_extended = |at: &usize| bytes[at + 156] == b'x' && &bytes[at + 257..at + 262] == b"ustar";
    let headers: Vec<usize> = (0..bytes.len() / 512).map(|block| block * 512).filter(is_extended).collect();
    let Some(at) = headers.get(random.below(headers.len())).copied() else { return };
    let size =
        std::str::from_utf8(&bytes[at + 124..at + 135]).ok().and_then(|size| usize::from_str_radix(size, 8).ok());
    let end = at + 512 + size.unwrap_or(0).next_multiple_of(512).min(bytes.len() - at - 512);
    let text = String::from_utf8_lossy(&bytes[at + 512..end]).into_owned();
    let lines = text.lines().filter_map(|line| line.split_once(' ')?.1.split_once('='));
    let mut pairs: Vec<(String, String)> = lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let which = random.below(pairs.len());
    if let Some((_, value)) = pairs.get_mut(which) {
        *value = random.vary(value);
    }
    let content: String = pairs.iter().map(|(key, value)| record((key, value))).collect();
    bytes.splice(at..end, entry(b'x', "x", "", content.as_bytes()));
}

/// An entry of any kind.
fn random_entry(random: &mut Random) -> Vec<u8> {
    let kind = *random.pick(KINDS);
    let content = match kind {
        b'x' | b'g' => (0..=random.below(4)).map(|_| random_record(random)).collect::<String>().into_bytes(),
        b'L' | b'K' => [random.pick(&NAMES).as_bytes(), b"\0"].concat(),
        b'0' | b'S' | b'7' => vec![b"0\n"[random.below(2)]; *random.pick(&[0, 1, 3, 511, 512, 513, 9000])],
        _ => Vec::new(),
    };
    entry(kind, random.pick::<&str>(&NAMES), random.pick::<&str>(&NAMES), &content)
}

/// Makes the sums of the headers right again.
fn mend(bytes: &mut [u8]) {
    for block in bytes.as_chunks_mut::<512>().0 {
        if &block[257..262] == b"ustar" {
            let mut header = Header::new_old();
            header.as_mut_bytes().copy_from_slice(block);
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
    }
}

/// Changes an archive that is not compressed.
fn change(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let blocks = bytes.len() / 512;
    let at = random.below(blocks + 1) * 512;
    match random.below(10) {
        8 | 9 => vary_records(random, bytes),
        0..=2 => drop(bytes.splice(at..at, random_entry(random))),
        3 if at < blocks * 512 => drop(bytes.drain(at..at + 512)),
        4 if at < blocks * 512 => {
            let block = bytes[at..at + 512].to_vec();
            let to = random.below(blocks + 1) * 512;
            bytes.splice(to..to, block);
        }
        // A field of a header: numbers in both forms, and texts.
        5 | 6 if at < blocks * 512 => {
            let field = *random.pick(&[0, 100, 108, 116, 124, 136, 148, 156, 157, 257, 329, 337, 386, 398, 482, 483]);
            let values: [&[u8]; 10] = [
                b"0000000\0",
                b"7777777\0",
                b"\x80\0\0\0\0\0\0\xff",
                b"\xff\xff\xff\xff\xff\xff\xff\xff",
                b"00000001000\0",
                b"77777777777\0",
                b" 12 ",
                b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff",
                b"rootfs/a\0",
                b"S",
            ];
            let value = random.pick(&values);
            bytes[at + field..at + field + value.len()].copy_from_slice(value);
        }
        _ => random.disturb(bytes, other),
    }
    if random.below(8) > 0 {
        mend(bytes);
    }
    bytes.truncate(crate::LONGEST);
}

fn compress(random: &mut Random, plain: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = match random.below(4) {
        0 => flate2::read::GzEncoder::new(plain, flate2::Compression::fast()).read_to_end(&mut bytes),
        1 => xz2::read::XzEncoder::new(plain, 0).read_to_end(&mut bytes),
        2 => bzip2::read::BzEncoder::new(plain, bzip2::Compression::fast()).read_to_end(&mut bytes),
        _ => zstd::stream::read::Encoder::new(plain, 1).and_then(|mut encoder| encoder.read_to_end(&mut bytes)),
    };
    read.expect("compressing in memory");
    bytes
}

impl Archives {
    pub(crate) fn new() -> Archives {
        let place = std::env::temp_dir().join(format!("jetpack-fuzz-{}", std::process::id()));
        fs::create_dir_all(place.join("outside")).expect("a directory");
        fs::write(place.join("outside/keep"), "kept").expect("a file");
        Archives { place }
    }
}

impl Drop for Archives {
    fn drop(&mut self) {
        let _ = jetpack::sys::paths::remove_tree(&self.place);
    }
}

impl Target for Archives {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let begin = [entry(b'0', "manifest", "", b"{}"), entry(b'5', "rootfs", "", b"")].concat();
        let end = vec![0; 1024];
        let records = |records: &[(&str, &str)]| {
            entry(b'x', "x", "", records.iter().map(|pair| record(*pair)).collect::<String>().as_bytes())
        };
        let map = [b"1\n512\n3\n".to_vec(), vec![0; 512 - 8], b"abc".to_vec()].concat();
        let bodies = [
            Vec::new(),
            [
                entry(b'0', "rootfs/a/b", "", b"content"),
                entry(b'1', "rootfs/c", "rootfs/a/b", b""),
                entry(b'2', "rootfs/d", "a", b""),
            ]
            .concat(),
            [
                records(&[RECORDS[12], RECORDS[16], RECORDS[9]]),
                entry(b'0', "rootfs/x", "", b"x"),
                entry(b'6', "rootfs/p", "", b""),
            ]
            .concat(),
            [records(&RECORDS[22..26]), entry(b'0', "y", "", &map)].concat(),
            [records(&RECORDS[25..28]), entry(b'0', "z", "", b"ab")].concat(),
            [
                entry(b'L', "l", "", b"rootfs/long\0"),
                entry(b'5', "x", "", b""),
                entry(b'g', "g", "", record(RECORDS[29]).as_bytes()),
            ]
            .concat(),
        ];
        bodies.into_iter().map(|body| [begin.clone(), body, end.clone()].concat()).collect()
    }

    fn change(&self, random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = input.to_vec();
        (0..=random.below(3)).for_each(|_| change(random, &mut bytes, other));
        if random.below(4) == 0 {
            bytes = compress(random, &bytes);
            if random.below(2) == 0 {
                random.disturb(&mut bytes, other);
            }
        }
        bytes
    }

    /// Whatever comes of it, nothing beside the place changes.
    fn read(&mut self, input: &[u8]) -> String {
        let into = self.place.join("rootfs");
        fs::create_dir(&into).expect("a directory");
        let options = Options { owners: false, max_size: Some(MOST) };
        let unpacked = unpack(input, File::open(&into).expect("a directory").as_fd(), &options);
        let said = match unpacked {
            Ok(unpacked) => format!("{} with {} warnings", unpacked.compression, unpacked.warnings.join(", ")),
            Err(error) => error.one_line(),
        };
        jetpack::sys::paths::remove_tree(&into).expect("what was made can be removed");
        let names: Vec<_> =
            fs::read_dir(&self.place).expect("the place").map(|entry| entry.expect("an entry").file_name()).collect();
        assert_eq!(names, ["outside"]);
        assert_eq!(fs::read_dir(self.place.join("outside")).expect("a directory").count(), 1);
        assert_eq!(fs::read(self.place.join("outside/keep")).expect("a file"), b"kept");
        said
    }
}
