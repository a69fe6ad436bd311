//! `jetpack exec` and `jetpack console`

use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{scripted, with_script};
use crate::support::bounded::{ended, until};
use crate::support::command::{Jetpack, Output};

/// A pod that runs until it is told to end, of an app with handlers that leave traces.
struct Running {
    jetpack: Jetpack,
    pod: String,
    child: Child,
}

impl Running {
    fn start() -> Running {
        let jetpack = with_handlers();
        let pod = prepare(&jetpack);
        let mut child = jetpack.spawn(["run", &pod]);
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        Running { jetpack, pod, child }
    }

    fn exec(&self, arguments: &[&str]) -> Output {
        self.jetpack.run([&["exec", &self.pod], arguments].concat())
    }

    fn stop(&mut self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
        assert_eq!(ended(&mut self.child).code(), Some(143));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn with_handlers() -> Jetpack {
    let more = r#", "workingDirectory": "/srv", "environment": [{"name": "A", "value": "the app's"}],
        "eventHandlers": [{"name": "pre-start", "exec": ["/bin/note", "pre"]},
                          {"name": "post-stop", "exec": ["/bin/note", "post"]}]"#;
    let archive = scripted("example.com/app", "echo ready; while :; do sleep 0.05; done", more)
        .directory("rootfs/srv", 0o755)
        .file("rootfs/bin/note", 0o755, b"#!/bin/sh\necho $1 >>notes\n")
        .file("rootfs/bin/sh", 0o755, b"#!/bin/sh\nexec /bin/sh \"$@\"\n");
    let jetpack = Jetpack::fake();
    jetpack.import(&archive.finish());
    jetpack
}

fn prepare(jetpack: &Jetpack) -> String {
    jetpack.run(["prepare", "example.com/app"]).success().stdout.trim().to_owned()
}

fn state(jetpack: &Jetpack) -> String {
    jetpack.run(["list", "-H"]).success().stdout.split_whitespace().nth(1).unwrap_or("none").to_owned()
}

/// What the handlers of the pod have noted.
fn notes(jetpack: &Jetpack, pod: &str) -> String {
    let directory = jetpack.store().join(format!("pods/{pod}/apps/app/root/srv"));
    assert!(directory.is_dir(), "{directory:?}");
    std::fs::read_to_string(directory.join("notes")).unwrap_or_default()
}

#[test]
fn a_command_runs_beside_the_app_and_its_exit_code_counts() {
    let running = Running::start();
    for (script, code) in [("true", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -9 $$", 137)] {
        let output = running.exec(&["sh", "-c", script]);
        assert_eq!((output.code, output.stderr.as_str()), (code, ""), "{script}");
    }
    for (command, code, said) in [
        ("none", 127, "there is no none in the image's PATH="),
        ("/bin/none", 127, "there is no /bin/none in the image"),
        ("/srv", 126, "cannot execute /srv: Permission denied"),
    ] {
        let error = running.exec(&[command]).failure(code);
        assert!(error.contains(said), "{error}");
    }
    assert_eq!(notes(&running.jetpack, &running.pod), "pre\n");
    assert_eq!(state(&running.jetpack), "running");
}

#[test]
fn options_stand_on_either_side_of_the_pod_and_change_what_is_the_apps() {
    let running = Running::start();
    let script = "echo ${PWD##*/} $A $B $1";
    let table: [(&[&str], &str); 6] = [
        (&["POD", "sh", "-c", script, "x", "--env"], "srv the app's --env\n"),
        (&["POD", "--", "sh", "-c", script], "srv the app's\n"),
        (&["--cwd", "/bin", "POD", "--env", "B=b", "sh", "-c", script], "bin the app's b\n"),
        (&["POD", "--env", "A=1", "--env=B=2 = 3", "--", "sh", "-c", script], "srv 1 2 = 3\n"),
        (&["--user", "0", "--group", "0", "POD", "sh", "-c", script], "srv the app's\n"),
        (&["POD:app", "sh", "-c", script], "srv the app's\n"),
    ];
    for (words, expected) in table {
        let words = words.iter().map(|word| word.replace("POD", &running.pod));
        let words: Vec<String> = std::iter::once("exec".to_owned()).chain(words).collect();
        assert_eq!(running.jetpack.run(&words).success().stdout, expected, "{words:?}");
    }
    let pod = &running.pod;
    for (words, said) in [
        (&["exec", "POD:web", "ls"][..], "has no app \"web\"; it has app"),
        (&["exec", "POD", "--cwd", "/none", "ls"], "cannot change to the working directory /none"),
        (&["exec", "POD", "--user", "joe", "ls"], "the image knows no user \"joe\""),
        (&["exec", "POD", "--user", "4242", "ls"], "does not say in which group user 4242 is\nhelp: name a group"),
        (&["exec", "POD", ""], "there is nothing to execute"),
        (&["exec", "f00dcafe", "ls"], "there is no pod \"f00dcafe\""),
        (&["console", "POD:web"], "has no app \"web\"; it has app"),
        (&["console", "POD", "-u", "joe"], "the image knows no user \"joe\""),
    ] {
        let words: Vec<String> = words.iter().map(|word| word.replace("POD", pod)).collect();
        let error = running.jetpack.run(&words).failure(125);
        assert!(error.contains(said), "{words:?}: {error}");
    }
    assert_eq!(state(&running.jetpack), "running");
}

#[test]
fn standard_streams_are_the_callers() {
    let running = Running::start();
    let input = "0123456789abcdef".repeat(65536);
    let words = ["exec", &running.pod, "sh", "-c", "cat; echo problem >&2; exit 3"];
    let output = running.jetpack.run_with_input(words, input.as_bytes());
    assert_eq!((output.code, output.stderr.as_str()), (3, "problem\n"));
    assert!(output.stdout == input, "{} bytes came back", output.stdout.len());
    let mut command = running.jetpack.command(words);
    let directory = std::fs::File::open("/").expect("a directory");
    let error = Output::of(command.stdin(directory).output().expect("it ends")).failure(125);
    assert!(error.contains("cannot give the pod its standard input: it is a directory of the host's"), "{error}");
}

#[test]
fn a_pod_that_does_not_run_is_started_for_the_command() {
    let jetpack = with_handlers();
    let pod = prepare(&jetpack);
    for (code, input) in [(0, "one"), (5, "two")] {
        let script = format!("cat; exit {code}");
        let output = jetpack.run_with_input(["exec", &pod, "sh", "-c", &script], input.as_bytes());
        assert_eq!((output.code, output.stdout.as_str()), (code, input), "{output:?}");
        assert_eq!(state(&jetpack), "exited");
    }
    assert_eq!(notes(&jetpack, &pod), "");
    assert_eq!(jetpack.run(["exec", &pod, "none"]).failure(127).lines().count(), 1);
    let error = jetpack.run(["exec", &format!("{pod}:web"), "ls"]).failure(125);
    assert!(error.contains("it has app"), "{error}");
    let output = jetpack.run_with_input(["console", &pod], b"echo $0; exit 4\n");
    assert_eq!(output.code, 4, "{output:?}");
    // One whose app was never asked for stays as it was when nothing could be tried.
    let fresh = prepare(&jetpack);
    jetpack.run(["exec", &format!("{fresh}:web"), "ls"]).failure(125);
    let list = jetpack.run(["list", "-H"]).success().stdout;
    assert!(list.lines().any(|line| line.contains(&fresh) && line.contains("prepared")), "{list}");
}

#[test]
fn others_join_a_command_that_has_started_the_pod() {
    let jetpack = with_handlers();
    let pod = prepare(&jetpack);
    let mut first = jetpack.command(["exec", &pod, "sh", "-c", "echo up; read line; exit 6"]);
    let mut first = first.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut line = String::new();
    BufReader::new(first.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
    assert_eq!(jetpack.run(["exec", &pod, "sh", "-c", "exit 8"]).code, 8);
    assert_eq!(state(&jetpack), "running");
    first.stdin.take().expect("a pipe").write_all(b"\n").expect("it reads");
    assert_eq!(ended(&mut first).code(), Some(6));
}

#[test]
fn signals_are_passed_on() {
    let running = Running::start();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGHUP] {
        let name = &signal.as_str()[3..];
        let script = format!("trap 'echo got {name}; exit 9' {name}; echo set; while :; do sleep 0.05; done");
        let mut child = running.jetpack.spawn(["exec", &running.pod, "sh", "-c", &script]);
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        assert_eq!(lines.next().expect("a line").expect("text"), "set");
        kill(Pid::from_raw(child.id().cast_signed()), signal).expect("it runs");
        assert_eq!(lines.next().expect("a line").expect("text"), format!("got {name}"));
        assert_eq!(ended(&mut child).code(), Some(9));
    }
    assert_eq!(state(&running.jetpack), "running");
}

#[test]
fn a_command_whose_caller_was_killed_is_hung_up() {
    let running = Running::start();
    let script = "trap 'echo hung up >told; exit' HUP; echo set; while :; do sleep 0.05; done";
    let mut child = running.jetpack.spawn(["exec", &running.pod, "sh", "-c", script]);
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    until("the command is told", || running.exec(&["sh", "-c", "cat told"]).stdout == "hung up\n");
}

#[test]
fn when_the_pod_ends_so_does_the_command_and_that_is_told() {
    let mut running = Running::start();
    let mut child = running.jetpack.spawn(["exec", &running.pod, "sh", "-c", "trap '' TERM; echo set; exec sleep 100"]);
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
    running.stop();
    assert_eq!(ended(&mut child).code(), Some(137));
    let said = Output::of(child.wait_with_output().expect("it ends")).stderr;
    assert_eq!(said, format!("jetpack: warning: pod {} has ended, and the command with it\n", running.pod));
    assert_eq!(notes(&running.jetpack, &running.pod), "pre\npost\n");
    assert!(!running.jetpack.store().join(format!("state/run/{}/control", running.pod)).exists());
}

#[test]
fn a_pod_that_is_stopping_takes_no_command() {
    let handlers = r#", "eventHandlers": [{"name": "post-stop", "exec": ["/bin/slow"]}]"#;
    let archive = scripted("example.com/app", "exit 0", handlers).file(
        "rootfs/bin/slow",
        0o755,
        b"#!/bin/sh\necho stopping\nsleep 1\n",
    );
    let jetpack = Jetpack::fake();
    jetpack.import(&archive.finish());
    let pod = prepare(&jetpack);
    let mut child = jetpack.spawn(["run", &pod]);
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
    assert_eq!(line, "stopping\n");
    let error = jetpack.run(["exec", &pod, "/bin/app"]).failure(125);
    assert!(error.starts_with("jetpack: the pod is stopping\nhelp: "), "{error}");
    assert_eq!(ended(&mut child).code(), Some(0));
}

#[test]
fn silence_and_half_a_request_hold_nobody_up() {
    let mut running = Running::start();
    let directory = running.jetpack.store().join(format!("state/run/{}", running.pod));
    let directory = std::fs::File::open(directory).expect("a directory");
    // By the descriptor, since the path is too long for an address.
    let path = format!("/proc/self/fd/{}/control", directory.as_raw_fd());
    let connect = || UnixStream::connect(&path).expect("somebody listens");
    let silent = connect();
    let mut half = connect();
    half.write_all(&[200, 0, 0, 0, b'{']).expect("it is read");
    let mut huge = connect();
    huge.write_all(&[255, 255, 255, 255]).expect("it is read");
    let mut nonsense = connect();
    nonsense.write_all(b"\x08\0\0\0nonsense").expect("it is read");
    for _ in 0..3 {
        assert_eq!(running.exec(&["sh", "-c", "exit 7"]).code, 7);
    }
    // Signals to the app get through, too.
    running.stop();
    drop((silent, half, huge, nonsense));
}

#[test]
fn a_socket_that_a_killed_runner_left_is_in_nobodys_way() {
    let running = Running::start();
    kill(Pid::from_raw(running.child.id().cast_signed()), Signal::SIGKILL).expect("it runs");
    until("the pod has ended", || state(&running.jetpack) == "exited");
    assert!(running.jetpack.store().join(format!("state/run/{}/control", running.pod)).exists());
    assert_eq!(running.exec(&["sh", "-c", "exit 7"]).code, 7);
    running.jetpack.run(["destroy", &running.pod]).success();
}

#[test]
fn of_commands_that_race_to_start_a_pod_all_run() {
    let jetpack = with_script("exit 0");
    let pod = prepare(&jetpack);
    for _ in 0..5 {
        let racers: Vec<Child> = (0..4).map(|_| jetpack.spawn(["exec", &pod, "/bin/app"])).collect();
        for racer in racers {
            let output = Output::of(racer.wait_with_output().expect("it ends"));
            let told = ["has just ended", "has ended", "the pod is stopping"];
            assert!(output.code == 0 || told.iter().any(|text| output.stderr.contains(text)), "{output:?}");
        }
    }
    assert_eq!(state(&jetpack), "exited");
}
