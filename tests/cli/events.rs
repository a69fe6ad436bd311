//! Event handlers: before and after the program.

use super::scripted;
use crate::support::archive::Archive;
use crate::support::command::Jetpack;

/// An image whose program and handlers write what they are to the file `log`, and end as the files of these names say.
fn logging() -> Archive {
    let handlers = r#", "eventHandlers": [{"name": "post-stop", "exec": ["/bin/post", "p1"]},
                                           {"name": "pre-start", "exec": ["pre"]}]"#;
    let handler = |name: &str| format!("#!/bin/sh\necho {name} $1 >>log\n[ ! -e fail-{name} ]\n");
    scripted("example.com/app", "echo main $1 >>log; exit ${1:-0}", handlers)
        .file("rootfs/bin/pre", 0o755, handler("pre").as_bytes())
        .file("rootfs/bin/post", 0o755, handler("post").as_bytes())
}

/// Runs the image with these files in it, and arguments for its program: its exit code, what it said, and the log.
fn run(archive: Archive, arguments: &[&str]) -> (i32, String, String) {
    let jetpack = Jetpack::fake();
    jetpack.import(&archive.finish());
    let pod = jetpack.run(["prepare", "example.com/app"].iter().chain(arguments)).success().stdout.trim().to_owned();
    let output = jetpack.run(["run", &pod]);
    let log = jetpack.store().join("pods").join(&pod).join("apps/app/root/log");
    (output.code, output.stderr, std::fs::read_to_string(log).unwrap_or_default())
}

#[test]
fn handlers_run_before_and_after() {
    assert_eq!(run(logging(), &[]), (0, String::new(), "pre\nmain\npost p1\n".to_owned()));
}

#[test]
fn a_failing_pre_start_keeps_the_program_from_starting() {
    let (code, said, log) = run(logging().file("rootfs/fail-pre", 0o644, b""), &[]);
    assert_eq!((code, log.as_str()), (125, "pre\n"));
    assert_eq!(said, "jetpack: the pre-start handler of app failed: exit code 1\n");
}

#[test]
fn post_stop_runs_however_the_program_ended() {
    let (code, said, log) = run(logging(), &["--", "9"]);
    assert_eq!((code, said.as_str(), log.as_str()), (9, "", "pre\nmain 9\npost p1\n"));
    let (code, said, log) = run(logging(), &["--exec", "/bin/none"]);
    assert_eq!((code, log.as_str()), (127, "pre\npost p1\n"));
    assert_eq!(said, "jetpack: there is no /bin/none in the image\n");
}

#[test]
fn a_failing_post_stop_is_told_and_changes_nothing() {
    let (code, said, log) = run(logging().file("rootfs/fail-post", 0o644, b""), &["--", "4"]);
    assert_eq!((code, log.as_str()), (4, "pre\nmain 4\npost p1\n"));
    assert_eq!(said, "jetpack: warning: the post-stop handler of app failed: exit code 1\n");
}

#[test]
fn handlers_have_no_input_of_the_apps() {
    let handlers = r#", "eventHandlers": [{"name": "pre-start", "exec": ["/bin/pre"]}]"#;
    let archive = scripted("a", "cat", handlers).file("rootfs/bin/pre", 0o755, b"#!/bin/sh\ncat >&2\n");
    let jetpack = Jetpack::fake();
    jetpack.import(&archive.finish());
    let output = jetpack.run_with_input(["run", "--destroy", "a"], b"for the program").success();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("for the program", ""));
}
