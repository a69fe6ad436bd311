//! What of the store an ordinary user of the host can reach: nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::images::{Image, NAME, shell};
use crate::support::command::{Output, or_skip, storages};

/// Every file of that name below a directory.
fn find(directory: &Path, name: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name() == name {
            found.push(path.clone());
        }
        if path.is_dir() && !path.is_symlink() {
            find(&path, name, found);
        }
    }
}

#[test]
fn a_set_user_id_file_of_an_image_is_out_of_an_ordinary_users_reach() {
    for storage in storages() {
        let image = or_skip!(Image::new(Some(&shell("0", "")), &[])).file("bin/root-shell", 0o4755, b"#!/bin/sh\n");
        let jetpack = or_skip!(image.into_store(storage));
        jetpack.run(["prepare", NAME, "--", "true"]).success();
        jetpack.run(["run", NAME, "--", "cp -p /bin/root-shell /bin/other && chmod 4755 /bin/other"]).success();
        let mut files = Vec::new();
        find(&jetpack.store(), "root-shell", &mut files);
        find(&jetpack.store(), "other", &mut files);
        assert!(files.len() >= 2, "{files:?}");
        for file in files {
            assert!(fs::metadata(&file).expect("root can").permissions().mode() & 0o4000 != 0, "{}", file.display());
            let script = format!(
                "umask 0; for try in 'cat {0}' '{0}' 'ls {0}' 'ls {1}'; do $try && echo reached; done",
                file.display(),
                jetpack.store().display()
            );
            let user = ["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", &script];
            let output = Output::of(Command::new("setpriv").args(user).output().expect("setpriv starts"));
            assert_eq!(output.stdout, "", "{output:?}");
            assert_eq!(output.stderr.matches("Permission denied").count(), 4, "{output:?}");
        }
    }
}

#[test]
fn the_stores_directories_are_roots_alone_whatever_the_umask() {
    for storage in ["overlay", "dir"] {
        let jetpack = or_skip!(crate::support::command::Jetpack::real(storage));
        fs::remove_dir_all(jetpack.store()).expect("the store");
        let wanted = jetpack.command(["init"]);
        let mut shell = Command::new("sh");
        shell.args(["-c", "umask 0; exec \"$@\"", "sh"]).arg(wanted.get_program()).args(wanted.get_args());
        Output::of(shell.output().expect("a shell")).success();
        let places = [
            "",
            "images",
            "layers",
            "pods",
            "tmp",
            "state",
            "state/preparing",
            "state/prepared",
            "state/run",
            "state/deleting",
        ];
        for place in places {
            let mode = fs::metadata(jetpack.store().join(place)).expect(place).permissions().mode();
            assert_eq!(mode & 0o7777, 0o700, "{storage} {place:?}");
        }
    }
}

#[test]
fn somebody_elses_directory_is_not_roots_store() {
    for storage in ["overlay", "dir"] {
        let jetpack = or_skip!(crate::support::command::Jetpack::real(storage));
        let expected = format!("jetpack: {} belongs to user 65534, not to user 0\nhelp: ", jetpack.store().display());
        std::os::unix::fs::chown(jetpack.store(), Some(65534), None).expect("root can");
        for command in ["init", "list"] {
            let said = jetpack.run([command]).failure(125);
            assert!(said.starts_with(&expected), "{command}: {said}");
        }
        fs::remove_dir_all(jetpack.store()).expect("the store");
        fs::create_dir(jetpack.store()).expect("a directory");
        std::os::unix::fs::chown(jetpack.store(), Some(65534), None).expect("root can");
        let said = jetpack.run(["init"]).failure(125);
        assert!(said.starts_with(&expected), "{said}");
        assert_eq!(fs::read_dir(jetpack.store()).expect("it").count(), 0, "{storage}");
    }
}

#[test]
fn directories_above_the_store_are_not_everybodys_to_change() {
    let jetpack = or_skip!(crate::support::command::Jetpack::real("dir"));
    let deep = jetpack.path("a/b/store");
    let wanted = jetpack.command(["-o", &format!("root.path={}", deep.display()), "init"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "umask 0; exec \"$@\"", "sh"]).arg(wanted.get_program()).args(wanted.get_args());
    Output::of(shell.output().expect("a shell")).success();
    for (place, mode) in [("a", 0o755), ("a/b", 0o755), ("a/b/store", 0o700)] {
        let is = fs::metadata(jetpack.path(place)).expect(place).permissions().mode();
        assert_eq!(is & 0o7777, mode, "{place}");
    }
}
