//! `run -t`: the pod's terminal and the person's.

use std::io::Write;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::LocalFlags;
use nix::unistd::Pid;

use super::images::{NAME, shell, store_of};
use super::pods;
use crate::support::bounded::{ended, until};
use crate::support::command::{Jetpack, Output, or_skip};
use crate::support::pty::Terminal;

fn start(jetpack: &Jetpack, script: &str) -> Terminal {
    Terminal::start(&jetpack.command(["run", "--destroy", "-t", NAME, "--", script]))
}

#[test]
fn the_persons_terminal_is_raw_meanwhile_and_then_as_before() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    for (script, signal, code) in [
        ("echo ready; read line; exit 3", None, 3),
        ("echo ready; read line; kill -9 $$", None, 137),
        ("echo ready; sleep 100 & wait", Some(Signal::SIGTERM), 143),
        ("echo ready; sleep 100 & wait", Some(Signal::SIGVTALRM), 128 + 26),
        ("trap 'exit 6' HUP; echo ready; while :; do sleep 0.05; done", Some(Signal::SIGHUP), 6),
    ] {
        let mut terminal = start(&jetpack, script);
        let before = terminal.mode();
        terminal.expect("ready");
        assert!(!terminal.mode().local_flags.contains(LocalFlags::ICANON | LocalFlags::ECHO), "{script}");
        match signal {
            Some(signal) => terminal.kill(signal),
            None => terminal.send("line\r"),
        }
        assert_eq!(terminal.code(), code, "{script}");
        assert_eq!(terminal.mode(), before, "{script}");
    }
}

#[test]
fn a_stopped_runner_leaves_the_terminal_as_it_was_and_goes_on_when_continued() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let mut terminal = start(&jetpack, "echo ready; read line; echo $line; exit 3");
    let before = terminal.mode();
    terminal.expect("ready");
    terminal.kill(Signal::SIGTSTP);
    until("the mode is given back", || terminal.mode() == before);
    terminal.kill(Signal::SIGCONT);
    until("the terminal is raw again", || terminal.mode() != before);
    terminal.send("line\r");
    assert_eq!(terminal.code(), 3);
    assert_eq!(terminal.mode(), before);
}

#[test]
fn an_app_without_a_terminal_cannot_change_the_persons() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let mut terminal = Terminal::start(&jetpack.command(["run", "--destroy", NAME, "--", "stty -echo raw; exit 4"]));
    let before = terminal.mode();
    assert_eq!(terminal.code(), 4);
    assert_eq!(terminal.mode(), before);
}

#[test]
fn output_that_nobody_reads_does_not_keep_the_runner_from_ending() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let mut command = jetpack.command(["run", "--destroy", "-t", NAME, "--", "yes | head -c 60000; exit 3"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the command starts");
    // The pod ends, since the relay holds what the pipe does not take.
    let id = child.id();
    let children = || std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    until("the pod begins", || !children().is_empty());
    until("the pod ends", || children().is_empty());
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("a signal");
    assert!(ended(&mut child).code().is_some());
}

#[test]
fn a_failure_gives_the_terminal_back_and_is_told() {
    let jetpack = or_skip!(pods("overlay"));
    let mut terminal = Terminal::start(&jetpack.command(["run", "--destroy", "-t", "busybox-base", "--", "missing"]));
    let before = terminal.mode();
    assert_eq!(terminal.code(), 127);
    assert_eq!(terminal.mode(), before);
    assert!(terminal.end().1.contains("there is no missing"));
}

#[test]
fn the_windows_size_is_followed() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let script = "stty size; trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut terminal = start(&jetpack, script);
    terminal.expect("24 80\r\nready");
    terminal.resize(50, 132);
    terminal.expect("50 132\r\n");
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn a_shell_controls_its_jobs() {
    let jetpack = or_skip!(pods("overlay"));
    let mut terminal = Terminal::start(&jetpack.command(["run", "--destroy", "-t", "busybox-base"]));
    control_jobs(&mut terminal);
    assert_eq!(terminal.end().0, 12);
}

/// Stops, continues and interrupts jobs of a shell that has just begun, and has it exit with 12.
pub(super) fn control_jobs(terminal: &mut Terminal) {
    // A shell throws away what was typed before its prompt, of which the first is `/ # ` or `/ $ `.
    terminal.expect(" ");
    let mut ask = |typed: &str, expected: &str| {
        terminal.send(typed);
        terminal.expect(expected);
        terminal.expect("next> ");
    };
    ask("PS1='next> '; tty; echo $((40 + 2))\r", "/dev/pts/0\r\n42\r\n");
    ask("sleep 100 & echo started $((1 + 1))\r", "started 2\r\n");
    terminal.send("jobs | grep -c Running; fg\r");
    terminal.expect("1\r\nsleep 100\r\n");
    terminal.insist("\u{1a}", "Stopped");
    terminal.expect("next> ");
    terminal.send("kill -9 %1; wait; sleep 101\r");
    terminal.expect("sleep 101\r\n");
    terminal.insist("\u{3}", "next> ");
    terminal.send("\recho alive $((2 + 2)) $TERM; exit 12\r");
    terminal.expect("alive 4 xterm\r\n");
}

#[test]
fn much_goes_in_and_much_comes_out() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let mut terminal = start(&jetpack, "stty -echo; echo ready; cat >/tmp/all; wc -c </tmp/all; echo done");
    terminal.expect("ready");
    let line = "0123456789".repeat(6) + "abc\n";
    for _ in 0..16 {
        terminal.send(&line.repeat(64));
    }
    terminal.send("\u{4}");
    terminal.expect("65536\r\ndone\r\n");
    assert_eq!(terminal.end().0, 0);
    let script = "i=0; while [ $i -lt 16384 ]; do i=$((i + 1)); echo 0123456789012345678901234567890123456789012345678901234567890; done; echo last";
    let terminal = start(&jetpack, script);
    let (code, said) = terminal.end();
    assert_eq!((code, said.lines().count()), (0, 16385));
    assert!(said.ends_with("last\r\n"));
}

#[test]
fn input_that_ends_is_the_end_for_the_app() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    for (input, expected) in [("", ""), ("whole line\n", "whole line\n"), ("half a line", "half a line")] {
        let run = [
            "run",
            "--destroy",
            "-t",
            NAME,
            "--",
            "stty -echo; cat >/tmp/x; echo \"[$(cat /tmp/x)]\"; cat /tmp/x | wc -c",
        ];
        let mut child = jetpack.command(run).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        std::thread::sleep(std::time::Duration::from_millis(300));
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("a pipe");
        let status = ended(&mut child);
        let output = Output::of(child.wait_with_output().expect("output"));
        assert!(
            status.success() && output.stdout.ends_with(&format!("]\r\n{}\r\n", expected.len())),
            "{input:?}: {output:?}"
        );
    }
}

/// Clock ticks that a process has used, in user mode and in the kernel (proc(5)).
pub(super) fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    fields[11].parse::<u64>().expect("a number") + fields[12].parse::<u64>().expect("a number")
}

#[test]
fn waiting_costs_no_time_when_input_or_output_has_gone() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    // Closed from the beginning: input that has ended, output that nobody reads, and an app that has closed the terminal.
    for script in ["sleep 100", "exec sleep 100 </dev/null >/dev/null 2>&1"] {
        let mut command = jetpack.command(["run", "--destroy", "-t", NAME, "--", script]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        drop((child.stdin.take(), child.stdout.take()));
        std::thread::sleep(std::time::Duration::from_millis(500));
        let before = ticks(child.id());
        std::thread::sleep(std::time::Duration::from_millis(1000));
        let used = ticks(child.id()) - before;
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
        ended(&mut child);
        assert!(used < 10, "{script}: {used} ticks in a second of waiting");
    }
}

#[test]
fn an_image_without_an_app_gives_a_console_only_to_a_terminal() {
    let jetpack = or_skip!(pods("overlay"));
    let mut terminal = Terminal::start(&jetpack.command(["run", "--destroy", "busybox-base"]));
    terminal.send("tty; echo $0 $PWD; exit 4\r");
    terminal.expect("/dev/pts/0\r\n-sh /root\r\n");
    assert_eq!(terminal.end().0, 4);
    let output = jetpack.run_with_input(["run", "--destroy", "busybox-base"], b"tty; echo $0; exit 4\n");
    assert_eq!((output.code, output.stdout.as_str()), (4, "not a tty\n-sh\n"), "{output:?}");
}
