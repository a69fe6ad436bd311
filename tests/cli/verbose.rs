//! `--verbose`, `debug = on` and `--quiet`

use super::scripted;
use crate::support::command::Jetpack;

/// What a life of a pod says on standard error.
fn said(jetpack: &Jetpack, options: &[&str]) -> String {
    let path = jetpack.file("a.aci", &scripted("example.com/app", "exit 3", "").finish());
    let path = path.to_str().expect("a plain path");
    let run = |arguments: &[&str]| {
        let all = ["--insecure-options", "image"].iter().chain(options).chain(arguments);
        jetpack.run(all)
    };
    let mut all = run(&["import", path]).success().stderr;
    let prepared = run(&["prepare", "example.com/app"]).success();
    all += &prepared.stderr;
    let pod = prepared.stdout.trim();
    all += &run(&["run", pod]).failure(3);
    all += &run(&["destroy", pod]).success().stderr;
    all += &run(&["destroy-image", "example.com/app"]).success().stderr;
    all.replace(pod, "POD").replace(path, "FILE")
}

const WARNING: &str = "jetpack: warning: FILE is not signed: nobody knows who made it";

#[test]
fn what_is_done_is_told_to_those_who_ask() {
    let jetpack = Jetpack::fake();
    let expected = [
        "jetpack: importing FILE",
        WARNING,
        "jetpack: example.com/app is sha512-ID: 2 files, 3.5 KiB",
        "jetpack: prepared pod POD of example.com/app",
        "jetpack: running pod POD: app as user 0 and group 0: /bin/app",
        "jetpack: pod POD has ended: exit code 3",
        "jetpack: destroyed pod POD",
        "jetpack: removed image sha512-ID",
    ];
    for options in [&["-v"][..], &["--verbose"], &["-o", "debug=on"]] {
        let said = said(&jetpack, options);
        let id = said.split("sha512-").nth(1).and_then(|rest| rest.get(..128)).expect("an id").to_owned();
        let lines: Vec<String> = said.lines().map(|line| line.replace(&id, "ID")).collect();
        assert_eq!(lines, expected, "{options:?}");
    }
    for options in [&["-q"][..], &["-q", "-v"]] {
        assert_eq!(said(&jetpack, options), "", "{options:?}");
    }
    for options in [&[][..], &["-o", "debug=off"]] {
        assert_eq!(said(&jetpack, options), format!("{WARNING}\n"), "{options:?}");
    }
}

/// Behind `prepare` and `run` stands a volume after `-v`.
#[test]
fn the_long_form_stands_anywhere() {
    let jetpack = Jetpack::fake();
    jetpack.import(&scripted("example.com/app", "exit 0", "").finish());
    for words in [&["prepare", "--verbose", "example.com/app"][..], &["--verbose", "prepare", "example.com/app"]] {
        let said = jetpack.run(words).success().stderr;
        assert!(said.starts_with("jetpack: prepared pod "), "{words:?}: {said}");
    }
    for words in [&["run", "--verbose", "example.com/app"][..], &["-v", "run", "example.com/app"]] {
        assert!(jetpack.run(words).success().stderr.contains("has ended"), "{words:?}");
    }
    let quiet = jetpack.run(["run", "-v", "verbose", "example.com/app"]).success().stderr;
    assert_eq!(
        quiet,
        "jetpack: warning: nothing has the volume verbose: no mount point is called so, and no -m names it\n"
    );
}
