//! Archives that are not images, or hostile ones: each is refused by name and cause, and nothing is left.

use tar::EntryType;

use crate::support::archive::{Archive, manifest};
use crate::support::command::Jetpack;

/// Imports what must be refused; the error without its beginning, which names the file.
#[track_caller]
pub(crate) fn refusal(archive: &[u8]) -> String {
    let jetpack = Jetpack::fake();
    let path = jetpack.file("bad.aci", archive);
    let output = jetpack.run(["-q", "--insecure-options", "image", "import", path.to_str().expect("a plain path")]);
    assert_eq!(output.stdout, "");
    let said = output.failure(125);
    assert_eq!(jetpack.contents(), [""; 0], "{said}");
    let beginning = format!("jetpack: cannot import {}: ", path.display());
    said.strip_prefix(&beginning).unwrap_or_else(|| panic!("{said}")).trim_end().to_owned()
}

#[track_caller]
fn table(cases: Vec<(Vec<u8>, &str)>) {
    for (archive, expected) in cases {
        let said = refusal(&archive);
        assert!(said.starts_with(expected), "expected: {expected}\nfound:    {said}");
    }
}

fn good() -> Archive {
    Archive::with_manifest(&manifest("a", None))
}

#[test]
fn files_that_are_no_archives() {
    let no_tar = "the file is not a tar archive, nor one compressed by gzip, xz, bzip2 or zstd";
    table(vec![
        (Vec::new(), no_tar),
        (b"hello".to_vec(), no_tar),
        (b"PK\x03\x04 a zip file".repeat(100), no_tar),
        (vec![0; 10240], no_tar),
        (std::iter::repeat_n(b"\x7fELF and so on".as_slice(), 1000).flatten().copied().collect(), no_tar),
    ]);
    let jetpack = Jetpack::fake();
    let none = jetpack.path("none.aci");
    let said = jetpack.run(["import", none.to_str().expect("plain")]).failure(125);
    assert!(said.starts_with(&format!("jetpack: cannot open {}: No such file or directory", none.display())), "{said}");
    let said = jetpack.run(["import", jetpack.store().to_str().expect("plain")]).failure(125);
    assert!(said.contains("Is a directory"), "{said}");
    assert_eq!(jetpack.contents(), [""; 0]);
}

#[test]
fn manifests() {
    let archive = |manifest: &str| Archive::with_manifest(manifest).finish();
    let with = |old: &str, new: &str| {
        let app = r#"{ "exec": ["/x"], "user": "0", "group": "0" }"#;
        let good = manifest("example.com/a", Some(app));
        assert!(good.contains(old), "{old}");
        archive(&good.replace(old, new))
    };
    let broken = |why: &str| format!("the manifest breaks the specification: {why}");
    let twice =
        r#""name": "example.com/a", "labels": [{"name": "os", "value": "linux"}, {"name": "os", "value": "x"}]"#;
    let cases = [
        (archive("hello"), broken("line 1, column 1: not JSON: expected value")),
        (archive(""), broken("line 1, column 0: not JSON: EOF while parsing a value")),
        (archive("[]"), broken("a list is not an object")),
        (archive("{}"), broken("acKind: required but missing")),
        (archive(&manifest("a", None).replace('}', "")), broken("line 1, column ")),
        (with("ImageManifest", "PodManifest"), broken("acKind: \"PodManifest\" ")),
        (with("\"name\": \"example.com/a\",", ""), broken("name: required but missing")),
        (with("example.com/a", "Example COM"), broken("name: \"Example COM\" ")),
        (with("\"name\": \"example.com/a\"", "\"name\": 5"), broken("name: 5 is not a string")),
        (with("0.8.11", "eight"), broken("acVersion: \"eight\" ")),
        (with("\"acVersion\": \"0.8.11\",", ""), broken("acVersion: required but missing")),
        (with(r#""name": "example.com/a""#, twice), broken("labels[1].name: \"os\" is there already")),
        (
            with(r#""name": "example.com/a""#, r#""name": "a", "labels": [{"name": "Bad Name", "value": "x"}]"#),
            broken("labels[0].name: \"Bad Name\" "),
        ),
        (
            with(r#""user": "0""#, r#""user": "0", "workingDirectory": "srv/www""#),
            broken("app.workingDirectory: \"srv/www\" is not an absolute path"),
        ),
        (with(r#""user": "0","#, ""), broken("app.user: required but missing")),
    ];
    table(cases.iter().map(|(archive, expected)| (archive.clone(), expected.as_str())).collect());
}

#[test]
fn layouts() {
    let text = manifest("a", None);
    let text = text.as_bytes();
    table(vec![
        (Archive::new().directory("rootfs", 0o755).finish(), "the archive has no manifest"),
        (Archive::new().file("manifest", 0o644, text).finish(), "the archive has no rootfs"),
        (good().file("manifest", 0o644, text).finish(), "manifest is given twice"),
        (good().file("README", 0o644, b"x").finish(), "README is neither the manifest nor in rootfs"),
        (good().directory("rootfs2", 0o755).finish(), "rootfs2 is neither the manifest nor in rootfs"),
        (good().file("etc/passwd", 0o644, b"x").finish(), "etc/passwd is neither the manifest nor in rootfs"),
        (
            Archive::new().symlink("manifest", "/etc/passwd").directory("rootfs", 0o755).finish(),
            "manifest is not a regular",
        ),
        (Archive::new().file("manifest", 0o644, text).symlink("rootfs", "/etc").finish(), "rootfs is not a directory"),
        (good().file("rootfs/x", 0o644, b"x").file("rootfs/x", 0o644, b"y").finish(), "rootfs/x is given twice"),
        (good().file("manifest/x", 0o644, b"x").finish(), "manifest/x is neither the manifest nor in rootfs"),
    ]);
}

#[test]
fn escapes() {
    let outside = std::env::temp_dir().join(format!("jetpack-escape-{}", std::process::id()));
    let out = outside.to_str().expect("plain");
    let deep = format!("rootfs/{}{out}", "../".repeat(12));
    let through = |target: &str| good().symlink("rootfs/link", target).file("rootfs/link/x", 0o644, b"x").finish();
    table(vec![
        (good().file("rootfs/../../x", 0o644, b"x").finish(), "an entry's name goes up by ..: rootfs/../../x"),
        (good().file(&deep, 0o644, b"x").finish(), "an entry's name goes up by .."),
        (good().file("../x", 0o644, b"x").finish(), "an entry's name goes up by ..: ../x"),
        (good().file(out, 0o644, b"x").finish(), "an entry's name is absolute: /"),
        (good().file("/rootfs/x", 0o644, b"x").finish(), "an entry's name is absolute: /rootfs/x"),
        (through("/tmp"), "rootfs/link/x goes through the symlink rootfs/link"),
        (through("../../.."), "rootfs/link/x goes through the symlink rootfs/link"),
        (through("."), "rootfs/link/x goes through the symlink rootfs/link"),
        (
            good().hard_link("rootfs/hard", "/etc/passwd").finish(),
            "rootfs/hard is a hard link to /etc/passwd, which is not in rootfs",
        ),
        (
            good().hard_link("rootfs/hard", "rootfs/../../../etc/passwd").finish(),
            "rootfs/hard is a hard link to rootfs/../../../etc/passwd, which is not in rootfs",
        ),
        (
            good().symlink("rootfs/link", "/etc").hard_link("rootfs/hard", "rootfs/link/passwd").finish(),
            "rootfs/hard goes through the symlink rootfs/link",
        ),
        (
            good().entry(EntryType::Char, "rootfs/whiteout", 0o644, b"", None).finish(),
            "rootfs/whiteout is a whiteout, the device 0:0, which belongs to overlayfs",
        ),
    ]);
    assert!(!outside.exists());
}
