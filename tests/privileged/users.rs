//! The user that `jetpack init --user` makes, on a host whose /etc is a copy.

use std::process::{Command, Stdio};

use crate::support::command::{Jetpack, Output, or_skip};

/// Runs `script` where /etc and what useradd(8) writes elsewhere are copies; `$@` is `jetpack init --user`.
fn on_copied_host(jetpack: &Jetpack, script: &str) -> Output {
    let wanted = jetpack.command(["init", "--user"]);
    let copy = "cp -a /etc \"$D/etc\" && mount --bind \"$D/etc\" /etc && mount -t tmpfs tmpfs /var/log && ";
    let mut host = Command::new("unshare");
    host.args(["-m", "sh", "-c", &format!("{copy}{script}"), "sh"]).arg(wanted.get_program()).args(wanted.get_args());
    Output::of(host.env("D", jetpack.path("")).stdin(Stdio::null()).output().expect("unshare starts"))
}

#[test]
fn a_user_is_made_that_cannot_log_in() {
    let jetpack = or_skip!(Jetpack::real("dir"));
    for before in ["", "/usr/sbin/groupadd --system _jetpack && "] {
        let before = format!("/usr/sbin/userdel _jetpack 2>/dev/null; {before}");
        let script = "\"$@\" && \"$@\" && getent passwd _jetpack && getent shadow _jetpack && id _jetpack";
        let said = on_copied_host(&jetpack, &format!("{before}{script}")).success().stdout;
        let lines: Vec<&str> = said.lines().filter(|line| !line.contains(" a store at ")).collect();
        assert_eq!(lines[..2], ["made a user _jetpack", "there is a user _jetpack"], "{said}");
        let account: Vec<&str> = lines[2].split(':').collect();
        assert_eq!(account[4..], ["Jetpack", "/nonexistent", "/usr/sbin/nologin"], "{said}");
        assert!(account[2].parse::<u32>().is_ok_and(|uid| (1..1000).contains(&uid)), "{said}");
        assert!(lines[3].starts_with("_jetpack:!"), "{said}");
        assert!(lines[4].contains("(_jetpack) groups="), "{said}");
        assert!(!std::path::Path::new("/nonexistent").exists());
        std::fs::remove_dir_all(jetpack.path("etc")).expect("the copy");
    }
}

#[test]
fn what_the_program_says_is_told() {
    let jetpack = or_skip!(Jetpack::real("dir"));
    let script = "/usr/sbin/userdel _jetpack 2>/dev/null; mount -o remount,ro,bind /etc && \"$@\"";
    let said = on_copied_host(&jetpack, script).failure(125);
    assert!(said.starts_with("jetpack: cannot run /usr/sbin/useradd --system"), "{said}");
    assert!(said.contains("useradd: "), "{said}");
}
