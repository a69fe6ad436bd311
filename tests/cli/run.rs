//! `jetpack run`

use std::io::{BufRead, BufReader};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{scripted, with_script};
use crate::support::archive::{Archive, manifest};
use crate::support::command::{Jetpack, Output, skip};

#[test]
fn exit_codes_are_the_apps_or_tell_what_went_wrong() {
    let jetpack = with_script("case $1 in kill) kill -$2 $$ ;; *) exit $1 ;; esac");
    let table: [(&[&str], i32); 6] = [
        (&["0"], 0),
        (&["3"], 3),
        (&["125"], 125),
        (&["255"], 255),
        (&["kill", "TERM"], 128 + 15),
        (&["kill", "KILL"], 128 + 9),
    ];
    for (arguments, code) in table {
        let output = jetpack.run(["run", "--destroy", "example.com/app", "--"].iter().chain(arguments));
        assert_eq!((output.code, output.stderr.as_str()), (code, ""), "{arguments:?}");
    }
}

#[test]
fn a_program_that_cannot_be_run_is_126_and_one_that_is_not_there_127() {
    let jetpack = Jetpack::fake();
    let archive = scripted("a", "exit 0", "")
        .file("rootfs/bin/data", 0o644, b"no program")
        .file("rootfs/bin/orphan", 0o755, b"#!/none/sh\n")
        .directory("rootfs/bin/folder", 0o755);
    jetpack.import(&archive.finish());
    let before = jetpack.contents();
    let table = [
        ("/bin/data", 126, "cannot execute /bin/data: Permission denied"),
        ("data", 126, "cannot execute /bin/data: Permission denied"),
        ("/bin/folder", 126, "cannot execute /bin/folder: Permission denied"),
        ("/bin/none", 127, "there is no /bin/none in the image"),
        ("/bin/app/none", 127, "there is no /bin/app/none in the image"),
        (
            "none",
            127,
            "there is no none in the image's PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
        ("/bin/orphan", 127, "cannot execute /bin/orphan\nhelp: the file is there, but not the interpreter"),
    ];
    for (program, code, expected) in table {
        let said = jetpack.run(["run", "a", "--exec", program]).failure(code);
        assert!(said.contains(expected), "{program}: {said}");
        assert_eq!(jetpack.contents(), before, "{program}");
    }
    jetpack.run(["run", "--destroy", "a", "--exec", "app"]).success();
}

#[test]
fn standard_streams_pass_through() {
    let jetpack = with_script("cat; echo oops >&2");
    let output = jetpack.run_with_input(["run", "--destroy", "example.com/app"], b"some\0bytes\n").success();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("some\0bytes\n", "oops\n"));
    let much = vec![b'x'; 3 << 20];
    let output = jetpack.run_with_input(["run", "--destroy", "example.com/app"], &much).success();
    assert_eq!(output.stdout.len(), much.len());
}

/// A pipe that nobody reads.
fn closed_pipe() -> std::fs::File {
    let (read, write) = nix::unistd::pipe().expect("a pipe");
    drop(read);
    write.into()
}

#[test]
fn a_closed_pipe_is_no_error_of_jetpacks() {
    let jetpack = with_script("echo a; echo b; exit 0");
    let to_nobody = |arguments: &[&str]| {
        Output::of(jetpack.command(arguments).stdout(closed_pipe()).output().expect("the command ends"))
    };
    let pod = jetpack.run(["prepare", "example.com/app"]).success().stdout.trim().to_owned();
    let table: [&[&str]; 9] = [
        &["images"],
        &["list"],
        &["--format", "json", "images"],
        &["manifest", &pod],
        &["show-image", "example.com/app"],
        &["image-manifest", "example.com/app"],
        &["config"],
        &["version"],
        &["help"],
    ];
    for arguments in table {
        let output = to_nobody(arguments);
        assert_eq!((output.code, output.stderr.as_str()), (0, ""), "{arguments:?}");
    }
    // The app is an ordinary program in this: SIGPIPE kills it.
    assert_eq!(to_nobody(&["run", &pod]).code, 128 + Signal::SIGPIPE as i32);
}

#[test]
fn a_pod_runs_again_with_what_it_wrote() {
    let jetpack = with_script("n=$(($(cat count 2>/dev/null || echo 0) + 1)); echo $n >count; echo $n");
    let pod = jetpack.run(["prepare", "example.com/app"]).success().stdout.trim().to_owned();
    for (reference, count) in [(&*pod, "1\n"), (&pod[..13], "2\n"), (&pod, "3\n")] {
        assert_eq!(jetpack.run(["run", reference]).success().stdout, count);
        assert!(jetpack.run(["list", "-H"]).success().stdout.contains("  exited  "));
    }
    assert_eq!(jetpack.run(["run", "example.com/app"]).success().stdout, "1\n");
    assert_eq!(jetpack.run(["run", "--destroy", &pod]).success().stdout, "4\n");
    assert!(!jetpack.run(["list", "-q"]).success().stdout.contains(&pod));
}

#[test]
fn a_run_of_an_image_keeps_the_pod_unless_told_otherwise() {
    let jetpack = with_script("exit $1");
    let (before, saved) = (jetpack.contents(), jetpack.path("id"));
    let saveid = ["--saveid", saved.to_str().expect("plain")];
    for code in ["0", "5"] {
        jetpack.run(["run", "--destroy", "example.com/app", "--", code]);
        assert_eq!(jetpack.contents(), before, "{code}");
    }
    assert_eq!(jetpack.run(["run"].iter().chain(&saveid).chain(&["example.com/app", "--", "5"])).code, 5);
    let pod = std::fs::read_to_string(&saved).expect("the UUID");
    assert_eq!(jetpack.run(["list", "-q"]).success().stdout, pod);
}

#[test]
fn what_a_pod_runs_was_settled_when_it_was_prepared() {
    let jetpack = with_script("exit 0");
    let pod = jetpack.run(["prepare", "example.com/app"]).success().stdout.trim().to_owned();
    let table: [&[&str]; 5] = [
        &["run", &pod, "--user", "0"],
        &["run", &pod, "--", "x"],
        &["run", &pod, "--readonly-rootfs"],
        &["run", "--hostname", "x", &pod],
        &["run", "--net", "host", &pod],
    ];
    for arguments in table {
        let expected = format!(
            "jetpack: {pod} is a pod: what it runs was settled when it was prepared\n\
             help: prepare another pod of its image, with those flags\n"
        );
        assert_eq!(jetpack.run(arguments).failure(125), expected, "{arguments:?}");
    }
    assert!(jetpack.run(["list", "-H"]).success().stdout.contains("  prepared  "));
}

#[test]
fn the_environment_is_the_specifications() {
    if !std::path::Path::new("/proc/self/environ").exists() {
        skip!("needs Linux's /proc");
    }
    let environment = r#", "environment": [{"name": "A", "value": "from the image"}, {"name": "B", "value": "kept"}]"#;
    let jetpack = Jetpack::fake();
    let archive = scripted("example.com/app", "cat /proc/$$/environ", environment);
    jetpack.import(&archive.file("rootfs/etc/passwd", 0o644, b"joe:x:0:0::/home/joe:/bin/csh\n").finish());
    let arguments = ["run", "--destroy", "example.com/app", "--name", "other", "--env", "A=1=2", "--env", "C="];
    let mut command = jetpack.command(arguments);
    command.env("SECRET", "of the host").env("TERM", "vt220");
    let output = Output::of(command.output().expect("the command ends")).success().stdout;
    let mut variables: Vec<&str> = output.split_terminator('\0').collect();
    variables.sort_unstable();
    let expected = [
        "A=1=2",
        "AC_APP_NAME=other",
        "B=kept",
        "C=",
        "HOME=/home/joe",
        "LOGNAME=joe",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "SHELL=/bin/csh",
        "USER=joe",
        "container=jetpack",
    ];
    assert_eq!(variables, expected);
}

#[test]
fn the_app_starts_where_it_should_as_somebody_the_image_knows() {
    let jetpack = with_script("pwd");
    let archive = scripted("dir", "pwd", r#", "workingDirectory": "/srv""#).directory("rootfs/srv", 0o755);
    jetpack.import(&archive.finish());
    let before = jetpack.contents();
    let output = jetpack.run(["run", "--destroy", "dir"]).success().stdout;
    assert!(output.trim().ends_with("/dir/root/srv"), "{output}");
    let table: [(&[&str], &str); 5] = [
        (&["--workdir", "/none"], "cannot change to the working directory /none: No such file or directory\nhelp: "),
        (&["--workdir", "/bin/app"], "cannot change to the working directory /bin/app: Not a directory\nhelp: "),
        (
            &["--user", "joe"],
            "the image knows no user \"joe\"\nhelp: name a user of the image's /etc/passwd, or a number",
        ),
        (&["--group", "staff"], "the image knows no group \"staff\"\nhelp: name a group of the image's /etc/group"),
        (&["--user", "/none"], "cannot take user or group from /none: No such file or directory"),
    ];
    for (flags, expected) in table {
        let said = jetpack.run(["run", "example.com/app"].iter().chain(flags)).failure(125);
        assert!(said.contains(expected), "{flags:?}: {said}");
        assert_eq!(jetpack.contents(), before, "{flags:?}");
    }
}

#[test]
fn arguments_follow_the_images_or_are_the_command_of_one_without_an_app() {
    let jetpack = with_script("for a; do echo \"<$a>\"; done");
    let archive =
        Archive::with_manifest(&manifest("plain", None)).file("rootfs/bin/say", 0o755, b"#!/bin/sh\necho said $1\n");
    jetpack.import(&archive.finish());
    let table: [(&[&str], &str); 5] = [
        (&["example.com/app"], ""),
        (&["example.com/app", "--", "a b", "-c", "--", "--user"], "<a b>\n<-c>\n<-->\n<--user>\n"),
        (&["example.com/app", "--exec", "/bin/app", "--", "x"], "<x>\n"),
        (&["plain", "--", "/bin/say", "so"], "said so\n"),
        (&["plain", "--exec", "say", "--", "it"], "said it\n"),
    ];
    for (arguments, expected) in table {
        let output = jetpack.run(["run", "--destroy"].iter().chain(arguments)).success();
        assert_eq!(output.stdout, expected, "{arguments:?}");
    }
}

#[test]
fn arguments_of_no_image_are_refused() {
    let jetpack = with_script("exit 0");
    let before = jetpack.contents();
    for command in [&["prepare", "-n"][..], &["prepare"], &["run"]] {
        let words = ["example.com/app", "--", "a", "---", "--", "b"];
        let said = jetpack.run(command.iter().chain(&words)).failure(125);
        assert!(said.starts_with("jetpack: no image stands before `--`"), "{said}");
        let said = jetpack.run(command.iter().chain(&words[..4])).failure(125);
        assert!(said.starts_with("jetpack: no image follows the last `---`\nhelp: write IMAGE"), "{said}");
    }
    assert_eq!(jetpack.contents(), before);
}

#[test]
fn a_running_pod_is_seen_protected_and_gets_signals() {
    let jetpack = with_script("trap 'echo bye; kill $!; exit 7' TERM; echo ready; sleep 20 & wait");
    let pod = jetpack.run(["prepare", "example.com/app"]).success().stdout.trim().to_owned();
    let mut child = jetpack.spawn(["run", &pod]);
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "ready");
    assert!(jetpack.run(["list", "-H"]).success().stdout.contains("  running  "));
    let said = jetpack.run(["destroy", &pod]).failure(125);
    assert!(said.starts_with(&format!("jetpack: pod {pod} is running\nhelp: end it first")), "{said}");
    assert_eq!(jetpack.run(["run", &pod]).failure(125), format!("jetpack: pod {pod} is running\n"));
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("a signal");
    assert_eq!(lines.next().expect("a line").expect("text"), "bye");
    assert_eq!(child.wait().expect("the end").code(), Some(7));
    assert!(jetpack.run(["list", "-H"]).success().stdout.contains("  exited  "));
    jetpack.run(["destroy", &pod]).success();
}
