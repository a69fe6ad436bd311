//! `jetpack cp` with real pods, also with those that mean harm.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;

use super::images::{Image, NAME, shell};
use super::signals::Running;
use crate::support::command::{Jetpack, or_skip, storages};
use crate::support::host::Snapshot;

fn prepare(jetpack: &Jetpack) -> String {
    jetpack.run(["-q", "prepare", NAME, "--", "echo ready; sleep 1000"]).success().stdout.trim().to_owned()
}

fn cp(jetpack: &Jetpack, words: &[&str]) {
    let output = jetpack.run([&["cp"], words].concat()).success();
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""), "{words:?}");
}

#[test]
fn links_mean_files_of_the_pod_and_never_the_hosts() {
    for storage in storages() {
        let image = or_skip!(Image::new(Some(&shell("0", "")), &["etc/passwd"]));
        let image =
            image.file("etc/passwd", 0o644, b"the pod's\n").symlink("out", "../../../../etc").symlink("abs", "/etc");
        let jetpack = or_skip!(image.symlink("file", "/etc/passwd").into_store(storage));
        let pod = prepare(&jetpack);
        let (there, here) = (|path: &str| format!("{pod}:{path}"), jetpack.path("here").display().to_string());
        for path in ["/out/passwd", "/abs/passwd", "/../../../../etc/passwd"] {
            cp(&jetpack, &[&there(path), &here]);
            assert_eq!(fs::read_to_string(&here).expect("the copy"), "the pod's\n", "{path}");
        }
        cp(&jetpack, &["-L", &there("/file"), &here]);
        assert_eq!(fs::read_to_string(&here).expect("the copy"), "the pod's\n");
        cp(&jetpack, &[&there("/file"), &here]);
        assert_eq!(fs::read_link(&here).expect("a link").to_str(), Some("/etc/passwd"));
        // Into the pod, through a link that would lead to the host's /etc from where the host stands.
        let name = format!("jetpack-{}", uuid::Uuid::new_v4());
        let mine = jetpack.file(&name, b"mine").display().to_string();
        cp(&jetpack, &[&mine, &there("/out")]);
        assert!(!std::path::Path::new("/etc").join(&name).exists());
        let seen = jetpack.run(["exec", &pod, "cat", &format!("/etc/{name}")]).success().stdout;
        assert_eq!(seen, "mine", "{storage}");
    }
}

#[test]
fn a_program_of_a_pods_user_is_no_program_of_roots_on_the_host() {
    let image = or_skip!(Image::new(Some(&shell("0", "")), &[]));
    let acl: [(&str, &[u8]); 1] = [("SCHILY.xattr.user.note", b"kept")];
    let image =
        image.with_pax(&acl, |image| image.owned("data/su", 0o6755, (1000, 1000), b"#!")).device("data/null", 1, 3);
    let jetpack = or_skip!(image.into_store("overlay"));
    let pod = prepare(&jetpack);
    let script = "cp /bin/busybox /data/cap; chmod 4755 /data/cap; chown 1000 /data/su; chmod 6755 /data/su";
    jetpack.run(["exec", &pod, "sh", "-c", script]).success();
    let (mapped, kept) = (jetpack.path("mapped"), jetpack.path("kept"));
    let from = format!("{pod}:/data");
    jetpack.run(["cp", &from, &mapped.display().to_string()]).success();
    jetpack.run(["cp", "-a", &from, &kept.display().to_string()]).success();
    let look =
        |path: std::path::PathBuf| fs::symlink_metadata(path).map(|f| (f.uid(), f.gid(), f.mode() & 0o7777)).ok();
    assert_eq!(look(mapped.join("su")), Some((0, 0, 0o755)));
    assert_eq!(look(mapped.join("cap")), Some((0, 0, 0o755)));
    assert_eq!(look(mapped.join("null")), None);
    assert_eq!(look(kept.join("su")), Some((1000, 1000, 0o6755)));
    assert!(look(kept.join("null")).is_some());
    // And back: owners of the host mean nothing in the pod, unless they are asked for.
    for (words, expected) in [(&[][..], "0 0 755\n"), (&["-a"], "1000 1000 6755\n")] {
        let to = format!("{pod}:/back");
        let source = kept.join("su").display().to_string();
        cp(&jetpack, &[words, &[source.as_str(), &to]].concat());
        let seen = jetpack.run(["exec", &pod, "stat", "-c", "%u %g %a", "/back"]).success().stdout;
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_running_pod_with_a_volume_gives_and_takes() {
    for storage in storages() {
        let app = shell("0", r#""mountPoints": [{ "name": "data", "path": "/data" }]"#);
        let jetpack = or_skip!(or_skip!(Image::new(Some(&app), &[])).into_store(storage));
        let before = Snapshot::take(&jetpack.store());
        let pod = prepare(&jetpack);
        let mut child = jetpack.spawn(["run", &pod]);
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(line, "ready\n");
        let big = vec![b'x'; 3 << 20];
        let mine = jetpack.file("big", &big).display().to_string();
        cp(&jetpack, &[&mine, &format!("{pod}:/data/")]);
        let sum = "cd /data && wc -c <big && stat -f -c %i . && stat -f -c %i /";
        let seen = jetpack.run(["exec", &pod, "sh", "-c", sum]).success().stdout;
        assert!(seen.starts_with("3145728\n"), "{seen}");
        assert!(jetpack.volume(&pod, "data").join("big").exists());
        cp(&jetpack, &[&format!("{pod}:/data/big"), &jetpack.path("back").display().to_string()]);
        assert!(fs::read(jetpack.path("back")).expect("the copy") == big);
        // What is mounted in a directory is not a part of it.
        let all = jetpack.path("all");
        let said = jetpack.run(["cp", &format!("{pod}:/"), &all.display().to_string()]).success().stderr;
        assert!(said.contains("warning: what is mounted there is left out"), "{said}");
        assert!(all.join("bin/busybox").exists() && !all.join("data").exists() && !all.join("proc").exists());
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(child.id().cast_signed()), nix::sys::signal::Signal::SIGKILL)
            .expect("it runs");
        crate::support::bounded::ended(&mut child);
        let state = || jetpack.run(["list", "-H"]).success().stdout;
        crate::support::bounded::until("the pod has ended", || state().contains(" exited "));
        assert_eq!(Snapshot::take(&jetpack.store()), before, "{storage}");
    }
}

#[test]
fn a_pod_at_work_gives_what_it_has_and_tells_nothing_when_quiet() {
    let jetpack = or_skip!(or_skip!(Image::new(Some(&shell("0", "")), &[])).into_store("overlay"));
    // A log that grows and files that come and go, all the time.
    let script = "mkdir /w; echo ready; while :; do echo line >>/w/log; : >/w/$$; rm /w/$$; done";
    let pod = jetpack.run(["-q", "prepare", NAME, "--", script]).success().stdout.trim().to_owned();
    let running = Running::start(&jetpack, &pod, &[]);
    for n in 0..20 {
        let to = jetpack.path(&format!("copy{n}")).display().to_string();
        let from = format!("{pod}:/w{}", if n % 2 == 0 { "" } else { "/log" });
        jetpack.run(["cp", &from, &to]).success();
    }
    let copied = fs::read_to_string(jetpack.path("copy19")).expect("the copy");
    assert!(copied.len() > 5 && copied.lines().all(|line| "line".starts_with(line)), "{copied:?}");
    // What the kernel makes up has a size when it has been read.
    let to = jetpack.path("made-up").display().to_string();
    jetpack.run(["cp", &format!("{pod}:/proc/self/status"), &to]).success();
    assert!(fs::read_to_string(&to).expect("the copy").contains("\nPid:"));
    for (options, expected) in [(&[][..], "mounted there is left out"), (&["-q"], "")] {
        let to = jetpack.path(&format!("all{}", options.len())).display().to_string();
        let said = jetpack.run([options, &["cp", &format!("{pod}:/"), &to]].concat()).success().stderr;
        assert!(said.contains(expected) && (said.is_empty() == expected.is_empty()), "{said}");
    }
    let said = jetpack.run(["--format", "json", "cp", &format!("{pod}:/w/log"), &to]).success().stdout;
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!((&said["direction"], &said["source"]), (&"out".into(), &"/w/log".into()));
    super::exec::end(running);
}
