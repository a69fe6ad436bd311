//! No descriptor of the host's reaches anything in a pod, and no key.

use std::process::Command;

use super::images::{Image, NAME, shell, store_of};
use crate::support::command::{Jetpack, Output, or_skip, skip};

/// The shell of the pod lists the descriptors that it has itself.
const LIST: &str = "ls -l /proc/$$/fd/; echo end";

/// Starts the command as a careless parent does: with descriptors 7, 9 and 200 open, to a file and to directories.
fn with_extra_descriptors(jetpack: &Jetpack, arguments: &[&str]) -> Output {
    let wanted = jetpack.command(arguments);
    let mut shell = Command::new("bash");
    shell.args(["-c", "exec 7</ 9</etc/passwd 200</tmp; exec \"$@\"", "bash"]);
    shell.arg(wanted.get_program()).args(wanted.get_args()).stdin(std::process::Stdio::null());
    Output::of(shell.output().expect("bash starts"))
}

/// Numbers of the descriptors in the list after `title`.
fn numbers(said: &str, title: &str) -> Vec<String> {
    let lines = said.lines().skip_while(|line| *line != title).skip(1).take_while(|line| *line != "end");
    let number = |line: &str| Some(line.split_once(" -> ")?.0.rsplit(' ').next()?.to_owned());
    lines.filter_map(number).collect()
}

#[test]
fn an_app_and_its_handlers_have_three_descriptors() {
    let handler = |name: &str| format!(r#"{{ "name": "{name}", "exec": ["/bin/sh", "-c", "echo {name}; {LIST}"] }}"#);
    let handlers = format!(r#""eventHandlers": [{}, {}]"#, handler("pre-start"), handler("post-stop"));
    let jetpack = or_skip!(store_of(&shell("1000", &handlers)));
    let script = format!("echo app; {LIST}");
    let output = with_extra_descriptors(&jetpack, &["run", "--destroy", NAME, "--", &script]).success();
    for title in ["pre-start", "app", "post-stop"] {
        assert_eq!(numbers(&output.stdout, title), ["0", "1", "2"], "{title}: {}", output.stdout);
    }
}

#[test]
fn the_first_process_has_no_directory_of_the_hosts_to_start_from() {
    let jetpack = or_skip!(super::pods("overlay"));
    // Those of the first process, and those that the careless parent had open.
    for number in [3, 4, 5, 6, 7, 8, 9, 200] {
        let path = format!("/proc/self/fd/{number}");
        let arguments = ["run", "--destroy", "busybox-base", "--workdir", &path, "--", "pwd"];
        let error = with_extra_descriptors(&jetpack, &arguments).failure(125);
        assert!(error.contains("working directory"), "{error}");
    }
}

#[test]
fn a_directory_of_the_hosts_is_no_standard_input() {
    let jetpack = or_skip!(super::pods("overlay"));
    let mut command = jetpack.command(["run", "--destroy", "busybox-base", "--", "ls", "/proc/self/fd/0/"]);
    let root = std::fs::File::open("/").expect("a root directory");
    let error = Output::of(command.stdin(root).output().expect("the command starts")).failure(125);
    assert!(error.contains("standard input"), "{error}");
}

/// Keys that a person keeps in a session (keyrings(7)) would be the pod's too. The numbers are those of x86-64.
#[test]
fn keys_of_the_persons_session_are_not_the_pods() {
    if !cfg!(target_arch = "x86_64") {
        skip!("knows the system calls of x86-64 only");
    }
    let image = or_skip!(Image::new(Some(&shell("0", "")), &[])).program("/usr/bin/perl", "bin/perl", 0o755);
    let jetpack = or_skip!(or_skip!(image).into_store("overlay"));
    let look =
        "perl -e '($t, $d) = qw(user jetpack-test); print syscall(249, $t, $d, 0, 0) < 0 ? \"none\" : \"found\"'";
    let keep = "($t, $d, $p) = qw(user jetpack-test x);
        syscall(250, 1, 0) >= 0 && syscall(248, $t, $d, $p, 1, -3) >= 0 or exit 77; exec @ARGV";
    let mut here = Command::new("perl");
    let found = Output::of(here.args(["-e", keep, "sh", "-c", look]).output().expect("perl starts"));
    if found.stdout != "found" {
        skip!("this host keeps no keys");
    }
    let wanted = jetpack.command(["run", "--destroy", NAME, "--", look]);
    let mut person = Command::new("perl");
    person.args(["-e", keep]).arg(wanted.get_program()).args(wanted.get_args());
    assert_eq!(Output::of(person.output().expect("perl starts")).success().stdout, "none");
}
