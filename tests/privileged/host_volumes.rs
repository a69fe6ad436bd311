//! Volumes of the host, from inside and from the host.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::images::{Image, NAME, shell};
use crate::support::bounded;
use crate::support::command::{Jetpack, or_skip, storages};
use crate::support::host::Snapshot;

/// A filesystem of its own on a directory of the host, as long as this lives.
struct Mounted(PathBuf);

impl Mounted {
    fn on(directory: &Path) -> Mounted {
        fs::create_dir_all(directory).expect("a directory");
        mount_command("mount", &["-t", "tmpfs", "-o", "size=1m", "tmpfs"], directory).expect("a tmpfs is mounted");
        Mounted(directory.to_owned())
    }

    /// Takes it off, if nobody holds it.
    fn unmount(self) -> Result<(), String> {
        mount_command("umount", &[], &self.0)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = mount_command("umount", &["-l"], &self.0);
    }
}

fn mount_command(program: &str, words: &[&str], directory: &Path) -> Result<(), String> {
    let output = Command::new(program).args(words).arg(directory).output().map_err(|e| e.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// A store with an image whose mount point `data` is `/srv/data`, and a directory of the host, with a file in it and another one
/// in a filesystem that is mounted below it.
fn with_source(storage: &str) -> Result<(Jetpack, PathBuf, Mounted), String> {
    let points = r#""mountPoints": [{ "name": "data", "path": "/srv/data" }]"#;
    let jetpack = Image::new(Some(&shell("0", points)), &[])?.into_store(storage)?;
    let source = jetpack.path("source");
    fs::create_dir(&source).expect("a directory");
    let below = Mounted::on(&source.join("deep/below"));
    fs::write(source.join("file"), "on the host\n").expect("a file");
    fs::write(below.0.join("file"), "below\n").expect("a file");
    Ok((jetpack, source, below))
}

/// What a script says in a pod with these options before and behind the image.
#[track_caller]
fn run(jetpack: &Jetpack, before: &[&str], behind: &[&str], script: &str) -> String {
    let words = [&["-q", "run", "--destroy"], before, &[NAME], behind, &["--", script]].concat();
    jetpack.run(words).success().stdout
}

#[test]
fn a_directory_of_the_host_is_there_with_what_is_mounted_below_it() {
    for storage in storages() {
        let (jetpack, source, below) = or_skip!(with_source(storage));
        let before = Snapshot::take(&jetpack.store());
        let volume = format!("data,kind=host,source={}", source.display());
        let script = "cd /srv/data; cat file deep/below/file; echo x >new; echo x >deep/below/new; grep ' /srv/' /proc/self/mountinfo |
            while read -r _ _ _ _ path options rest; do echo \"$path ${options%%,relatime} ${rest%% *}\"; done";
        let expected = "on the host\nbelow\n/srv/data rw,nosuid,nodev -\n/srv/data/deep/below rw,nosuid,nodev -\n";
        assert_eq!(run(&jetpack, &["-v", &volume], &[], script), expected, "{storage}");
        for written in [source.join("new"), below.0.join("new")] {
            assert_eq!(fs::read_to_string(&written).expect("what the pod wrote"), "x\n", "{storage}");
        }
        let alone = format!("{volume},recursive=false");
        assert_eq!(run(&jetpack, &["-v", &alone], &[], "cd /srv/data; cat file; ls -A deep/below"), "on the host\n");
        assert_eq!(Snapshot::take(&jetpack.store()), before, "{storage}");
        assert!(!jetpack.contents().iter().any(|name| name.starts_with("pods/")));
    }
}

#[test]
fn read_only_means_what_is_mounted_below_too() {
    for storage in storages() {
        let (jetpack, source, below) = or_skip!(with_source(storage));
        let volume = format!("-data:{}", source.display());
        let script = "cd /srv/data; cat file deep/below/file; for f in new deep/new deep/below/new file; do (: >>$f) 2>/dev/null && echo $f; done
            mount -o remount,rw /srv/data 2>/dev/null && echo remounted; true";
        assert_eq!(run(&jetpack, &["-v", &volume], &[], script), "on the host\nbelow\n", "{storage}");
        assert!(!source.join("new").exists() && !below.0.join("new").exists());
        // On the host nothing has changed.
        fs::write(below.0.join("later"), "").expect("the host writes");
    }
}

#[test]
fn a_volume_is_mounted_where_it_is_wanted() {
    for storage in storages() {
        let (jetpack, source, _below) = or_skip!(with_source(storage));
        let one = source.join("file");
        let (all, one) = (format!("all:{}", source.display()), format!("-one:{}", one.display()));
        let before = ["-v", &all, "-v", &one, "-v", "own,kind=empty,mode=1770,uid=7,gid=8"];
        let behind = ["-m", "all:/a", "-m", "one:/etc/hello", "-m", "one:/a/deep/motd", "-m", "own:/a/own"];
        let script = "cat /etc/hello /a/deep/below/file /a/deep/motd; (: >/etc/hello) 2>/dev/null && echo wrote; stat -c '%a %u %g' /a/own
            echo x >/a/own/x; ls -A /srv/data";
        let expected = "on the host\nbelow\non the host\n1770 7 8\n";
        assert_eq!(run(&jetpack, &before, &behind, script), expected, "{storage}");
        // Mount points in it were made on the host; what was mounted there is not the host's.
        assert_eq!(fs::read_dir(source.join("own")).expect("the mount point").count(), 0);
        assert_eq!(fs::read(source.join("deep/motd")).expect("the mount point"), b"");
        let root = run(
            &jetpack,
            &before[..2],
            &["--readonly-rootfs", "-m", "all:/new"],
            "cat /new/file; echo x >/new/y; (: >/y) || true",
        );
        assert_eq!(root, "on the host\n");
        assert!(source.join("y").exists());
    }
}

#[test]
fn set_user_id_programs_and_devices_of_the_host_do_nothing() {
    for storage in storages() {
        let image = or_skip!(Image::new(Some(&shell("1000", "")), &[]));
        // The program needs its libraries in the pod; there it works.
        let jetpack = or_skip!(or_skip!(image.program("/usr/bin/id", "bin/who", 0o4755)).into_store(storage));
        let source = jetpack.path("source");
        fs::create_dir(&source).expect("a directory");
        let (who, null) = (source.join("who"), source.join("null"));
        fs::copy("/usr/bin/id", &who).expect("a program");
        fs::set_permissions(&who, fs::Permissions::from_mode(0o4755)).expect("its mode");
        let made = Command::new("mknod").arg(&null).args(["c", "1", "3"]).status().expect("mknod(1) starts");
        assert!(made.success());
        fs::set_permissions(&null, fs::Permissions::from_mode(0o666)).expect("its mode");
        let volume = format!("data:{}", source.display());
        let script = "/bin/who -u; /srv/who -u; cat /srv/null 2>/dev/null || echo no device";
        let said = run(&jetpack, &["-v", &volume], &["-m", "data:/srv"], script);
        assert_eq!(said, "0\n1000\nno device\n", "{storage}");
    }
}

#[test]
fn what_is_covered_in_a_pods_proc_and_sys_is_no_volume() {
    let (jetpack, source, _below) = or_skip!(with_source("overlay"));
    let proc = source.join("a chroot/proc");
    fs::create_dir_all(&proc).expect("a directory");
    mount_command("mount", &["-t", "proc", "proc"], &proc).expect("a proc is mounted");
    let proc = Mounted(proc);
    let run = |volume: &str| jetpack.run(["-q", "run", "--destroy", "-v", volume, NAME, "--", "ls -A /srv/data"]);
    for (path, kind) in
        [("/proc", "proc"), ("/proc/sys", "proc"), ("/sys", "sysfs"), (&*proc.0.to_string_lossy(), "proc")]
    {
        let error = run(&format!("-data:{path}")).failure(125);
        let told =
            format!("cannot mount a volume at /srv/data: {path} is in a {kind}, which would show the pod the host's");
        assert!(error.contains(&told), "{error}");
    }
    let volume = format!("data,kind=host,source={}", source.display());
    let error = run(&volume).failure(125);
    assert!(error.contains("a chroot/proc is a proc, which would show the pod the host's"), "{error}");
    assert!(error.contains("help: leave out all that is mounted there: `recursive=false`"), "{error}");
    run(&format!("{volume},recursive=false")).success();
    assert_eq!(jetpack.contents().iter().filter(|name| name.starts_with("pods/")).count(), 0);
}

#[test]
fn two_pods_share_a_volume_and_mounts_made_meanwhile_stay_where_they_are() {
    let (jetpack, source, _below) = or_skip!(with_source("overlay"));
    let volume = format!("data:{}", source.display());
    let pod = jetpack.run([
        "-q",
        "prepare",
        "-v",
        &volume,
        NAME,
        "--",
        "echo ready >/srv/data/ready; while :; do sleep 1; done",
    ]);
    let pod = pod.success().stdout.trim().to_owned();
    let mut runner = jetpack.spawn(["run", &pod]);
    bounded::until("the pod runs", || source.join("ready").exists());
    assert_eq!(run(&jetpack, &["-v", &volume], &[], "cat /srv/data/ready; echo other >/srv/data/other"), "ready\n");
    assert_eq!(jetpack.run(["exec", &pod, "cat", "/srv/data/other"]).success().stdout, "other\n");
    let later = Mounted::on(&source.join("later"));
    fs::write(later.0.join("file"), "").expect("a file");
    assert_eq!(jetpack.run(["exec", &pod, "ls", "-A", "/srv/data/later"]).success().stdout, "");
    // The pod does not hold it.
    later.unmount().expect("the host unmounts what it mounted");
    jetpack.run(["kill", &pod]).success();
    bounded::ended(&mut runner);
    // A new run sees what is there by then.
    let later = Mounted::on(&source.join("later"));
    fs::write(later.0.join("file"), "").expect("a file");
    assert_eq!(jetpack.run(["exec", &pod, "ls", "-A", "/srv/data/later"]).success().stdout, "file\n");
    jetpack.run(["destroy", &pod]).success();
    assert!(source.join("file").exists() && later.0.join("file").exists(), "destroying a pod reaches its sources");
}

#[test]
fn the_runtimes_files_are_not_written_to_the_host() {
    for storage in storages() {
        let (jetpack, source, _below) = or_skip!(with_source(storage));
        fs::write(source.join("passwd"), "root:x:0:0::/:/bin/sh\n").expect("a file");
        let volume = format!("all:{}", source.display());
        let words = [
            "-o",
            "ace.dns-servers=192.0.2.1",
            "-q",
            "run",
            "--destroy",
            "-v",
            &volume,
            NAME,
            "-m",
            "all:/etc",
            "--",
            "ls /etc",
        ];
        let said = jetpack.run(words).success().stdout;
        assert!(!said.contains("resolv.conf") && said.contains("passwd"), "{storage}: {said}");
        assert!(!source.join("resolv.conf").exists(), "{storage}");
    }
}

#[test]
fn a_link_in_a_volume_takes_no_other_to_what_the_runtime_mounts() {
    for storage in storages() {
        let (jetpack, source, _below) = or_skip!(with_source(storage));
        let outside = jetpack.path("outside");
        fs::create_dir(&outside).expect("a directory");
        for (link, told) in [
            (Path::new("/proc"), Some("links lead to /proc, where the runtime mounts its own")),
            (Path::new("/"), Some("links lead to /, which is the whole root filesystem")),
            (&outside, None),
        ] {
            let _ = fs::remove_file(source.join("link"));
            symlink(link, source.join("link")).expect("a link");
            let volume = format!("data:{}", source.display());
            let words = [
                "-q",
                "run",
                "--destroy",
                "-v",
                &volume,
                "-v",
                "own",
                NAME,
                "-m",
                "own:/srv/data/link",
                "--",
                "echo x >/srv/data/link/x",
            ];
            let output = jetpack.run(words);
            match told {
                Some(told) => assert!(output.failure(125).contains(told), "{storage}"),
                // In the pod that is a directory of the pod's own.
                None => assert!(matches!(output.code, 0 | 125), "{output:?}"),
            }
        }
        assert_eq!(fs::read_dir(&outside).expect("the directory").count(), 0, "{storage}");
    }
}

#[test]
fn sources_are_looked_at_when_a_pod_is_prepared_and_when_it_runs() {
    for storage in storages() {
        let (jetpack, source, _below) = or_skip!(with_source(storage));
        let link = jetpack.path("link");
        symlink(&source, &link).expect("a link");
        let gone = source.join("gone");
        fs::create_dir(&gone).expect("a directory");
        let prepare =
            |path: &Path| jetpack.run(["-q", "prepare", "-v", &format!("data:{}", path.display()), NAME, "--", "true"]);
        let pod = prepare(&gone).success().stdout.trim().to_owned();
        fs::remove_dir(&gone).expect("it goes");
        let (store, parent) = (jetpack.store(), jetpack.store().parent().expect("a parent").to_owned());
        let real = format!("help: write where it leads: `source={}`", source.display());
        for (path, told, help) in [
            (&gone, "there is no such directory or file", "help: make it first"),
            (&link, "its path holds a link", real.as_str()),
            (&store, "Jetpack's store is in it", "help: a pod could change the images of others"),
            (&parent, "Jetpack's store is in it", "help: a pod could change the images of others"),
            (&store.join("pods"), "it is in Jetpack's store", "help: a pod could change the images of others"),
        ] {
            let error = prepare(path).failure(125);
            assert!(
                error.contains(&format!("cannot be the volume data: {told}")) && error.contains(help),
                "{storage}: {error}"
            );
        }
        let error = jetpack.run(["run", &pod]).failure(125);
        assert!(error.contains("cannot be the volume data: there is no such directory or file"), "{storage}: {error}");
        // A link that takes its place later leads nowhere.
        symlink("/etc", &gone).expect("a link");
        let error = jetpack.run(["run", &pod]).failure(125);
        assert!(error.contains("its path holds a link"), "{storage}: {error}");
        fs::remove_file(&gone).expect("the link goes");
        fs::create_dir(&gone).expect("a directory");
        jetpack.run(["run", &pod]).success();
        jetpack.run(["destroy", &pod]).success();
        assert_eq!(jetpack.contents().iter().filter(|name| name.starts_with("pods/")).count(), 0);
    }
}
