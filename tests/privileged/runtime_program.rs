//! The runtime's own program can be neither written nor executed from inside a pod (the kind of CVE-2019-5736), whichever
//! way the agent's copy of it is made.

use std::fs;

use super::images::{Image, NAME, isolated, shell};
use crate::support::command::{Jetpack, Output, or_skip, program};

/// The ways in which the copy is made.
const WAYS: [&str; 2] = ["mount", "memory"];

/// Tries what an attacker would. Nothing of it may work.
const ATTACK: &str = "
    for exe in /proc/1/exe /proc/self/../1/exe /proc/1/task/1/exe; do
        (: >$exe) 2>/dev/null && echo $exe was emptied
        (: >>$exe) 2>/dev/null && echo $exe can be written
        (exec 3<>$exe) 2>/dev/null && echo $exe can be opened for writing
        chmod 4777 $exe 2>/dev/null && echo $exe has another mode
        $exe version 2>/dev/null && echo $exe can be executed
        (exec 4<$exe; chmod 755 /proc/self/fd/4 && /proc/self/fd/4 version) 2>/dev/null && echo $exe can be executed again
    done
    [ -r /proc/1/environ ] && tr '\\0' '\\n' </proc/1/environ 2>/dev/null
    ls /proc/1/fd/ 2>/dev/null
    tr '\\0' ' ' </proc/1/cmdline; echo";

fn run(jetpack: &Jetpack, way: &str, script: &str) -> Output {
    let mut command = jetpack.command(["run", "--destroy", NAME, "--", script]);
    Output::of(command.env("JETPACK_TEST_AGENT_EXE", way).output().expect("the command starts"))
}

#[test]
fn root_cannot_reach_it() {
    let jetpack = or_skip!(super::images::store_of(&shell("0", "")));
    let before = fs::read(program()).expect("the program");
    for way in WAYS {
        let output =
            run(&jetpack, way, &format!("{ATTACK}; for n in exe root cwd fd/4 fd/5; do readlink /proc/1/$n; done; :"));
        // The numbers of its descriptors can be seen, and nothing more.
        let said: Vec<&str> = output.stdout.lines().filter(|line| line.parse::<u32>().is_err()).collect();
        assert_eq!(said, [format!("jetpack agent native {way} ")], "{output:?}");
        assert_eq!(output.code, 0);
    }
    assert!(fs::read(program()).expect("the program") == before, "the program on the host has changed");
}

#[test]
fn root_that_may_trace_can_look_but_not_touch() {
    let name = "os/linux/capabilities-retain-set";
    let set =
        r#"{ "set": ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_CHOWN", "CAP_SETUID", "CAP_FSETID"] }"#;
    // With its libraries there, nothing else would keep the program from being executed.
    let image = or_skip!(Image::new(Some(&isolated("0", name, set)), &[])).libraries(&program());
    let jetpack = or_skip!(or_skip!(image).into_store("overlay"));
    jetpack.configure("allow.capabilities = CAP_SYS_PTRACE");
    let before = fs::read(program()).expect("the program");
    for way in WAYS {
        let output = run(&jetpack, way, ATTACK);
        let said: Vec<&str> = output.stdout.lines().filter(|line| line.parse::<u32>().is_err()).collect();
        assert_eq!(said, [format!("jetpack agent native {way} ")], "{output:?}");
    }
    assert!(fs::read(program()).expect("the program") == before, "the program on the host has changed");
}

#[test]
fn an_app_that_is_the_runtime_itself_cannot_be_executed() {
    let image = or_skip!(Image::new(None, &[]))
        .file("bin/interpreted", 0o755, b"#!/proc/self/exe\n")
        .symlink("bin/linked", "/proc/self/exe")
        .symlink("bin/first", "/proc/1/exe");
    let jetpack = or_skip!(image.into_store("overlay"));
    for way in WAYS {
        for word in ["/proc/self/exe", "/proc/1/exe", "interpreted", "linked", "first"] {
            let output = run(&jetpack, way, word);
            assert_eq!((output.code, output.stdout.as_str()), (126, ""), "{way} {word}: {output:?}");
        }
    }
}

#[test]
fn the_first_process_has_no_environment_and_no_audit_identity_of_its_own() {
    let jetpack = or_skip!(super::images::store_of(&shell("0", "")));
    let mut command = jetpack.command(["run", "--destroy", NAME, "--", "echo ready; read line"]);
    let child = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).env("SECRET", "x");
    let mut child = child.spawn().expect("the command starts");
    let mut ready = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().expect("a pipe"), &mut ready).expect("a word");
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).expect("children");
    let agent = children.trim().to_owned();
    let environment = fs::read(format!("/proc/{agent}/environ")).expect("the agent");
    let links: Vec<String> = fs::read_dir(format!("/proc/{agent}/fd"))
        .expect("descriptors")
        .flatten()
        .map(|entry| fs::read_link(entry.path()).unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    drop(child.stdin.take());
    crate::support::bounded::ended(&mut child);
    assert_eq!(environment, b"");
    let allowed = |link: &String| {
        ["pipe:", "socket:", "/dev/null"].iter().any(|kind| link.starts_with(kind))
            || link.ends_with("/lock")
            || link.contains("stderr")
    };
    let odd: Vec<&String> = links.iter().filter(|link| !allowed(link)).collect();
    assert!(odd.iter().all(|link| !fs::metadata(link.as_str()).is_ok_and(|found| found.is_dir())), "{odd:?}");
}
