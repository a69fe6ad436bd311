//! Images with dependencies and with a pathWhitelist.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::archive::Archive;
use crate::support::command::{Jetpack, Output};

/// An image with these further fields of the manifest, which begin with a comma.
fn image(name: &str, more: &str) -> Archive {
    let manifest = format!(r#"{{ "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "{name}"{more} }}"#);
    Archive::with_manifest(&manifest)
}

/// The same with dependencies.
fn depending(name: &str, on: &str) -> Archive {
    image(name, &format!(r#", "dependencies": [{on}]"#))
}

fn import(jetpack: &Jetpack, archive: Archive) -> Output {
    let path = jetpack.file("top.aci", &archive.finish());
    jetpack.run(["--insecure-options", "image", "import", path.to_str().expect("a plain path")])
}

/// What an import that went well warned of, but for the missing signature.
fn warnings(output: &Output) -> &str {
    output.stderr.split_once(" is not signed: nobody knows who made it\n").expect("the warning").1
}

/// What `show-image` tells programs.
fn record(jetpack: &Jetpack, reference: &str) -> serde_json::Value {
    let shown = jetpack.run(["--format", "json", "show-image", reference]).success().stdout;
    serde_json::from_str(&shown).expect("JSON")
}

/// The files that pods of the image get, as the store keeps them: this backend has one layer for each image.
fn files(jetpack: &Jetpack, reference: &str) -> BTreeSet<String> {
    let record = record(jetpack, reference);
    let [layer] = record["layers"].as_array().expect("layers").as_slice() else { panic!("{record}") };
    let layer = jetpack.store().join("layers").join(layer.as_str().expect("a name"));
    let mut found = BTreeSet::new();
    let mut folders = vec![layer.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a directory") {
            let path = entry.expect("an entry").path();
            found.insert(path.strip_prefix(&layer).expect("below").display().to_string());
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            }
        }
    }
    found
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(str::to_owned).into()
}

#[test]
fn a_pod_has_the_files_of_what_its_image_depends_on() {
    let jetpack = Jetpack::fake();
    let base =
        image("base", "").directory("rootfs/bin", 0o755).file("rootfs/bin/app", 0o755, b"#!/bin/sh\necho base\n");
    let base = jetpack.import(&base.file("rootfs/etc/motd", 0o644, b"base").finish());
    let app = r#""app": { "exec": ["/bin/app"], "user": "0", "group": "0" }, "dependencies": [{"imageName": "base"}]"#;
    let middle = image("middle", &format!(", {app}")).file("rootfs/etc/motd", 0o644, b"middle");
    let middle = jetpack.import(&middle.finish());
    let top = depending("top", r#"{"imageName": "middle"}"#).file("rootfs/etc/top", 0o644, b"top");
    let top = jetpack.import(&top.finish());
    assert_eq!(jetpack.run(["run", "--destroy", "middle"]).success().stdout, "base\n");
    assert_eq!(files(&jetpack, "top"), set(["bin", "bin/app", "etc", "etc/motd", "etc/top"]));
    assert_eq!(record(&jetpack, "top")["dependencies"], serde_json::json!([middle]));
    let shown = jetpack.run(["show-image", "middle"]).success().stdout;
    assert!(shown.contains(&format!("\ndepends on  base ({})\n", &base[..19])), "{shown}");
    let expected: BTreeSet<String> = [format!("images/{base}"), format!("layers/{base}")]
        .into_iter()
        .chain([&middle, &top].map(|id| format!("images/{id}")))
        .chain([&middle, &top].map(|id| format!("layers/rendered-{}", &id["sha512-".len()..])))
        .collect();
    assert_eq!(jetpack.contents().into_iter().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn an_image_on_which_others_depend_stays() {
    let jetpack = Jetpack::fake();
    let base = jetpack.import(&image("base", "").finish());
    let one = jetpack.import(&depending("one", r#"{"imageName": "base"}"#).finish());
    let two = jetpack.import(&depending("two", r#"{"imageName": "one"}, {"imageName": "base"}"#).finish());
    let before = jetpack.contents();
    let said = jetpack.run(["destroy-image", "base"]).failure(125);
    let expected = format!(
        "jetpack: image {} has images that depend on it: one ({}), two ({})\nhelp: destroy those images first \
         (`jetpack destroy-image IMAGE`)\n",
        &base[..19],
        &one[..19],
        &two[..19]
    );
    assert_eq!(said, expected);
    assert_eq!(jetpack.contents(), before);
    jetpack.run(["destroy-image", "two", "one", "base"]).success();
    assert_eq!(jetpack.contents(), [""; 0]);
}

#[test]
fn what_is_missing_or_something_else_is_told_and_nothing_stays() {
    let jetpack = Jetpack::fake();
    let labels = r#", "labels": [{"name": "version", "value": "1"}]"#;
    let base = jetpack.import(&image("base", labels).finish());
    let (short, none) = (&base[..19], format!("sha512-{}", "0".repeat(128)));
    let before = jetpack.contents();
    let by_id = |name: &str, id: &str| format!(r#"{{"imageName": "{name}", "imageID": "{id}"}}"#);
    let table = [
        (
            r#"{"imageName": "other"}"#.to_owned(),
            "depends on other, which is not in the store\nhelp: bring that image in first, with `jetpack import`\n"
                .to_owned(),
        ),
        (
            r#"{"imageName": "base", "labels": [{"name": "version", "value": "2"}]}"#.to_owned(),
            format!(
                "depends on base,version=2, which is not in the store\nhelp: bring that image in first, with `jetpack \
                 import`; here is only base,version=1 ({short})\n"
            ),
        ),
        (by_id("base", &none), format!("depends on base ({}), which is not in the store\nhelp: ", &none[..19])),
        (by_id("other", &base), format!("depends on other ({short}), but the image of that id is called base\n")),
    ];
    for (dependency, expected) in table {
        let said = import(&jetpack, depending("top", &dependency)).failure(125);
        let expected = format!("top.aci: the image {expected}");
        assert!(said.contains(&expected), "{said}\n{expected}");
        assert_eq!(jetpack.contents(), before);
    }
    import(&jetpack, depending("top", &by_id("base", &base))).success();
}

#[test]
fn the_last_import_of_a_name_is_meant_and_stays_meant() {
    let jetpack = Jetpack::fake();
    let version = |v: &str| format!(r#", "labels": [{{"name": "version", "value": "{v}"}}]"#);
    let one = jetpack.import(&image("base", &version("1")).file("rootfs/one", 0o644, b"").finish());
    let record_of_one = jetpack.store().join("images").join(&one).join("image.json");
    let text = std::fs::read_to_string(&record_of_one).expect("a record");
    let mut old: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    old["imported"] = 1000.into();
    // As an earlier version wrote it.
    old.as_object_mut().expect("an object").remove("dependencies");
    std::fs::write(&record_of_one, old.to_string()).expect("a record");
    jetpack.import(&image("base", &version("2")).file("rootfs/two", 0o644, b"").finish());
    let top = depending("top", r#"{"imageName": "base"}"#).finish();
    jetpack.import(&top);
    assert_eq!(files(&jetpack, "top"), set(["two"]));
    jetpack.import(&image("base", &version("3")).file("rootfs/three", 0o644, b"").finish());
    jetpack.import(&top);
    assert_eq!(files(&jetpack, "top"), set(["two"]));
    jetpack.run(["destroy-image", "base:1"]).success();
}

#[test]
fn only_what_the_whitelist_has_stays() {
    let jetpack = Jetpack::fake();
    let base = image("base", "").file("rootfs/etc/a/x", 0o644, b"").file("rootfs/etc/a/y", 0o644, b"");
    jetpack.import(&base.file("rootfs/etc/b", 0o644, b"").symlink("rootfs/link", "etc").finish());
    let list = |paths: &str| format!(r#", "dependencies": [{{"imageName": "base"}}], "pathWhitelist": [{paths}]"#);
    let table = [
        (r#""/etc/a/x", "/own/a""#, set(["etc", "etc/a", "etc/a/x", "own", "own/a"]), ""),
        (r#""/etc/a/", "//etc/a", "/etc/./b""#, set(["etc", "etc/a", "etc/b"]), ""),
        (r#""""#, set([]), ""),
        ("", set(["etc", "etc/a", "etc/a/x", "etc/a/y", "etc/b", "link", "own", "own/a", "own/b"]), ""),
        (
            r#""/link/b", "/none""#,
            set(["link"]),
            "jetpack: warning: 2 paths of the pathWhitelist are not in the image\n",
        ),
    ];
    for (paths, expected, warning) in table {
        let top = image("top", &list(paths)).file("rootfs/own/a", 0o644, b"").file("rootfs/own/b", 0o644, b"");
        let imported = import(&jetpack, top).success();
        assert_eq!((files(&jetpack, "top"), warnings(&imported)), (expected, warning), "{paths}");
        jetpack.run(["destroy-image", "top"]).success();
    }
    let own = image("own", r#", "pathWhitelist": ["/a"]"#).file("rootfs/a", 0o644, b"").file("rootfs/b", 0o644, b"");
    import(&jetpack, own).success();
    assert_eq!(files(&jetpack, "own"), set(["a"]));
}

#[test]
fn whitelists_that_mean_nothing_are_refused() {
    let jetpack = Jetpack::fake();
    let table = [
        (r#""/etc/../../etc/shadow""#, "\"/etc/../../etc/shadow\" in the pathWhitelist has .. in it\n"),
        (r#""etc""#, "pathWhitelist[0]: \"etc\" is not an absolute path\n"),
        (r#""/a\u0000b""#, "has a NUL character in it\n"),
        (r#""/a", 5"#, "pathWhitelist[1]: "),
    ];
    for (paths, expected) in table {
        let said = import(&jetpack, image("top", &format!(r#", "pathWhitelist": [{paths}]"#))).failure(125);
        assert!(said.contains(expected), "{said}");
        assert_eq!(jetpack.contents(), [""; 0]);
    }
}

#[test]
fn a_whitelist_may_have_a_hundred_thousand_paths() {
    let jetpack = Jetpack::fake();
    let paths: Vec<String> = (0..100_000).map(|n| format!(r#""/usr/share/files/number-{n}""#)).collect();
    let more = format!(r#", "pathWhitelist": [{}]"#, paths.join(","));
    let top = image("top", &more).file("rootfs/usr/share/files/number-7", 0o644, b"").file("rootfs/x", 0o644, b"");
    let imported = import(&jetpack, top).success();
    assert_eq!(warnings(&imported), "jetpack: warning: 99999 paths of the pathWhitelist are not in the image\n");
    assert_eq!(files(&jetpack, "top"), set(["usr", "usr/share", "usr/share/files", "usr/share/files/number-7"]));
}

#[test]
fn a_dependency_that_goes_meanwhile_leaves_no_image_without_it() {
    let jetpack = Jetpack::fake();
    for round in 0..5 {
        let base = jetpack.import(&image("base", "").file("rootfs/a", 0o644, b"a").finish());
        let path = jetpack.file("top.aci", &depending("top", r#"{"imageName": "base"}"#).finish());
        let importing = jetpack.spawn(["--insecure-options", "image", "import", path.to_str().expect("a plain path")]);
        std::thread::sleep(std::time::Duration::from_millis(3 * round));
        let destroyed = jetpack.run(["destroy-image", "base"]);
        let imported = Output::of(importing.wait_with_output().expect("it ends"));
        // One of them was first; never are both done.
        assert!((imported.code == 0) != (destroyed.code == 0), "{imported:?}\n{destroyed:?}");
        if imported.code == 0 {
            assert!(destroyed.stderr.contains("images that depend on it: top"), "{destroyed:?}");
            assert_eq!(files(&jetpack, "top"), set(["a"]));
            jetpack.run(["destroy-image", "top", "base"]).success();
        } else {
            assert!(imported.stderr.contains("depends on"), "{imported:?}");
            assert!(!Path::new(&jetpack.store()).join("images").join(base).exists());
        }
        assert_eq!(jetpack.contents(), [""; 0]);
    }
}

#[test]
fn what_a_broken_image_names_as_its_dependency_stays() {
    let jetpack = Jetpack::fake();
    let base = jetpack.import(&image("base", "").finish());
    let named = format!(r#"{{"imageName": "base", "imageID": "{base}"}}"#);
    let top = jetpack.import(&depending("top", &named).finish());
    std::fs::write(jetpack.store().join("images").join(&top).join("image.json"), "").expect("a broken record");
    let said = jetpack.run(["destroy-image", "base"]).failure(125);
    assert!(said.contains(&format!("has images that depend on it: {}", &top[..19])), "{said}");
    jetpack.run(["destroy-image", &top]).success();
    jetpack.run(["destroy-image", "base"]).success();
    assert_eq!(jetpack.contents(), [""; 0]);
}

#[test]
fn what_a_killed_command_rendered_goes_with_the_next_import() {
    let jetpack = Jetpack::fake();
    let base = jetpack.import(&image("base", "").finish());
    let top = jetpack.import(&depending("top", r#"{"imageName": "base"}"#).finish());
    let left = jetpack.store().join("images").join(top);
    std::fs::rename(&left, jetpack.path("left")).expect("the image goes");
    assert_eq!(jetpack.contents().len(), 3);
    import(&jetpack, image("base", "")).success();
    assert_eq!(jetpack.contents(), [format!("images/{base}"), format!("layers/{base}")]);
}
