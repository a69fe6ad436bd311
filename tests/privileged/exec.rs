//! `jetpack exec`: who the command is, where its bytes go, and how it and the pod end.

use std::io::Read;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::images::{Image, NAME, shell, store_of};
use super::signals::Running;
use crate::support::bounded::{ended, until};
use crate::support::command::{Jetpack, Output, or_skip};
use crate::support::host::Snapshot;
use crate::support::pty::Terminal;

/// What an app does that only waits.
pub(super) const WAIT: &str = "echo ready; while :; do sleep 0.05; done";

/// A pod of the image in the store, which runs this script.
pub(super) fn prepare(jetpack: &Jetpack, script: &str) -> String {
    jetpack.run(["prepare", NAME, "--", script]).success().stdout.trim().to_owned()
}

/// Runs a script in the pod; `options` stand before it.
pub(super) fn exec(jetpack: &Jetpack, pod: &str, options: &[&str], script: &str) -> Output {
    jetpack.run([&["exec", pod], options, &["sh", "-c", script]].concat())
}

pub(super) fn end(running: Running) {
    kill(running.pid(), Signal::SIGTERM).expect("it runs");
    assert_eq!(running.end().0, 143);
}

fn state(jetpack: &Jetpack) -> String {
    jetpack.run(["list", "-H"]).success().stdout.split_whitespace().nth(1).unwrap_or("none").to_owned()
}

#[test]
fn a_command_is_the_apps_user_unless_told_otherwise() {
    let passwd = "root:x:0:0::/root:/bin/sh\nweb:x:80:81::/srv:/bin/false\njoe:x:90:91::/tmp:/bin/sh\n";
    let groups = "root:x:0:\nweb:x:81:\nmedia:x:92:joe,web\nmail:x:93:\n";
    let app = r#"{ "exec": ["/bin/sh", "-c"], "user": "web", "group": "mail", "supplementaryGIDs": [7],
                   "workingDirectory": "/srv", "environment": [{ "name": "A", "value": "the app's" }] }"#;
    let image = or_skip!(Image::new(Some(app), &["etc/passwd", "etc/group"]));
    let image = image.file("etc/passwd", 0o644, passwd.as_bytes()).file("etc/group", 0o644, groups.as_bytes());
    let jetpack = or_skip!(image.directory("srv", 0o755).owned("file", 0o644, (90, 92), b"").into_store("overlay"));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    let who = "echo $(id -u) $(id -g) $(id -G) $USER $HOME $PWD $A";
    let table: [(&[&str], &str); 10] = [
        (&[], "80 93 93 7 web /srv /srv the app's"),
        (&["--group", "media"], "80 92 92 7 web /srv /srv the app's"),
        (&["--user", "joe"], "90 91 91 92 joe /tmp /srv the app's"),
        (&["--user", "90"], "90 91 91 92 joe /tmp /srv the app's"),
        (&["--user", "/file"], "90 91 91 92 joe /tmp /srv the app's"),
        (&["--user", "joe", "--group", "mail"], "90 93 93 joe /tmp /srv the app's"),
        (&["--user", "joe", "--group", "/file"], "90 92 92 joe /tmp /srv the app's"),
        (&["--user", "4242", "--group", "4343"], "4242 4343 4343 4242 / /srv the app's"),
        (&["--user", "root"], "0 0 0 root /root /srv the app's"),
        (&["--cwd", "/tmp", "--env", "A=1", "--env", "HOME=/x"], "80 93 93 7 web /x /tmp 1"),
    ];
    for (options, expected) in table {
        let output = exec(&jetpack, &pod, options, who).success();
        assert_eq!((output.stdout, output.stderr.as_str()), (format!("{expected}\n"), ""), "{options:?}");
    }
    let error = exec(&jetpack, &pod, &["--user", "4242"], who).failure(125);
    assert!(error.contains("does not say in which group user 4242 is"), "{error}");
    end(running);
    // The same in a pod that is started for it.
    assert_eq!(exec(&jetpack, &pod, &["--user", "joe"], who).success().stdout, "90 91 91 92 joe /tmp /srv the app's\n");
}

#[test]
fn exit_codes_are_the_commands() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let pod = prepare(&jetpack, WAIT);
    let table = [("true", 0), ("exit 3", 3), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -SEGV $$", 139)];
    let failing = [("missing", 127), ("/etc/passwd", 126)];
    let running = Running::start(&jetpack, &pod, &[]);
    let all = || {
        for (script, code) in table {
            let output = exec(&jetpack, &pod, &[], script);
            assert_eq!((output.code, output.stderr.as_str()), (code, ""), "{script}");
        }
        for (program, code) in failing {
            jetpack.run(["exec", &pod, program]).failure(code);
        }
    };
    all();
    end(running);
    all();
}

#[test]
fn a_mebibyte_passes_each_way_in_several_at_once() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    let mut input = vec![0; 1 << 20];
    std::fs::File::open("/dev/urandom").expect("random numbers").read_exact(&mut input).expect("random numbers");
    let path = jetpack.file("input", &input);
    let children: Vec<Child> = (0..6)
        .map(|n| {
            let script = format!("cat; echo {n} to standard error >&2; exit {n}");
            let mut command = jetpack.command(["exec", &pod, "sh", "-c", &script]);
            command.stdin(std::fs::File::open(&path).expect("a file")).stdout(Stdio::piped()).stderr(Stdio::piped());
            command.spawn().expect("it starts")
        })
        .collect();
    for (n, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.stdout == input, "{} bytes came back", output.stdout.len());
        assert_eq!(output.stderr, format!("{n} to standard error\n").as_bytes());
        assert_eq!(output.status.code(), i32::try_from(n).ok());
    }
    end(running);
}

#[test]
fn a_pod_that_does_not_run_is_started_and_nothing_is_left() {
    let handler = |name: &str| format!(r#"{{ "name": "{name}", "exec": ["/bin/sh", "-c", "echo {name} >>/notes"] }}"#);
    let handlers = format!(r#""eventHandlers": [{}, {}]"#, handler("pre-start"), handler("post-stop"));
    let jetpack = or_skip!(store_of(&shell("0", &handlers)));
    let pod = prepare(&jetpack, "exit 0");
    let before = Snapshot::take(&jetpack.store());
    for count in 1..3 {
        let script = "echo run >>/runs; wc -l </runs; (setsid sleep 100 &); cat /notes 2>/dev/null; exit 9";
        let output = exec(&jetpack, &pod, &[], script);
        assert_eq!((output.code, output.stdout), (9, format!("{count}\n")));
        assert_eq!(state(&jetpack), "exited");
        assert_eq!(Snapshot::take(&jetpack.store()), before);
    }
    jetpack.run(["destroy", &pod]).success();
}

#[test]
fn when_the_pod_ends_or_its_first_process_is_killed_the_command_is_too() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let pod = prepare(&jetpack, WAIT);
    let before = Snapshot::take(&jetpack.store());
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let running = Running::start(&jetpack, &pod, &[]);
        let script = "trap '' TERM HUP INT; echo ready; while :; do sleep 0.05; done";
        let command = Running::of(jetpack.command(["exec", &pod, "sh", "-c", script]));
        match signal {
            Signal::SIGKILL => kill(running.agent(), signal).expect("it runs"),
            _ => kill(running.pid(), signal).expect("it runs"),
        }
        let (code, _, said) = command.end();
        assert_eq!(code, 137, "{signal}");
        assert_eq!(said, format!("jetpack: warning: pod {pod} has ended, and the command with it\n"));
        running.end();
        assert_eq!(Snapshot::take(&jetpack.store()), before, "{signal}");
    }
    // The runner is killed: there is no command without a pod either.
    let mut running = Running::start(&jetpack, &pod, &[]);
    let command = Running::of(jetpack.command(["exec", &pod, "sh", "-c", WAIT]));
    kill(running.pid(), Signal::SIGKILL).expect("it runs");
    assert_eq!(command.end().0, 137);
    ended(&mut running.child);
    until("the pod is gone", || Snapshot::take(&jetpack.store()) == before);
    assert_eq!(exec(&jetpack, &pod, &[], "exit 7").code, 7);
}

#[test]
fn a_caller_that_was_killed_takes_the_command_along_and_not_the_pod() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    let commands = || exec(&jetpack, &pod, &[], "ps | grep -c 'demo  *sleep 9'").stdout;
    let mut piped = Running::of(jetpack.command(["exec", &pod, "sh", "-c", "echo ready; sleep 91; :"]));
    let mut terminal = Terminal::start(&jetpack.command(["exec", "-t", &pod, "sh", "-c", "echo ready; sleep 92; :"]));
    terminal.expect("ready");
    until("both run", || commands() == "2\n");
    piped.child.kill().expect("it runs");
    piped.child.wait().expect("it ends");
    until("the one without a terminal is hung up", || commands() == "1\n");
    terminal.kill(Signal::SIGKILL);
    until("the one with a terminal is hung up", || commands() == "0\n");
    end(running);
}

#[test]
fn signals_reach_the_command_and_not_the_app() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGQUIT] {
        let name = &signal.as_str()[3..];
        let script = format!("trap 'echo {name}; exit 9' {name}; {WAIT}");
        let command = Running::of(jetpack.command(["exec", &pod, "sh", "-c", &script]));
        kill(command.pid(), signal).expect("it runs");
        let (code, out, err) = command.end();
        assert_eq!((code, out, err.as_str()), (9, format!("{name}\n"), ""));
    }
    end(running);
}

#[test]
fn an_agent_that_does_not_answer_is_not_waited_for_against_ones_will() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    kill(running.agent(), Signal::SIGSTOP).expect("it runs");
    let mut waiting = jetpack.spawn(["exec", &pod, "true"]);
    let pid = Pid::from_raw(waiting.id().cast_signed());
    let wchan = |pid: Pid| std::fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
    until("it waits", || wchan(pid).contains("poll") || wchan(pid) == "0");
    std::thread::sleep(std::time::Duration::from_millis(200));
    kill(pid, Signal::SIGINT).expect("it runs");
    assert_eq!(ended(&mut waiting).code(), Some(130));
    kill(running.agent(), Signal::SIGCONT).expect("it runs");
    end(running);
}

#[test]
fn a_pod_that_cannot_be_started_keeps_nobody_waiting() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let pod = prepare(&jetpack, WAIT);
    // Without its writable layer the root cannot be mounted.
    let layer = jetpack.store().join("pods").join(&pod);
    std::fs::rename(&layer, jetpack.path("away")).expect("the pod's layers");
    let before = Snapshot::take(&jetpack.store());
    let mut all: Vec<Child> = (0..12)
        .map(|n| if n % 3 == 0 { jetpack.spawn(["run", &pod]) } else { jetpack.spawn(["exec", &pod, "true"]) })
        .collect();
    for child in &mut all {
        assert_eq!(ended(child).code(), Some(125));
    }
    let said = exec(&jetpack, &pod, &[], "true").failure(125);
    assert!(said.contains("cannot mount the root filesystem"), "{said}");
    assert_eq!(Snapshot::take(&jetpack.store()), before);
    std::fs::rename(jetpack.path("away"), &layer).expect("the pod's layers");
    assert_eq!(exec(&jetpack, &pod, &[], "exit 7").code, 7);
}
