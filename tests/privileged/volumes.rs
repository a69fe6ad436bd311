//! Volumes of a pod's own, from inside and from the host.

use super::images::{Image, NAME, shell};
use crate::support::command::{Jetpack, or_skip, storages};
use crate::support::host::Snapshot;

const POINTS: &str = r#""mountPoints": [{ "name": "deep", "path": "/srv/data/deep" }, { "name": "data", "path": "/srv/data" },
    { "name": "kept", "path": "/kept", "readOnly": true }, { "name": "data", "path": "/again" }]"#;

/// What a script says in a pod, run to its end.
#[track_caller]
fn run(jetpack: &Jetpack, words: &[&str]) -> String {
    jetpack.run(words).success().stdout
}

#[test]
fn mount_points_hold_empty_volumes_that_live_with_the_pod() {
    for storage in storages() {
        let image = or_skip!(Image::new(Some(&shell("0", POINTS)), &[]));
        // What the image has at the mount point is covered.
        let jetpack = or_skip!(image.file("srv/data/covered", 0o644, b"").into_store(storage));
        let before = Snapshot::take(&jetpack.store());
        let script = "ls -A /srv/data; cd /srv/data; echo more >>file; echo x >deep/x; cat file /again/file; stat -c '%a %u %g' . deep /kept;
            (: >/kept/no); mknod null c 1 3; cat null; cp /bin/busybox suid; ls -A /again/deep";
        let prepared = jetpack.run(["prepare", NAME, "--", script]).success();
        let notice = "test gets an empty volume at /srv/data/deep, its mount point deep: it lives as long as the pod";
        assert!(prepared.stderr.contains(notice), "{}", prepared.stderr);
        let pod = prepared.stdout.trim().to_owned();
        let first = jetpack.run(["run", &pod]);
        let stats = "755 0 0\n755 0 0\n755 0 0\n";
        assert_eq!(first.stdout, format!("deep\nmore\nmore\n{stats}"), "{storage}: {}", first.stderr);
        assert!(first.stderr.contains("/kept/no: Read-only file system"), "{}", first.stderr);
        assert!(first.stderr.contains("'null': Permission denied"), "a device works: {}", first.stderr);
        assert_eq!(Snapshot::take(&jetpack.store()), before, "{storage}");
        // From the host: outside of the root, so that nothing of it is in what the app changed.
        let of_pod = jetpack.store().join("pods").join(&pod);
        assert_eq!(std::fs::read_to_string(jetpack.volume(&pod, "data").join("file")).expect("the file"), "more\n");
        let second = jetpack.run(["run", &pod]);
        assert!(second.stdout.contains("more\nmore\nmore\nmore\n"), "{storage}: {second:?}");
        run(&jetpack, &["destroy", &pod]);
        assert!(!of_pod.exists());
    }
}

#[test]
fn a_read_only_root_has_volumes_that_are_not() {
    for storage in storages() {
        let image = or_skip!(Image::new(Some(&shell("0", POINTS)), &[]));
        let jetpack = or_skip!(image.into_store(storage));
        let script = "echo x >/srv/data/x && cat /again/x; (: >/x) 2>/dev/null || echo stays";
        let words = ["--quiet", "run", "--destroy", NAME, "--readonly-rootfs", "--", script];
        assert_eq!(run(&jetpack, &words), "x\nstays\n", "{storage}");
    }
}

#[test]
fn a_link_in_the_place_of_a_mount_point_leads_nowhere_on_the_host() {
    let trap = std::env::temp_dir().join(format!("jetpack-trap-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&trap).expect("a directory");
    let point = r#""mountPoints": [{ "name": "data", "path": "/data/below" }]"#;
    for storage in storages() {
        for target in [trap.to_str().expect("text"), "../../../../../../../../../tmp", "/proc/1/root/tmp"] {
            let image = or_skip!(Image::new(Some(&shell("0", point)), &[])).symlink("data", target);
            let jetpack = or_skip!(image.into_store(storage));
            let before = Snapshot::take(&jetpack.store());
            let output = jetpack.run(["run", "--destroy", NAME, "--", "echo x >/data/below/x"]);
            let made = std::fs::read_dir(&trap).expect("the trap").count();
            assert_eq!((made, std::path::Path::new("/tmp/below").exists()), (0, false), "{target}: {output:?}");
            assert_eq!(Snapshot::take(&jetpack.store()), before, "{target}");
        }
    }
    std::fs::remove_dir(&trap).expect("an empty directory");
}

#[test]
fn a_link_takes_no_volume_to_the_root_or_to_what_the_runtime_mounts() {
    let point = r#""mountPoints": [{ "name": "data", "path": "/data" }]"#;
    for storage in storages() {
        let links =
            [("/", "/, which is"), ("/proc", "/proc, where"), ("vol/..", "/, which is"), ("/dev/shm", "/dev/shm, ")];
        for (target, place) in links {
            let image = or_skip!(Image::new(Some(&shell("0", point)), &[])).directory("vol", 0o755);
            let jetpack = or_skip!(image.symlink("data", target).into_store(storage));
            let error = jetpack.run(["run", "--destroy", NAME, "--", "true"]).failure(125);
            let expected = format!("cannot mount a volume at /data: links lead to {place}");
            assert!(error.contains(&expected) && error.contains("\nhelp: "), "{target}: {error}");
        }
    }
}

#[test]
fn a_pod_whose_volume_came_to_lie_on_proc_cannot_hold_up_its_next_run() {
    let point = r#""mountPoints": [{ "name": "data", "path": "/data" }]"#;
    for storage in storages() {
        let image = or_skip!(Image::new(Some(&shell("0", point)), &[])).directory("vol", 0o755);
        let jetpack = or_skip!(image.symlink("data", "/vol").into_store(storage));
        // Whatever would be looked at in /proc is a fifo to which nobody writes.
        let script = "mkdir -p /data/self/ns; mkfifo /data/self/ns/pid; rm /data; ln -s /proc /data; echo done";
        let pod = jetpack.run(["-q", "prepare", NAME, "--", script]).success().stdout.trim().to_owned();
        assert_eq!(run(&jetpack, &["run", &pod]), "done\n");
        let mut again = jetpack.spawn(["run", &pod]);
        assert_eq!(crate::support::bounded::ended(&mut again).code(), Some(125), "{storage}");
        let error = jetpack.run(["run", &pod]).failure(125);
        assert!(error.contains("links lead to /proc, where the runtime mounts its own"), "{error}");
    }
}

#[test]
fn a_file_in_the_place_of_a_mount_point_is_an_error() {
    let point = r#""mountPoints": [{ "name": "data", "path": "/data" }]"#;
    for storage in storages() {
        let image = or_skip!(Image::new(Some(&shell("0", point)), &[])).file("data", 0o644, b"");
        let jetpack = or_skip!(image.into_store(storage));
        let error = jetpack.run(["run", "--destroy", NAME, "--", "true"]).failure(125);
        assert!(error.contains("cannot mount a volume at /data: "), "{error}");
    }
}
