//! What keeps a command of `jetpack exec` in the pod: the limits of the app, no descriptors, and an agent that a hostile root
//! cannot hold up.

use std::process::{Command, Stdio};

use super::exec::{WAIT, end, exec, prepare};
use super::images::{isolated, shell, store_of, value};
use super::signals::Running;
use crate::support::command::{Output, or_skip};

const LIMITS: [&str; 8] =
    ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp", "Seccomp_filters"];

fn limits(status: &str) -> Vec<String> {
    LIMITS.iter().map(|name| format!("{name} {}", value(status, name))).collect()
}

#[test]
fn limits_are_those_of_the_app() {
    let (retain, privileges) = ("os/linux/capabilities-retain-set", "os/linux/no-new-privileges");
    let all = r#"{ "set": ["@appc.io/all"] }"#;
    for app in [
        shell("0", ""),
        shell("1000", ""),
        isolated("0", retain, r#"{ "set": ["CAP_KILL", "CAP_CHOWN", "CAP_SETUID", "CAP_SETGID"] }"#),
        isolated("1000", privileges, "true"),
        isolated("0", "os/linux/seccomp-retain-set", all),
    ] {
        let jetpack = or_skip!(store_of(&app));
        let pod = prepare(&jetpack, &format!("cat /proc/self/status >/tmp/app; {WAIT}"));
        let running = Running::start(&jetpack, &pod, &[]);
        let own = limits(&exec(&jetpack, &pod, &[], "cat /tmp/app").success().stdout);
        let command = exec(&jetpack, &pod, &[], "cat /proc/self/status").success().stdout;
        assert_eq!(limits(&command), own, "{app}");
        let console = ["console", "-u", if app.contains("\"user\": \"0\"") { "root" } else { "demo" }, &pod];
        let console = jetpack.run_with_input(console, b"cat /proc/self/status\n").success().stdout;
        assert_eq!(limits(&console), own, "{app}");
        end(running);
        let alone = exec(&jetpack, &pod, &[], "cat /proc/self/status").success().stdout;
        assert_eq!(limits(&alone), own, "{app}");
    }
}

#[test]
fn a_command_has_three_descriptors() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    let pod = prepare(&jetpack, &format!("sleep 1000 & {WAIT}"));
    let running = Running::start(&jetpack, &pod, &[]);
    // One that stays, so that its connection and descriptors are the agent's while others begin.
    let other = Running::of(jetpack.command(["exec", &pod, "sh", "-c", WAIT]));
    let list = "ls /proc/$$/fd; echo; ls /proc/2/fd";
    for terminal in [&[][..], &["-t"]] {
        let wanted = jetpack.command([&["exec", &pod], terminal, &["sh", "-c", list]].concat());
        let mut careless = Command::new("bash");
        careless.args(["-c", "exec 7</ 9</etc/passwd 200</tmp; exec \"$@\"", "bash"]);
        careless.arg(wanted.get_program()).args(wanted.get_args()).stdin(Stdio::null());
        let output = Output::of(careless.output().expect("bash starts")).success();
        let said: Vec<&str> = output.stdout.split_whitespace().filter(|word| *word != "^D").collect();
        // The shell of busybox keeps a copy of its terminal above.
        let said: Vec<&str> = said.into_iter().filter(|number| *number != "10").collect();
        assert_eq!(said, ["0", "1", "2", "0", "1", "2"], "{terminal:?}: {output:?}");
    }
    end(other);
    end(running);
}

#[test]
fn the_control_socket_is_out_of_the_pods_sight() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    for network in ["none", "host"] {
        let pod = jetpack.run(["prepare", "--net", network, "test", "--", WAIT]).success().stdout.trim().to_owned();
        let running = Running::start(&jetpack, &pod, &[]);
        let sockets = exec(&jetpack, &pod, &[], "grep control /proc/net/unix").stdout;
        let own: Vec<&str> = sockets.lines().filter(|line| line.contains(&pod)).collect();
        assert_eq!(own, [""; 0], "{network}");
        if network == "none" {
            assert_eq!(sockets, "");
        }
        // Where the host's names are seen, each is a path that means something else in the pod.
        let find = "find / -xdev -type s; for n in 0 1 2 3 4 5 6 7 8 9; do ls /proc/self/fd/$n/control /proc/1/fd/$n/control; done 2>/dev/null";
        assert_eq!(exec(&jetpack, &pod, &[], find).stdout, "", "{network}");
        end(running);
    }
}

#[test]
fn what_the_pod_makes_of_its_root_holds_nobody_up() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    for (change, said) in [
        ("mkfifo /etc/passwd", "cannot read /etc/passwd: not a regular file"),
        ("mkdir /etc/passwd", "cannot read /etc/passwd"),
        ("ln -s /dev/zero /etc/passwd", "cannot read /etc/passwd: not a regular file"),
        ("ln -s /dev/tty /etc/passwd", "cannot read /etc/passwd"),
        ("ln -s /dev/pts/ptmx /etc/passwd", "cannot read /etc/passwd: not a regular file"),
        ("ln -s /proc/self/fd/3 /etc/passwd", "cannot read /etc/passwd"),
        ("ln -s passwd /etc/passwd", "cannot read /etc/passwd"),
        ("truncate -s 1G /etc/passwd", "cannot read /etc/passwd: larger than"),
        ("printf 'demo\\377:x:1:1:\\n::::\\n\\0' >/etc/passwd", "the image knows no user \"demo\""),
        (":", "the image knows no user \"demo\""),
    ] {
        let pod = prepare(&jetpack, &format!("rm /etc/passwd; {change}; {WAIT}"));
        let running = Running::start(&jetpack, &pod, &[]);
        let error = exec(&jetpack, &pod, &["--user", "demo"], "id -u").failure(125);
        assert!(error.contains(said), "{change}: {error}");
        let error = jetpack.run_with_input(["console", "-u", "demo", &pod], b"id\n").failure(125);
        assert!(error.contains(said), "{change}: {error}");
        end(running);
    }
}

#[test]
fn a_stopped_process_on_its_way_to_the_command_holds_up_nobody_else() {
    let jetpack = or_skip!(store_of(&shell("1000", "")));
    // The app stops whatever is new and its own, which may be not yet the program that was asked for.
    let hunt = "echo ready; while :; do for p in /proc/[0-9]*; do p=${p#/proc/}; [ $p -gt 9 ] && kill -STOP $p; done; done 2>/dev/null";
    let pod = prepare(&jetpack, hunt);
    let running = Running::start(&jetpack, &pod, &[]);
    let mut victims: Vec<_> = (0..8).map(|_| jetpack.spawn(["exec", &pod, "sleep", "100"])).collect();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(exec(&jetpack, &pod, &["--user", "0"], "exit 7").code, 7);
    end(running);
    for victim in &mut victims {
        crate::support::bounded::ended(victim);
    }
}
