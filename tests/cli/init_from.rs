//! `jetpack init --from`

use std::os::unix::process::ExitStatusExt;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::archive::{Archive, compressed};
use crate::support::bounded::{ended, until};
use crate::support::command::{Jetpack, Output, with_default_signals};

const FAKE: [&str; 2] = ["storage=fake", "isolation=fake"];

/// An image `name` of a version, with these further fields of the manifest, which begin with a comma.
fn image(name: &str, version: &str, more: &str) -> Vec<u8> {
    let labels = format!(r#""labels": [{{"name": "version", "value": "{version}"}}]"#);
    let manifest =
        format!(r#"{{ "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "{name}", {labels}{more} }}"#);
    Archive::with_manifest(&manifest).file("rootfs/version", 0o640, version.as_bytes()).finish()
}

/// What `show-image` tells programs.
fn record(jetpack: &Jetpack, reference: &str) -> serde_json::Value {
    let shown = jetpack.run(["--format", "json", "show-image", reference]).success().stdout;
    serde_json::from_str(&shown).expect("JSON")
}

fn from(new: &Jetpack, old: &Path) -> Output {
    new.run(["init".as_ref(), "--from".as_ref(), old.as_os_str()])
}

/// A store with an image that depends by name on one of which there is a newer by now, and with a pod.
fn old() -> (Jetpack, [String; 3]) {
    let old = Jetpack::fake();
    let first = old.import(&image("base", "1", ""));
    let top = old.import(&compressed("gzip", &image("top", "1", r#", "dependencies": [{"imageName": "base"}]"#)));
    // Of images that came in one second, the files tell which was the last.
    let second = old.import(&image("base", "2", ""));
    old.import(&super::scripted("app", "echo hello", "").finish());
    old.run(["tag", "base:1", "old"]).success();
    old.run(["prepare", "app"]).success();
    (old, [first, top, second])
}

#[test]
fn images_come_with_all_that_is_known_of_them_and_pods_stay() {
    let (old, [first, top, second]) = old();
    let before = (old.contents(), old.run(["-q", "images"]).success().stdout);
    let new = Jetpack::uninitialized(&FAKE);
    let said = from(&new, &old.store()).success().stdout;
    let at = |did: &str| format!("{did} a store at {} (storage fake, format 1)\n", new.store().display());
    let copied = |what: &str| format!("copied {what} from {}; ", old.store().display());
    assert_eq!(said, at("made") + &copied("4 images") + "0 here already, 1 pod left there\n");
    for id in [&first, &top, &second] {
        assert_eq!(record(&new, id), record(&old, id));
        let archive = |jetpack: &Jetpack| std::fs::read(jetpack.store().join("images").join(id).join("image.aci"));
        assert!(archive(&new).expect("an archive") == archive(&old).expect("an archive"));
    }
    assert_eq!(record(&new, &top)["dependencies"], serde_json::json!([first]));
    assert_eq!(new.run(["run", "--destroy", "app"]).success().stdout, "hello\n");
    assert_eq!(before, (old.contents(), old.run(["-q", "images"]).success().stdout));
    assert_eq!(new.run(["-q", "images"]).success().stdout, before.1);
    assert_eq!(record(&new, "base@old")["id"], *first);
    // Again, and after a part of it has gone.
    new.run(["tag", "base:2", "old"]).success();
    new.run(["destroy-image", &top, &first]).success();
    let said = from(&new, &old.store()).success().stdout;
    assert_eq!(said, at("there is") + &copied("2 images") + "2 here already, 1 pod left there\n");
    assert_eq!(new.run(["-q", "images"]).success().stdout, before.1);
    assert_eq!(record(&new, "base@old")["id"], *second);
    let json = new.run(["--format", "json", "init", "--from", old.store().to_str().expect("plain")]).success().stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let expected = serde_json::json!({ "from": old.store(), "copied": [], "present": 4, "failed": [], "pods": 1 });
    assert_eq!((&json["made"], &json["brought"]), (&serde_json::json!(false), &expected));
    assert!(new.contents().iter().all(|name| !name.starts_with("tmp/")));
}

#[test]
fn what_is_no_other_store_is_refused_before_anything_is_made() {
    let (old, _) = old();
    let said = from(&old, &old.store()).failure(125);
    assert!(said.contains(" is the store itself\nhelp: "), "{said}");
    let link = old.path("link");
    std::os::unix::fs::symlink(old.store(), &link).expect("a link");
    assert_eq!(from(&old, &link).failure(125).matches(" is the store itself").count(), 1);
    let refused = |from_where: &Path, expected: &str| {
        let new = Jetpack::uninitialized(&FAKE);
        let said = from(&new, from_where).failure(125);
        assert!(said.contains(expected), "{said}");
        assert!(!new.store().exists());
    };
    refused(&old.path("none"), "there is no store at ");
    refused(&old.path(""), "there is no store at ");
    let mode = |mode| {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(old.store(), mode).expect("a mode");
    };
    mode(0o755);
    refused(&old.store(), " is open to others: its mode is 0755");
    mode(0o700);
    std::fs::write(old.store().join("store"), "format = 2\nstorage = zfs\n").expect("a marker");
    refused(&old.store(), "has format 2, this program knows 1\nhelp: use the version of Jetpack that made it");
}

#[test]
fn an_image_that_is_not_what_it_was_stays_and_keeps_only_those_that_need_it() {
    let (old, [first, top, second]) = old();
    std::fs::write(old.store().join("images").join(&first).join("image.aci"), image("base", "3", "")).expect("a file");
    let new = Jetpack::uninitialized(&FAKE);
    let output = from(&new, &old.store());
    assert!(output.stdout.contains("copied 2 images "), "{}", output.stdout);
    let said = output.failure(125);
    let short = |id: &str| id[..19].to_owned();
    assert!(said.contains(&format!("cannot copy image {}: the archive is that of sha512-", short(&first))), "{said}");
    let needs =
        format!("cannot copy image {}: the image depends on base ({}), which is not", short(&top), short(&first));
    assert!(said.contains(&needs), "{said}");
    assert!(said.contains("jetpack: 2 of the images could not be copied\nhelp: "), "{said}");
    let here = new.run(["-q", "images"]).success().stdout;
    assert!(here.contains(&second) && here.lines().count() == 2, "{here}");
    // What cannot even be read is no reason to keep the others.
    std::fs::write(old.store().join("images").join(&first).join("image.json"), "{").expect("a file");
    let said = from(&new, &old.store()).failure(125);
    assert!(said.contains(&format!("cannot copy image {}: cannot read image", short(&first))), "{said}");
    assert!(new.contents().iter().all(|name| !name.starts_with("tmp/")));
}

#[test]
fn a_signal_leaves_whole_images_and_the_rest_comes_later() {
    let (old, [first, _, second]) = old();
    let archive = old.store().join("images").join(&second).join("image.aci");
    let whole = std::fs::read(&archive).expect("an archive");
    // It does not come to its end soon.
    std::fs::File::options().write(true).open(&archive).and_then(|file| file.set_len(8 << 30)).expect("a hole");
    let new = Jetpack::uninitialized(&FAKE);
    let old_store = old.store();
    let mut child = with_default_signals(&new.command(["init".as_ref(), "--from".as_ref(), old_store.as_os_str()]));
    let mut child = child.stderr(std::process::Stdio::piped()).spawn().expect("it starts");
    let is_copied = || std::fs::metadata(new.store().join("images").join(&first)).is_ok();
    let is_at_work = || std::fs::read_dir(new.store().join("tmp")).is_ok_and(|found| found.count() > 0);
    until("the large one is copied", || is_copied() && is_at_work());
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("it runs");
    let mut stderr = child.stderr.take().expect("a pipe");
    let status = ended(&mut child);
    assert_eq!(status.code().unwrap_or_else(|| 128 + status.signal().expect("a signal")), 143);
    let said = std::io::read_to_string(&mut stderr).expect("text");
    assert!(said.contains("the copying was interrupted by SIGTERM\nhelp: what was copied stays"), "{said}");
    assert!(new.contents().iter().all(|name| !name.starts_with("tmp/") && !name.contains(&second)));
    std::fs::write(&archive, whole).expect("a file");
    from(&new, &old.store()).success();
    assert_eq!(new.run(["-q", "images"]).success().stdout, old.run(["-q", "images"]).success().stdout);
}
