//! What a tree keeps of an archive.

use std::os::fd::AsFd;

use super::*;

/// An attribute of a file.
fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let file = fs::File::open(path).unwrap();
    let found = attrs::get_xattrs(Node::Open(file.as_fd())).unwrap();
    found.into_iter().find(|(n, _)| n == name.as_bytes()).map(|(_, value)| value)
}

/// Whether attributes and flags are those of Linux.
fn is_like_linux() -> bool {
    attrs::holds_xattr(b"security.capability")
}

/// The flags of a file.
fn flags(path: &Path) -> u64 {
    attrs::get_flags(Node::Open(fs::File::open(path).unwrap().as_fd())).unwrap()
}

#[test]
fn owners_modes_and_times() {
    if skipped_without_root() {
        return;
    }
    let scratch = Scratch::new();
    let made = scratch.unpack(&image(vec![
        Item::directory("rootfs/d").owner(1000, 100).mode(0o2770).pax("mtime", "1234567890.123456789"),
        Item::file("rootfs/d/su", "#!").owner(0, 7).mode(0o6755).pax("mtime", "-1.5").pax("atime", "99.25"),
        Item::file("rootfs/big", "").owner(0, 0).pax("uid", "4000000000").pax("gid", "3000000000"),
        Item::link(b'2', "rootfs/d/link", "nowhere").owner(5, 6).pax("mtime", "7.000000008"),
        Item::new(b'6', "rootfs/d/fifo").owner(1, 2).mode(0o1623),
        Item::device(b'3', "rootfs/d/null", 1, 3).owner(3, 4).mode(0o666),
        Item::device(b'4', "rootfs/d/disk", 8, 300),
    ]));
    assert_eq!(made.unwrap().setuid, [Path::new("d/su")]);
    let stat = |name: &str| {
        let m = fs::symlink_metadata(scratch.rootfs().join(name)).unwrap();
        (m.uid(), m.gid(), m.mode() & 0o7777, m.mtime(), m.mtime_nsec())
    };
    assert_eq!(stat("d"), (1000, 100, 0o2770, 1_234_567_890, 123_456_789));
    assert_eq!(stat("d/su"), (0, 7, 0o6755, -2, 500_000_000));
    assert_eq!((stat("big").0, stat("big").1), (4_000_000_000, 3_000_000_000));
    let link = stat("d/link");
    assert_eq!((link.0, link.1, link.3, link.4), (5, 6, 7, 8));
    assert_eq!(stat("d/fifo"), (1, 2, 0o1623, 1_500_000_000, 0));
    assert_eq!(stat("d/null"), (3, 4, 0o666, 1_500_000_000, 0));
    let atime = fs::symlink_metadata(scratch.rootfs().join("d/su")).unwrap();
    assert_eq!((atime.atime(), atime.atime_nsec()), (99, 250_000_000));
    let kind = |name: &str| fs::symlink_metadata(scratch.rootfs().join(name)).unwrap();
    assert!(kind("d/fifo").file_type().is_fifo());
    assert!(kind("d/null").file_type().is_char_device() && kind("d/disk").file_type().is_block_device());
    assert_eq!(kind("d/disk").rdev(), libc::makedev(8, 300));
}

#[test]
fn without_owners_devices_are_left_out() {
    let scratch = Scratch::new();
    let into = fs::File::open(scratch.rootfs()).unwrap();
    let options = Options { owners: false, max_size: None };
    let archive = image(vec![Item::device(b'3', "rootfs/null", 1, 3), Item::file("rootfs/f", "").owner(77, 77)]);
    let made = unpack(&archive[..], into.as_fd(), &options).unwrap();
    assert_eq!(made.warnings, ["devices are left out (1 file)"]);
    assert_eq!(fs::metadata(scratch.rootfs().join("f")).unwrap().uid(), nix::unistd::geteuid().as_raw());
}

#[test]
fn extended_attributes() {
    if skipped_without_root() {
        return;
    }
    let scratch = Scratch::new();
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let made = scratch.unpack(&image(vec![
        Item::file("rootfs/f", "x")
            .owner(10, 10)
            .pax("SCHILY.xattr.user.a", b"line\nnext\0\xff")
            .pax("SCHILY.xattr.user.empty\u{e4}", "v")
            .pax("LIBARCHIVE.xattr.user.a", "bm90IHVzZWQ=")
            .pax("LIBARCHIVE.xattr.user.b%20c", "Zm9v")
            .pax("SCHILY.xattr.org.apple", "x")
            .pax("SCHILY.xattr.org.other", "x"),
        Item::directory("rootfs/d").pax("SCHILY.xattr.user.d", "d"),
        Item::file("rootfs/ping", "x").mode(0o755).owner(10, 10).pax("SCHILY.xattr.security.capability", capability),
        Item::link(b'2', "rootfs/s", "x").pax("SCHILY.xattr.user.s", "s").pax("SCHILY.xattr.trusted.s", "t"),
    ]));
    let mut warnings = made.unwrap().warnings;
    warnings.sort();
    let at = |name: &str| scratch.rootfs().join(name);
    assert_eq!(xattr(&at("f"), "user.a").unwrap(), b"line\nnext\0\xff");
    assert_eq!(xattr(&at("f"), "user.b c").unwrap(), b"foo");
    assert_eq!(xattr(&at("f"), "user.empty\u{e4}").unwrap(), b"v");
    assert_eq!(xattr(&at("d"), "user.d").unwrap(), b"d");
    if is_like_linux() {
        assert_eq!(xattr(&at("ping"), "security.capability").unwrap(), capability);
        let expected = [
            "extended attributes of symlinks, devices and fifos are not kept (1 file)",
            "extended attributes org.* are not kept (2 files)",
        ];
        assert_eq!(warnings, expected);
    }
}

#[test]
fn access_control_lists_with_the_names_of_the_image() {
    if skipped_without_root() || !is_like_linux() {
        return;
    }
    let scratch = Scratch::new();
    let list = "user::rwx,user:joe:r-x,group::r-x,group:staff:rw-,mask::rwx,other::---";
    let default = "user::rwx\nuser:1000:rwx #effective:rwx\ngroup::r-x\nmask::rwx\nother::r-x\n";
    scratch
        .unpack(&image(vec![
            Item::directory("rootfs/d").pax("SCHILY.acl.default", default).pax("SCHILY.acl.access", list),
            Item::file("rootfs/d/named", "x").mode(0o670).pax("SCHILY.acl.access", list).pax("SCHILY.fflags", "schg"),
            Item::file("rootfs/d/number", "x")
                .mode(0o644)
                .pax("SCHILY.acl.access", "user::rw-,user:joe:r--:77,group::r--,mask::r--,other::r--"),
            Item::file("rootfs/d/plain", "x"),
            Item::file("rootfs/etc/passwd", "root:x:0:0::/:\njoe:x:1234:5::/:\n"),
            Item::file("rootfs/etc/group", "staff:x:50:\n"),
        ]))
        .unwrap();
    let acl = |name: &str, kind: &str| xattr(&scratch.rootfs().join(name), &format!("system.posix_acl_{kind}"));
    let users = |value: Vec<u8>| -> Vec<(u8, u32)> {
        let ids = value[4..].chunks(8).map(|e| (e[0], u32::from_le_bytes(e[4..8].try_into().unwrap())));
        ids.filter(|(_, id)| *id != u32::MAX).collect()
    };
    assert_eq!(users(acl("d", "access").unwrap()), [(2, 1234), (8, 50)]);
    assert_eq!(users(acl("d", "default").unwrap()), [(2, 1000)]);
    assert_eq!(users(acl("d/named", "access").unwrap()), [(2, 1234), (8, 50)]);
    assert_eq!(users(acl("d/number", "access").unwrap()), [(2, 77)]);
    assert_eq!(acl("d/plain", "access"), None, "inherited from the directory");
    let mode = fs::metadata(scratch.rootfs().join("d/named")).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode, 0o770);
}

#[test]
fn file_flags() {
    if skipped_without_root() {
        return;
    }
    let scratch = Scratch::new();
    let made = scratch.unpack(&image(vec![
        Item::directory("rootfs/empty").pax("SCHILY.fflags", "schg"),
        Item::file("rootfs/f", "x").pax("SCHILY.fflags", "schg,uarch"),
        Item::file("rootfs/g", "x").pax("SCHILY.fflags", "nodump,hidden,uarch"),
        Item::link(b'1', "rootfs/h", "rootfs/f"),
        Item::file("rootfs/empty/in", "x").pax("SCHILY.fflags", "uappnd"),
    ]));
    let warnings = made.unwrap().warnings;
    let bits = |name: &str| flags(&scratch.rootfs().join(name));
    if is_like_linux() {
        assert_eq!((bits("empty"), bits("f"), bits("g"), bits("empty/in")), (0x10, 0x10, 0x40, 0x20));
        assert_eq!(
            warnings,
            ["the file flag hidden is not kept (1 file)", "the file flag uarch is not kept (2 files)"]
        );
    }
    assert!(fs::write(scratch.rootfs().join("f"), "y").is_err());
}

#[test]
fn lists_of_nfs_need_a_host_that_has_them() {
    let item = Item::file("rootfs/f", "x").pax("SCHILY.acl.ace", "owner@:rw-p--aARWcCos:-------:allow");
    let found = Scratch::new().unpack(&image(vec![item]));
    if is_like_linux() {
        let error = found.unwrap_err().one_line();
        assert!(
            error.starts_with("cannot unpack rootfs/f: this host cannot hold its access control list: acl_set("),
            "{error}"
        );
    }
}
