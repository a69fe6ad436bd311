//! What an ordinary user gets: a clear refusal from the real backends, and all of it from those that touch nothing.

use std::ffi::OsStr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::support::command::{Jetpack, Output, program};

/// The user who is nobody.
const NOBODY: u32 = 65534;

/// The command under test as an ordinary user: a copy of it in a place that everybody can reach, in a directory of theirs.
struct Ordinary {
    jetpack: Jetpack,
}

impl Ordinary {
    fn new() -> Ordinary {
        let jetpack = Jetpack::uninitialized(&[]);
        let copy = jetpack.path("jetpack");
        // By a process of its own: one that another test forks in this moment would have the copy open for writing, and
        // such a file cannot be executed.
        let copied = Command::new("cp").arg(program()).arg(&copy).status().expect("cp");
        assert!(copied.success(), "cp: {copied}");
        std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755)).expect("a mode");
        let own = jetpack.path("own");
        std::fs::create_dir(&own).expect("a directory");
        if nix::unistd::geteuid().is_root() {
            std::fs::set_permissions(jetpack.path(""), PermissionsExt::from_mode(0o755)).expect("a mode");
            chown(&own, Some(NOBODY), Some(NOBODY)).expect("an owner");
        }
        Ordinary { jetpack }
    }

    fn run<A: AsRef<OsStr>>(&self, options: &[&str], arguments: impl IntoIterator<Item = A>) -> Output {
        let mut command = Command::new(self.jetpack.path("jetpack"));
        command.env_clear().env("PATH", "/usr/bin:/bin").current_dir(self.jetpack.path("own"));
        command.arg("--config").arg(self.jetpack.path("jetpack.conf"));
        command.arg("-o").arg(format!("root.path={}", self.jetpack.path("own/store").display()));
        for option in options {
            command.arg("-o").arg(option);
        }
        command.args(arguments);
        if nix::unistd::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        Output::of(command.output().expect("the command ends"))
    }
}

#[test]
fn the_real_backends_say_what_needs_root() {
    let ordinary = Ordinary::new();
    let expected = "jetpack: only root can do this\nhelp: the store belongs to root, and pods need mounts and namespaces \
                    or jails: use sudo(8) or doas(1)\n";
    let table: [&[&str]; 9] = [
        &["init"],
        &["import", "x.aci"],
        &["images"],
        &["prepare", "x"],
        &["run", "x"],
        &["list"],
        &["destroy", "x"],
        &["gc"],
        &["destroy-image", "x"],
    ];
    for arguments in table {
        assert_eq!(ordinary.run(&["storage=dir"], arguments).failure(125), expected, "{arguments:?}");
    }
    // These need nothing of root's.
    for arguments in [&["version"][..], &["config"], &["--help"], &["run", "--help"]] {
        ordinary.run(&["storage=dir"], arguments).success();
    }
    assert!(!ordinary.jetpack.path("own/store").exists());
}

#[test]
fn secrets_are_roots() {
    let ordinary = Ordinary::new();
    let said = ordinary.run(&["mds.token-key=5ec2e7"], ["config", "mds.token-key"]).failure(125);
    assert_eq!(said, "jetpack: mds.token-key is secret\nhelp: only root may see it\n");
}

#[test]
fn backends_that_touch_nothing_need_no_root() {
    let ordinary = Ordinary::new();
    let fake = ["storage=fake", "isolation=fake", "allow.no-signature"];
    let archive = super::scripted("a", "cat /etc/hostname >/dev/null; id -u; echo x >file; echo $1", "");
    let archive = archive.file("rootfs/secret", 0o400, b"x").directory("rootfs/closed", 0o500);
    let path = ordinary.jetpack.file("a.aci", &archive.finish());
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("a mode");
    ordinary.run(&fake, ["init"]).success();
    ordinary.run(&fake, ["import".as_ref(), path.as_os_str()]).success();
    let output = ordinary.run(&fake, ["run", "--destroy", "a", "--", "done"]).success().stdout;
    let uid = nix::unistd::geteuid().as_raw();
    assert_eq!(output, format!("{}\ndone\n", if uid == 0 { NOBODY } else { uid }));
    ordinary.run(&fake, ["destroy-image", "a"]).success();
    assert_eq!(ordinary.run(&fake, ["-q", "images"]).success().stdout, "");
}
