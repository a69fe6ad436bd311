//! `jetpack cp`, between directories of the host: the pods are of no isolation.

use std::fs;
use std::io::{BufRead, BufReader};

use super::with_script;
use crate::support::archive::{Archive, manifest};
use crate::support::command::Jetpack;

/// A store with a prepared pod of an image with `data/file`; gives the pod too.
fn with_pod() -> (Jetpack, String) {
    let jetpack = Jetpack::fake();
    let archive = Archive::with_manifest(&manifest("example.com/app", None));
    let archive = archive.directory("rootfs/data", 0o755).file("rootfs/data/file", 0o640, b"of the image\n");
    jetpack.import(&archive.finish());
    let pod = jetpack.run(["prepare", "example.com/app"]).success().stdout.trim().to_owned();
    (jetpack, pod)
}

#[test]
fn files_go_both_ways() {
    let (jetpack, pod) = with_pod();
    let local = |name: &str| jetpack.path(name).to_string_lossy().into_owned();
    assert_eq!(jetpack.run(["cp", &format!("{pod}:/data"), &local("copy")]).success().stderr, "");
    assert_eq!(fs::read_to_string(jetpack.path("copy/file")).expect("the copy"), "of the image\n");
    fs::write(jetpack.path("copy/file"), "changed\n").expect("a file");
    let short = &pod[..8];
    jetpack.run(["cp", &format!("{}/.", local("copy")), &format!("{short}:app:/data/")]).success();
    jetpack.run(["cp", &format!("{pod}::data/file"), &local("back")]).success();
    assert_eq!(fs::read_to_string(jetpack.path("back")).expect("the copy"), "changed\n");
    let listed = jetpack.run(["list", "-H"]).success().stdout;
    assert!(listed.contains(" exited "), "the pod has been started for it: {listed}");
}

#[test]
fn a_running_pod_takes_and_gives_too() {
    let jetpack = with_script("echo ready; while ! [ -e \"$0.d/stop\" ]; do sleep 0.05; done; sleep 2");
    let pod = jetpack.run(["prepare", "example.com/app"]).success().stdout.trim().to_owned();
    let mut child = jetpack.spawn(["run", &pod]);
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    let stop = jetpack.file("stop", b"");
    jetpack.run(["cp", &format!("{pod}:/bin/app"), &jetpack.path("app").to_string_lossy()]).success();
    assert!(fs::read_to_string(jetpack.path("app")).expect("the copy").contains("echo ready"));
    let made = jetpack.path("app.d");
    fs::create_dir(&made).expect("a directory");
    fs::rename(&stop, made.join("stop")).expect("a file");
    jetpack.run(["cp", &made.to_string_lossy(), &format!("{pod}:/bin")]).success();
    assert_eq!(crate::support::bounded::ended(&mut child).code(), Some(0));
}

#[test]
fn what_cannot_be_copied_is_said_and_leaves_nothing() {
    let (jetpack, pod) = with_pod();
    let here = jetpack.file("here", b"x").to_string_lossy().into_owned();
    let there = format!("{pod}:/data/file");
    let table: [(&str, &str, &str); 9] = [
        (&here, "./x", "neither SOURCE nor DESTINATION is in a pod\nhelp: write POD:PATH"),
        (&there, &there, "SOURCE and DESTINATION are both in pods\nhelp: "),
        ("ffffffff:/x", &here, "there is no pod \"ffffffff\""),
        (&format!("{pod}:web:/x"), &here, "has no app \"web\"; it has app"),
        (&format!("{pod}:/none"), &here, "cannot read "),
        (&format!("{here}s"), &there, "cannot read "),
        (&here, &format!("{pod}:/data/"), ""),
        (&here, &format!("{pod}:/none/x"), "cannot open the directory"),
        (&format!("{pod}:/data"), &here, "here is there and no directory"),
    ];
    for (source, destination, expected) in table {
        let output = jetpack.run(["cp", source, destination]);
        if expected.is_empty() {
            output.success();
        } else {
            let said = output.failure(125);
            assert!(said.contains(expected), "{source} to {destination}: {said}");
        }
    }
    assert_eq!(fs::read_to_string(&here).expect("the file"), "x");
    let beside = fs::read_dir(jetpack.path(".")).expect("a directory").flatten().map(|e| e.file_name());
    assert!(beside.into_iter().all(|name| !name.to_string_lossy().starts_with(".jetpack-cp")));
}
