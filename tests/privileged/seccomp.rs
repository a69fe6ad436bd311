//! The filter of system calls: every program of a pod has it, what it keeps from them, and what works nevertheless.

use std::process::Command;

use super::images::{Image, NAME, inside, isolated, shell, store_of};
use crate::support::command::{or_skip, skip};

/// What /proc/PID/status says of a process with one filter.
const ONE: &str = "Seccomp:\t2\nSeccomp_filters:\t1\n";

const SHOW: &str = "grep ^Seccomp /proc/self/status";

/// The isolator that opts out.
const ALL: (&str, &str) = ("os/linux/seccomp-retain-set", r#"{ "set": ["@appc.io/all"] }"#);

#[test]
fn every_program_has_one_filter_and_the_agent_none() {
    for user in ["0", "1000"] {
        let jetpack = or_skip!(store_of(&shell(user, "")));
        assert_eq!(inside(&jetpack, SHOW), ONE, "user {user}");
        let script = "grep ^Seccomp: /proc/1/status; sh -c 'grep ^Seccomp: /proc/self/status' & wait";
        assert_eq!(inside(&jetpack, script), "Seccomp:\t0\nSeccomp:\t2\n", "user {user}");
    }
    let jetpack = or_skip!(store_of(&isolated("1000", "os/linux/no-new-privileges", "true")));
    assert_eq!(inside(&jetpack, SHOW), ONE);
    let handler = |name: &str| format!(r#"{{ "name": "{name}", "exec": ["/bin/sh", "-c", "{SHOW}"] }}"#);
    let handlers = format!(r#""eventHandlers": [{}, {}]"#, handler("pre-start"), handler("post-stop"));
    let jetpack = or_skip!(store_of(&shell("1000", &handlers)));
    assert_eq!(inside(&jetpack, SHOW), ONE.repeat(3));
}

#[test]
fn what_needs_rights_over_the_system_is_refused() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    for (command, said) in [
        ("unshare -m true", "unshare: unshare(0x20000): Operation not permitted"),
        ("unshare -U true", "unshare: unshare(0x10000000): Operation not permitted"),
        ("mount -t tmpfs none /tmp", "mount: permission denied (are you root?)"),
        ("umount /proc", "umount: can't unmount /proc: Operation not permitted"),
        ("nsenter -t $$ -u true", "Operation not permitted"),
        ("hostname other", "hostname: sethostname: Operation not permitted"),
        ("dmesg", "dmesg: klogctl: Operation not permitted"),
        ("date -s 2001-01-01", "date: can't set date: Operation not permitted"),
        ("echo >/tmp/swap && swapoff /tmp/swap", "Operation not permitted"),
    ] {
        let output = jetpack.run(["run", "--destroy", NAME, "--", command]);
        assert!(output.stderr.contains(said), "{command}: {output:?}");
    }
}

#[test]
fn what_programs_do_every_day_works() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    assert_eq!(inside(&jetpack, include_str!("../inside/ordinary.sh")), "done\n");
}

#[test]
fn the_filter_leaves_to_the_kernel_what_a_capability_covers() {
    let app = isolated("0", "os/linux/capabilities-retain-set", r#"{ "set": ["CAP_SYS_ADMIN"] }"#);
    let jetpack = or_skip!(store_of(&app));
    jetpack.configure("allow.capabilities = CAP_SYS_ADMIN");
    let script = format!("{SHOW}; mount -t tmpfs none /tmp && unshare -m umount /tmp && hostname x && echo mounted");
    assert_eq!(inside(&jetpack, &script), format!("{ONE}mounted\n"));
}

#[test]
fn an_app_that_retains_all_system_calls_has_no_filter() {
    let jetpack = or_skip!(store_of(&isolated("0", ALL.0, ALL.1)));
    let none = "Seccomp:\t0\nSeccomp_filters:\t0\n";
    let script = format!("{SHOW}; unshare -U true && echo a user namespace");
    assert_eq!(inside(&jetpack, &script), format!("{none}a user namespace\n"));
}

#[test]
fn another_isolator_for_system_calls_is_reported_and_the_filter_stays() {
    let jetpack = or_skip!(store_of(&isolated("0", "os/linux/seccomp-remove-set", r#"{ "set": ["read"] }"#)));
    let output = jetpack.run(["run", "--destroy", NAME, "--", SHOW]).success();
    assert_eq!(output.stdout, ONE);
    assert!(output.stderr.contains("isolator os/linux/seccomp-remove-set ignored"), "{}", output.stderr);
}

/// A program for i386: it says `i386`, and exits with the error that mount(2) without any arguments gives. That is EFAULT,
/// which comes before any question of rights, unless a filter comes before it.
fn program_for_i386() -> Vec<u8> {
    const BASE: u32 = 0x0804_8000;
    #[rustfmt::skip]
    let code = [
        0xb8, 4, 0, 0, 0,  0xbb, 1, 0, 0, 0,  0xb9, 0x85, 0x80, 0x04, 0x08,  0xba, 5, 0, 0, 0,  0xcd, 0x80, // write
        0xb8, 21, 0, 0, 0,  0x31, 0xdb,  0x31, 0xc9,  0x31, 0xd2,  0x31, 0xf6,  0x31, 0xff,  0xcd, 0x80, // mount
        0xf7, 0xd8,  0x89, 0xc3,  0xb8, 1, 0, 0, 0,  0xcd, 0x80, // exit
    ];
    let length = 84 + u32::try_from(code.len()).expect("short") + 5;
    let text = BASE + length - 5;
    let half = |value: u16| value.to_le_bytes().to_vec();
    let word = |value: u32| value.to_le_bytes().to_vec();
    let mut program = b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let header = [half(2), half(3), word(1), word(BASE + 84), word(52), word(0), word(0)];
    let sizes = [52, 32, 1, 0, 0, 0].map(half);
    let segment = [1, 0, BASE, BASE, length, length, 5, 0x1000].map(word);
    program.extend(header.into_iter().chain(sizes).chain(segment).flatten());
    program.extend(code);
    program.extend(b"i386\n");
    program[84 + 11..84 + 15].copy_from_slice(&text.to_le_bytes());
    program
}

#[test]
fn programs_for_i386_run_behind_the_same_filter() {
    let program = program_for_i386();
    let image = or_skip!(Image::new(Some(&shell("0", "")), &[])).file("bin/i386", 0o755, &program);
    let jetpack = or_skip!(image.into_store("overlay"));
    // Another process makes the executable: this one's other threads fork, and what is open for writing cannot be executed.
    let (source, path) = (jetpack.file("source", &program), jetpack.path("i386"));
    let copied = Command::new("install").args(["-m", "755"]).args([&source, &path]).status().expect("install starts");
    assert!(copied.success());
    match Command::new(&path).output() {
        Ok(output) if output.status.code() == Some(14) && output.stdout == b"i386\n" => {}
        other => skip!("needs a kernel that runs i386 programs: {other:?}"),
    }
    let output = jetpack.run(["run", "--destroy", NAME, "--", "exec i386"]);
    assert_eq!((output.code, output.stdout.as_str()), (1, "i386\n"), "{output:?}");
}
