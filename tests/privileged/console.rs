//! Terminals of `jetpack exec -t` and `jetpack console`, as a person at a keyboard sees them.

use std::process::Command;

use super::exec::{WAIT, end, exec, prepare};
use super::images::{Image, isolated, shell, store_of};
use super::signals::Running;
use super::terminal::control_jobs;
use crate::support::bounded::until;
use crate::support::command::{or_skip, skip};
use crate::support::pty::Terminal;

fn ask(terminal: &mut Terminal, typed: &str, expected: &str) {
    terminal.send(typed);
    terminal.expect(expected);
}

#[test]
fn a_shell_controls_its_jobs_and_leaves_the_pod_alone() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    for words in [&["exec", "-t", &pod, "sh"][..], &["console", &pod]] {
        let mut terminal = Terminal::start(&jetpack.command(words));
        let before = terminal.mode();
        control_jobs(&mut terminal);
        assert_eq!(terminal.code(), 12, "{words:?}");
        assert_eq!(terminal.mode(), before, "{words:?}");
    }
    end(running);
}

#[test]
fn the_windows_size_is_followed() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    let script = "stty size; trap 'stty size; exit 3' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut terminal = Terminal::start(&jetpack.command(["exec", "-t", &pod, "sh", "-c", script]));
    terminal.expect("24 80\r\nready");
    terminal.resize(50, 132);
    terminal.expect("50 132\r\n");
    assert_eq!(terminal.end().0, 3);
    end(running);
}

#[test]
fn ctrl_c_interrupts_the_command_and_not_the_pod() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    let mut terminal =
        Terminal::start(&jetpack.command(["exec", "-t", &pod, "sh", "-c", "echo ready; exec sleep 100"]));
    terminal.expect("ready");
    until("sleep runs", || exec(&jetpack, &pod, &[], "ps | grep -c '[s]leep 100'").stdout == "1\n");
    terminal.send("\u{3}");
    assert_eq!(terminal.code(), 130);
    assert_eq!(exec(&jetpack, &pod, &[], "echo alive").success().stdout, "alive\n");
    end(running);
}

#[test]
fn who_writes_on_to_a_terminal_keeps_nobody_waiting() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    let script = "trap '' HUP; echo begins; for i in 1 2 3 4; do (exec yes) & done; sleep 1; exit 3";
    let mut terminal = Terminal::start(&jetpack.command(["exec", "-t", &pod, "sh", "-c", script]));
    terminal.expect("begins");
    assert_eq!(terminal.code(), 3);
    exec(&jetpack, &pod, &[], "killall -9 yes; true").success();
    end(running);
}

#[test]
fn failures_give_the_terminal_back_and_are_told() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    for (words, code, said) in [
        (&["exec", "-t", &pod, "missing"][..], 127, "there is no missing in the image"),
        (&["exec", "-t", &pod, "--cwd", "/none", "ls"], 125, "cannot change to the working directory /none"),
        (&["console", "-u", "nobodyknown", &pod], 125, "the image knows no user \"nobodyknown\""),
    ] {
        let mut terminal = Terminal::start(&jetpack.command(words));
        let before = terminal.mode();
        assert_eq!(terminal.code(), code, "{words:?}");
        assert_eq!(terminal.mode(), before, "{words:?}");
        let rest = terminal.end().1;
        assert!(rest.contains(said), "{words:?}: {rest}");
    }
    end(running);
}

#[test]
fn a_console_is_a_login_of_whom_one_wants() {
    let app = r#""environment": [{ "name": "HOME", "value": "/tmp" }, { "name": "A", "value": "the app's" }]"#;
    let jetpack = or_skip!(store_of(&shell("1000", app)));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    let say = "echo $(id -un) $0 $PWD $HOME $SHELL $AC_APP_NAME [$A]; tty; exit 4";
    for (user, expected) in [
        (&[][..], "root -sh /root /root /bin/sh test []"),
        (&["-u", "root"], "root -sh /root /root /bin/sh test []"),
        (&["-u", "demo"], "demo -sh /home/demo /home/demo /bin/sh test []"),
        (&["-u", "1000"], "demo -sh /home/demo /home/demo /bin/sh test []"),
    ] {
        let words = [&["console", &pod], user].concat();
        let output = jetpack.run_with_input(&words, format!("{say}\n").as_bytes());
        assert_eq!((output.code, output.stdout), (4, format!("{expected}\nnot a tty\n")), "{user:?}");
        let mut terminal = Terminal::start(&jetpack.command(&words));
        terminal.send(&format!("stty -echo; {say}\r"));
        terminal.expect(&format!("{expected}\r\n/dev/pts/0\r\n"));
        assert_eq!(terminal.end().0, 4, "{user:?}");
    }
    end(running);
    // In a pod that does not run, too.
    let output = jetpack.run_with_input(["console", "-u", "demo", &pod], b"id -un; exit 5\n");
    assert_eq!((output.code, output.stdout.as_str()), (5, "demo\n"));
}

#[test]
fn without_passwd_root_has_a_console_and_nobody_else() {
    let image = or_skip!(Image::new(Some(&shell("1000", "")), &["etc/passwd", "etc/group"]));
    let jetpack = or_skip!(image.into_store("overlay"));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    let output = jetpack.run_with_input(["console", &pod], b"id -u; echo $0 $PWD; exit 4\n");
    assert_eq!((output.code, output.stdout.as_str()), (4, "0\n-sh /\n"));
    let mut terminal = Terminal::start(&jetpack.command(["console", &pod]));
    ask(&mut terminal, "tty; exit 6\r", "/dev/pts/0\r\n");
    assert_eq!(terminal.end().0, 6);
    for user in ["demo", "1000"] {
        let error = jetpack.run(["console", "-u", user, &pod]).failure(125);
        assert!(error.contains(&format!("the image knows no user \"{user}\"")), "{error}");
    }
    end(running);
}

#[test]
fn consoles_have_terminals_of_their_own() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    let pod = prepare(&jetpack, WAIT);
    let running = Running::start(&jetpack, &pod, &[]);
    let mut first = Terminal::start(&jetpack.command(["console", &pod]));
    ask(&mut first, "tty\r", "/dev/pts/0\r\n");
    let mut second = Terminal::start(&jetpack.command(["console", "-u", "demo", &pod]));
    ask(&mut second, "tty; stat -c %U $(tty)\r", "/dev/pts/1\r\ndemo\r\n");
    ask(&mut first, "exit 3\r", "exit 3\r\n");
    assert_eq!(first.end().0, 3);
    ask(&mut second, "echo still $((1 + 1)); exit 5\r", "still 2\r\n");
    assert_eq!(second.end().0, 5);
    end(running);
}

/// Whoever has logged in on the host has an identity for the audit (pam_loginuid(8)), which a login in a pod could not replace.
#[test]
fn login_begins_anew_each_time_and_on_a_terminal_only() {
    let login = b"#!/bin/sh\nread -r id </proc/self/loginuid\necho \"login $* is $id\"\nexit 4\n";
    let image = or_skip!(Image::new(Some(&shell("1000", "")), &["usr/bin/login"])).file("usr/bin/login", 0o755, login);
    let jetpack = or_skip!(image.into_store("overlay"));
    let pod = prepare(&jetpack, WAIT);
    let as_somebody = |words: &[&str]| {
        let wanted = jetpack.command(words);
        let mut person = Command::new("sh");
        person.args(["-c", "echo 1000 >/proc/self/loginuid || exit 77; exec \"$@\"", "sh"]);
        person.arg(wanted.get_program()).args(wanted.get_args()).env_clear().env("PATH", "/usr/bin:/bin");
        person
    };
    let possible = as_somebody(&["version"]).output().expect("a shell").status.success();
    if !possible {
        skip!("needs a kernel with audit that lets root change its login uid");
    }
    let running = Running::of(as_somebody(&["run", &pod]));
    for user in ["root", "demo"] {
        let mut terminal = Terminal::start(&as_somebody(&["console", "-u", user, &pod]));
        terminal.expect(&format!("login -p -f {user} is 4294967295\r\n"));
        assert_eq!(terminal.end().0, 4);
        let output = jetpack.run_with_input(["console", "-u", user, &pod], b"id -un; exit 5\n");
        assert_eq!((output.code, output.stdout), (5, format!("{user}\n")));
    }
    end(running);
}

/// Without the rights to become somebody login(1) fails; a shell needs none.
#[test]
fn an_app_that_cannot_log_anybody_in_has_a_shell() {
    let login = b"#!/bin/sh\necho \"login $*\"\nexit 4\n";
    for (removed, expected, code) in [("CAP_NET_RAW", "login -p -f root\r\n", 4), ("CAP_SETGID", "-sh\r\n", 6)] {
        let app = isolated("0", "os/linux/capabilities-remove-set", &format!(r#"{{ "set": ["{removed}"] }}"#));
        let image = or_skip!(Image::new(Some(&app), &["usr/bin/login"])).file("usr/bin/login", 0o755, login);
        let jetpack = or_skip!(image.into_store("overlay"));
        let pod = prepare(&jetpack, WAIT);
        let running = Running::start(&jetpack, &pod, &[]);
        let mut terminal = Terminal::start(&jetpack.command(["console", &pod]));
        if code == 6 {
            terminal.expect(" ");
            terminal.send("stty -echo; echo $0; exit 6\r");
        }
        terminal.expect(expected);
        assert_eq!(terminal.code(), code, "{removed}");
        end(running);
    }
}
