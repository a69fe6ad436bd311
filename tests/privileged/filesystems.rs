//! What a pod finds mounted, what of it it cannot change, and that its image looks as it was made.

use std::path::Path;

use super::images::{Image, NAME, inside, shell, store_of};
use crate::support::command::{Jetpack, or_skip, storages};

/// Mounts that every pod has, after its root.
const MOUNTS: &str = "\
/proc proc nosuid nodev noexec
/sys sysfs ro nosuid nodev noexec
/dev tmpfs nosuid nodev noexec
/dev/null tmpfs nosuid noexec
/dev/zero tmpfs nosuid noexec
/dev/full tmpfs nosuid noexec
/dev/random tmpfs nosuid noexec
/dev/urandom tmpfs nosuid noexec
/dev/tty tmpfs nosuid noexec
/dev/console tmpfs nosuid noexec
/dev/pts devpts nosuid noexec
/dev/shm tmpfs nosuid nodev
/dev/mqueue mqueue nosuid nodev noexec
";

/// Mounts that cover files of /proc and /sys, where the kernel has those.
const COVERS: &str = "\
/proc/bus proc ro nosuid nodev noexec
/proc/fs proc ro nosuid nodev noexec
/proc/irq proc ro nosuid nodev noexec
/proc/sys proc ro nosuid nodev noexec
/proc/sysrq-trigger proc ro nosuid nodev noexec
/proc/acpi tmpfs ro nosuid nodev noexec
/proc/asound tmpfs ro nosuid nodev noexec
/proc/interrupts tmpfs nosuid noexec
/proc/kcore tmpfs nosuid noexec
/proc/keys tmpfs nosuid noexec
/proc/latency_stats tmpfs nosuid noexec
/proc/sched_debug tmpfs nosuid noexec
/proc/scsi tmpfs ro nosuid nodev noexec
/proc/timer_list tmpfs nosuid noexec
/sys/devices/virtual/powercap tmpfs ro nosuid nodev noexec
/sys/firmware tmpfs ro nosuid nodev noexec
";

#[test]
fn the_mounts_are_appcs_and_protected() {
    for storage in storages() {
        let image = or_skip!(Image::new(Some(&shell("0", "")), &[]));
        let jetpack = or_skip!(image.into_store(storage));
        let said = inside(&jetpack, include_str!("../inside/mounts.sh"));
        let (root, rest) = said.split_once('\n').expect("lines");
        let words: Vec<&str> = root.split(' ').collect();
        assert!(words[0] == "/" && words[2..] == ["nodev"], "{root}");
        assert_eq!(words[1] == "overlay", storage == "overlay", "{root}");
        let there = |line: &&str| Path::new(line.split(' ').next().expect("a path")).exists();
        let covers: String = COVERS.lines().filter(there).map(|line| format!("{line}\n")).collect();
        assert_eq!(rest, format!("{MOUNTS}{covers}"), "{storage}");
    }
}

#[test]
fn what_tells_about_the_host_is_covered_and_what_changes_it_is_read_only() {
    let jetpack = or_skip!(store_of(&shell("0", "")));
    assert_eq!(inside(&jetpack, include_str!("../inside/writes.sh")), "");
}

#[test]
fn a_root_can_be_read_only_while_dev_and_shm_are_not() {
    for storage in storages() {
        let jetpack = or_skip!(super::pods(storage));
        let script = "for f in /x /etc/resolv.conf /tmp/x; do (: >>$f) 2>/dev/null && echo $f; done
            echo x >/dev/shm/x && echo x >/dev/null && mount -o remount,rw / 2>/dev/null || echo stays; cat /dev/shm/x";
        let run = ["run", "--destroy", "busybox-base", "--readonly-rootfs", "--", "sh", "-c", script];
        let output = jetpack.run(run).success();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("stays\nx\n", ""), "{storage}");
    }
}

/// An image with everything about a file that can be kept.
fn with_everything() -> Result<Image, String> {
    let acl = "user::rw-,user:77:r--,group::r--,mask::rw-,other::---";
    let records: [(&str, &[u8]); 3] = [
        ("mtime", b"1234567890.123456789"),
        ("SCHILY.xattr.user.note", b"kept\n"),
        ("SCHILY.acl.access", acl.as_bytes()),
    ];
    let image = Image::new(Some(&shell("0", "")), &[])?
        .with_pax(&records, |image| image.owned("data/rich", 0o640, (1234, 5678), b"rich"))
        .hard_link("data/twin", "data/rich")
        .symlink("data/link", "../nowhere")
        .fifo("data/fifo")
        .directory("data/sticky", 0o3777)
        .owned("data/setuid", 0o6755, (12, 34), b"");
    Ok(image.device("data/device", 1, 3))
}

#[test]
fn files_are_in_the_pod_as_the_image_has_them() {
    for storage in storages() {
        let image = or_skip!(or_skip!(with_everything()).program("/usr/bin/getfacl", "bin/getfacl", 0o755));
        let image = or_skip!(image.program("/usr/bin/getfattr", "bin/getfattr", 0o755));
        let jetpack = or_skip!(or_skip!(image.program("/usr/bin/stat", "bin/gstat", 0o755)).into_store(storage));
        let script = "cd /data && gstat -c '%n %F %a %u %g %h %t:%T' * && gstat -c %.9Y rich && readlink link && cat rich twin && echo
            [ rich -ef twin ] && echo twins; getfattr --only-values -n user.note rich; getfacl -cn rich";
        let expected = "\
device character special file 666 0 0 1 1:3
fifo fifo 644 0 0 1 0:0
link symbolic link 777 0 0 1 0:0
rich regular file 660 1234 5678 2 0:0
setuid regular empty file 6755 12 34 1 0:0
sticky directory 3777 0 0 2 0:0
twin regular file 660 1234 5678 2 0:0
1234567890.123456789
../nowhere
richrich
twins
kept
user::rw-
user:77:r--
group::r--
mask::rw-
other::---

";
        // A ZFS outside the kernel keeps whole seconds, and keeps lists without heeding them.
        let coarse = storage == "zfs" && !Path::new("/dev/zfs").exists();
        let expected = if coarse {
            expected.replace(".123456789", ".000000000").replace("660", "640")
        } else {
            expected.to_owned()
        };
        assert_eq!(inside(&jetpack, script), expected, "{storage}");
    }
}

/// What an app wrote stays for its next run, and is nobody else's.
#[test]
fn a_pod_keeps_what_it_wrote_and_shares_nothing() {
    for storage in storages() {
        let jetpack = or_skip!(super::pods(storage));
        let script = "cat /kept 2>/dev/null; echo again >>/kept; rm -f /bin/date; ls /bin/date 2>/dev/null; umask";
        let prepare = |jetpack: &Jetpack| {
            let words = ["prepare", "busybox-base", "--", "sh", "-c", script];
            jetpack.run(words).success().stdout.trim().to_owned()
        };
        let (one, other) = (prepare(&jetpack), prepare(&jetpack));
        assert_eq!(jetpack.run(["run", &one]).success().stdout, "0022\n", "{storage}");
        assert_eq!(jetpack.run(["run", &one]).success().stdout, "again\n0022\n", "{storage}");
        assert_eq!(jetpack.run(["run", &other]).success().stdout, "0022\n", "{storage}");
        let fresh = ["run", "--destroy", "busybox-base", "--", "ls", "/bin/date"];
        assert_eq!(jetpack.run(fresh).success().stdout, "/bin/date\n", "{storage}");
    }
}

#[test]
fn what_the_runtime_makes_is_not_for_everybody_to_write() {
    for storage in storages() {
        let image = or_skip!(Image::new(Some(&shell("0", "")), &["etc", "proc", "sys", "dev"]));
        let jetpack = or_skip!(image.into_store(storage));
        let mut command = jetpack.command([
            "-o",
            "ace.dns-servers=192.0.2.1",
            "run",
            NAME,
            "--",
            "stat -c '%n %a %u %g' /etc /etc/*",
        ]);
        let output = crate::support::command::Output::of(command.output().expect("the command starts")).success();
        assert_eq!(output.stdout, "/etc 755 0 0\n/etc/resolv.conf 644 0 0\n", "{storage}");
        let top = match storage {
            "overlay" => format!("apps/{NAME}/upper"),
            "dir" => format!("apps/{NAME}/root"),
            _ => format!("app.{NAME}/tree"),
        };
        for pod in std::fs::read_dir(jetpack.store().join("pods")).expect("pods").flatten() {
            for name in ["etc", "proc", "sys", "dev"] {
                use std::os::unix::fs::PermissionsExt;
                let path = pod.path().join(&top).join(name);
                let mode = std::fs::metadata(&path).expect("a directory").permissions().mode();
                assert_eq!(mode & 0o7777, 0o755, "{}", path.display());
            }
        }
    }
}
