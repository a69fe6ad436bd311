//! Without `-t`, standard input, output and error are the app's own, unchanged.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use super::images::{NAME, shell, store_of};
use super::pods;
use crate::support::command::{Output, or_skip};

#[test]
fn a_mebibyte_of_anything_passes_through() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let mut input = vec![0; 1 << 20];
    std::fs::File::open("/dev/urandom").expect("random numbers").read_exact(&mut input).expect("random numbers");
    let mut command = jetpack.command(["run", "--destroy", NAME, "--", "cat; echo to standard error >&2"]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let typed = input.clone();
    let typist = std::thread::spawn(move || stdin.write_all(&typed));
    let output = child.wait_with_output().expect("the command ends");
    typist.join().expect("a thread").expect("all is read");
    assert!(output.stdout == input, "{} bytes came back", output.stdout.len());
    assert_eq!(output.stderr, b"to standard error\n");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let jetpack = or_skip!(pods("overlay"));
    let run = jetpack.command(["run", "--destroy", "busybox-base", "--", "yes"]);
    let mut shell = Command::new("timeout");
    shell.args(["20", "sh", "-c", "{ \"$@\"; echo $? >&2; } | head -n 1", "sh"]).arg(run.get_program());
    let output = Output::of(shell.args(run.get_args()).stdin(Stdio::null()).output().expect("a shell"));
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("y\n", "141\n"));
    assert_eq!(output.code, 0);
}

#[test]
fn closed_descriptors_are_the_apps_null_device() {
    let jetpack = or_skip!(pods("overlay"));
    let run = jetpack.command(["run", "--destroy", "busybox-base", "--", "readlink", "/proc/self/fd/0"]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "\"$@\" <&- 2>&-", "sh"]).arg(run.get_program()).args(run.get_args());
    let output = Output::of(shell.output().expect("a shell")).success();
    assert_eq!(output.stdout, "/dev/null\n");
}
