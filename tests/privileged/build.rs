//! Images built in real pods.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use super::images::{Image, NAME, base};
use super::pods;
use crate::support::bounded::ended;
use crate::support::command::{Jetpack, Output, or_skip, skip, storages};
use crate::support::host::Snapshot;

/// A new build directory with a manifest of this name.
fn directory(jetpack: &Jetpack, name: &str) -> PathBuf {
    let directory = jetpack.path(name);
    std::fs::create_dir(&directory).expect("a directory");
    std::fs::write(directory.join("manifest.json"), format!("{{\"name\": \"{name}\"}}")).expect("a manifest");
    directory
}

/// What a build by a shell script says and how it ends.
fn build(jetpack: &Jetpack, directory: &Path, options: &[&str], parent: &str, script: &str) -> Output {
    let mut command = jetpack.command(["build"].iter().chain(options));
    command.args([parent, "sh", "-c", script]).current_dir(directory).env("SOURCE_DATE_EPOCH", "5");
    Output::of_command(&mut command, b"")
}

/// The file of an image.
fn archive(jetpack: &Jetpack, id: &str) -> PathBuf {
    jetpack.store().join("images").join(id).join("image.aci")
}

/// The entries of the archive of an image but for the manifest, sorted as they are.
fn names(jetpack: &Jetpack, id: &str) -> Vec<String> {
    let file = std::fs::File::open(archive(jetpack, id)).expect("the archive");
    let mut archive = tar::Archive::new(xz2::read::XzDecoder::new(file));
    let name = |entry: std::io::Result<tar::Entry<'_, _>>| {
        entry.expect("an entry").path().expect("a name").display().to_string()
    };
    archive.entries().expect("an archive").map(name).filter(|name| name != "manifest").collect()
}

#[test]
fn the_command_is_roots_in_a_pod_of_its_own() {
    for kind in storages() {
        let jetpack = or_skip!(pods(kind));
        let directory = directory(&jetpack, "new");
        std::os::unix::fs::lchown(directory.join("manifest.json"), Some(12), Some(34)).expect("its owner");
        let before = Snapshot::take(&jetpack.store());
        let script = "id -u; id -g; pwd; ls -A; stat -c '%u:%g %a' . manifest.json; ls /sys/class/net; touch /etc/x && echo $?; \
                      (trap '' TERM HUP; sleep 1000 </dev/null >/dev/null 2>&1 &); rm /etc/group";
        let output = build(&jetpack, &directory, &["--net", "none"], "busybox-base", script).success();
        let lines: Vec<&str> = output.stdout.lines().collect();
        assert!(lines[2].starts_with("/.jetpack-build-"), "{lines:?}");
        let fixed = [lines[0], lines[1], lines[3], lines[4], lines[5], lines[6], lines[7]];
        assert_eq!(fixed, ["0", "0", "manifest.json", "0:0 755", "0:0 644", "lo", "0"], "{kind}");
        assert_eq!(names(&jetpack, lines[8]), ["rootfs", "rootfs/etc", "rootfs/etc/x"], "{kind}");
        assert_eq!(Snapshot::take(&jetpack.store()), before, "{kind}");
        let network = |net: &str| {
            let output =
                build(&jetpack, &directory, &["--net", net], "busybox-base", "readlink /proc/self/ns/net").success();
            output.stdout.lines().next().expect("a line").to_owned()
        };
        let host = std::fs::read_link("/proc/self/ns/net").expect("a namespace").display().to_string();
        assert_eq!((network("host") == host, network("none") == host), (true, false), "{kind}");
    }
}

#[test]
fn what_is_built_runs_and_is_built_upon_here_and_elsewhere() {
    let kinds = storages();
    for (kind, other) in kinds.iter().zip(kinds.iter().cycle().skip(1)) {
        let jetpack = or_skip!(pods(kind));
        let one = directory(&jetpack, "one");
        let first =
            build(&jetpack, &one, &[], "busybox-base", "echo 1 >/etc/one; echo x >/etc/gone; ln -s one /etc/link")
                .success();
        let two = directory(&jetpack, "two");
        let script = "cat /etc/one; rm /etc/gone; echo 2 >/etc/two; rm -r /home; echo file >/home";
        let second = build(&jetpack, &two, &[], "one", script).success();
        let (said, second) = second.stdout.split_once('\n').expect("two lines");
        assert_eq!(said, "1");
        let look = "cd /etc; cat one two link; ls gone; cat ../home";
        let expected = "1\n2\n1\nfile\n";
        let elsewhere = or_skip!(pods(other));
        for store in [&jetpack, &elsewhere] {
            if store.store() != jetpack.store() {
                assert_eq!(store.import_file(&archive(&jetpack, first.stdout.trim())), first.stdout.trim());
                assert_eq!(store.import_file(&archive(&jetpack, second.trim())), second.trim());
            }
            let output = store.run(["run", "--destroy", "two", "--", "sh", "-c", look]).success();
            assert_eq!((output.stdout.as_str(), output.stderr.contains("gone")), (expected, true), "{kind}");
        }
    }
}

#[test]
fn what_the_runtime_makes_is_never_part_of_an_image() {
    for kind in storages() {
        // Without any of the directories that are mounted upon, and without /etc.
        let without = ["proc", "sys", "dev", "etc"];
        let jetpack = or_skip!(Image::new(None, &without).and_then(|image| image.into_store(kind)));
        let directory = directory(&jetpack, "new");
        let output = build(&jetpack, &directory, &[], NAME, "ls -d /proc /sys /dev /etc; exit 0").success();
        let (listed, id) = output.stdout.trim().rsplit_once('\n').expect("lines");
        assert!(listed.starts_with("/dev\n"), "{listed}");
        assert_eq!(names(&jetpack, id), ["rootfs"], "{kind}");
        // A command cannot bring them in either, and what the parent has of them stays.
        let image = Image::new(None, &without).map(|image| {
            image.directory("proc", 0o555).file("proc/inside", 0o644, b"x").directory("etc", 0o755).file(
                "etc/hosts",
                0o644,
                b"old",
            )
        });
        let jetpack = or_skip!(image.and_then(|image| image.into_store(kind)));
        let directory = self::directory(&jetpack, "new");
        let script = "echo a >/dev/shm/a; echo 1.2.3.4 me >/etc/hosts; rm -f /etc/resolv.conf; echo x >/etc/resolv.conf; echo y >/etc/kept";
        let id = build(&jetpack, &directory, &[], NAME, script).success().stdout;
        assert_eq!(names(&jetpack, id.trim()), ["rootfs", "rootfs/etc", "rootfs/etc/kept"], "{kind}");
        let look = "cat /etc/hosts /etc/kept";
        let output = jetpack.run(["run", "--destroy", "new", "--", "sh", "-c", look]).success();
        assert_eq!(output.stdout, "oldy\n", "{kind}");
    }
}

#[test]
fn the_hosts_resolver_is_never_part_of_an_image_wherever_etc_is() {
    for kind in storages() {
        let image = Image::new(None, &["etc"]).map(|image| {
            image.directory("usr/etc", 0o755).file("usr/etc/motd", 0o644, b"hello").symlink("etc", "usr/etc")
        });
        let jetpack = or_skip!(image.and_then(|image| image.into_store(kind)));
        jetpack.configure("ace.dns-servers = 192.0.2.7\n");
        let directory = directory(&jetpack, "new");
        let net = ["--net", "host"];
        let look = "cat /etc/resolv.conf";
        let output = build(&jetpack, &directory, &net, NAME, look).success();
        let (said, id) = output.stdout.trim().rsplit_once('\n').expect("two lines");
        assert!(said.contains("192.0.2.7"), "{said}");
        assert_eq!(names(&jetpack, id), ["rootfs"], "{kind}");
        // A command that moves the directory, there and back.
        let back = "rm /etc; mv /usr/etc /etc; ls /etc/resolv.conf >/dev/null";
        let id = build(&jetpack, &directory, &net, NAME, back).success().stdout;
        let expected = ["rootfs", "rootfs/etc", "rootfs/etc/motd", "rootfs/usr"];
        assert_eq!(names(&jetpack, id.trim()), expected, "{kind}");
        let there = "mv /etc /usr/elsewhere; ln -s ../usr/elsewhere /etc; ls /etc/resolv.conf >/dev/null";
        let id = build(&jetpack, &directory, &net, "new", there).success().stdout;
        let expected = ["rootfs", "rootfs/etc", "rootfs/usr", "rootfs/usr/elsewhere", "rootfs/usr/elsewhere/motd"];
        assert_eq!(names(&jetpack, id.trim()), expected, "{kind}");
    }
}

#[test]
fn a_device_in_the_place_of_the_manifest_is_not_opened() {
    for kind in storages() {
        let jetpack = or_skip!(pods(kind));
        let directory = directory(&jetpack, "new");
        let before = jetpack.contents();
        // Opening one that no driver has fails in a way of its own.
        let script = "rm manifest.json && mknod manifest.json c 511 255 && chmod 666 manifest.json";
        let said = build(&jetpack, &directory, &[], "busybox-base", script).failure(125);
        let expected = "cannot read the manifest.json that the command left: it is no regular file of 1048576 bytes";
        assert!(said.contains(expected), "{kind}: {said}");
        assert_eq!(jetpack.contents(), before, "{kind}");
    }
}

#[test]
fn the_same_changes_give_the_same_image_wherever_they_are_made() {
    // Only what is older than SOURCE_DATE_EPOCH has its time set.
    let script = "echo x >/etc/x; touch -d @3 /etc/x; rm /bin/wget; mkdir -p /a/b; ln -s x /etc/link";
    let mut ids = Vec::new();
    for kind in storages().into_iter().chain(storages()) {
        let jetpack = or_skip!(pods(kind));
        let directory = directory(&jetpack, "new");
        ids.push(build(&jetpack, &directory, &[], "busybox-base", script).success().stdout);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

#[test]
fn a_parent_that_was_hardly_changed_is_hardly_in_the_image() {
    for kind in storages() {
        let jetpack = or_skip!(pods(kind));
        let directory = directory(&jetpack, "new");
        // Opened for writing, and so copied by overlayfs; given another mode and its own again.
        let script =
            ": >>/etc/passwd; chmod 700 /etc/passwd; chmod 644 /etc/passwd; mv /etc/group /etc/g; mv /etc/g /etc/group";
        let id = build(&jetpack, &directory, &[], "busybox-base", script).success().stdout;
        let names = names(&jetpack, id.trim());
        assert!(names.iter().all(|name| ["rootfs", "rootfs/etc"].contains(&name.as_str())), "{kind}: {names:?}");
    }
}

/// The pod's root as the host sees it, once the command has said `ready`: the agent is the builder's only child.
pub(super) fn root_of(child: &mut Child) -> (BufReader<std::process::ChildStdout>, PathBuf) {
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    let stat = |entry: &Path| std::fs::read_to_string(entry.join("stat")).unwrap_or_default();
    let is_child = |entry: &PathBuf| {
        let parent = stat(entry).rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        parent == Some(child.id())
    };
    let processes = std::fs::read_dir("/proc").expect("proc").flatten().map(|entry| entry.path());
    (stdout, processes.into_iter().find(is_child).expect("the agent").join("root"))
}

/// Lets the command end that was waiting for the end of its input, and gives what it said last.
pub(super) fn let_end(mut child: Child, mut stdout: impl Read) -> String {
    drop(child.stdin.take());
    let status = ended(&mut child);
    let mut said = String::new();
    stdout.read_to_string(&mut said).expect("text");
    assert!(status.success(), "{said}");
    said
}

/// Starts a command that says `ready` and waits for the end of its input.
pub(super) fn waiting(jetpack: &Jetpack, arguments: &[&str]) -> Child {
    let mut command = jetpack.command(arguments);
    command.args(["sh", "-c", "echo ready; cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().expect("the command starts")
}

#[test]
fn a_full_disk_fails_the_build_and_leaves_nothing() {
    let script = r#"
        mount -t tmpfs -o size=12m,mode=0700 tmpfs "$STORE" || exit 77
        jetpack() { "$PROGRAM" --config "$CONF" -o root.path="$STORE" -o storage="$KIND" --insecure-options image "$@"; }
        left() { (cd "$STORE" && find images layers pods tmp state/* -mindepth 1 -maxdepth 1 | sort); }
        jetpack -q init && jetpack import "$BASE" >/dev/null || exit 1
        before=$(left)
        cd "$WORK" && jetpack build busybox-base sh -c 'dd if=/dev/urandom of=/large bs=64k 2>/dev/null || exit 9'; echo command $?
        [ "$before" = "$(left)" ] && echo the same
        # The pod has room for it, the image beside it has not.
        jetpack build busybox-base sh -c 'dd if=/dev/urandom of=/large bs=64k count="$1" 2>/dev/null' sh "$BLOCKS"; echo image $?
        [ "$before" = "$(left)" ] && echo the same
        dd if=/dev/urandom of=large bs=1M count=12 2>/dev/null; jetpack build busybox-base true; echo copy $?
        [ "$before" = "$(left)" ] && echo the same
        rm large; jetpack build busybox-base sh -c 'echo x >/etc/x' >/dev/null; echo then $?"#;
    for (kind, blocks) in [("overlay", "100"), ("dir", "70")] {
        let jetpack = or_skip!(Jetpack::real(kind));
        let work = directory(&jetpack, "new");
        let small = jetpack.path("small");
        std::fs::create_dir(&small).expect("a directory");
        let mut command = std::process::Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", script]).stdin(Stdio::null());
        let program = crate::support::command::program();
        command.env("PROGRAM", program).env("CONF", jetpack.path("jetpack.conf")).env("STORE", small).env("WORK", work);
        let base = jetpack.file("base.aci", or_skip!(base()));
        command.env("BASE", base).env("KIND", kind).env("BLOCKS", blocks);
        let output = Output::of_command(&mut command, b"");
        if output.code == 77 {
            skip!("needs mounts: {}", output.stderr);
        }
        let expected = "command 9\nthe same\nimage 125\nthe same\ncopy 125\nthe same\nthen 0\n";
        assert_eq!(output.stdout, expected, "{kind}: {}", output.stderr);
        assert_eq!(output.stderr.matches("No space left on device").count(), 2, "{kind}: {}", output.stderr);
    }
}
