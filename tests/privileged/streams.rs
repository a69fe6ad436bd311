//! What is behind the person's standard input, output and error stays out of a pod that has no terminal of its own.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::exec::{WAIT, end, exec, prepare};
use super::images::{NAME, shell, store_of};
use super::signals::Running;
use super::terminal::ticks;
use crate::support::bounded::{ended, until};
use crate::support::command::{Jetpack, Output, or_skip};
use crate::support::pty::Terminal;

/// The commands that run a script: in a pod of its own, and beside the app of the pod.
fn both<'a>(pod: &'a str, script: &'a str) -> [Vec<&'a str>; 2] {
    [vec!["run", "--destroy", NAME, "--", script], vec!["exec", pod, "sh", "-c", script]]
}

/// Runs a script of the host's shell, whose `$@` is the command with these arguments, with this on standard input.
fn in_shell(jetpack: &Jetpack, script: &str, arguments: &[&str], input: Stdio) -> Output {
    let wanted = jetpack.command(arguments);
    let mut shell = Command::new("timeout");
    shell.args(["60", "sh", "-c", script, "sh"]).arg(wanted.get_program()).args(wanted.get_args());
    Output::of(shell.stdin(input).output().expect("a shell"))
}

fn random(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    File::open("/dev/urandom").expect("random numbers").read_exact(&mut bytes).expect("random numbers");
    bytes
}

#[test]
fn a_terminal_is_typed_at_but_not_given_away() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    let look = "tty; for n in 0 1 2; do [ -t $n ] && echo \"a terminal on $n\"; done; ls -l /proc/self/fd; ";
    let script = format!("{look} echo ready; read line; echo got $line; cat; echo end; exit 3");
    for words in both(&pod, &script) {
        let mut terminal = Terminal::start(&jetpack.command(&words));
        let before = terminal.mode();
        let seen = terminal.expect("ready\r\n");
        assert!(seen.starts_with("not a tty\r\n") && !seen.contains("a terminal on"), "{seen}");
        assert!(!seen.contains("/dev/pts") && !seen.contains("/dev/tty"), "{seen}");
        assert_eq!(terminal.mode(), before);
        terminal.send("hello\r");
        terminal.expect("got hello\r\n");
        // Once by the terminal and once by cat(1), and what was corrected while typing is not seen.
        terminal.send("wrong\u{15}right\r");
        terminal.expect("right\r\n");
        terminal.expect("right\r\n");
        terminal.send("\u{4}");
        terminal.expect("end\r\n");
        assert_eq!(terminal.code(), 3, "{words:?}");
        assert_eq!(terminal.mode(), before);
    }
    let script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done";
    for words in both(&pod, script) {
        let mut terminal = Terminal::start(&jetpack.command(&words));
        terminal.expect("ready");
        terminal.send("\u{3}");
        terminal.expect("caught");
        assert_eq!(terminal.code(), 9, "{words:?}");
    }
    end(running);
}

#[test]
fn what_is_typed_after_the_end_or_at_somebody_else_is_not_the_pods() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    let wanted = jetpack.command(["exec", &pod, "sh", "-c", "eval \"$0\""]);
    let words: Vec<String> = std::iter::once(wanted.get_program())
        .chain(wanted.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let functions =
        jetpack.file("functions", format!("PS1='> '\npod() {{ {} \"$1\"; }}\n", words.join(" ")).as_bytes());
    let mut bash = Command::new("bash");
    bash.args(["--noprofile", "--rcfile"]).arg(&functions).arg("-i").env("PATH", "/usr/bin:/bin");
    let mut terminal = Terminal::start(&bash);
    let mut ask = |typed: &str, expected: &str| {
        terminal.send(&format!("{typed}\r"));
        terminal.expect(expected);
        terminal.expect("> ");
    };
    ask("pod 'trap \"\" HUP; exec 3<&0; cat <&3 >/stolen & sleep 0.5'; echo done $((1 + 1))", "done 2\r\n");
    ask("echo secret $((2 + 2))", "secret 4\r\n");
    // In the background it reads nothing, and is not stopped either.
    ask("pod 'cat >/typed; echo it was $(cat /typed)' &", "] ");
    ask("echo mine $((3 + 3))", "mine 6\r\n");
    ask("sleep 0.5; jobs", "Running");
    terminal.send("fg\r");
    terminal.expect("pod 'cat");
    std::thread::sleep(std::time::Duration::from_millis(500));
    terminal.send("for the pod\r");
    terminal.expect("for the pod\r\n");
    // Ctrl-Z throws away what has been typed and not read.
    until("it has read that", || exec(&jetpack, &pod, &[], "cat /typed").stdout == "for the pod\n");
    // It can be stopped, and goes on.
    terminal.insist("\u{1a}", "Stopped");
    terminal.send("echo mine $((4 + 4))\r");
    terminal.expect("mine 8\r\n");
    terminal.send("fg\r");
    terminal.expect("pod 'cat");
    std::thread::sleep(std::time::Duration::from_millis(500));
    terminal.send("\u{4}");
    terminal.expect("it was for the pod\r\n");
    terminal.send("exit 5\r");
    assert_eq!(terminal.end().0, 5);
    assert_eq!(exec(&jetpack, &pod, &[], "cat /stolen").success().stdout, "");
    end(running);
}

#[test]
fn a_file_is_read_or_written_as_it_was_given_and_not_otherwise() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    let script = "for n in 0 1 2; do readlink /proc/self/fd/$n | sed 's/[0-9].*//' >>/kinds; done
        echo out; echo error >&2
        for n in 0 1 2; do : >/proc/self/fd/$n; done
        timeout 1 dd if=/proc/self/fd/1 count=1 2>/dev/null
        echo evil >/proc/self/fd/0; cat /kinds; rm /kinds; exit 3";
    for words in both(&pod, script) {
        let (input, log, errors) =
            (jetpack.file("input", b"kept\n"), jetpack.file("log", b"before\n"), jetpack.file("errors", b"before\n"));
        let appending = |path| File::options().append(true).open(path).expect("a file");
        let mut command = jetpack.command(&words);
        let input_file = File::options().read(true).open(&input).expect("a file");
        command.stdin(input_file).stdout(appending(&log)).stderr(appending(&errors));
        assert_eq!(ended(&mut command.spawn().expect("it starts")).code(), Some(3), "{words:?}");
        let text = |path| std::fs::read_to_string(path).expect("text");
        assert_eq!(text(&input), "kept\n", "{words:?}");
        assert!(text(&log).starts_with("before\n"), "{words:?}: {}", text(&log));
        assert!(text(&log).ends_with("pipe:[\n".repeat(3).as_str()), "{words:?}: {}", text(&log));
        assert_eq!(text(&errors), "before\nerror\n", "{words:?}");
    }
    end(running);
}

#[test]
fn large_files_go_in_and_out_whole() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    let bytes = random((24 << 20) + 12345);
    let input = jetpack.file("input", &bytes);
    for words in both(&pod, "cat; exit 4") {
        let output = jetpack.path("output");
        let mut command = jetpack.command(&words);
        command.stdin(File::open(&input).expect("a file")).stdout(File::create(&output).expect("a file"));
        assert_eq!(ended(&mut command.spawn().expect("it starts")).code(), Some(4), "{words:?}");
        assert!(std::fs::read(&output).expect("a file") == bytes, "{words:?}");
    }
    end(running);
}

#[test]
fn a_program_need_not_read_all_and_others_get_what_it_left() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    let lines: Vec<String> = (0..40_000).map(|n| format!("line {n}")).collect();
    let file = jetpack.file("lines", (lines.join("\n") + "\n").as_bytes());
    let open = |path: &Path| Stdio::from(File::open(path).expect("a file"));
    for words in both(&pod, "read first; echo \"the pod's: $first\"; exit 3") {
        let output = in_shell(&jetpack, "\"$@\"; echo $?; cat", &words, open(&file));
        let expected = format!("the pod's: line 0\n3\n{}\n", lines[1..].join("\n"));
        assert!(output.stdout == expected, "{words:?}: {:?}", &output.stdout[..60]);
    }
    let few = jetpack.file("few", b"a\nb\nc\n");
    let looping = "while read -r line; do \"$@\"; echo $line; done";
    assert_eq!(in_shell(&jetpack, looping, &["exec", &pod, "true"], open(&few)).success().stdout, "a\nb\nc\n");
    // A pipe is the pod's own: nothing is read that it does not read.
    let script = "printf 'one\\ntwo\\n' | { \"$@\"; cat; }";
    for words in both(&pod, "read first; echo \"the pod's: $first\"") {
        let output = in_shell(&jetpack, script, &words, Stdio::null()).success();
        assert_eq!(output.stdout, "the pod's: one\ntwo\n", "{words:?}");
    }
    // What has no end ends with the program.
    for words in both(&pod, "head -c 5 | wc -c; exit 3") {
        let output = in_shell(&jetpack, "\"$@\"", &words, open(Path::new("/dev/zero")));
        assert_eq!((output.code, output.stdout.as_str()), (3, "5\n"), "{words:?}");
    }
    end(running);
}

#[test]
fn output_and_errors_in_one_file_or_terminal_keep_their_order() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    let script = "i=0; while [ $i -lt 300 ]; do i=$((i + 1)); echo out $i; echo error $i >&2; done";
    let expected: String = (1..=300).map(|n| format!("out {n}\nerror {n}\n")).collect();
    for words in both(&pod, script) {
        let path = jetpack.file("all", b"");
        let output = in_shell(&jetpack, &format!("\"$@\" >'{}' 2>&1", path.display()), &words, Stdio::null());
        output.success();
        assert_eq!(std::fs::read_to_string(&path).expect("text"), expected, "{words:?}");
        let (code, seen) = Terminal::start(&jetpack.command(&words)).end();
        assert_eq!((code, seen), (0, expected.replace('\n', "\r\n")), "{words:?}");
    }
    end(running);
}

#[test]
fn output_that_cannot_be_written_is_told() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    for (script, code) in [("echo hello", 125), ("echo hello; exit 3", 3), ("yes", 128 + 13)] {
        for words in both(&pod, script) {
            let output = in_shell(&jetpack, "\"$@\" >/dev/full", &words, Stdio::null());
            assert_eq!(output.code, code, "{words:?}: {}", output.stderr);
            let told = "cannot write standard output: No space left on device";
            assert!(output.stderr.contains(told), "{words:?}: {}", output.stderr);
        }
    }
    end(running);
}

#[test]
fn who_writes_on_in_the_pod_keeps_nobody_waiting() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    let script = "trap '' HUP; echo begins; for i in 1 2 3 4; do (exec yes) & done; sleep 1; echo ends >&2; exit 3";
    let path = jetpack.file("output", b"");
    let words = ["exec", &pod, "sh", "-c", script];
    let output = in_shell(&jetpack, &format!("\"$@\" >'{}'", path.display()), &words, Stdio::null());
    assert_eq!((output.code, output.stderr.as_str()), (3, "ends\n"));
    assert!(std::fs::read(&path).expect("a file").starts_with(b"begins\n"));
    // Somebody who takes from the pipe what the person should have gets nobody to wait for it.
    let thief = "trap '' HUP; (exec cat /proc/$$/fd/1 >/dev/null) & for i in 1 2 3 4 5 6; do echo loot; done; exit 4";
    for _ in 0..5 {
        let words = ["exec", &pod, "sh", "-c", thief];
        let output = in_shell(&jetpack, &format!("\"$@\" >'{}'", path.display()), &words, Stdio::null());
        assert_eq!(output.code, 4);
    }
    exec(&jetpack, &pod, &[], "killall -9 yes cat; true").success();
    end(running);
}

#[test]
fn what_was_written_before_the_end_arrives_and_no_signal_is_lost_meanwhile() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    // A terminal that nobody reads takes a few thousand bytes.
    let script = "echo ready; i=0; while [ $i -lt 5000 ]; do i=$((i + 1)); echo line $i; done; exit 3";
    let mut terminal = Terminal::start(&jetpack.command(["run", "--destroy", NAME, "--", script]));
    std::thread::sleep(std::time::Duration::from_secs(2));
    terminal.expect("line 5000\r\n");
    assert_eq!(terminal.end().0, 3);
    let flooded = ["run", "--destroy", NAME, "--", "trap 'exit 9' TERM; yes & wait"];
    let mut terminal = Terminal::start(&jetpack.command(flooded));
    std::thread::sleep(std::time::Duration::from_secs(1));
    terminal.kill(Signal::SIGTERM);
    assert_eq!(terminal.code(), 9);
    // And input that nobody takes costs no time.
    let mut waiting = jetpack.command(["run", "--destroy", NAME, "--", "exec sleep 100"]);
    let mut child = waiting.stdin(File::open("/dev/zero").expect("a device")).spawn().expect("it starts");
    until("it has taken what it can", || {
        let before = ticks(child.id());
        std::thread::sleep(std::time::Duration::from_millis(500));
        ticks(child.id()) == before
    });
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
    assert_eq!(ended(&mut child).code(), Some(143));
}

#[test]
fn a_build_has_no_terminal_unless_asked_either() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let directory = jetpack.path("empty");
    std::fs::create_dir(&directory).expect("a directory");
    let manifest = r#"{ "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "built" }"#;
    std::fs::write(directory.join("manifest.json"), manifest).expect("a manifest");
    let words = ["build", "--dir", &directory.to_string_lossy(), NAME, "sh", "-c", "tty; read line; echo got $line"]
        .map(str::to_owned);
    let mut terminal = Terminal::start(&jetpack.command(words));
    terminal.expect("not a tty\r\n");
    terminal.send("hello\r");
    terminal.expect("got hello\r\n");
    assert_eq!(terminal.end().0, 0);
}
