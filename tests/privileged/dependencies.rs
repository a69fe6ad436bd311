//! What pods see of images with dependencies and with a pathWhitelist: the same on every backend.

use std::collections::BTreeSet;

use super::images::{Image, base, shell};
use crate::support::command::{Jetpack, or_skip, storages};

/// The manifest of an image `name` with a shell as its app, which depends on images in this order.
fn manifest(name: &str, on: &[&str], whitelist: &[String]) -> String {
    let dependencies: Vec<_> = on.iter().map(|name| serde_json::json!({ "imageName": name })).collect();
    let app: serde_json::Value = serde_json::from_str(&shell("0", "")).expect("JSON");
    serde_json::json!({
        "acKind": "ImageManifest", "acVersion": "0.8.11", "name": name, "app": app,
        "dependencies": dependencies, "pathWhitelist": whitelist,
    })
    .to_string()
}

fn image(name: &str, on: &[&str]) -> Image {
    Image::of(&manifest(name, on, &[]))
}

/// Every path of busybox-base, as a whitelist has it.
fn busybox() -> Result<BTreeSet<String>, String> {
    let mut archive = tar::Archive::new(base()?);
    let paths = archive
        .entries()
        .map_err(|e| e.to_string())?
        .map(|entry| entry.expect("an entry").path().map(|p| p.into_owned()));
    let paths =
        paths.map(|path| path.expect("a path").strip_prefix("rootfs").map(|path| format!("/{}", path.display())));
    Ok(paths.filter_map(Result::ok).collect())
}

/// What a script says in a new pod of the image.
#[track_caller]
fn inside(jetpack: &Jetpack, image: &str, script: &str) -> String {
    let output = jetpack.run(["run", "--destroy", image, "--", script]).success();
    assert_eq!(output.stderr, "");
    output.stdout
}

/// The kinds of the layers of an image: `sha512`, `mask`, `rendered`.
fn layers(jetpack: &Jetpack, image: &str) -> Vec<String> {
    let shown = jetpack.run(["--format", "json", "show-image", image]).success().stdout;
    let shown: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
    let kind = |name: &serde_json::Value| name.as_str().and_then(|n| n.split('-').next()).expect("a kind").to_owned();
    shown["layers"].as_array().expect("layers").iter().map(kind).collect()
}

/// A store with busybox-base and an image `lower` of files that others are laid on.
fn lower(storage: &str) -> Result<Jetpack, String> {
    let jetpack = super::pods(storage)?;
    let lower = image("lower", &[])
        .entry("rootfs/d", tar::EntryType::Directory, 0o1730, (5, 6), b"", "")
        .file("d/kept", 0o644, b"kept")
        .file("d/gone", 0o644, b"gone")
        .directory("tree", 0o755)
        .directory("tree/deep", 0o755)
        .file("tree/deep/x", 0o644, b"x")
        .file("file", 0o644, b"file")
        .symlink("link", "d")
        .file("v", 0o644, b"lower");
    jetpack.import(&lower.finish());
    Ok(jetpack)
}

#[test]
fn files_are_those_of_all_images_and_the_last_one_has_its_way() {
    for storage in storages() {
        let jetpack = or_skip!(lower(storage));
        let upper = image("upper", &["busybox-base", "lower"])
            .file("tree", 0o600, b"no directory any more")
            .directory("file", 0o700)
            .file("file/inside", 0o644, b"inside")
            .directory("link", 0o750)
            .file("link/own", 0o644, b"own")
            .file("d/new", 0o644, b"new")
            .file("v", 0o644, b"upper");
        jetpack.import(&upper.finish());
        let script = "stat -c '%n %a %u:%g %F %Y' /d /tree /file /link /v; cat /v /file/inside /link/own /d/*; echo;\
                      ls /d /link; [ ! -e /tree/deep ] && [ ! -e /d/own ] && echo replaced";
        let expected = "\
/d 1730 5:6 directory 1000000000
/tree 600 0:0 regular file 1000000000
/file 700 0:0 directory 1000000000
/link 750 0:0 directory 1000000000
/v 644 0:0 regular file 1000000000
upperinsideowngonekeptnew
/d:
gone
kept
new

/link:
own
replaced
";
        assert_eq!(inside(&jetpack, "upper", script), expected, "{storage}");
        let kinds: &[&str] = if storage == "overlay" { &["sha512"; 3] } else { &["rendered"] };
        assert_eq!(layers(&jetpack, "upper"), kinds);
    }
}

#[test]
fn what_the_whitelist_does_not_have_is_gone_and_what_is_around_it_stays_as_it_was() {
    for storage in storages() {
        let jetpack = or_skip!(lower(storage));
        let listed = or_skip!(busybox()).into_iter().chain(["/d/kept", "/own/a", "/link"].map(str::to_owned));
        let manifest = manifest("upper", &["busybox-base", "lower"], &listed.collect::<Vec<_>>());
        let upper = Image::of(&manifest).directory("own", 0o711).file("own/a", 0o644, b"a").file("own/b", 0o644, b"b");
        jetpack.import(&upper.finish());
        let script = "stat -c '%n %a %u:%g %Y' /d /own; ls /d /own /tree /file /v; readlink /link";
        let output = jetpack.run(["run", "--destroy", "upper", "--", script]).success();
        let expected = "/d 1730 5:6 1000000000\n/own 711 0:0 1000000000\n/d:\nkept\n\n/own:\na\nd\n";
        assert_eq!(output.stdout, expected, "{storage}");
        assert_eq!(output.stderr.matches("No such file or directory").count(), 3, "{}", output.stderr);
        let kinds: &[&str] = if storage == "overlay" { &["sha512", "sha512", "sha512", "mask"] } else { &["rendered"] };
        assert_eq!(layers(&jetpack, "upper"), kinds);
        // A pod can make again what is hidden, and it is its own.
        let again = "mkdir /tree && echo own >/tree/x && echo own >/d/gone && cat /d/gone && ls /tree";
        assert_eq!(inside(&jetpack, "upper", again), "own\nx\n");
        assert_eq!(inside(&jetpack, "upper", "ls /d"), "kept\n");
        jetpack.run(["destroy-image", "upper", "lower", "busybox-base"]).success();
        assert_eq!(jetpack.contents(), [""; 0], "{storage}");
    }
}

#[test]
fn dependencies_of_dependencies_come_before_them_every_time() {
    for storage in storages() {
        let jetpack = or_skip!(lower(storage));
        jetpack.import(&image("one", &["lower"]).file("v", 0o644, b"one").file("of-one", 0o644, b"").finish());
        jetpack.import(&image("two", &["lower"]).file("of-two", 0o644, b"").finish());
        let whitelist: Vec<String> = ["/v", "/of-mask"].map(str::to_owned).to_vec();
        let mask = Image::of(&manifest("mask", &["one"], &whitelist)).file("of-mask", 0o644, b"");
        jetpack.import(&mask.finish());
        let tops: [(&str, &[&str], &str); 3] = [
            // The second one brings the files of `lower` once more.
            ("top", &["busybox-base", "one", "two"], "lower of-one of-two"),
            ("reversed", &["busybox-base", "two", "one"], "one of-one of-two"),
            // What a dependency hides it hides of its own only.
            ("masked", &["busybox-base", "two", "mask"], "one of-mask of-two"),
        ];
        for (name, on, expected) in tops {
            jetpack.import(&image(name, on).finish());
            assert_eq!(
                inside(&jetpack, name, "echo $(cat /v) $(cd / && echo of-*)"),
                format!("{expected}\n"),
                "{storage}"
            );
        }
        assert_eq!(inside(&jetpack, "masked", "cat /d/gone"), "gone");
        assert_eq!(layers(&jetpack, "masked"), ["rendered"]);
    }
}

#[test]
fn a_chain_of_sixty_images_runs() {
    let jetpack = or_skip!(super::pods("overlay"));
    let mut below = "busybox-base".to_owned();
    for n in 0..60 {
        let name = format!("image{n}");
        jetpack.import(&image(&name, &[&below]).file(&format!("file{n}"), 0o644, b"").finish());
        below = name;
    }
    assert_eq!(layers(&jetpack, "image59").len(), 61);
    assert_eq!(inside(&jetpack, "image59", "cd / && ls -d file* | wc -l"), "60\n");
}

#[test]
fn a_flat_export_is_the_same_elsewhere() {
    let stores = storages().into_iter().map(lower);
    let mut ids = Vec::new();
    for jetpack in stores {
        let jetpack = or_skip!(jetpack);
        let upper = image("upper", &["busybox-base", "lower"]).file("d/new", 0o4755, b"new").file("link", 0o644, b"");
        jetpack.import(&upper.finish());
        let file = jetpack.path("flat.aci");
        jetpack.run(["export", "--flat", "upper", file.to_str().expect("a plain path")]).success();
        let elsewhere = or_skip!(Jetpack::real("overlay"));
        ids.push(elsewhere.import_file(&file));
        let script = "stat -c '%n %a %u:%g' /d /d/new /link; cat /v";
        let expected = "/d 1730 5:6\n/d/new 4755 0:0\n/link 644 0:0\nlower";
        assert_eq!(inside(&elsewhere, "upper", script), expected);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
}
