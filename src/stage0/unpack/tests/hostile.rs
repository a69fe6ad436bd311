//! Archives that nobody honest makes: each is refused, by a text that names what is wrong, and nothing outside the root
//! filesystem changes.

use super::*;

/// Unpacks what must be refused.
fn refusal(archive: &[u8], context: &str) -> String {
    let scratch = Scratch::new();
    let error = scratch.unpack(archive).expect_err(context).one_line();
    scratch.assert_outside_is_untouched(context);
    error
}

/// Asserts the beginning of the text of each refusal.
fn table(cases: Vec<(Vec<Item>, &str)>) {
    for (items, expected) in cases {
        let error = refusal(&image(items), expected);
        assert!(error.starts_with(expected), "expected: {expected}\nfound:    {error}");
    }
}

fn file(name: &str) -> Item {
    Item::file(name, "x")
}

fn symlink(name: &str, target: &str) -> Item {
    Item::link(b'2', name, target)
}

fn hard_link(name: &str, target: &str) -> Item {
    Item::link(b'1', name, target)
}

#[test]
fn names() {
    table(vec![
        (vec![file("/rootfs/x")], "an entry's name is absolute: /rootfs/x"),
        (vec![file("rootfs/../../outside/x")], "an entry's name goes up by ..: rootfs/../../outside/x"),
        (vec![file("../outside/keep")], "an entry's name goes up by .."),
        (vec![file("")], "an entry's name is empty"),
        (vec![file("a").pax("path", b"rootfs/a\0b")], "an entry's name has a NUL byte in it"),
        (vec![file("a").pax("path", "rootfs/".repeat(900) + "x")], "an entry's name is longer than 4096 bytes"),
        (vec![file("rootfs/a").pax("path", "../outside/x")], "an entry's name goes up by ..: ../outside/x"),
        (vec![file("etc/passwd")], "etc/passwd is neither the manifest nor in rootfs"),
        (
            vec![file(&format!("rootfs/{}", "x".repeat(90))).pax("path", "rootfs/".to_owned() + &"x".repeat(300))],
            "cannot make rootfs/xxx",
        ),
    ]);
}

#[test]
fn the_layout() {
    table(vec![
        (vec![file("manifest")], "manifest is given twice"),
        (vec![file("rootfs")], "rootfs is not a directory"),
        (vec![Item::directory("rootfs")], "rootfs is given twice"),
        (vec![symlink(".", "x")], ". is not a directory"),
    ]);
    let whole = |items: Vec<Item>| [entries(items), vec![0; 1024]].concat();
    for (items, expected) in [
        (vec![Item::directory("rootfs")], "the archive has no manifest"),
        (vec![file("manifest")], "the archive has no rootfs"),
        (vec![symlink("manifest", "/etc/passwd")], "manifest is not a regular file"),
        (vec![Item::file("manifest", vec![b' '; (16 << 20) + 1])], "manifest has 16777217 bytes, more than 16777216"),
        (vec![symlink("rootfs", "../outside")], "rootfs is not a directory"),
        (vec![], "the file is not a tar archive, nor one compressed by gzip, xz, bzip2 or zstd"),
    ] {
        assert_eq!(refusal(&whole(items), expected), expected);
    }
}

#[test]
fn paths_through_symlinks() {
    let escape = || symlink("rootfs/a", "../../outside");
    table(vec![
        (vec![escape(), file("rootfs/a/x")], "rootfs/a/x goes through the symlink rootfs/a"),
        (vec![escape(), file("rootfs/a/keep")], "rootfs/a/keep goes through the symlink rootfs/a"),
        (vec![escape(), Item::directory("rootfs/a")], "rootfs/a is given twice"),
        (vec![escape(), Item::directory("rootfs/a/d")], "rootfs/a/d goes through the symlink rootfs/a"),
        (vec![escape(), file("rootfs/a")], "rootfs/a is given twice"),
        (vec![escape(), symlink("rootfs/a/l", "x")], "rootfs/a/l goes through the symlink rootfs/a"),
        (vec![escape(), hard_link("rootfs/h", "rootfs/a/keep")], "rootfs/h goes through the symlink rootfs/a"),
        (vec![symlink("rootfs/s", "."), file("rootfs/s/x")], "rootfs/s/x goes through the symlink rootfs/s"),
        (
            vec![Item::directory("rootfs/d"), symlink("rootfs/d/a", "/"), file("rootfs/d/a/b/c")],
            "rootfs/d/a/b/c goes through the symlink rootfs/d/a",
        ),
        (vec![file("rootfs/f"), file("rootfs/f/x")], "rootfs/f/x goes through rootfs/f, which is not a directory"),
    ]);
}

#[test]
fn the_same_name_twice() {
    table(vec![
        (vec![file("rootfs/x"), file("rootfs/x")], "rootfs/x is given twice"),
        (vec![file("rootfs/x"), file("./rootfs//x")], "./rootfs//x is given twice"),
        (vec![file("rootfs/x"), symlink("rootfs/x", "y")], "rootfs/x is given twice"),
        (vec![file("rootfs/x"), Item::directory("rootfs/x")], "rootfs/x is given twice"),
        (vec![Item::directory("rootfs/x"), file("rootfs/x")], "rootfs/x is given twice"),
        (vec![Item::directory("rootfs/x"), Item::directory("rootfs/x/")], "rootfs/x/ is given twice"),
        (vec![file("rootfs/x/y"), Item::directory("rootfs/x"), Item::directory("rootfs/x")], "rootfs/x is given twice"),
        (vec![file("rootfs/x"), hard_link("rootfs/x", "rootfs/x")], "rootfs/x is given twice"),
        (vec![Item::new(b'6', "rootfs/x"), Item::new(b'6', "rootfs/x")], "rootfs/x is given twice"),
    ]);
}

#[test]
fn hard_links() {
    table(vec![
        (vec![hard_link("rootfs/h", "/etc/passwd")], "rootfs/h is a hard link to /etc/passwd, which is not in rootfs"),
        (
            vec![hard_link("rootfs/h", "rootfs/../../outside/keep")],
            "rootfs/h is a hard link to rootfs/../../outside/keep, which is not in rootfs",
        ),
        (vec![hard_link("rootfs/h", "manifest")], "rootfs/h is a hard link to manifest, which is not in rootfs"),
        (vec![hard_link("rootfs/h", "rootfs/none")], "rootfs/h is a hard link to rootfs/none, which is not there"),
        (vec![hard_link("rootfs/h", "rootfs/no/ne")], "rootfs/h wants rootfs/no, which is not there"),
        (vec![hard_link("rootfs/h", "rootfs")], "rootfs/h is a hard link to rootfs, which"),
        (
            vec![Item::directory("rootfs/d"), hard_link("rootfs/h", "rootfs/d")],
            "rootfs/h is a hard link to rootfs/d, which cannot have one",
        ),
        (
            vec![file("rootfs/f"), hard_link("rootfs/h", "rootfs/f").with(|h| h.set_size(5)).content("12345")],
            "rootfs/h has content",
        ),
    ]);
}

#[test]
fn a_hard_link_to_a_symlink_is_not_followed() {
    let scratch = Scratch::new();
    let target = scratch.outside().join("keep");
    let items = vec![symlink("rootfs/s", target.to_str().unwrap()), hard_link("rootfs/h", "rootfs/s")];
    scratch.unpack(&image(items)).unwrap();
    assert!(fs::symlink_metadata(scratch.rootfs().join("h")).unwrap().is_symlink());
    scratch.assert_outside_is_untouched("a hard link");
}

#[test]
fn symlinks_keep_the_properties_of_what_they_point_to_alone() {
    if skipped_without_root() {
        return;
    }
    let scratch = Scratch::new();
    let keep = scratch.outside().join("keep");
    let before = fs::metadata(&keep).unwrap();
    let items = vec![
        symlink("rootfs/s", keep.to_str().unwrap()).owner(4242, 4343).mode(0o777).pax("SCHILY.xattr.trusted.a", "b"),
    ];
    scratch.unpack(&image(items)).unwrap();
    let after = fs::metadata(&keep).unwrap();
    let properties = |m: &fs::Metadata| (m.uid(), m.gid(), m.mode(), m.mtime_nsec(), m.ctime_nsec());
    assert_eq!(properties(&before), properties(&after));
    let link = fs::symlink_metadata(scratch.rootfs().join("s")).unwrap();
    assert_eq!((link.uid(), link.gid(), link.mtime()), (4242, 4343, 1_500_000_000));
}

#[test]
fn what_belongs_to_overlayfs() {
    table(vec![
        (
            vec![Item::device(b'3', "rootfs/w", 0, 0)],
            "rootfs/w is a whiteout, the device 0:0, which belongs to overlayfs",
        ),
        (
            vec![Item::directory("rootfs/d").pax("SCHILY.xattr.trusted.overlay.opaque", "y")],
            "rootfs/d has the extended attribute trusted.overlay.opaque, which belongs to overlayfs",
        ),
        (
            vec![file("rootfs/f").pax("SCHILY.xattr.user.overlay.redirect", "/")],
            "rootfs/f has the extended attribute user.overlay.redirect, which belongs to overlayfs",
        ),
        (
            vec![file("rootfs/f").pax("LIBARCHIVE.xattr.trusted%2eoverlay.metacopy", "eA")],
            "rootfs/f has the extended attribute trusted.overlay.metacopy, which belongs to overlayfs",
        ),
    ]);
}

#[test]
fn headers() {
    let field = |change: fn(&mut tar::OldHeader)| vec![file("rootfs/f").with(|h| change(h.as_old_mut()))];
    table(vec![
        (vec![Item::new(b'D', "rootfs/x")], "the type of rootfs/x is D, which is not known"),
        (vec![Item::new(b'V', "rootfs/x")], "the type of rootfs/x is V, which is not known"),
        (field(|h| h.size = *b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00"), "the size of rootfs/f is negative"),
        (field(|h| h.size = *b"\x80\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff"), "the size of rootfs/f is too large"),
        (field(|h| h.size = *b"0000000009\0\0"), "the size of rootfs/f is not a number"),
        (field(|h| h.uid = *b"\xff\xff\xff\xff\xff\xff\xff\xff"), "the uid of rootfs/f is negative"),
        (field(|h| h.gid = *b"\x80\x00\x00\x00\xff\xff\xff\xff"), "the gid of rootfs/f is too large"),
        (vec![file("rootfs/f").pax("size", "-1")], "the size of rootfs/f is not a number"),
        (vec![file("rootfs/f").pax("size", "99999999999999999999")], "the size of rootfs/f is too large"),
        (vec![file("rootfs/f").pax("uid", "4294967295")], "the uid of rootfs/f is too large"),
        (vec![file("rootfs/f").pax("mtime", "yesterday")], "the mtime of rootfs/f is not a time"),
        (vec![Item::directory("rootfs/d").with(|h| h.set_size(512)).content([1; 512])], "rootfs/d has content"),
        (vec![symlink("rootfs/s", "")], "rootfs/s is a symlink to \"\""),
        (
            vec![file("rootfs/f").pax("SCHILY.fflags", "schg,frozen")],
            "rootfs/f has the file flag frozen, which this host does not have",
        ),
        (
            vec![file("rootfs/f").pax("SCHILY.acl.access", "user::q")],
            "rootfs/f has an access control list that has an entry that makes no sense: user::q",
        ),
        (
            vec![file("rootfs/f").pax("SCHILY.acl.access", "user::rwx,user:joe:r--,group::r--,mask::r--,other::---")],
            "cannot unpack rootfs/f: its access control list names the user joe, which the image lacks",
        ),
    ]);
}

#[test]
fn extended_headers() {
    let raw = |kind: u8, content: &[u8]| Item::file("x", content).with(|h| h.as_old_mut().linkflag[0] = kind);
    let huge = |kind: u8| Item::new(kind, "x").with(|h| h.set_size(8 << 30));
    table(vec![
        (vec![raw(b'x', b"12 path=x\n"), file("rootfs/f")], "an extended header is damaged"),
        (vec![raw(b'x', b"9 path=x\n"), raw(b'x', b"9 path=x\n")], "an entry has two of a extended header"),
        (vec![raw(b'L', b"a\0"), raw(b'L', b"b\0")], "an entry has two of a long name"),
        (vec![raw(b'L', b"rootfs/a\0b\0"), file("x")], "an entry's name has a NUL byte in it"),
        (vec![raw(b'x', b"9 path=x\n")], "the archive ends after an extended header"),
        (vec![huge(b'x')], "the extended header after rootfs has 8589934592 bytes, more than 8388608"),
        (vec![huge(b'L')], "the long name after rootfs has 8589934592 bytes, more than 8388608"),
        (
            vec![raw(b'x', &[&record("path", b"rootfs/a"), &b"junk"[..]].concat()), file("rootfs/f")],
            "an extended header is damaged",
        ),
        (vec![raw(b'g', &record("size", b"5"))], "a global extended header sets size for all entries"),
        (vec![raw(b'g', &record("path", b"rootfs/g"))], "a global extended header sets path for all entries"),
    ]);
    let scratch = Scratch::new();
    scratch.unpack(&image(vec![raw(b'g', &record("comment", b"0123456789abcdef")), file("rootfs/f")])).unwrap();
}

#[test]
fn sparse_maps() {
    let with_map = |map: &str| {
        file("rootfs/f").pax("GNU.sparse.name", "rootfs/f").pax("GNU.sparse.size", "100").pax("GNU.sparse.map", map)
    };
    let version_1 = |content: &[u8]| {
        let item = Item::file("rootfs/f", content).pax("GNU.sparse.major", "1").pax("GNU.sparse.minor", "0");
        item.pax("GNU.sparse.realsize", "100")
    };
    table(vec![
        (vec![with_map("0,1,0")], "the map of the sparse file rootfs/f has an odd number of numbers"),
        (vec![with_map("99,2")], "the map of the sparse file rootfs/f goes beyond the file"),
        (vec![with_map("5,1,4,0")], "the map of the sparse file rootfs/f is out of order"),
        (vec![with_map("5,0")], "the map of the sparse file rootfs/f does not fit the size"),
        (vec![with_map("x,1")], "the map of the sparse file rootfs/f has a number that is none"),
        (vec![with_map("9223372036854775807,1")], "the map of the sparse file rootfs/f goes beyond the file"),
        (vec![version_1(b"1\n0\n")], "the map of the sparse file rootfs/f is cut off"),
        (vec![version_1(&[b'1'; 512])], "the map of the sparse file rootfs/f has a number that is none"),
        (
            vec![version_1(&[b"99999999\n", &[0; 503][..]].concat())],
            "the map of the sparse file rootfs/f has too many pieces",
        ),
        (
            vec![file("rootfs/f").pax("GNU.sparse.major", "2")],
            "the map of the sparse file rootfs/f is of a version that is not supported",
        ),
        (
            vec![file("rootfs/f").pax("GNU.sparse.offset", "0")],
            "the map of the sparse file rootfs/f is of a version that is not supported",
        ),
        (
            vec![Item::new(b'S', "rootfs/f").with(|h| h.set_size(5)).content("12345")],
            "the map of the sparse file rootfs/f does not fit the size",
        ),
    ]);
}

#[test]
fn what_follows_the_end() {
    let mut bytes = image(vec![]);
    bytes.extend(file("rootfs/late").bytes());
    assert_eq!(refusal(&bytes, "late"), "the archive goes on after its end-of-archive marker");
    let mut bytes = image(vec![file("rootfs/f")]);
    bytes[512 * 3 + 100] ^= 1;
    assert!(refusal(&bytes, "checksum").starts_with("the archive is damaged: no header after rootfs"), "checksum");
}
