//! `verify-image`.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::versioned;
use crate::support::archive::{Archive, compressed, manifest};
use crate::support::command::Jetpack;

/// An image with one of each, and the time that its files have.
fn image(name: &str, more: &str) -> Archive {
    Archive::with_manifest(&manifest(name, None).replacen('{', &format!("{{{more}"), 1))
        .directory("rootfs/etc", 0o755)
        .file("rootfs/etc/motd", 0o644, b"hello\n")
        .file("rootfs/etc/shadow", 0o600, b"root")
        .hard_link("rootfs/etc/also", "rootfs/etc/motd")
        .symlink("rootfs/etc/link", "motd")
}

/// A store with such an image; its id, and where its files are.
fn sealed() -> (Jetpack, String, PathBuf) {
    let jetpack = Jetpack::fake();
    let id = jetpack.import(&compressed("gzip", &image("app", "").finish()));
    let layer = jetpack.store().join("layers").join(&id);
    (jetpack, id, layer)
}

/// The time that every file of an archive has.
fn set_time(path: &Path) {
    let time = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::open(path).and_then(|file| file.set_modified(time)).expect("a time");
}

#[test]
fn what_is_whole_is_said_and_nothing_is_left() {
    let (jetpack, id, _) = sealed();
    let before = jetpack.contents();
    assert_eq!(jetpack.run(["verify-image", "app"]).success().stdout, format!("{} (app): whole\n", &id[..19]));
    assert_eq!(jetpack.run(["-q", "verify-image", "app"]).success().stdout, "");
    let said = jetpack.run(["verify-image", "--format", "json", &id]).success().stdout;
    let expected = json!([{ "id": id, "name": "app", "whole": true, "archive": null, "manifest": false, "layers": false,
                            "missing_layers": [], "missing": [], "extra": [], "changed": [] }]);
    assert_eq!(serde_json::from_str::<Value>(&said).expect("JSON"), expected);
    assert_eq!(jetpack.contents(), before);
}

#[test]
fn each_kind_of_change_is_told() {
    type Change = fn(&Path);
    let table: [(&str, Change); 9] = [
        // Of the same length and time.
        ("changed /etc/motd (content)|changed /etc/also (content)", |etc| {
            fs::write(etc.join("motd"), "jello\n").expect("a file");
            set_time(&etc.join("motd"));
        }),
        ("changed /etc/shadow (mode)", |etc| {
            fs::set_permissions(etc.join("shadow"), Permissions::from_mode(0o604)).expect("a mode");
        }),
        ("changed /etc/shadow (time)", |etc| {
            File::open(etc.join("shadow")).and_then(|file| file.set_modified(UNIX_EPOCH)).expect("a time");
        }),
        ("missing /etc/shadow", |etc| {
            fs::remove_file(etc.join("shadow")).expect("it goes");
            set_time(etc);
        }),
        ("extra /etc/new", |etc| {
            fs::write(etc.join("new"), "").expect("a file");
            set_time(etc);
        }),
        ("changed /etc (time)|extra /etc/socket", |etc| {
            // Where names of sockets end is soon reached.
            let short = std::env::temp_dir().join(format!("s-{}", std::process::id()));
            drop(std::os::unix::net::UnixListener::bind(&short).expect("a socket"));
            fs::rename(short, etc.join("socket")).expect("it is on the same disk");
        }),
        ("changed /etc/link (target, time)", |etc| {
            fs::remove_file(etc.join("link")).expect("it goes");
            symlink("shadow", etc.join("link")).expect("a link");
            set_time(etc);
        }),
        ("changed /etc/shadow (type)", |etc| {
            fs::remove_file(etc.join("shadow")).expect("it goes");
            fs::create_dir(etc.join("shadow")).expect("a directory");
            set_time(etc);
        }),
        ("changed /etc/also (links)|changed /etc/motd (links)", |etc| {
            fs::copy(etc.join("motd"), etc.join("other")).expect("a copy");
            fs::rename(etc.join("other"), etc.join("also")).expect("it goes");
            [&etc.join("also"), etc].into_iter().for_each(set_time);
        }),
    ];
    for (expected, change) in table {
        let (jetpack, id, layer) = sealed();
        change(&layer.join("etc"));
        let output = jetpack.run(["verify-image", "app"]);
        let mut lines: Vec<&str> = output.stdout.lines().map(|line| line.split_once(": ").expect("a line").1).collect();
        let mut expected: Vec<&str> = expected.split('|').collect();
        lines.sort_unstable();
        expected.sort_unstable();
        assert_eq!(lines, expected, "{}", output.stdout);
        assert!(output.stdout.starts_with(&format!("{} (app): ", &id[..19])), "{}", output.stdout);
        let said = output.failure(125);
        assert!(
            said.starts_with("jetpack: 1 of 1 images are not what was sealed\nhelp: destroy such an image"),
            "{said}"
        );
    }
}

#[test]
fn an_archive_that_has_rotted_is_told() {
    type Change = fn(&Path);
    let table: [(&str, Change); 4] = [
        ("the archive has rotted: cannot decompress the archive as gzip: ", |file| {
            let mut bytes = fs::read(file).expect("an archive");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(file, bytes).expect("an archive");
        }),
        ("the archive has rotted: the archive is truncated", |file| {
            let length = fs::metadata(file).expect("an archive").len();
            File::options().write(true).open(file).and_then(|file| file.set_len(length - 9)).expect("it is cut");
        }),
        ("the archive has rotted: it is that of sha512-", |file| {
            fs::write(file, versioned("app", "1")).expect("an archive");
        }),
        ("the archive has rotted: it is missing", |file| fs::remove_file(file).expect("it goes")),
    ];
    for (expected, change) in table {
        let (jetpack, id, _) = sealed();
        let before = jetpack.contents();
        change(&jetpack.store().join("images").join(&id).join("image.aci"));
        let output = jetpack.run(["verify-image", "app"]);
        assert!(output.stdout.starts_with(&format!("{} (app): {expected}", &id[..19])), "{}", output.stdout);
        assert_eq!(output.stdout.lines().count(), 1);
        output.failure(125);
        assert_eq!(jetpack.contents(), before);
    }
}

#[test]
fn what_the_store_knows_of_an_image_is_compared() {
    let (jetpack, id, layer) = sealed();
    let directory = jetpack.store().join("images").join(&id);
    let said = || jetpack.run(["verify-image", &id]).stdout.replace(&format!("{} (app): ", &id[..19]), "");
    fs::write(directory.join("manifest"), manifest("app", None) + " ").expect("a manifest");
    assert_eq!(said(), "the manifest is not the archive's\n");
    fs::write(directory.join("manifest"), manifest("app", None)).expect("a manifest");
    fs::rename(&layer, jetpack.path("layer")).expect("the layer goes");
    assert_eq!(said(), format!("missing layer {id}\n"));
    fs::write(directory.join("image.json"), "{").expect("a record");
    let said = jetpack.run(["verify-image", &id]).failure(125);
    assert!(said.starts_with(&format!("jetpack: cannot read image {}: ", &id[..19])), "{said}");
}

#[test]
fn what_an_image_depends_on_is_compared_with_it() {
    let jetpack = Jetpack::fake();
    let base = jetpack.import(&image("base", "").finish());
    let on = |name: &str| format!(r#""dependencies": [{{"imageName": "{name}"}}], "#);
    let middle = jetpack.import(&image("middle", &on("base")).file("rootfs/middle", 0o644, b"").finish());
    let listed = r#""pathWhitelist": ["/etc/motd", "/middle"], "#;
    let top = jetpack.import(&image("top", &(on("middle") + listed)).finish());
    let lines = |images: &[&str]| {
        let output = jetpack.run(["verify-image"].iter().chain(images));
        output.stdout.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let line = |(id, name): (&str, &str), what: &str| format!("{} ({name}): {what}", &id[..19]);
    let [base, middle, top] = [(&*base, "base"), (&*middle, "middle"), (&*top, "top")];
    let whole = [base, middle, top].map(|image| line(image, "whole"));
    assert_eq!(lines(&["top"]), whole);
    assert_eq!(lines(&["middle", "base", "middle"]), whole[..2]);
    // A copy that was rendered is compared, too, with what it is rendered of.
    let rendered = jetpack.store().join("layers").join(format!("rendered-{}", &top.0["sha512-".len()..]));
    fs::remove_file(rendered.join("middle")).expect("it goes");
    set_time(&rendered);
    let said = lines(&["top"]);
    assert_eq!(said[..2], whole[..2]);
    assert_eq!(said[2..], [line(top, "missing /middle")]);
}
