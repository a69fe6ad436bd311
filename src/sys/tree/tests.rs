//! Trees that are removed and copied.

#![expect(clippy::print_stdout, reason = "`make check` shows and counts what is skipped")]

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use nix::unistd::{Gid, Uid};

use super::*;
use crate::sys::acl::{AclKind, PosixAcl, Tag};
use crate::sys::os::attrs;
use crate::sys::testing::{Scratch, skipped_without_root};

/// Removes a path by its last part.
fn remove(path: &Path) -> Result<()> {
    remove_tree(File::open(path.parent().unwrap()).unwrap().as_fd(), path.file_name().unwrap())
}

/// Sets flags by path.
fn set_flags(path: &Path, names: &str) {
    let flags = attrs::parse_flags(names).unwrap();
    attrs::set_flags(Node::Open(File::open(path).unwrap().as_fd()), flags.protecting | flags.informing).unwrap();
}

#[test]
fn trees_are_removed_and_symlinks_are_not_followed() {
    let scratch = Scratch::new();
    let tree = scratch.rootfs();
    fs::create_dir_all(tree.join("a/b/c")).unwrap();
    fs::create_dir_all(tree.join("a/d")).unwrap();
    fs::write(tree.join("a/b/file"), "x").unwrap();
    symlink(scratch.outside(), tree.join("a/b/c/link")).unwrap();
    symlink("nowhere", tree.join("a/d/broken")).unwrap();
    nix::unistd::mkfifo(&tree.join("a/fifo"), Mode::S_IRWXU).unwrap();
    fs::set_permissions(tree.join("a/b"), fs::Permissions::from_mode(0o000)).unwrap();
    remove(&tree).unwrap();
    assert!(!tree.exists());
    remove(&tree).unwrap();
    fs::create_dir(&tree).unwrap();
    scratch.assert_outside_is_untouched("removal");
    symlink(scratch.outside(), tree.join("link")).unwrap();
    remove(&tree.join("link")).unwrap();
    assert!(!tree.join("link").is_symlink());
    scratch.assert_outside_is_untouched("removal of a symlink");
}

#[test]
fn depth_has_no_limit() {
    let scratch = Scratch::new();
    let tree = scratch.rootfs();
    let mut here = OwnedFd::from(File::open(&tree).unwrap());
    let name = OsStr::new("a-name-that-is-not-short");
    for _ in 0..3000 {
        nix::sys::stat::mkdirat(&here, name, Mode::S_IRWXU).unwrap();
        here = open_directory(here.as_fd(), name).unwrap();
    }
    let end = OFlag::O_CREAT | OFlag::O_WRONLY;
    drop(nix::fcntl::openat(&here, "end", end, Mode::S_IRWXU).unwrap());
    let copy = scratch.path().join("copy");
    fs::create_dir(&copy).unwrap();
    copy_tree(File::open(&tree).unwrap().as_fd(), File::open(&copy).unwrap().as_fd()).unwrap();
    let mut here = OwnedFd::from(File::open(&copy).unwrap());
    for _ in 0..3000 {
        here = open_directory(here.as_fd(), name).unwrap();
    }
    stat_entry(here.as_fd(), OsStr::new("end")).unwrap();
    remove(&copy).unwrap();
    remove(&tree).unwrap();
    assert!(!tree.exists() && !copy.exists());
}

#[test]
fn protected_files_are_removed() {
    if skipped_without_root() {
        return;
    }
    let scratch = Scratch::new();
    let tree = scratch.rootfs();
    fs::create_dir_all(tree.join("a/b")).unwrap();
    for name in ["a/file", "a/log", "a/b/file"] {
        fs::write(tree.join(name), "x").unwrap();
    }
    for (name, flags) in
        [("a/file", "schg"), ("a/log", "sappnd"), ("a/b/file", "schg"), ("a/b", "schg"), ("a", "sappnd"), ("", "schg")]
    {
        set_flags(&tree.join(name), flags);
    }
    assert!(fs::remove_dir_all(&tree).is_err());
    remove(&tree).unwrap();
    assert!(!tree.exists());
}

/// Mounts on Linux: a bind mount has the device of what is around it.
#[test]
fn mount_points_are_not_entered() {
    let scratch = Scratch::new();
    let point = scratch.rootfs().join("point");
    fs::create_dir(&point).unwrap();
    let mount = |arguments: &[&OsStr]| {
        std::process::Command::new("mount").args(arguments).output().is_ok_and(|output| output.status.success())
    };
    if skipped_without_root() || !mount(&[OsStr::new("--bind"), scratch.outside().as_os_str(), point.as_os_str()]) {
        return;
    }
    let removed = remove(&scratch.rootfs()).map_err(|e| e.errno());
    fs::create_dir(scratch.path().join("copy")).unwrap();
    let to = File::open(scratch.path().join("copy")).unwrap();
    let copied = copy_tree(File::open(scratch.rootfs()).unwrap().as_fd(), to.as_fd()).map_err(|e| e.errno());
    let unmounted = std::process::Command::new("umount").arg(&point).status().unwrap();
    remove(&scratch.path().join("copy")).unwrap();
    assert!(unmounted.success());
    assert_eq!((removed, copied), (Err(Errno::EXDEV), Err(Errno::EXDEV)));
    scratch.assert_outside_is_untouched("a mount point");
}

#[test]
fn a_copy_has_everything() {
    if skipped_without_root() {
        return;
    }
    let scratch = Scratch::new();
    let (tree, copy) = (scratch.rootfs(), scratch.path().join("copy"));
    fs::create_dir(&copy).unwrap();
    make_tree(&tree);
    copy_tree(File::open(&tree).unwrap().as_fd(), File::open(&copy).unwrap().as_fd()).unwrap();
    let names = ["", "d", "d/file", "d/link", "d/fifo", "d/null", "hard", "sparse", "d/inner"];
    for name in names {
        let (model, made) = (describe(&tree.join(name)), describe(&copy.join(name)));
        assert_eq!(model, made, "{name}");
    }
    assert!(!copy.join("socket").exists());
    let identity = |name: &str| fs::metadata(copy.join(name)).unwrap().ino();
    assert_eq!(identity("hard"), identity("d/file"));
    assert_ne!(identity("hard"), fs::metadata(tree.join("hard")).unwrap().ino());
    assert!(fs::read(copy.join("sparse")).unwrap() == fs::read(tree.join("sparse")).unwrap());
    assert!(fs::metadata(copy.join("sparse")).unwrap().blocks() < 200);
    assert!(fs::write(copy.join("hard"), "y").is_err(), "the flag is lost");
    remove(&copy).unwrap();
}

/// A tree with one of everything.
fn make_tree(tree: &Path) {
    fs::create_dir_all(tree.join("d/inner")).unwrap();
    fs::write(tree.join("d/file"), "content").unwrap();
    fs::hard_link(tree.join("d/file"), tree.join("hard")).unwrap();
    symlink("/nowhere", tree.join("d/link")).unwrap();
    nix::unistd::mkfifo(&tree.join("d/fifo"), Mode::S_IRUSR).unwrap();
    nix::sys::stat::mknod(&tree.join("d/null"), SFlag::S_IFCHR, Mode::S_IRUSR, libc::makedev(1, 3)).unwrap();
    drop(std::os::unix::net::UnixListener::bind(tree.join("socket")).unwrap());
    let sparse = File::create(tree.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"in the middle", 5 << 20).unwrap();
    sparse.set_len(9 << 20).unwrap();
    nix::unistd::chown(&tree.join("d/file"), Some(Uid::from_raw(12)), Some(Gid::from_raw(34))).unwrap();
    fs::set_permissions(tree.join("d/file"), fs::Permissions::from_mode(0o6711)).unwrap();
    fs::set_permissions(tree.join("d"), fs::Permissions::from_mode(0o1775)).unwrap();
    let acl =
        PosixAcl::new(vec![(Tag::Owner, 7), (Tag::User(5), 6), (Tag::OwningGroup, 5), (Tag::Mask, 7), (Tag::Other, 0)]);
    let (file, directory) = (File::open(tree.join("d/file")).unwrap(), File::open(tree.join("d")).unwrap());
    attrs::set_xattr(Node::Open(file.as_fd()), b"user.key", b"value").unwrap();
    attrs::set_xattr(Node::Open(directory.as_fd()), b"user.d", b"").unwrap();
    match attrs::set_posix_acl(Node::Open(file.as_fd()), AclKind::Access, acl.as_ref().unwrap()) {
        Err(e) if e.errno() == Errno::ENOTSUP => println!("skipped: the filesystem of {} has no lists", tree.display()),
        set => {
            set.unwrap();
            attrs::set_posix_acl(Node::Open(directory.as_fd()), AclKind::Default, &acl.unwrap()).unwrap();
        }
    }
    let time = |seconds, nanoseconds| nix::sys::time::TimeSpec::new(seconds, nanoseconds);
    for name in ["d/file", "d/link", "d/fifo", "d/inner", "d", ""] {
        let (atime, mtime) = (time(5, 6), time(name.len() as i64, 123_456_789));
        let how = nix::sys::stat::UtimensatFlags::NoFollowSymlink;
        nix::sys::stat::utimensat(nix::fcntl::AT_FDCWD, &tree.join(name), &atime, &mtime, how).unwrap();
    }
    set_flags(&tree.join("hard"), "schg");
    set_flags(&tree.join("d/inner"), "nodump");
}

/// All that a copy has to have, in words.
fn describe(path: &Path) -> String {
    let m = fs::symlink_metadata(path).unwrap();
    let parent = File::open(path.parent().unwrap()).unwrap();
    let opened = (m.is_file() || m.is_dir()).then(|| File::open(path).unwrap());
    let node = match &opened {
        Some(file) => Node::Open(file.as_fd()),
        None => Node::At(parent.as_fd(), path.file_name().unwrap()),
    };
    let mut xattrs = attrs::get_xattrs(node).unwrap();
    xattrs.sort();
    let kind = (m.file_type().is_fifo(), m.file_type().is_char_device(), m.rdev());
    let link = fs::read_link(path).ok();
    let times = (m.mtime(), m.mtime_nsec(), if path.ends_with("sparse") { 0 } else { m.nlink() });
    format!(
        "{} {}:{} {times:?} {kind:?} {link:?} {xattrs:?} {}",
        m.mode(),
        m.uid(),
        m.gid(),
        attrs::get_flags(node).unwrap()
    )
}

/// Copies the tree for the user of this test, and gives the paths that were visited.
fn copy_for_me(from: &Path, to: &Path, mut allow: impl FnMut(&str) -> bool) -> (Result<()>, Vec<String>) {
    fs::create_dir(to).unwrap();
    let (from, to) = (File::open(from).unwrap(), File::open(to).unwrap());
    let mut visited = Vec::new();
    let mut visit = |path: &Path, _: &FileStat| {
        visited.push(path.to_str().unwrap().to_owned());
        allow(path.to_str().unwrap())
    };
    let me = (Uid::effective(), Gid::effective());
    let copied = copy_tree_for(me, from.as_fd(), to.as_fd(), &mut visit);
    visited.sort();
    (copied, visited)
}

#[test]
fn a_copy_for_somebody_is_theirs_and_says_nothing_of_the_owners_before() {
    if skipped_without_root() {
        return;
    }
    let scratch = Scratch::new();
    let (tree, copy) = (scratch.rootfs(), scratch.path().join("copy"));
    make_tree(&tree);
    nix::unistd::chown(&tree.join("d"), Some(Uid::from_raw(12)), Some(Gid::from_raw(34))).unwrap();
    let (copied, visited) = copy_for_me(&tree, &copy, |_| true);
    copied.unwrap();
    let all = ["", "d", "d/fifo", "d/file", "d/inner", "d/link", "d/null", "hard", "socket", "sparse"];
    assert_eq!(visited, all);
    assert!(!copy.join("socket").exists() && !copy.join("d/null").exists());
    let (file, model) = (fs::metadata(copy.join("d/file")).unwrap(), fs::metadata(tree.join("d/file")).unwrap());
    assert_eq!(
        (file.mode() & 0o7777, file.mtime(), file.mtime_nsec()),
        (model.mode() & 0o1777, model.mtime(), model.mtime_nsec())
    );
    for name in ["", "d", "d/fifo", "d/file", "d/inner", "d/link", "hard", "sparse"] {
        let m = fs::symlink_metadata(copy.join(name)).unwrap();
        assert_eq!((m.uid(), m.gid()), (0, 0), "{name}");
    }
    assert_eq!(file.ino(), fs::metadata(copy.join("hard")).unwrap().ino());
    assert_eq!(fs::read_link(copy.join("d/link")).unwrap(), Path::new("/nowhere"));
    let opened = File::open(copy.join("hard")).unwrap();
    let (xattrs, acls) = attrs::get_attributes(Node::Open(opened.as_fd())).unwrap();
    assert_eq!((xattrs, acls), (vec![(b"user.key".to_vec(), b"value".to_vec())], crate::sys::acl::AclTexts::default()));
    fs::write(copy.join("hard"), "no flag").unwrap();
    remove(&copy).unwrap();
    remove(&tree).unwrap();
}

#[test]
fn a_copy_for_somebody_can_be_ended() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.rootfs().join("a/b/c")).unwrap();
    let (copied, visited) = copy_for_me(&scratch.rootfs(), &scratch.path().join("copy"), |path| path != "a/b");
    assert_eq!(
        (copied.unwrap_err().errno(), visited),
        (Errno::ECANCELED, ["", "a", "a/b"].map(str::to_owned).to_vec())
    );
    assert!(!scratch.path().join("copy/a/b").exists());
}

/// Files of proc(5) say that they are empty.
#[test]
fn what_is_said_to_be_empty_is_read_to_its_end() {
    let model = Path::new("/proc/version");
    if !model.exists() {
        println!("skipped: {} is not there", model.display());
        return;
    }
    let scratch = Scratch::new();
    let (to, me) = (File::open(scratch.rootfs()).unwrap(), (Uid::effective(), Gid::effective()));
    copy_file_for(me, &File::open(model).unwrap(), to.as_fd(), OsStr::new("copy")).unwrap();
    assert_eq!(fs::read(scratch.rootfs().join("copy")).unwrap(), fs::read(model).unwrap());
    let unreadable = File::open("/proc/self/mem").unwrap();
    let error = copy_file_for(me, &unreadable, to.as_fd(), OsStr::new("mem")).unwrap_err();
    assert_eq!(error.errno(), Errno::EIO);
}

#[test]
fn a_path_is_resolved_as_if_the_tree_were_the_root() {
    let scratch = Scratch::new();
    let root = scratch.rootfs();
    fs::create_dir_all(root.join("usr/etc/deep")).unwrap();
    fs::write(root.join("usr/file"), "").unwrap();
    for (link, to) in [
        ("plain", "usr/etc"),
        ("absolute", "/usr/etc/"),
        ("twice", "./absolute/deep"),
        ("up", "../../.."),
        ("usr/back", "../usr/./etc/.."),
        ("usr/etc/deep/over", "../../../plain/deep"),
        ("loop", "loop"),
        ("broken", "none"),
        ("other", "usr/file"),
    ] {
        symlink(to, root.join(link)).unwrap();
    }
    symlink(scratch.outside(), root.join("outside")).unwrap();
    let opened = File::open(&root).unwrap();
    for (path, expected) in [
        ("", Some("")),
        ("usr/etc", Some("usr/etc")),
        ("/plain", Some("usr/etc")),
        ("absolute/deep", Some("usr/etc/deep")),
        ("twice", Some("usr/etc/deep")),
        ("up/usr", Some("usr")),
        ("usr/back", Some("usr")),
        ("usr/etc/deep/over", Some("usr/etc/deep")),
        ("loop", None),
        ("broken", None),
        ("other", None),
        ("usr/file/..", None),
        ("outside", None),
    ] {
        let found = resolve_directory(opened.as_fd(), Path::new(path)).unwrap();
        assert_eq!(found.as_deref(), expected.map(Path::new), "{path}");
    }
}

#[test]
fn what_flags_protect_is_moved_with_them() {
    if skipped_without_root() {
        return;
    }
    let scratch = Scratch::new();
    let (from, to) = (scratch.rootfs().join("from"), scratch.rootfs().join("to"));
    fs::create_dir_all(from.join("dir")).unwrap();
    fs::create_dir(&to).unwrap();
    fs::write(from.join("file"), "new").unwrap();
    fs::write(from.join("plain"), "new").unwrap();
    fs::write(from.join("dir/inner"), "new").unwrap();
    fs::write(to.join("file"), "old").unwrap();
    fs::write(to.join("plain"), "old").unwrap();
    for (path, flags) in [("file", "schg"), ("dir/inner", "schg"), ("dir", "sappnd"), ("", "schg")] {
        set_flags(&from.join(path), flags);
    }
    // What is at the new place is protected, too.
    set_flags(&to.join("plain"), "schg");
    let (source, target) = (File::open(&from).unwrap(), File::open(&to).unwrap());
    let flags = |path: &Path| attrs::get_flags(Node::Open(File::open(path).unwrap().as_fd())).unwrap();
    let expected = [flags(&from.join("file")), flags(&from.join("dir")), flags(&from.join("dir/inner"))];
    assert!(expected.iter().all(|flags| *flags != 0));
    for name in ["file", "dir"] {
        move_protected((source.as_fd(), OsStr::new(name)), (target.as_fd(), OsStr::new(name))).unwrap();
    }
    assert_eq!([flags(&to.join("file")), flags(&to.join("dir")), flags(&to.join("dir/inner"))], expected);
    assert_eq!(fs::read_to_string(to.join("file")).unwrap(), "new");
    let error =
        move_protected((source.as_fd(), OsStr::new("plain")), (target.as_fd(), OsStr::new("plain"))).unwrap_err();
    assert_eq!(error.errno(), nix::errno::Errno::EPERM);
    assert_eq!(fs::read_to_string(to.join("plain")).unwrap(), "old");
    remove(&from).unwrap();
    remove(&to).unwrap();
}
