//! `jetpack kill`

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::scripted;
use crate::support::bounded::{ended, until};
use crate::support::command::{Jetpack, Output};

const WAIT: &str = "echo ready; while :; do sleep 0.02; done";
const DEAF: &str = "trap '' TERM INT; echo ready; while :; do sleep 0.02; done";

/// A store with an image of this script, and with handlers.
fn store(script: &str, handlers: &[(&str, &str)]) -> Jetpack {
    let one = |(name, _): &(&str, &str)| format!(r#"{{"name": "{name}", "exec": ["/bin/{name}"]}}"#);
    let list: Vec<String> = handlers.iter().map(one).collect();
    let more = format!(r#", "eventHandlers": [{}]"#, list.join(", "));
    let archive = scripted("example.com/app", script, &more);
    let file = |archive, (name, script): &(&str, &str)| {
        let archive: crate::support::archive::Archive = archive;
        archive.file(&format!("rootfs/bin/{name}"), 0o755, format!("#!/bin/sh\n{script}\n").as_bytes())
    };
    let jetpack = Jetpack::fake();
    jetpack.import(&handlers.iter().fold(archive, file).finish());
    jetpack
}

fn prepare(jetpack: &Jetpack) -> String {
    jetpack.run(["prepare", "example.com/app"]).success().stdout.trim().to_owned()
}

/// The pod, running; it has said `ready`.
fn start(jetpack: &Jetpack, pod: &str) -> Running {
    let child = jetpack.spawn(["run", pod]);
    let mut running = Running(child);
    running.expect("ready");
    running
}

struct Running(Child);

impl Running {
    fn expect(&mut self, expected: &str) {
        let mut line = String::new();
        // Unbuffered: nothing beyond the line may be lost.
        BufReader::with_capacity(1, self.0.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(line.trim(), expected);
    }

    fn code(mut self) -> Option<i32> {
        ended(&mut self.0).code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn state(jetpack: &Jetpack, pod: &str) -> String {
    let list = jetpack.run(["list", "-H"]).success().stdout;
    let line = list.lines().find(|line| line.starts_with(pod)).unwrap_or("- gone");
    line.split_whitespace().nth(1).unwrap_or("none").to_owned()
}

#[test]
fn an_app_is_asked_to_end_and_the_pod_has_ended_afterwards() {
    let jetpack = store("trap 'exit 7' TERM\necho ready; while :; do sleep 0.02; done", &[]);
    let pod = prepare(&jetpack);
    for reference in [&pod, &pod[..8]] {
        let running = start(&jetpack, &pod);
        let output = jetpack.run(["kill", reference]).success();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
        assert_eq!(state(&jetpack, &pod), "exited");
        assert_eq!(running.code(), Some(7));
    }
    let jetpack = store(WAIT, &[]);
    let pod = prepare(&jetpack);
    let running = start(&jetpack, &pod);
    jetpack.run(["kill", &pod]).success();
    assert_eq!(running.code(), Some(143));
}

#[test]
fn whatever_does_not_end_in_time_is_killed() {
    let jetpack = store(DEAF, &[]);
    let pod = prepare(&jetpack);
    for (arguments, least) in [(["--grace", "0"], 0), (["--grace", "0.5"], 500)] {
        let running = start(&jetpack, &pod);
        let begun = Instant::now();
        jetpack.run([&["kill", &pod], &arguments[..]].concat()).success();
        assert!(begun.elapsed() >= Duration::from_millis(least), "{:?}", begun.elapsed());
        assert_eq!(running.code(), Some(137));
        assert_eq!(state(&jetpack, &pod), "exited");
    }
}

#[test]
fn a_handler_has_its_time_and_is_killed_if_it_hangs() {
    // In the time of grace the post-stop handler can do its work.
    let jetpack = store(WAIT, &[("post-stop", "sleep 0.3; echo done")]);
    let pod = prepare(&jetpack);
    let mut running = start(&jetpack, &pod);
    jetpack.run(["kill", &pod]).success();
    running.expect("done");
    assert_eq!(running.code(), Some(143));
    // One that hangs is killed after the app.
    for (script, code) in [(WAIT, 143), (DEAF, 137)] {
        let jetpack = store(script, &[("post-stop", "trap '' TERM; while :; do sleep 0.02; done")]);
        let pod = prepare(&jetpack);
        let running = start(&jetpack, &pod);
        jetpack.run(["kill", "--grace", "0.3", &pod]).success();
        assert_eq!(state(&jetpack, &pod), "exited");
        assert_eq!(running.code(), Some(code));
    }
    // And so is one that hangs before the app.
    let jetpack = store("echo never", &[("pre-start", DEAF)]);
    let pod = prepare(&jetpack);
    let running = start(&jetpack, &pod);
    jetpack.run(["kill", "--grace", "0.1", &pod]).success();
    assert_eq!(running.code(), Some(125));
}

#[test]
fn a_signal_that_is_named_is_sent_and_no_other() {
    let jetpack =
        store("for s in USR1 HUP WINCH; do trap \"echo $s\" $s; done; echo ready; while :; do sleep 0.02; done", &[]);
    let pod = prepare(&jetpack);
    let mut running = start(&jetpack, &pod);
    let winch = Signal::SIGWINCH as i32;
    for (word, answer) in
        [("USR1", "USR1"), ("SIGUSR1", "USR1"), ("hup", "HUP"), ("1", "HUP"), (&winch.to_string(), "WINCH")]
    {
        jetpack.run(["kill", "-s", word, &pod]).success();
        running.expect(answer);
    }
    assert_eq!(state(&jetpack, &pod), "running");
    // With a time of grace the pod is killed after all.
    jetpack.run(["kill", "-s", "USR1", "--grace", "0.2", &pod]).success();
    assert_eq!(state(&jetpack, &pod), "exited");
    assert_eq!(running.code(), Some(137));
    let running = start(&jetpack, &pod);
    jetpack.run(["kill", "-s", "KILL", &pod]).success();
    assert_eq!(running.code(), Some(137));
}

#[test]
fn a_command_that_a_pod_was_started_for_is_its_app() {
    let jetpack = store(WAIT, &[("post-stop", "echo never")]);
    let pod = prepare(&jetpack);
    let mut running = Running(jetpack.spawn(["exec", &pod, "/bin/app"]));
    running.expect("ready");
    jetpack.run(["kill", &pod]).success();
    assert_eq!(running.code(), Some(143));
    assert_eq!(state(&jetpack, &pod), "exited");
}

#[test]
fn what_does_not_run_is_an_error_and_the_others_are_killed_all_the_same() {
    let jetpack = store(WAIT, &[]);
    let (first, second, idle) = (prepare(&jetpack), prepare(&jetpack), prepare(&jetpack));
    let error = jetpack.run(["kill", &idle]).failure(125);
    assert_eq!(error, format!("jetpack: pod {idle} does not run: it is prepared\n"));
    let runs = [start(&jetpack, &first), start(&jetpack, &second)];
    let error = jetpack.run(["kill", &first, &idle, "f00dcafe", &second]).failure(125);
    assert!(error.contains(&format!("pod {idle} does not run")) && error.contains("no pod \"f00dcafe\""), "{error}");
    for running in runs {
        assert_eq!(running.code(), Some(143));
    }
    let error = jetpack.run(["kill", &first]).failure(125);
    assert!(error.contains("does not run: it is exited"), "{error}");
}

#[test]
fn a_pod_that_is_destroyed_as_it_ends_has_ended() {
    let jetpack = store(WAIT, &[]);
    let mut running = Running(jetpack.spawn(["run", "--destroy", "example.com/app"]));
    running.expect("ready");
    let pod = jetpack.run(["-q", "list"]).success().stdout.trim().to_owned();
    jetpack.run(["kill", &pod]).success();
    assert_eq!(running.code(), Some(143));
}

#[test]
fn a_pod_that_runs_again_at_once_is_not_killed_again() {
    let jetpack = store(WAIT, &[]);
    let pod = prepare(&jetpack);
    let running = start(&jetpack, &pod);
    let killing = jetpack.spawn(["kill", &pod]);
    // Who keeps it running begins anew as soon as it can.
    let mut again = None;
    until("it runs again", || {
        let mut child = jetpack.spawn(["run", &pod]);
        let mut line = String::new();
        BufReader::with_capacity(1, child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("text");
        let began = line == "ready\n";
        let running = Running(child);
        again = began.then_some(running);
        began
    });
    assert_eq!(running.code(), Some(143));
    let output = Output::of(killing.wait_with_output().expect("it ends"));
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(state(&jetpack, &pod), "running");
    drop(again);
}

#[test]
fn an_agent_that_does_not_answer_is_not_waited_for_forever() {
    let jetpack = store(WAIT, &[]);
    let pod = prepare(&jetpack);
    let running = start(&jetpack, &pod);
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.0.id())).expect("children");
    let agent = Pid::from_raw(children.trim().parse().expect("one child"));
    kill(agent, Signal::SIGSTOP).expect("it runs");
    let error = jetpack.run(["kill", &pod]).failure(125);
    kill(agent, Signal::SIGCONT).expect("it is there");
    assert!(error.contains("does not answer\nhelp: "), "{error}");
    jetpack.run(["kill", &pod]).success();
    assert_eq!(running.code(), Some(143));
}

#[test]
fn processes_are_those_of_a_pod_that_runs() {
    let jetpack = store(WAIT, &[]);
    let pod = prepare(&jetpack);
    for command in [&["ps", &pod][..], &["top", &pod], &["killall", &pod, "app"]] {
        let error = jetpack.run(command).failure(125);
        assert_eq!(error, format!("jetpack: pod {pod} does not run: it is prepared\n"));
    }
}

#[test]
fn wrong_words_are_refused() {
    let jetpack = Jetpack::fake();
    for arguments in [
        &["kill"][..],
        &["kill", "-s", "NOSUCH", "f00d"],
        &["kill", "-s", "0", "f00d"],
        &["kill", "-s", "", "f00d"],
        &["kill", "--grace", "-1", "f00d"],
        &["kill", "--grace", "nan", "f00d"],
        &["kill", "--grace", "inf", "f00d"],
        &["kill", "--grace", "1e9", "f00d"],
    ] {
        jetpack.run(arguments).failure(125);
    }
    assert!(jetpack.run(["kill", "-s", "NOSUCH", "f00d"]).failure(125).contains("there is no such signal"));
}
