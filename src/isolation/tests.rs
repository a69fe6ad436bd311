//! What the backends share: files and mount points in a root that came from somebody else.

use std::fs;
use std::os::unix::fs::symlink;

use super::*;
use crate::sys::testing::Scratch;

#[test]
fn a_mount_point_is_made_or_found_and_never_a_link() {
    let scratch = Scratch::new();
    let root = scratch.rootfs();
    fs::create_dir(root.join("proc")).unwrap();
    fs::write(root.join("proc/kept"), "x").unwrap();
    symlink(scratch.outside(), root.join("sys")).unwrap();
    symlink("nowhere", root.join("dev")).unwrap();
    fs::write(root.join("tmp"), "a file").unwrap();
    for name in ["proc", "sys", "dev", "tmp", "new"] {
        assert_eq!(mountpoint(&root, name).unwrap(), root.join(name));
        assert!(fs::symlink_metadata(root.join(name)).unwrap().is_dir(), "{name}");
    }
    assert!(root.join("proc/kept").exists());
    assert!(mountpoint(&root, "none/deeper").is_err());
    scratch.assert_outside_is_untouched("mount points");
}

#[test]
fn a_file_is_written_in_place_of_what_is_there() {
    let scratch = Scratch::new();
    let root = scratch.rootfs();
    fs::create_dir(root.join("etc")).unwrap();
    fs::write(root.join("etc/old"), "old").unwrap();
    symlink(scratch.outside().join("keep"), root.join("etc/link")).unwrap();
    symlink("nowhere", root.join("etc/broken")).unwrap();
    nix::unistd::mkfifo(&root.join("etc/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for name in ["etc/old", "etc/link", "etc/broken", "etc/fifo", "etc/new", "run/deep/new"] {
        let path = root.join(name);
        write_file(&path, "new\n").unwrap();
        assert!(fs::symlink_metadata(&path).unwrap().is_file(), "{name}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n", "{name}");
    }
    fs::create_dir(root.join("etc/directory")).unwrap();
    let error = write_file(&root.join("etc/directory"), "x").unwrap_err().to_string();
    assert!(error.starts_with("cannot write the pod's "), "{error}");
    scratch.assert_outside_is_untouched("files");
}

#[test]
fn a_hard_link_to_the_file_is_not_written_through() {
    let scratch = Scratch::new();
    let (path, other) = (scratch.rootfs().join("resolv.conf"), scratch.rootfs().join("other"));
    fs::write(&other, "other").unwrap();
    fs::hard_link(&other, &path).unwrap();
    write_file(&path, "new").unwrap();
    assert_eq!(fs::read_to_string(other).unwrap(), "other");
}

#[test]
fn a_file_that_is_right_already_is_left_alone() {
    let scratch = Scratch::new();
    let path = scratch.rootfs().join("resolv.conf");
    fs::write(&path, "right").unwrap();
    let before = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&path).unwrap());
    write_file(&path, "right").unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::ino(&fs::metadata(&path).unwrap()), before);
}

#[test]
fn no_link_takes_a_volume_to_where_the_runtime_has_its_own() {
    for (found, why) in [
        ("/", "/, which is the whole root filesystem"),
        ("/proc", "/proc, where the runtime mounts its own"),
        ("/dev/shm", "/dev/shm, where the runtime mounts its own"),
        ("/sys/fs", "/sys/fs, where the runtime mounts its own"),
        ("/a\n/home", "/a\\n/home, which holds a control character"),
    ] {
        let error = check_volume_mountpoint(Path::new(found)).unwrap_err();
        assert_eq!(error.to_string(), format!("links lead to {why}"));
        assert!(error.help_line().is_some());
    }
    for found in ["/srv", "/device", "/srv/proc", "/process"] {
        check_volume_mountpoint(Path::new(found)).unwrap();
    }
}

#[test]
fn backends_are_found_by_name() {
    assert!(by_name("native").is_ok());
    let error = by_name("zone").err().map(|e| e.to_string());
    assert_eq!(error.as_deref(), Some("there is no isolation \"zone\""));
}
