//! `jetpack init --from` between stores of different kinds: pods of the new one are like those of the old one.

use super::images::{Image, shell};
use crate::support::command::{Jetpack, or_skip, storages};

/// A store kept as `storage` says, with an image on busybox-base that keeps not all of it, and a pod.
fn old(storage: &str) -> Result<Jetpack, String> {
    let jetpack = super::pods(storage)?;
    let whitelist = ["/bin/busybox", "/bin/sh", "/bin/cat", "/bin/ls", "/bin/stat", "/etc/top", "/set"];
    let libraries = std::fs::read_dir("/lib64").is_ok().then_some("/lib64");
    let manifest = serde_json::json!({
        "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "top",
        "app": serde_json::from_str::<serde_json::Value>(&shell("0", "")).expect("JSON"),
        "dependencies": [{ "imageName": "busybox-base" }],
        "pathWhitelist": whitelist.into_iter().chain(libraries).collect::<Vec<_>>(),
    });
    let top = Image::of(&manifest.to_string()).directory("etc", 0o751).owned("etc/top", 0o640, (5, 6), b"top");
    jetpack.import(&top.owned("set", 0o4711, (7, 8), b"").finish());
    jetpack.run(["prepare", "top", "--", "true"]).success();
    Ok(jetpack)
}

/// What a new pod sees of the image, and what is known of it but for the layers, which are the kind's own.
#[track_caller]
fn seen(jetpack: &Jetpack) -> (String, serde_json::Value) {
    let script = "cat /etc/top; stat -c '%n %a %u:%g %Y' /etc/top /set; stat -c '%a' /etc; ls /bin";
    let output = jetpack.run(["run", "--destroy", "top", "--", script]).success();
    let shown = jetpack.run(["--format", "json", "show-image", "top"]).success().stdout;
    let mut shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    shown["layers"].take();
    (output.stdout, shown)
}

#[test]
fn images_are_brought_into_every_kind_of_store_from_every_other() {
    for from in storages() {
        let old = or_skip!(old(from));
        let expected = seen(&old);
        assert!(expected.0.starts_with("top/etc/top 640 5:6 ") && !expected.0.contains("wget"), "{}", expected.0);
        for to in storages().into_iter().filter(|to| *to != from) {
            let new = or_skip!(Jetpack::real(to));
            let said = new.run(["init".as_ref(), "--from".as_ref(), old.store().as_os_str()]).success();
            assert_eq!(said.stderr, "");
            assert!(said.stdout.contains("\ncopied 2 images from "), "{}", said.stdout);
            assert!(said.stdout.ends_with("; 0 here already, 1 pod left there\n"), "{}", said.stdout);
            assert_eq!(seen(&new), expected, "{from} to {to}");
            new.run(["destroy-image", "top", "busybox-base"]).success();
            assert_eq!(new.contents(), [""; 0], "{from} to {to}");
        }
        assert_eq!(seen(&old), expected);
    }
}
