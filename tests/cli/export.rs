//! `jetpack export`

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::versioned;
use crate::support::archive::{Archive, compressed, manifest};
use crate::support::bounded::{ended, until};
use crate::support::command::Jetpack;
use crate::support::pty::Terminal;

/// A store with an image `top` that depends on another and has a whitelist; its id.
fn depending() -> (Jetpack, String) {
    let jetpack = Jetpack::fake();
    let base = Archive::with_manifest(&manifest("base", None)).file("rootfs/bin/app", 0o755, b"#!/bin/sh\necho here\n");
    jetpack.import(&base.file("rootfs/bin/other", 0o755, b"").finish());
    let more = r#", "app": { "exec": ["/bin/app"], "user": "0", "group": "0" }, "labels": [{"name": "version", "value": "1"}],
                  "dependencies": [{"imageName": "base"}], "pathWhitelist": ["/bin/app", "/etc/own"], "unknown": 5 }"#;
    let manifest = manifest("top", None).replace(" }", more);
    let top = jetpack.import(&Archive::with_manifest(&manifest).file("rootfs/etc/own", 0o640, b"own").finish());
    (jetpack, top)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

#[test]
fn an_archive_comes_back_byte_for_byte() {
    let tar = versioned("a", "1");
    for compression in ["none", "xz", "gzip", "bzip2", "zstd"] {
        let jetpack = Jetpack::fake();
        let bytes = compressed(compression, &tar);
        let id = jetpack.import(&bytes);
        let file = jetpack.path("a.aci");
        let output = jetpack.run(["export", "a", text(&file)]).success();
        assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", ""));
        assert!(fs::read(&file).expect("the file") == bytes, "{compression}");
        jetpack.run(["destroy-image", "a"]).success();
        assert_eq!(jetpack.import_file(&file), id);
        for arguments in [&["export", "a"][..], &["export", "a", "-"]] {
            let mut child = jetpack.command(arguments).stdout(Stdio::piped()).spawn().expect("it starts");
            let mut read = Vec::new();
            child.stdout.take().expect("a pipe").read_to_end(&mut read).expect("it can be read");
            assert!(child.wait().expect("it ends").success() && read == bytes, "{compression}");
        }
    }
}

#[test]
fn a_flat_archive_needs_no_other_image() {
    let (jetpack, top) = depending();
    let elsewhere = Jetpack::fake();
    let mut ids = Vec::new();
    for (compression, magic) in [
        ("xz", &b"\xfd7zXZ"[..]),
        ("bzip2", b"BZh"),
        ("gzip", b"\x1f\x8b"),
        ("zstd", b"\x28\xb5\x2f\xfd"),
        ("none", b"manifest"),
    ] {
        let file = jetpack.path("flat.aci");
        let option = format!("images.aci.compression={compression}");
        let arguments = ["-o", &option, "--format", "json", "export", "--flat", "top", text(&file)];
        let json: serde_json::Value = serde_json::from_str(&jetpack.run(arguments).success().stdout).expect("JSON");
        let bytes = fs::read(&file).expect("the file");
        assert!(bytes.starts_with(magic), "{compression}");
        let id = json["id"].as_str().expect("an id").to_owned();
        let expected =
            serde_json::json!({ "file": text(&file), "id": id, "compression": compression, "size": bytes.len() });
        assert_eq!(json, expected);
        jetpack.run(arguments).success();
        assert!(fs::read(&file).expect("the file") == bytes, "{compression}: the second time it is different");
        assert_eq!(elsewhere.import_file(&file), id);
        ids.push(id);
    }
    assert!(ids.iter().all(|id| *id == ids[0] && *id != top), "{ids:?}");
    assert_eq!(elsewhere.run(["run", "--destroy", "top:1"]).success().stdout, "here\n");
    let manifest: serde_json::Value =
        serde_json::from_str(&elsewhere.run(["image-manifest", "top"]).success().stdout).expect("JSON");
    assert_eq!((&manifest["unknown"], manifest.as_object().map(serde_json::Map::len)), (&5.into(), Some(6)));
    let layer = elsewhere.store().join("layers").join(&ids[0]);
    assert_eq!(fs::read_to_string(layer.join("etc/own")).expect("a file"), "own");
    assert!(!layer.join("bin/other").exists());
    let noted = jetpack.run(["-v", "export", "--flat", "top", text(&jetpack.path("noted"))]).success().stderr;
    assert!(noted.contains(&format!("\njetpack: exported {}, compressed by xz\n", ids[0])), "{noted}");
}

#[test]
fn a_file_is_replaced_when_all_is_written_and_else_not_touched() {
    let jetpack = Jetpack::fake();
    let tar = versioned("a", "1");
    let id = jetpack.import(&tar);
    let folder = jetpack.path("folder");
    fs::create_dir(&folder).expect("a directory");
    let (file, link) = (folder.join("a.aci"), folder.join("link"));
    fs::write(&file, "before").expect("a file");
    symlink("a.aci", &link).expect("a symlink");
    let names = || {
        let mut names: Vec<_> = fs::read_dir(&folder).expect("it").map(|e| e.expect("an entry").file_name()).collect();
        names.sort();
        names
    };
    let kept = jetpack.store().join("images").join(&id).join("image.aci");
    let away = jetpack.path("away");
    fs::rename(&kept, &away).expect("the archive goes");
    let said = jetpack.run(["export", "a", text(&file)]).failure(125);
    assert!(said.starts_with(&format!("jetpack: cannot export image {}: No such file", &id[..19])), "{said}");
    assert_eq!(fs::read(&file).expect("the file"), b"before");
    fs::rename(&away, &kept).expect("the archive comes back");
    jetpack.run(["export", "a", text(&link)]).success();
    assert!(fs::read(&file).expect("the file") == tar && link.is_symlink());
    assert_eq!(names(), ["a.aci", "link"]);
    for (place, why) in [(folder.clone(), "Is a directory"), (folder.join("none/a.aci"), "No such file or directory")] {
        let said = jetpack.run(["export", "a", text(&place)]).failure(125);
        assert!(said.starts_with(&format!("jetpack: cannot write {}: {why}", place.display())), "{said}");
    }
    jetpack.run(["export", "a", "/dev/null"]).success();
    assert!(!Path::new("/dev/null").is_file());
    let said = jetpack.run(["export", "--flat", "a", "/dev/full"]).failure(125);
    assert!(said.contains("No space left on device"), "{said}");
    assert_eq!(names(), ["a.aci", "link"]);
    let said = jetpack.run(["export", "none"]).failure(125);
    assert!(said.starts_with("jetpack: there is no image \"none\"\n"), "{said}");
    let said = jetpack.run(["--format", "json", "export", "a"]).failure(125);
    assert_eq!(said, "jetpack: standard output cannot have the archive and JSON\nhelp: name a file\n");
}

#[test]
fn a_reader_that_stalls_keeps_nobody_else_from_the_store() {
    for flat in [true, false] {
        let jetpack = Jetpack::fake();
        let large = Archive::with_manifest(&manifest("large", None)).file("rootfs/large", 0o644, &vec![0; 1 << 20]);
        jetpack.import(&large.finish());
        let other = jetpack.file("other.aci", &versioned("other", "1"));
        let fifo = jetpack.path("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
        // Open for both, it waits for nobody.
        let mut reader = fs::File::options().read(true).write(true).open(&fifo).expect("the fifo");
        let flags = if flat { &["--flat"][..] } else { &[] };
        let options = ["-o", "images.aci.compression=none", "export"];
        let mut export = jetpack.spawn(options.iter().chain(flags).chain(&["large", text(&fifo)]));
        let mut first = [0];
        reader.read_exact(&mut first).expect("it writes");
        let mut import = jetpack.spawn(["--insecure-options", "image", "import", text(&other)]);
        let done = until_ended(&mut import);
        export.kill().expect("it still writes");
        export.wait().expect("it ends");
        assert!(done, "flat: {flat}");
        assert_eq!(jetpack.run(["images", "-q"]).success().stdout.lines().count(), 2);
    }
}

/// Whether the command ends well in a time that is long for it.
fn until_ended(child: &mut Child) -> bool {
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        if let Some(status) = child.try_wait().expect("a child") {
            return status.success();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().expect("it hangs");
    false
}

#[test]
fn a_signal_leaves_nothing_beside_the_file() {
    let jetpack = Jetpack::fake();
    let file = jetpack.file("large", b"");
    fs::File::options().write(true).open(&file).expect("it").set_len(1 << 30).expect("its length");
    jetpack.import(&versioned("a", "1"));
    let id = jetpack.run(["images", "-q"]).success().stdout;
    fs::rename(&file, jetpack.store().join("layers").join(id.trim()).join("large")).expect("a large file");
    let folder = jetpack.path("folder");
    fs::create_dir(&folder).expect("a directory");
    let before = jetpack.contents();
    let mut child = jetpack.spawn(["export", "--flat", "a", text(&folder.join("a.aci"))]);
    let names = || fs::read_dir(&folder).expect("the directory").count();
    until("it writes", || names() > 0 && jetpack.contents() != before);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
    assert_eq!((ended(&mut child).code(), names()), (Some(143), 0));
    assert_eq!(jetpack.contents(), before);
}

#[test]
fn a_name_may_be_as_long_as_names_can_be() {
    let jetpack = Jetpack::fake();
    let tar = versioned("a", "1");
    let file = jetpack.path(&"n".repeat(255));
    let id = jetpack.import(&tar);
    jetpack.run(["export", "a", text(&file)]).success();
    assert!(fs::read(&file).expect("the file") == tar);
    jetpack.run(["destroy-image", &id]).success();
    let archive = jetpack.file("a.aci", &tar);
    jetpack.run(["--insecure-options", "image", "import", "--saveid", text(&file), text(&archive)]).success();
    assert_eq!(fs::read_to_string(&file).expect("the id"), format!("{id}\n"));
}

#[test]
fn a_terminal_gets_no_archive() {
    let jetpack = Jetpack::fake();
    jetpack.import(&versioned("a", "1"));
    let (code, said) = Terminal::start(&jetpack.command(["export", "a"])).end();
    assert_eq!(code, 125);
    let expected =
        "jetpack: an archive is nothing for a terminal\r\nhelp: name a file, or redirect standard output\r\n";
    assert_eq!(said, expected);
}
