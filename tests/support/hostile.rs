//! The set of hostile archives: what each tries, and whether it is refused or can be had without harm.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use tar::Header;

use super::archive::{compressed, manifest};
use super::command::Jetpack;

/// What comes of an archive.
pub(crate) enum Fate {
    /// It is refused, with this text behind the beginning, which names the file.
    Refused(&'static str),
    /// It becomes an image, which has this file.
    Contained(PathBuf),
    /// It becomes an image, which has this device where the store may have any. No pod can open it there.
    Device(PathBuf),
}

/// An archive, and what is to come of it.
pub(crate) struct Hostile {
    /// What it tries.
    pub(crate) what: String,
    /// The archive.
    pub(crate) archive: Vec<u8>,
    /// Options that the command gets.
    pub(crate) options: Vec<&'static str>,
    /// What is to come of it.
    pub(crate) fate: Fate,
}

/// An entry with whatever name, type and link.
fn raw(kind: u8, name: &[u8], link: &[u8], content: &[u8]) -> Vec<u8> {
    entry(kind, name, link, content, |_| {})
}

fn entry(kind: u8, name: &[u8], link: &[u8], content: &[u8], change: impl Fn(&mut Header)) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
    header.as_old_mut().linkflag[0] = kind;
    header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    header.set_uid(uid.into());
    header.set_gid(gid.into());
    header.set_mtime(1_000_000_000);
    header.set_size(content.len() as u64);
    change(&mut header);
    header.set_cksum();
    let mut bytes = [header.as_bytes().as_slice(), content].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn file(name: &str) -> Vec<u8> {
    raw(b'0', name.as_bytes(), b"", b"x")
}

fn directory(name: &str) -> Vec<u8> {
    raw(b'5', name.as_bytes(), b"", b"")
}

fn symlink(name: &str, target: &str) -> Vec<u8> {
    raw(b'2', name.as_bytes(), target.as_bytes(), b"")
}

fn hard_link(name: &str, target: &str) -> Vec<u8> {
    raw(b'1', name.as_bytes(), target.as_bytes(), b"")
}

/// The extended header of the next entry.
fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    let record = |(key, value): &(&str, &str)| {
        let rest = key.len() + value.len() + 3;
        let length = (1..).map(|digits| rest + digits).find(|n| n.to_string().len() + rest == *n).expect("a length");
        format!("{length} {key}={value}\n")
    };
    raw(b'x', b"pax", b"", records.iter().map(record).collect::<String>().as_bytes())
}

/// A whole archive with these entries.
fn whole(entries: &[Vec<u8>]) -> Vec<u8> {
    let begin = [raw(b'0', b"manifest", b"", manifest("hostile", None).as_bytes()), directory("rootfs")];
    [begin.concat(), entries.concat(), vec![0; 1024]].concat()
}

fn refused(what: &str, entries: &[Vec<u8>], why: &'static str) -> Hostile {
    Hostile { what: what.to_owned(), archive: whole(entries), options: Vec::new(), fate: Fate::Refused(why) }
}

fn contained(what: &str, entries: &[Vec<u8>], file: impl Into<PathBuf>) -> Hostile {
    Hostile { what: what.to_owned(), archive: whole(entries), options: Vec::new(), fate: Fate::Contained(file.into()) }
}

/// An archive with a device, which has these numbers.
fn device(what: &str, kind: u8, (major, minor): (u32, u32)) -> Hostile {
    let node = entry(kind, b"rootfs/device", b"", b"", |header| {
        header.set_device_major(major).expect("a GNU header");
        header.set_device_minor(minor).expect("a GNU header");
    });
    Hostile { fate: Fate::Device("device".into()), ..contained(what, &[node], "") }
}

impl Hostile {
    fn with(mut self, option: &'static str) -> Hostile {
        self.options.push(option);
        self
    }
}

/// All but those that end early. `outside` is a directory that nothing may touch, with a file `keep` in it.
pub(crate) fn archives(outside: &Path) -> Vec<Hostile> {
    let outside = outside.to_str().expect("a plain path");
    [names(outside), links(outside), twice(), numbers(), claims(), bombs(), manifests()].into_iter().flatten().collect()
}

fn names(outside: &str) -> Vec<Hostile> {
    let absolute = format!("{outside}/new");
    let deep = "d/".repeat(2040);
    let not_text = b"rootfs/\xff\xfe";
    vec![
        refused("a name that goes up", &[file("rootfs/../../new")], "an entry's name goes up by ..: rootfs/../../new"),
        refused("a name that is only up", &[file("..")], "an entry's name goes up by .."),
        refused("an absolute name", &[file(&absolute)], "an entry's name is absolute: /"),
        refused(
            "an absolute name in an extended header",
            &[pax(&[("path", &absolute)]), file("rootfs/x")],
            "an entry's name is absolute: /",
        ),
        refused(
            "a name that is too long",
            &[pax(&[("path", &deep.repeat(2))]), directory("x")],
            "an entry's name is longer",
        ),
        refused("a name without a file", &[file("")], "an entry's name is empty"),
        refused("a whiteout", &[raw(b'3', b"rootfs/w", b"", b"")], "rootfs/w is a whiteout, the device 0:0"),
        contained(
            "a name that is not text",
            &[raw(b'0', not_text, b"", b"x")],
            OsString::from_vec(b"\xff\xfe".to_vec()),
        ),
        contained("two thousand levels", &[pax(&[("path", &format!("rootfs/{deep}"))]), directory("x")], &deep[..2000]),
        contained("control characters in a name", &[file("rootfs/\u{1b}[2J\n")], "\u{1b}[2J\n"),
    ]
}

fn links(outside: &str) -> Vec<Hostile> {
    let to = |target: &str| symlink("rootfs/a", target);
    let keep = format!("{outside}/keep");
    let through = "rootfs/a/new goes through the symlink rootfs/a";
    vec![
        refused("a file through an absolute symlink", &[to(outside), file("rootfs/a/new")], through),
        refused("a file through a symlink that goes up", &[to("../../../../outside"), file("rootfs/a/new")], through),
        refused("a file through a symlink to itself", &[to("."), file("rootfs/a/new")], through),
        refused("a directory through a symlink", &[to(outside), directory("rootfs/a/new")], through),
        refused(
            "a file through two symlinks",
            &[to("."), symlink("rootfs/b", "a"), file("rootfs/b/a/new")],
            "rootfs/b/a/new goes through the symlink rootfs/b",
        ),
        refused("a file in the place of a symlink", &[to(&keep), file("rootfs/a")], "rootfs/a is given twice"),
        refused(
            "a directory in the place of a symlink",
            &[to(outside), directory("rootfs/a")],
            "rootfs/a is given twice",
        ),
        refused(
            "a symlink in the place of a directory",
            &[directory("rootfs/a"), to(outside), file("rootfs/a/new")],
            "rootfs/a is given twice",
        ),
        refused(
            "a symlink in the place of a directory that was made on the way",
            &[file("rootfs/a/x"), to(outside), file("rootfs/a/new")],
            "rootfs/a is given twice",
        ),
        refused("a symlink in the place of the root", &[symlink("rootfs", outside)], "rootfs is not a directory"),
        refused("a hard link out", &[hard_link("rootfs/h", &keep)], "rootfs/h is a hard link to /"),
        refused(
            "a hard link up",
            &[hard_link("rootfs/h", "rootfs/../../../outside/keep")],
            "rootfs/h is a hard link to ",
        ),
        refused(
            "a hard link to the manifest",
            &[hard_link("rootfs/h", "manifest")],
            "rootfs/h is a hard link to manifest",
        ),
        refused(
            "a hard link through a symlink",
            &[to(outside), hard_link("rootfs/h", "rootfs/a/keep")],
            "rootfs/h goes through the symlink rootfs/a",
        ),
        contained("a hard link to a symlink out", &[to(&keep), hard_link("rootfs/h", "rootfs/a")], "h"),
        contained("a symlink out with other owner, mode and time", &[to(&keep)], "a"),
    ]
}

fn twice() -> Vec<Hostile> {
    let cases: [(&str, [Vec<u8>; 2]); 5] = [
        ("a file twice", [file("rootfs/x"), file("rootfs/x")]),
        ("a file twice, spelt otherwise", [file("rootfs/x"), file("./rootfs/.//x")]),
        ("a file and a directory", [file("rootfs/x"), directory("rootfs/x")]),
        ("a directory and a file", [directory("rootfs/x"), file("rootfs/x")]),
        ("a directory twice", [directory("rootfs/x"), directory("rootfs/x/")]),
    ];
    let why = |spelling: &str| match spelling {
        "a file twice, spelt otherwise" => "./rootfs/.//x is given twice",
        "a directory twice" => "rootfs/x/ is given twice",
        _ => "rootfs/x is given twice",
    };
    cases.into_iter().map(|(what, entries)| refused(what, &entries, why(what))).collect()
}

fn numbers() -> Vec<Hostile> {
    let size = |size: [u8; 12]| entry(b'0', b"rootfs/f", b"", b"x", |header| header.as_old_mut().size = size);
    let with = |key: &str, value: &str| [pax(&[(key, value)]), file("rootfs/f")];
    vec![
        refused(
            "a negative size",
            &[size(*b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00")],
            "the size of rootfs/f is negative",
        ),
        refused(
            "a size beyond 64 bits",
            &[size(*b"\x80\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff")],
            "the size of rootfs/f is too large",
        ),
        refused(
            "a size of eight exabytes",
            &[size(*b"\x80\x00\x00\x00\x7f\xff\xff\xff\xff\xff\xff\xff")],
            "the files have, with their holes, more than 34359738368 bytes\nhelp: ",
        ),
        refused("a negative size in an extended header", &with("size", "-1"), "the size of rootfs/f is not a number"),
        refused(
            "a huge size in an extended header",
            &with("size", "9223372036854775807"),
            "the files have, with their holes, more than",
        ),
        refused(
            "a size beyond 64 bits in an extended header",
            &with("size", "99999999999999999999"),
            "the size of rootfs/f is too large",
        ),
        refused("a negative owner", &with("uid", "-1"), "the uid of rootfs/f is not a number"),
        refused("an owner beyond 32 bits", &with("gid", "4294967296"), "the gid of rootfs/f is too large"),
        refused("a time beyond time", &with("mtime", "99999999999999999999"), "the mtime of rootfs/f is not a time"),
        refused(
            "a record that is longer than its header",
            &[raw(b'x', b"pax", b"", b"99 path=x\n"), file("rootfs/f")],
            "an extended header is damaged",
        ),
        refused(
            "a record of no length",
            &[raw(b'x', b"pax", b"", b"0 path=x\n"), file("rootfs/f")],
            "an extended header is damaged",
        ),
        refused(
            "an extended header of eight gigabytes",
            &[entry(b'x', b"pax", b"", b"", |header| header.set_size(8 << 30)), file("rootfs/f")],
            "the extended header after rootfs has 8589934592 bytes, more than 8388608",
        ),
        refused(
            "a long name of eight gigabytes",
            &[entry(b'L', b"long", b"", b"", |header| header.set_size(8 << 30)), file("rootfs/f")],
            "the long name after rootfs has 8589934592 bytes, more than 8388608",
        ),
    ]
}

/// Two terabytes of holes.
fn sparse() -> [Vec<u8>; 2] {
    let records = [("GNU.sparse.name", "rootfs/hole"), ("GNU.sparse.size", "2199023255552"), ("GNU.sparse.map", "0,1")];
    [pax(&records), file("rootfs/GNUSparseFile.0/hole")]
}

fn claims() -> Vec<Hostile> {
    let old = entry(b'S', b"rootfs/hole", b"", b"", |header| {
        header.as_gnu_mut().expect("a GNU header").set_real_size(2 << 40);
    });
    let setuid = entry(b'0', b"rootfs/su", b"", b"x", |header| header.set_mode(0o6755));
    vec![
        refused(
            "a sparse file of two terabytes",
            &sparse(),
            "the files have, with their holes, more than 34359738368 bytes\nhelp: ",
        ),
        refused("the same in the older format", &[old], "the files have, with their holes, more than"),
        contained("a sparse file of two terabytes that the person wants", &sparse(), "hole").with("images.max-size=3T"),
        contained("a file with another's rights", &[setuid], "su"),
        device("a device of the host's disk", b'4', (8, 0)),
        device("a device of the kernel's memory", b'3', (1, 1)),
    ]
}

/// Some megabytes in a few kilobytes, where one is allowed.
fn bombs() -> Vec<Hostile> {
    let zeros = vec![0; 3 << 20];
    let many: Vec<Vec<u8>> = (0..3000).map(|n| directory(&format!("rootfs/{n}"))).collect();
    let bomb = |what: &str, compression: &str, plain: &[u8], why| Hostile {
        what: format!("{what}, compressed by {compression}"),
        archive: compressed(compression, plain),
        options: vec!["images.max-size=1M"],
        fate: Fate::Refused(why),
    };
    let in_file = whole(&[raw(b'0', b"rootfs/zeros", b"", &zeros)]);
    let behind = [whole(&[]), zeros].concat();
    let limit = "the archive has, when decompressed, more than 1048576 bytes\nhelp: ";
    let mut bombs: Vec<Hostile> = ["gzip", "xz", "bzip2", "zstd"]
        .iter()
        .flat_map(|compression| {
            [
                bomb(
                    "a bomb in a file",
                    compression,
                    &in_file,
                    "the files have, with their holes, more than 1048576 bytes\nhelp: ",
                ),
                bomb("a bomb behind the end", compression, &behind, limit),
            ]
        })
        .collect();
    bombs.push(bomb("a bomb of directories", "xz", &whole(&many), limit));
    bombs.push(Hostile {
        what: "a window of three gigabytes".to_owned(),
        archive: window(&whole(&[])),
        options: Vec::new(),
        fate: Fate::Refused("cannot decompress the archive as xz: "),
    });
    bombs
}

/// An xz stream that asks its decoder for three gigabytes.
fn window(plain: &[u8]) -> Vec<u8> {
    let mut bytes = compressed("xz", plain);
    // Behind the header of the stream (12 bytes) is that of the block: its length in words, less one, flags, the number of the
    // filter and the length of its properties, which are the size of the window; in the end, a sum of it all.
    let length = (usize::from(bytes[12]) + 1) * 4;
    assert_eq!(bytes[13..16], [0, 0x21, 1], "a block of LZMA2 without sizes");
    bytes[16] = 39;
    let mut sum = flate2::Crc::new();
    sum.update(&bytes[12..12 + length - 4]);
    bytes[12 + length - 4..12 + length].copy_from_slice(&sum.sum().to_le_bytes());
    bytes
}

fn manifests() -> Vec<Hostile> {
    let alone = |what: &str, manifest: &[u8], why| Hostile {
        what: what.to_owned(),
        archive: compressed(
            "zstd",
            &[raw(b'0', b"manifest", b"", manifest), directory("rootfs"), vec![0; 1024]].concat(),
        ),
        options: Vec::new(),
        fate: Fate::Refused(why),
    };
    let good = manifest("hostile", None);
    let deep = good.replacen('{', &format!("{{\"userLabels\": {}{}, ", "[".repeat(100_000), "]".repeat(100_000)), 1);
    let many = format!("{}{{}}{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    vec![
        alone(
            "a manifest of a hundred megabytes",
            &vec![b' '; 100 << 20],
            "manifest has 104857600 bytes, more than 16777216",
        ),
        alone(
            "a manifest of lists in lists",
            deep.as_bytes(),
            "the manifest breaks the specification: line 1, column ",
        ),
        alone(
            "a manifest of objects in objects",
            many.as_bytes(),
            "the manifest breaks the specification: line 1, column ",
        ),
        alone(
            "a manifest that is not text",
            b"{\"acKind\": \"\xff\"}",
            "the manifest breaks the specification: line 1, column ",
        ),
        refused("a second manifest", &[file("manifest")], "manifest is given twice"),
    ]
}

/// An archive with each kind of block.
fn every_kind() -> Vec<u8> {
    let old = entry(b'S', b"rootfs/old", b"", b"abcdef", |header| {
        let gnu = header.as_gnu_mut().expect("a GNU header");
        gnu.set_real_size(10_000);
        gnu.set_is_extended(true);
        for (piece, at) in gnu.sparse.iter_mut().zip([0, 1000, 2000, 3000]) {
            piece.set_offset(at);
            piece.set_length(1);
        }
    });
    let mut more = tar::GnuExtSparseHeader::new();
    more.sparse_mut()[0].set_offset(4000);
    more.sparse_mut()[0].set_length(2);
    let old = [&old[..512], more.as_bytes(), &old[512..]].concat();
    let map = [b"1\n4096\n3\n".to_vec(), vec![0; 512 - 9], b"abc".to_vec()].concat();
    let records =
        [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "9000"), ("path", "rootfs/new")];
    whole(&[
        raw(b'g', b"global", b"", b"13 comment=x\n"),
        raw(b'L', b"././@LongLink", b"", b"rootfs/a-long-name\0"),
        file("rootfs/short"),
        raw(b'K', b"././@LongLink", b"", b"rootfs/a-long-name\0"),
        hard_link("rootfs/link", "short"),
        old,
        pax(&records),
        raw(b'0', b"x", b"", &map),
        raw(b'6', b"rootfs/pipe", b"", b""),
        directory("rootfs/d"),
    ])
}

/// An archive with each kind of block, ending in the middle and at the end of each of them, and in many places of each
/// compression.
pub(crate) fn cut_short() -> Vec<Hostile> {
    let plain = every_kind();
    // A plain archive may do without its last block of zeros.
    let end = plain.len() - 1024;
    let cut = |compression: &str, at: usize, bytes: &[u8]| Hostile {
        what: format!("an archive compressed by {compression} that ends after {at} bytes"),
        archive: bytes[..at].to_vec(),
        options: Vec::new(),
        fate: Fate::Refused(""),
    };
    let mut all: Vec<Hostile> = (256..=end + 256).step_by(256).map(|at| cut("none", at, &plain)).collect();
    for compression in ["gzip", "xz", "bzip2", "zstd"] {
        let bytes = compressed(compression, &plain);
        let places = (1..40).chain((40..bytes.len()).step_by(29)).chain(bytes.len() - 16..bytes.len());
        all.extend(places.map(|at| cut(compression, at, &bytes)));
    }
    all.push(Hostile {
        what: "the whole of it".to_owned(),
        archive: plain,
        options: Vec::new(),
        fate: Fate::Contained("new".into()),
    });
    all
}

/// What can be seen of a directory and the file in it.
fn look(outside: &Path) -> Vec<String> {
    let one = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.expect("an entry").path();
        let found = fs::symlink_metadata(&path).expect("a file");
        let times = (found.mtime(), found.ctime(), found.ctime_nsec());
        let content = fs::read(&path).unwrap_or_default();
        format!("{path:?} {} {:o} {} {times:?} {content:?}", found.nlink(), found.mode(), found.uid())
    };
    let mut seen: Vec<String> = fs::read_dir(outside).expect("a directory").map(one).collect();
    seen.sort();
    seen
}

/// Imports an archive, and removes it again if it becomes an image.
fn check(jetpack: &Jetpack, hostile: &Hostile, context: &str) {
    let what = format!("{context}: {}", hostile.what);
    let path = jetpack.file("hostile.aci", &hostile.archive);
    let options = hostile.options.iter().flat_map(|option| ["-o", option]);
    let import = ["--insecure-options", "image", "import", path.to_str().expect("a plain path")];
    let output = jetpack.run(options.chain(import));
    let unsigned = format!("jetpack: warning: {} is not signed: nobody knows who made it\n", path.display());
    match &hostile.fate {
        Fate::Refused(why) => {
            let beginning = format!("{unsigned}jetpack: cannot import {}: ", path.display());
            let told = output.code == 125 && output.stderr.strip_prefix(&beginning).is_some_and(|s| s.starts_with(why));
            assert!(told && output.stdout.is_empty(), "{what}: {output:?}");
        }
        Fate::Contained(file) | Fate::Device(file) => {
            assert_eq!((output.code, output.stdout.lines().count()), (0, 1), "{what}: {output:?}");
            let id = output.stdout.trim();
            let layer = jetpack.store().join("layers").join(id);
            let layer = if jetpack.dataset().is_some() { layer.join("tree") } else { layer };
            let is_left_out = matches!(hostile.fate, Fate::Device(_)) && context == "fake";
            assert_eq!(fs::symlink_metadata(layer.join(file)).is_ok(), !is_left_out, "{what}");
            assert_eq!(output.stderr.contains("devices are left out"), is_left_out, "{what}: {output:?}");
            let shown = jetpack.run(["--format", "json", "show-image", id]).success().stdout;
            assert_eq!(shown.contains("\"su\""), file.ends_with("su"), "{shown}");
            jetpack.run(["destroy-image", id]).success();
        }
    }
    assert_eq!(jetpack.contents(), [""; 0], "{what}");
}

/// Has a store import each of them. `made` makes them for a directory that nothing may touch.
pub(crate) fn check_all(jetpack: &Jetpack, context: &str, made: fn(&Path) -> Vec<Hostile>) {
    let outside = jetpack.path("outside");
    fs::create_dir(&outside).expect("a directory");
    fs::write(outside.join("keep"), "kept").expect("a file");
    let before = look(&outside);
    for hostile in made(&outside) {
        check(jetpack, &hostile, context);
        assert_eq!(look(&outside), before, "{context}: {}", hostile.what);
    }
    assert!(!jetpack.path("new").exists() && !jetpack.store().join("new").exists());
}
