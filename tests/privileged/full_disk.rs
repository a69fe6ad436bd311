//! A full disk: the error says so, and nothing is left. The store is a small tmpfs, in a mount namespace of the test's own.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::archive::{Archive, manifest};
use crate::support::command::{Jetpack, Output, or_skip, program, skip};

/// Mounts `$1` and runs the rest of the script in it; `jetpack` is the command under test, `left` what is in the store.
const PREAMBLE: &str = r#"
mount -t tmpfs -o size=1m,mode=0700 tmpfs "$1" || exit 77
jetpack() { "$PROGRAM" --config "$CONF" -o root.path="$STORE" -o storage="$KIND" --insecure-options image "$@"; }
left() { (cd "$STORE" && find images layers pods tmp state/* -mindepth 1 -maxdepth 1 | sort); }
jetpack -q init || exit 1
"#;

/// Runs a script in a namespace whose store has one mebibyte.
fn in_small_store(jetpack: &Jetpack, kind: &str, script: &str, archive: &Path) -> Output {
    std::fs::create_dir_all(jetpack.path("small")).expect("a directory");
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c"]).arg(format!("{PREAMBLE}{script}")).arg("sh");
    command.arg(jetpack.path("small")).stdin(Stdio::null());
    command.env("PROGRAM", program()).env("CONF", jetpack.path("jetpack.conf")).env("STORE", jetpack.path("small"));
    command.env("ARCHIVE", archive).env("KIND", kind);
    Output::of_command(&mut command, b"")
}

/// An image with a file of this many bytes.
fn image(bytes: usize) -> Vec<u8> {
    let manifest = manifest("a", None);
    Archive::with_manifest(&manifest).file("rootfs/large", 0o644, &vec![b'x'; bytes]).finish()
}

/// The same on each kind of storage.
fn on_each(bytes: usize, script: &str, check: impl Fn(&str, Output)) {
    for kind in ["overlay", "dir"] {
        let jetpack = or_skip!(Jetpack::real(kind));
        let archive = jetpack.file("a.aci", &image(bytes));
        let output = in_small_store(&jetpack, kind, script, &archive);
        if output.code == 77 {
            skip!("needs mounts: {}", output.stderr);
        }
        check(kind, output);
    }
}

#[test]
fn an_image_that_does_not_fit_leaves_nothing() {
    // Neither the copy of the archive, nor the copy but not the files.
    for bytes in [2 << 20, 700 << 10] {
        on_each(bytes, "jetpack import \"$ARCHIVE\"; echo code $?; left", |kind, output| {
            assert_eq!(output.stdout, "code 125\n", "{kind}: {}", output.stderr);
            assert!(output.stderr.contains("No space left on device"), "{kind}: {}", output.stderr);
            assert!(output.stderr.contains("\njetpack: cannot import "), "{kind}: {}", output.stderr);
        });
    }
}

#[test]
fn after_a_full_disk_the_store_works() {
    let script =
        "dd if=/dev/zero of=\"$STORE/ballast\" bs=1k count=900 2>/dev/null; jetpack import \"$ARCHIVE\" && exit 1
        left; rm \"$STORE/ballast\"; jetpack import \"$ARCHIVE\" && jetpack destroy-image a && left";
    on_each(200 << 10, script, |kind, output| {
        assert_eq!(output.code, 0, "{kind}: {}", output.stderr);
        assert_eq!(output.stdout.lines().count(), 1, "{kind}: {}", output.stdout);
        assert!(output.stdout.starts_with("sha512-"), "{kind}: {}", output.stdout);
    });
}

#[test]
fn a_pod_that_does_not_fit_leaves_nothing() {
    // An overlay needs hardly anything, so the disk is filled to the last block.
    let script = "jetpack import \"$ARCHIVE\" >/dev/null || exit 1; before=$(left)
        dd if=/dev/zero of=\"$STORE/ballast\" bs=1k 2>/dev/null
        for command in prepare run; do jetpack $command a -- /none; echo $command $?; done
        [ \"$before\" = \"$(left)\" ] && echo the same";
    on_each(300 << 10, script, |kind, output| {
        assert_eq!(output.stdout, "prepare 125\nrun 125\nthe same\n", "{kind}: {}", output.stderr);
        assert_eq!(output.stderr.matches("No space left on device").count(), 2, "{kind}: {}", output.stderr);
    });
}
