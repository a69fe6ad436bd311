//! `jetpack cp` that is told to end: it does, whatever root of the pod does to hold it up, and leaves nothing.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::exec::{WAIT, end, exec, prepare};
use super::images::{shell, store_of};
use super::signals::Running;
use crate::support::bounded::{ended, until};
use crate::support::command::{Jetpack, Output, or_skip, with_default_signals};

/// A copy between the pod and the host that has begun.
struct Copy {
    into: PathBuf,
    child: Child,
}

impl Copy {
    /// Out of the pod, from a file that does not come to its end soon.
    fn out(jetpack: &Jetpack, pod: &str) -> Copy {
        exec(jetpack, pod, &[], "[ -e /big ] || truncate -s 8G /big").success();
        let into = jetpack.path("into");
        fs::create_dir_all(&into).expect("a directory");
        let copy = Copy::start(jetpack, [&format!("{pod}:/big"), &into.display().to_string()]);
        until("the copy has begun", || !copy.left_here().is_empty());
        copy
    }

    /// Into the pod.
    fn into(jetpack: &Jetpack, pod: &str) -> Copy {
        let big = jetpack.path("big");
        fs::File::create(&big).and_then(|file| file.set_len(8 << 30)).expect("a file");
        let copy = Copy::start(jetpack, [&big.display().to_string(), &format!("{pod}:/copy")]);
        until("the copy has begun", || !left_there(jetpack).is_empty());
        copy
    }

    fn start(jetpack: &Jetpack, words: [&str; 2]) -> Copy {
        let mut command = with_default_signals(&jetpack.command([&["cp"], &words[..]].concat()));
        let child = command.stderr(std::process::Stdio::piped()).spawn().expect("it starts");
        Copy { into: jetpack.path("into"), child }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("it runs");
    }

    fn left_here(&self) -> Vec<PathBuf> {
        fs::read_dir(&self.into).expect("a directory").flatten().map(|entry| entry.path()).collect()
    }

    /// Its exit code as a shell shows it.
    fn end(mut self) -> i32 {
        let status = ended(&mut self.child);
        status.code().unwrap_or_else(|| 128 + status.signal().expect("a signal"))
    }
}

/// What copies have made in pods. A look from inside would start a pod that does not run.
fn left_there(jetpack: &Jetpack) -> String {
    let mut find = Command::new("find");
    find.arg(jetpack.store().join("pods")).args(["-name", ".jetpack-cp-*", "-o", "-name", "copy"]);
    Output::of(find.output().expect("find")).stdout
}

/// Root of the pod stops everything in the pod that can be stopped.
fn stop_all(jetpack: &Jetpack, pod: &str) {
    exec(jetpack, pod, &[], "kill -STOP -1").success();
}

#[test]
fn a_copy_out_of_a_pod_ends_and_leaves_nothing() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    for stopped in [false, true] {
        for (signal, code) in
            [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGKILL, 137)]
        {
            let copy = Copy::out(&jetpack, &pod);
            if stopped {
                stop_all(&jetpack, &pod);
            }
            copy.signal(signal);
            assert_eq!(copy.end(), code, "{signal} {stopped}");
            let into = jetpack.path("into");
            until("nothing is left", || fs::read_dir(&into).expect("a directory").count() == 0);
            // Nor does anything in the pod go on reading.
            let givers = || exec(&jetpack, &pod, &[], "ps | grep -c '[j]etpack agent'; :").success().stdout;
            until("nobody gives", || givers() == "1\n");
        }
    }
    exec(&jetpack, &pod, &[], "kill -CONT -1").success();
    end(running);
}

#[test]
fn a_copy_into_a_pod_ends_and_leaves_nothing() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    for stopped in [false, true] {
        for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGKILL, 137)] {
            let copy = Copy::into(&jetpack, &pod);
            if stopped {
                stop_all(&jetpack, &pod);
            }
            copy.signal(signal);
            assert_eq!(copy.end(), code, "{signal} {stopped}");
            until(&format!("nothing is left of {signal} {stopped}"), || left_there(&jetpack).is_empty());
        }
    }
    exec(&jetpack, &pod, &[], "kill -CONT -1").success();
    end(running);
}

#[test]
fn a_copy_in_a_pod_that_runs_only_for_it_ends_too() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let pod = prepare(&jetpack, WAIT);
    exec(&jetpack, &pod, &[], "truncate -s 8G /big").success();
    let copy = Copy::out(&jetpack, &pod);
    copy.signal(Signal::SIGTERM);
    assert_eq!(copy.end(), 143);
    assert_eq!(fs::read_dir(jetpack.path("into")).expect("a directory").count(), 0);
    let copy = Copy::into(&jetpack, &pod);
    copy.signal(Signal::SIGTERM);
    assert_eq!((copy.end(), left_there(&jetpack)), (143, String::new()));
}

#[test]
fn an_agent_that_does_not_answer_does_not_hold_up_a_copy() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    kill(running.agent(), Signal::SIGSTOP).expect("it runs");
    let into = jetpack.path("into");
    fs::create_dir(&into).expect("a directory");
    let copy = Copy::start(&jetpack, [&format!("{pod}:/bin"), &into.display().to_string()]);
    until("the copy has begun", || !copy.left_here().is_empty());
    // The note comes before the person has lost patience for good, and only once.
    let Copy { mut child, .. } = copy;
    let mut said = std::io::BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    std::io::BufRead::read_line(&mut said, &mut line).expect("a line");
    assert!(line.contains("warning: the pod does not answer yet"), "{line}");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
    assert_eq!(ended(&mut child).code(), Some(143));
    until("nothing is left", || fs::read_dir(&into).expect("a directory").count() == 0);
    kill(running.agent(), Signal::SIGCONT).expect("it runs");
    end(running);
}

#[test]
fn nohup_protects_both_halves_of_a_copy() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    let whole = jetpack.path("whole");
    fs::File::create(&whole).and_then(|file| file.set_len(256 << 20)).expect("a file");
    for (from, to) in [
        (whole.display().to_string(), format!("{pod}:/copy")),
        (format!("{pod}:/copy"), jetpack.path("back").display().to_string()),
    ] {
        let cp = jetpack.command(["cp", &from, &to]);
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]).arg(cp.get_program()).args(cp.get_args());
        let child = command.stderr(std::process::Stdio::piped()).spawn().expect("it starts");
        let children = || {
            let path = format!("/proc/{0}/task/{0}/children", child.id());
            let children = fs::read_to_string(path).unwrap_or_default();
            children.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect::<Vec<_>>()
        };
        until("the copy has begun", || !children().is_empty());
        std::thread::sleep(std::time::Duration::from_millis(100));
        for pid in children().into_iter().chain([Pid::from_raw(child.id().cast_signed())]) {
            let _ = kill(pid, Signal::SIGHUP);
        }
        let output = child.wait_with_output().expect("it ends");
        Output::of(output).success();
    }
    assert_eq!(fs::metadata(jetpack.path("back")).expect("the copy").len(), 256 << 20);
    assert!(Path::new(&whole).exists());
    end(running);
}
