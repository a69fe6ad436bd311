//! `verify-image` on every backend.

use std::path::PathBuf;
use std::process::Command;

use super::images::Image;
use crate::support::command::{Jetpack, or_skip, storages};

/// What is found, without the ids.
fn verify(jetpack: &Jetpack, image: &str) -> Vec<String> {
    let output = jetpack.run(["verify-image", image]);
    output.stdout.lines().map(|line| line.split_once(" (").expect("a line").1.to_owned()).collect()
}

/// The only layer that the image has of itself, and that can be written to from now on.
fn layer(jetpack: &Jetpack, image: &str) -> PathBuf {
    let shown = jetpack.run(["--format", "json", "show-image", image]).success().stdout;
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    let id = shown["id"].as_str().expect("an id").trim_start_matches("sha512-").to_owned();
    let mut layers = shown["layers"].as_array().expect("layers").iter().filter_map(serde_json::Value::as_str);
    let name = layers.find(|layer| layer.ends_with(&id) && !layer.starts_with("mask-")).expect("a layer");
    let layer = jetpack.store().join("layers").join(name);
    let Some(dataset) = jetpack.dataset() else { return layer };
    let set = Command::new("zfs").args(["set", "readonly=off", &format!("{dataset}/images/{name}")]).status();
    assert!(set.expect("zfs(8)").success());
    layer.join("tree")
}

#[test]
fn an_image_is_whole_until_somebody_changes_it() {
    for storage in storages() {
        let jetpack = or_skip!(super::pods(storage));
        let manifest = |name: &str, more: &str| {
            format!(
                r#"{{ "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "{name}", "dependencies": [{more} }}"#
            )
        };
        let middle = Image::of(&manifest("middle", r#"{"imageName": "busybox-base"}]"#));
        let middle = middle.entry("rootfs/d", tar::EntryType::Directory, 0o1730, (5, 6), b"", "");
        let middle = middle.entry("rootfs/d/f", tar::EntryType::Regular, 0o4755, (7, 8), b"content", "");
        let middle = middle.entry("rootfs/d/pipe", tar::EntryType::Fifo, 0o600, (7, 8), b"", "");
        jetpack.import(&middle.finish());
        let listed = r#"{"imageName": "middle"}], "pathWhitelist": ["/bin/busybox", "/d/f", "/top"]"#;
        jetpack.import(&Image::of(&manifest("top", listed)).file("top", 0o644, b"").finish());
        let whole = ["busybox-base): whole", "middle): whole", "top): whole"];
        assert_eq!(verify(&jetpack, "top"), whole, "{storage}");
        // What pods do changes nothing.
        let script = "echo more >>/d/f; rm /bin/busybox";
        jetpack.run(["run", "--destroy", "middle", "--exec", "/bin/sh", "--", "-c", script]).success();
        assert_eq!(verify(&jetpack, "top"), whole, "{storage}");
        let layer = layer(&jetpack, "middle");
        // What overlayfs would hide the file's directory of the parent by.
        let opaque = ["-n", "trusted.overlay.opaque", "-v", "y"];
        let set = || Command::new("setfattr").args(opaque).arg(layer.join("d")).status();
        if storage == "overlay" && set().is_ok_and(|status| status.success()) {
            let said = ["busybox-base): whole", "middle): changed /d (attributes)"];
            assert_eq!(verify(&jetpack, "middle"), said, "{storage}");
            let removed = Command::new("setfattr").args(["-x", opaque[1]]).arg(layer.join("d")).status();
            assert!(removed.is_ok_and(|status| status.success()));
        }
        let file = layer.join("d/f");
        std::os::unix::fs::chown(&file, Some(9), None).expect("an owner");
        let said = verify(&jetpack, "middle");
        // Another owner takes the set-id bits away.
        assert_eq!(said, ["busybox-base): whole", "middle): changed /d/f (mode, owner)"], "{storage}");
    }
}
