//! Images that are made to lead the runtime astray when they run.

use std::fs;

use super::images::{Image, NAME, inside, shell};
use crate::support::command::{Jetpack, or_skip, storages};
use crate::support::host::Snapshot;
use crate::support::hostile::{archives, check_all};

#[test]
fn hostile_archives_are_refused_or_contained() {
    for storage in storages() {
        check_all(&or_skip!(Jetpack::real(storage)), storage, archives);
    }
}

#[test]
fn links_in_the_place_of_mount_points_are_replaced() {
    for storage in storages() {
        let trap = std::env::temp_dir().join(format!("jetpack-trap-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&trap).expect("a directory");
        let to = trap.to_string_lossy().into_owned();
        let image = or_skip!(Image::new(Some(&shell("0", "")), &["dev", "proc", "sys"]));
        let image = image.symlink("dev", &to).symlink("proc", "/etc").file("sys", 0o644, b"not a directory");
        let jetpack = or_skip!(image.into_store(storage));
        let before = Snapshot::take(&jetpack.store());
        let said = inside(
            &jetpack,
            "for d in /dev /proc /sys; do stat -c '%n %F' $d; done; ls /dev/pts /proc/self/comm; ls /etc | grep -c comm; :",
        );
        assert_eq!(said.lines().take(3).collect::<Vec<_>>(), ["/dev directory", "/proc directory", "/sys directory"]);
        assert!(said.contains("ptmx") && said.contains("/proc/self/comm") && said.ends_with("\n0\n"), "{said}");
        assert_eq!(Snapshot::take(&jetpack.store()), before);
        assert_eq!(fs::read_dir(&trap).expect("a directory").count(), 0);
        fs::remove_dir(&trap).expect("an empty directory");
    }
}

#[test]
fn a_link_in_the_place_of_etc_leads_nowhere_on_the_host() {
    for target in ["/tmp/x", "../../../../../../tmp", "/proc/self/cwd/tmp", "/proc/1/root/tmp", "/dev", "/proc/self/fd"]
    {
        let image = or_skip!(Image::new(Some(&shell("0", "")), &["etc"])).symlink("etc", target);
        let jetpack = or_skip!(image.into_store("overlay"));
        let host = ["/tmp/x/resolv.conf", "/tmp/resolv.conf", "/dev/resolv.conf"]
            .map(|path| fs::symlink_metadata(path).is_ok());
        let output =
            jetpack.run(["-o", "ace.dns-servers=192.0.2.9", "run", "--destroy", NAME, "--", "cat /etc/resolv.conf"]);
        assert!(output.code != 0 || output.stdout == "nameserver 192.0.2.9\n", "{target}: {output:?}");
        let after = ["/tmp/x/resolv.conf", "/tmp/resolv.conf", "/dev/resolv.conf"]
            .map(|path| fs::symlink_metadata(path).is_ok());
        assert_eq!(host, after, "{target}");
    }
}

#[test]
fn odd_account_files_are_errors_and_not_endless() {
    let image = || Image::new(Some(&shell("0", "")), &["etc/passwd"]);
    let huge = vec![b'#'; 9 << 20];
    for (image, said) in [
        (or_skip!(image()).fifo("etc/passwd"), "not a regular file"),
        (or_skip!(image()).directory("etc/passwd", 0o755), "not a regular file"),
        (or_skip!(image()).symlink("etc/passwd", "/dev/zero"), "not a regular file"),
        (or_skip!(image()).symlink("etc/passwd", "passwd"), "cannot read /etc/passwd"),
        (or_skip!(image()).file("etc/passwd", 0o644, &huge), "larger than"),
    ] {
        let jetpack = or_skip!(image.into_store("overlay"));
        let error = jetpack.run(["run", "--destroy", NAME, "--", "true"]).failure(125);
        assert!(error.contains(said), "{error}");
    }
    // None at all is no error: numbers need no names.
    let jetpack = or_skip!(or_skip!(image()).into_store("overlay"));
    assert_eq!(inside(&jetpack, "id -u"), "0\n");
}

#[test]
fn a_console_takes_the_shell_that_there_is() {
    let passwd = b"root:x:0:0::/gone:/bin/gone\n";
    let image = or_skip!(Image::new(None, &["etc/passwd"])).file("etc/passwd", 0o644, passwd);
    let jetpack = or_skip!(image.into_store("overlay"));
    let output = jetpack.run_with_input(["run", "--destroy", NAME], b"echo $0; pwd; exit 5\n");
    assert_eq!((output.code, output.stdout.as_str()), (5, "-sh\n/\n"), "{output:?}");
    let image = or_skip!(Image::new(None, &["bin/sh"]));
    let jetpack = or_skip!(image.into_store("overlay"));
    let error = jetpack.run_with_input(["run", "--destroy", NAME], b"").failure(127);
    assert!(error.contains("sh"), "{error}");
}

#[test]
fn an_image_without_anything_is_an_error() {
    let jetpack = or_skip!(Jetpack::real("overlay"));
    let manifest = crate::support::archive::manifest(NAME, None);
    jetpack.import(&crate::support::archive::Archive::with_manifest(&manifest).finish());
    let error = jetpack.run(["run", "--destroy", NAME, "--", "true"]).failure(127);
    assert!(error.contains("there is no true"), "{error}");
    assert_eq!(jetpack.contents().len(), 2);
}
