//! `ps`, `killall` and `kill` of real pods, looked at from the host.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use serde_json::Value;

use super::images::{shell, store_of};
use super::pods;
use super::signals::Running;
use crate::support::bounded::until;
use crate::support::command::{Jetpack, or_skip};
use crate::support::host::Snapshot;

/// A pod that runs a script of busybox's shell, after that has said `ready`.
pub(super) struct Pod<'a> {
    pub(super) jetpack: &'a Jetpack,
    pub(super) name: String,
    running: Running,
}

impl<'a> Pod<'a> {
    pub(super) fn start(jetpack: &'a Jetpack, script: &str) -> Pod<'a> {
        let name =
            jetpack.run(["prepare", "busybox-base", "--", "sh", "-c", script]).success().stdout.trim().to_owned();
        let running = Running::start(jetpack, &name, &[]);
        Pod { jetpack, name, running }
    }

    fn ps(&self) -> Vec<Value> {
        let text = self.jetpack.run(["--format", "json", "ps", &self.name]).success().stdout;
        serde_json::from_str(&text).expect("JSON")
    }

    /// Waits until there are so many processes called `name`.
    fn until(&self, name: &str, count: usize) {
        until(&format!("{count} {name}"), || called(&self.ps(), name).len() == count);
    }

    fn killall(&self, arguments: &[&str]) -> crate::support::command::Output {
        self.jetpack.run([&["killall", &self.name], arguments].concat())
    }

    pub(super) fn end(self) -> i32 {
        self.jetpack.run(["kill", "-s", "KILL", &self.name]).success();
        self.running.end().0
    }
}

fn called(processes: &[Value], name: &str) -> Vec<i64> {
    processes.iter().filter(|p| p["name"] == name).map(|p| p["pid"].as_i64().expect("a number")).collect()
}

fn pids(processes: &[Value]) -> BTreeSet<i64> {
    processes.iter().map(|p| p["pid"].as_i64().expect("a number")).collect()
}

/// The processes that have the PID namespace of this one, as the host's /proc has it.
fn of_namespace(pid: Pid) -> BTreeSet<i64> {
    let namespace = |pid: &str| std::fs::metadata(format!("/proc/{pid}/ns/pid")).ok().map(|found| found.ino());
    let wanted = namespace(&pid.to_string());
    assert!(wanted.is_some());
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|pid| namespace(pid) == wanted).filter_map(|pid| pid.parse().ok()).collect()
}

/// A process of the host's that ends with this value.
struct Host(Child);

impl Host {
    fn start(program: &str, arguments: &[&str]) -> Host {
        Host(Command::new(program).args(arguments).stdin(Stdio::null()).spawn().expect("it starts"))
    }

    fn runs(&mut self) -> bool {
        self.0.try_wait().expect("a child").is_none()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) const SLEEPERS: &str = "sleep 1000 & sleep 1001 & echo ready; wait";

#[test]
fn all_processes_of_the_pod_are_shown_and_no_others() {
    let jetpack = or_skip!(pods("overlay"));
    let (one, other) = (Pod::start(&jetpack, SLEEPERS), Pod::start(&jetpack, SLEEPERS));
    let host = Host::start("sleep", &["1000"]);
    one.until("sleep", 2);
    other.until("sleep", 2);
    let shown = one.ps();
    assert_eq!(pids(&shown), of_namespace(one.running.agent()));
    assert_eq!(pids(&shown).len(), 4, "{shown:?}");
    assert!(pids(&shown).is_disjoint(&pids(&other.ps())) && !pids(&shown).contains(&i64::from(host.0.id())));
    let agents: Vec<&Value> = shown.iter().filter(|p| p["agent"] == true).collect();
    assert_eq!(agents.len(), 1);
    assert_eq!(agents[0]["pid"].as_i64(), Some(i64::from(one.running.agent().as_raw())));
    assert_eq!(agents[0]["pid_in_pod"], 1);
    let table = jetpack.run(["ps", &one.name]).success().stdout;
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>(), ["PID", "UID", "STATE", "TIME", "RSS", "COMMAND"]);
    assert_eq!((lines.len(), lines[1].ends_with("  jetpack agent")), (5, true), "{table}");
    for command in ["  sleep 1000", "  sleep 1001"] {
        assert!(lines.iter().any(|line| line.ends_with(command) && line.contains(" 0:00.")), "{table}");
    }
    assert_eq!(jetpack.run(["ps", "-H", &one.name]).success().stdout.lines().count(), 4);
    let quiet = jetpack.run(["-q", "ps", &one.name]).success().stdout;
    assert_eq!(quiet.lines().map(|line| line.parse().expect("a number")).collect::<BTreeSet<i64>>(), pids(&shown));
    let ended = one.name.clone();
    assert_eq!((one.end(), other.end()), (137, 137));
    let error = jetpack.run(["ps", &ended]).failure(125);
    assert_eq!(error, format!("jetpack: pod {ended} does not run: it is exited\n"));
}

#[test]
fn time_and_memory_are_counted() {
    let jetpack = or_skip!(pods("overlay"));
    let pod = Pod::start(&jetpack, "echo ready; while :; do :; done");
    let busy = || pod.ps().into_iter().find(|p| p["pid_in_pod"] != 1).expect("the shell");
    until("time is used", || busy()["cpu_seconds"].as_f64().expect("a number") > 0.2);
    let (first, second) = (busy(), busy());
    assert!(second["cpu_seconds"].as_f64() >= first["cpu_seconds"].as_f64(), "{first} {second}");
    let resident = second["resident"].as_u64().expect("a number");
    assert!((64 << 10..64 << 20).contains(&resident), "{second}");
    assert_eq!((&second["state"], &second["uid"], &second["name"]), (&"R".into(), &0.into(), &"sh".into()));
    assert_eq!(pod.end(), 137);
}

#[test]
fn names_and_arguments_of_the_pods_choice_forge_nothing() {
    let jetpack = or_skip!(pods("overlay"));
    // printf(1) is the shell's own, so that it is the shell that is renamed.
    let renamed = |name: &str| format!("sh -c 'printf \"{name}\" >/proc/self/comm; sleep 1000; :' & ");
    let names = ["a b", ") S 1 1 (", "x) R", "\\033[2J", "two\\nlines"];
    let script: String = names.iter().map(|name| renamed(name)).collect();
    let arguments = "sh -c 'sleep 1000; :' \"$(printf 'esc\\033[2J\\rforged\\n1 0 S')\" & ";
    let pod = Pod::start(&jetpack, &format!("{script}{arguments}echo ready; wait"));
    for name in ["a b", ") S 1 1 (", "x) R", "\u{1b}[2J", "two\nlines"] {
        pod.until(name, 1);
    }
    let shown = pod.ps();
    assert_eq!(pids(&shown), of_namespace(pod.running.agent()));
    assert!(shown.iter().all(|p| ["S", "R"].iter().any(|state| p["state"] == *state)), "{shown:?}");
    let table = jetpack.run(["ps", &pod.name]).success().stdout;
    assert!(!table.contains(|c: char| c.is_control() && c != '\n'), "{table:?}");
    assert_eq!(table.lines().count(), shown.len() + 1, "{table}");
    assert!(table.contains("esc\\x1b[2J\\rforged\\n1 0 S"), "{table}");
    // They can be told apart all the same.
    pod.killall(&["-s", "KILL", "x) R"]).success();
    pod.until("x) R", 0);
    pod.until("two\nlines", 1);
    assert_eq!(pod.end(), 137);
}

#[test]
fn a_namespace_that_was_made_in_the_pod_belongs_to_it() {
    let jetpack = or_skip!(pods("overlay"));
    let pod = Pod::start(&jetpack, "echo ready; sleep 1000 & exec tail -f /dev/null");
    let agent = pod.running.agent().to_string();
    let entered = ["-t", &agent, "-p", "unshare", "--pid", "--fork", "--kill-child", "sleep", "1234"];
    let mut inner = Host::start("nsenter", &entered);
    until("the inner one is shown", || pod.ps().iter().any(|p| p["command"] == "sleep 1234"));
    let shown = pod.ps();
    let nested = shown.iter().find(|p| p["command"] == "sleep 1234").expect("it was there");
    assert_eq!((nested.get("pid_in_pod"), &nested["agent"]), (None, &false.into()));
    let outer = shown.iter().find(|p| p["command"] == "sleep 1000").expect("the pod's own");
    assert!(outer["pid_in_pod"].as_i64() > Some(1), "{outer}");
    // The first of a namespace heeds no signal from above but this one.
    pod.killall(&["-s", "KILL", "sleep"]).success();
    // Nobody waits for the one, which is shown as what it is then.
    until("both have ended", || pod.ps().iter().all(|p| p["name"] != "sleep" || p["state"] == "Z"));
    until("nothing waits for it", || !inner.runs());
    pod.end();
}

#[test]
fn only_processes_of_the_pod_are_killed_by_name() {
    let jetpack = or_skip!(pods("overlay"));
    let traps = "sh -c 'trap \"echo got it\" USR1; echo set; while :; do sleep 0.05; done' & ";
    let one = Pod::start(&jetpack, &format!("{SLEEPERS}; {traps}wait; wait"));
    let other = Pod::start(&jetpack, SLEEPERS);
    let mut host = Host::start("sleep", &["1000"]);
    one.until("sleep", 2);
    other.until("sleep", 2);
    let error = one.killall(&["nosuch", "sleep", "slee", "sleeping"]).failure(125);
    assert_eq!(error, format!("jetpack: pod {} has no process called nosuch, slee, sleeping\n", one.name));
    until("its own have ended", || {
        !one.ps().iter().any(|p| p["command"].as_str().is_some_and(|c| c.starts_with("sleep 100")))
    });
    assert_eq!(called(&other.ps(), "sleep").len(), 2);
    assert!(host.runs());
    // The agent cannot be meant, by no name that it might have.
    let comm = std::fs::read_to_string(format!("/proc/{}/comm", one.running.agent())).expect("its name");
    let error = one.killall(&["-s", "KILL", comm.trim_end_matches('\n'), "jetpack"]).failure(125);
    assert!(error.contains("has no process called"), "{error}");
    // Every shell of it: with the app ends the pod.
    one.killall(&["-s", "kill", "sh"]).success();
    assert_eq!(one.running.end().0, 137);
    let error = jetpack.run(["killall", &one.name, "sh"]).failure(125);
    assert!(error.contains("does not run: it is exited"), "{error}");
    assert_eq!(jetpack.run(["killall", &other.name]).code, 125);
    assert_eq!(other.killall(&["-s", "NONE", "sleep"]).code, 125);
    assert_eq!(called(&other.ps(), "sleep").len(), 2);
    assert_eq!(other.end(), 137);
}

#[test]
fn a_pod_ends_in_any_case() {
    let deaf = "trap \"\" TERM INT HUP; echo ready; while :; do sleep 0.05; done";
    let hangs = r#""eventHandlers": [{"name": "post-stop", "exec": ["/bin/sh", "-c", "trap '' TERM; sleep 1000"]}]"#;
    for (more, script, least) in [("", deaf, 1), (hangs, deaf, 1), (hangs, "echo ready; sleep 1000 & wait", 1)] {
        let jetpack = or_skip!(store_of(&shell("1000", more)));
        let pod = jetpack.run(["prepare", "test", "--", script]).success().stdout.trim().to_owned();
        let before = Snapshot::take(&jetpack.store());
        let running = Running::start(&jetpack, &pod, &[]);
        let asked = Instant::now();
        jetpack.run(["kill", "--grace", "1", &pod]).success();
        assert!(asked.elapsed() >= Duration::from_secs(least), "{:?}", asked.elapsed());
        let (code, _, err) = running.end();
        assert_eq!(code, if script == deaf { 137 } else { 143 }, "{err}");
        assert_eq!(err.contains("the post-stop handler of test failed: killed by SIGKILL"), !more.is_empty(), "{err}");
        assert_eq!(Snapshot::take(&jetpack.store()), before);
    }
}
