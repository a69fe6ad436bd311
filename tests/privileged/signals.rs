//! Signals to `jetpack run`, exit codes, and what is left when it is killed.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::images::{shell, store_of};
use super::pods;
use crate::support::bounded::{ended, until};
use crate::support::command::{Jetpack, or_skip, storages, with_default_signals};
use crate::support::host::Snapshot;

/// A pod that runs, after its app has said `ready`.
pub(super) struct Running {
    pub(super) child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Running {
    pub(super) fn start(jetpack: &Jetpack, pod: &str, arguments: &[&str]) -> Running {
        Running::of(jetpack.command([&["run", pod], arguments].concat()))
    }

    /// A pod that `command` runs.
    pub(super) fn of(command: Command) -> Running {
        let mut child = with_default_signals(&command)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        Running { child, stdout }
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// The pod's first process, as the host numbers it.
    pub(super) fn agent(&self) -> Pid {
        let path = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = std::fs::read_to_string(path).expect("children");
        Pid::from_raw(children.split_whitespace().next().expect("a child").parse().expect("a number"))
    }

    /// Waits for the end: exit code, and the rest of both outputs.
    pub(super) fn end(mut self) -> (i32, String, String) {
        let status = ended(&mut self.child);
        let (mut out, mut err) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).expect("text");
        self.child.stderr.take().expect("a pipe").read_to_string(&mut err).expect("text");
        (status.code().unwrap_or(-1), out, err)
    }
}

/// A test that fails leaves no pod behind.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const WAIT: &str = "echo ready; while :; do sleep 0.05; done";

fn prepare(jetpack: &Jetpack, script: &str) -> String {
    jetpack.run(["prepare", "busybox-base", "--", "sh", "-c", script]).success().stdout.trim().to_owned()
}

fn state(jetpack: &Jetpack, pod: &str) -> String {
    let list = jetpack.run(["list"]).success().stdout;
    let line = list.lines().find(|line| line.contains(&pod[..8])).unwrap_or_else(|| panic!("{pod} in {list}"));
    let states = ["preparing", "prepared", "running", "exited", "deleting"];
    states.into_iter().find(|state| line.contains(state)).unwrap_or(line).to_owned()
}

#[test]
fn an_apps_exit_code_or_signal_is_the_commands() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    for (script, code) in [
        ("true", 0),
        ("exit 3", 3),
        ("exit 255", 255),
        ("kill -TERM $$", 143),
        ("kill -9 $$", 137),
        ("kill -SEGV $$", 139),
        ("kill -40 $$", 168),
    ] {
        let output = jetpack.run(["run", "--destroy", "test", "--", script]);
        assert_eq!((output.code, output.stderr.as_str()), (code, ""), "{script}");
    }
}

#[test]
fn signals_reach_the_app_and_its_answer_counts() {
    let jetpack = or_skip!(pods("overlay"));
    let traps = "for s in TERM INT HUP USR1 USR2 QUIT ALRM; do trap \"echo $s; exit 9\" $s; done; ";
    let pod = prepare(&jetpack, &format!("{traps}{WAIT}"));
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGQUIT,
        Signal::SIGALRM,
    ] {
        let running = Running::start(&jetpack, &pod, &[]);
        assert_eq!(state(&jetpack, &pod), "running");
        kill(running.pid(), signal).expect("it runs");
        let (code, out, err) = running.end();
        assert_eq!((code, out, err.as_str()), (9, format!("{}\n", &signal.as_str()[3..]), ""), "{signal}");
        assert_eq!(state(&jetpack, &pod), "exited");
    }
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    kill(running.pid(), Signal::SIGTERM).expect("it runs");
    assert_eq!(running.end().0, 143);
}

#[test]
fn what_was_ignored_stays_ignored_and_an_inherited_sigchld_does_no_harm() {
    let jetpack = or_skip!(pods("overlay"));
    let pod = prepare(&jetpack, "echo ready; sleep 0.3; grep SigIgn /proc/self/status; kill -HUP $$");
    let wanted = jetpack.command(["run", &pod]);
    let script = "import os, signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGTERM])
os.execv(sys.argv[1], sys.argv[1:])";
    let mut command = Command::new("python3");
    command.args(["-c", script]).arg(wanted.get_program()).args(wanted.get_args());
    let running = Running::of(command);
    kill(running.pid(), Signal::SIGHUP).expect("it runs");
    let (code, out, err) = running.end();
    assert_eq!((code, err.as_str()), (129, ""));
    let ignored = u64::from_str_radix(super::images::value(&out, "SigIgn"), 16).expect("a number");
    // Beyond 31 are the C library's own.
    assert_eq!(ignored & 0x7fff_ffff, 0, "{out}");
}

#[test]
fn a_killed_runner_leaves_nothing_and_the_pod_can_run_again() {
    for storage in storages() {
        let jetpack = or_skip!(pods(storage));
        let script = format!(
            "setsid sh -c 'while :; do sleep 0.05; done' </dev/null >/dev/null 2>&1 & echo run >>/runs; {WAIT}"
        );
        let pod = prepare(&jetpack, &script);
        let before = Snapshot::take(&jetpack.store());
        let mut running = Running::start(&jetpack, &pod, &[]);
        assert_ne!(Snapshot::take(&jetpack.store()), before);
        if storage == "dir" {
            // A first process that cannot notice it must die all the same.
            kill(running.agent(), Signal::SIGSTOP).expect("it runs");
        }
        kill(running.pid(), Signal::SIGKILL).expect("it runs");
        ended(&mut running.child);
        until("the pod is gone", || Snapshot::take(&jetpack.store()) == before);
        until("the pod has exited", || state(&jetpack, &pod) == "exited");
        let running = Running::start(&jetpack, &pod, &[]);
        kill(running.pid(), Signal::SIGTERM).expect("it runs");
        assert_eq!(running.end().0, 143);
        jetpack.run(["destroy", &pod]).success();
        assert_eq!(Snapshot::take(&jetpack.store()), before, "{storage}");
        assert!(jetpack.contents().iter().all(|name| name.contains("sha512")), "{:?}", jetpack.contents());
    }
}

#[test]
fn a_killed_first_process_takes_the_pod_along_and_is_told() {
    let jetpack = or_skip!(pods("overlay"));
    let pod = prepare(&jetpack, WAIT);
    let before = Snapshot::take(&jetpack.store());
    let running = Running::start(&jetpack, &pod, &[]);
    kill(running.agent(), Signal::SIGKILL).expect("it runs");
    let (code, _, err) = running.end();
    assert_eq!(code, 137);
    assert!(err.contains("the pod's first process was killed by SIGKILL"), "{err}");
    assert_eq!(Snapshot::take(&jetpack.store()), before);
}

#[test]
fn a_daemon_left_behind_dies_with_the_pod() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let before = Snapshot::take(&jetpack.store());
    let script = "setsid sh -c 'trap \"\" TERM HUP INT; while :; do sleep 1; done' </dev/null >/dev/null 2>&1 & exit 4";
    assert_eq!(jetpack.run(["run", "--destroy", "test", "--", script]).code, 4);
    assert_eq!(Snapshot::take(&jetpack.store()), before);
}

#[test]
fn a_running_pod_is_neither_run_again_nor_destroyed() {
    let jetpack = or_skip!(pods("overlay"));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    for command in ["run", "destroy"] {
        let error = jetpack.run([command, &pod]).failure(125);
        assert!(error.contains("is running"), "{error}");
    }
    kill(running.pid(), Signal::SIGTERM).expect("it runs");
    assert_eq!(running.end().0, 143);
}

#[test]
fn of_racing_runs_one_wins() {
    let jetpack = or_skip!(pods("overlay"));
    let pod = prepare(&jetpack, "echo won; sleep 1");
    for _ in 0..2 {
        let racers: Vec<Child> = (0..4).map(|_| jetpack.spawn(["run", &pod])).collect();
        let outputs: Vec<_> = racers.into_iter().map(|racer| racer.wait_with_output().expect("it ends")).collect();
        let won = outputs.iter().filter(|output| output.stdout == b"won\n" && output.status.success()).count();
        let lost = outputs.iter().filter(|output| output.status.code() == Some(125)).count();
        assert_eq!((won, lost), (1, 3), "{outputs:?}");
    }
}
