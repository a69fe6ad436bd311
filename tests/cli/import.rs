//! `jetpack import`

use std::io::Read;

use sha2::{Digest, Sha512};

use super::{scripted, versioned};
use crate::support::archive::compressed;
use crate::support::command::{Jetpack, Output};

const UNSIGNED: [&str; 2] = ["--insecure-options", "image"];

/// The warning that a file is not signed.
fn unsigned(origin: impl std::fmt::Display) -> String {
    format!("jetpack: warning: {origin} is not signed: nobody knows who made it\n")
}

/// What `import` says of `path`, which may be unsigned, with further arguments.
fn import(jetpack: &Jetpack, path: &std::path::Path, more: &[&str]) -> Output {
    let path = path.to_str().expect("a plain path");
    jetpack.run(UNSIGNED.iter().copied().chain(["import"]).chain(more.iter().copied()).chain([path]))
}

fn id_of(tar: &[u8]) -> String {
    let digest: String = Sha512::digest(tar).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha512-{digest}")
}

#[test]
fn every_compression_leads_to_the_same_id() {
    let tar = scripted("example.com/app", "exit 0", "").finish();
    for compression in ["none", "gzip", "xz", "bzip2", "zstd"] {
        let jetpack = Jetpack::fake();
        let bytes = compressed(compression, &tar);
        // The name says nothing: content does.
        let path = jetpack.file("image.txt", &bytes);
        let output = import(&jetpack, &path, &[]).success();
        assert_eq!(
            (output.stdout.as_str(), output.stderr.as_str()),
            (&*format!("{}\n", id_of(&tar)), &*unsigned(path.display())),
            "{compression}"
        );
        assert_eq!(jetpack.run(["run", "example.com/app"]).code, 0, "{compression}");
        let shown: serde_json::Value =
            serde_json::from_str(&jetpack.run(["--format", "json", "show-image", "example.com/app"]).success().stdout)
                .expect("JSON");
        assert_eq!(shown["compression"], compression);
        assert_eq!(shown["size"], tar.len());
        assert_eq!(shown["archive_size"], bytes.len());
        let mut kept = Vec::new();
        let original = jetpack.store().join("images").join(id_of(&tar)).join("image.aci");
        std::fs::File::open(original).expect("the archive is kept").read_to_end(&mut kept).expect("it can be read");
        assert!(kept == bytes, "{compression}: the archive is not what came");
    }
}

#[test]
fn an_image_that_is_known_stays_as_it_is() {
    let jetpack = Jetpack::fake();
    let tar = versioned("a", "1");
    let path = jetpack.file("a.aci", &tar);
    import(&jetpack, &path, &[]).success();
    let before = jetpack.contents();
    let again = import(&jetpack, &path, &[]).success();
    assert_eq!(again.stdout, format!("{}\n", id_of(&tar)));
    let known = "jetpack: warning: this image was in the store already\n";
    assert_eq!(again.stderr, unsigned(path.display()) + known);
    // The same bytes in another wrapping are the same image.
    let wrapped = jetpack.file("a.aci.gz", &compressed("gzip", &tar));
    assert_eq!(import(&jetpack, &wrapped, &[]).success().stdout, again.stdout);
    assert_eq!(jetpack.contents(), before);
}

#[test]
fn an_archive_may_come_through_standard_input() {
    let jetpack = Jetpack::fake();
    let tar = versioned("a", "1");
    let arguments = UNSIGNED.iter().chain(&["import", "-"]);
    let output = jetpack.run_with_input(arguments, &compressed("xz", &tar)).success();
    assert_eq!(output.stdout, format!("{}\n", id_of(&tar)));
    let shown = jetpack.run(["show-image", "a"]).success().stdout;
    assert!(shown.contains(" from standard input\n"), "{shown}");
}

#[test]
fn the_name_can_be_insisted_on_and_the_id_saved() {
    let jetpack = Jetpack::fake();
    let path = jetpack.file("a.aci", &versioned("example.com/a", "1"));
    let said = import(&jetpack, &path, &["--name", "example.com/b"]).failure(125);
    let expected =
        format!("jetpack: cannot import {}: the image is called example.com/a, not example.com/b\n", path.display());
    assert_eq!(said, unsigned(path.display()) + &expected);
    assert_eq!(jetpack.contents(), [""; 0]);
    let saved = jetpack.path("id");
    let more = ["--name", "example.com/a", "--saveid", saved.to_str().expect("a plain path")];
    let output = import(&jetpack, &path, &more).success();
    assert_eq!(std::fs::read_to_string(saved).expect("the id"), output.stdout);
}

#[test]
fn json_says_id_name_and_whether_it_was_known() {
    let jetpack = Jetpack::fake();
    let tar = versioned("a", "1");
    let path = jetpack.file("a.aci", &tar);
    for known in [false, true] {
        let output = import(&jetpack, &path, &["--format", "json"]).success();
        let json: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
        assert_eq!(json, serde_json::json!({ "id": id_of(&tar), "name": "a", "known": known }));
    }
}

#[test]
fn without_a_signature_somebody_has_to_allow_it() {
    let jetpack = Jetpack::fake();
    let path = jetpack.file("a.aci", &versioned("a", "1"));
    let path = path.to_str().expect("a plain path");
    for refused in [&["import", path][..], &["-o", "allow.no-signature=off", "import", path]] {
        let said = jetpack.run(refused).failure(125);
        let expected = format!(
            "jetpack: cannot import {path}: {path} is not signed\nhelp: to import it without a signature, pass \
             `--insecure-options image`, or set `allow.no-signature = on` in jetpack.conf\n"
        );
        assert_eq!(said, expected);
        assert_eq!(jetpack.contents(), [""; 0]);
    }
    let allowed: [&[&str]; 4] = [
        &["--insecure-options", "image", "import", path],
        &["import", "--insecure-options=image", path],
        &["-o", "allow.no-signature", "import", path],
        &["-o", "allow.no-signature=yes", "import", path],
    ];
    for arguments in allowed {
        jetpack.run(arguments).success();
        jetpack.run(["destroy-image", "a"]).success();
    }
    jetpack.file("jetpack.conf", b"allow.no-signature = on\n");
    jetpack.run(["import", path]).success();
}

#[test]
fn a_layer_that_a_killed_command_left_goes_with_the_next_import() {
    let jetpack = Jetpack::fake();
    let [one, two] = ["one", "two"].map(|name| jetpack.import(&versioned(name, "1")));
    let image = jetpack.store().join("images").join(&one);
    let left = jetpack.path("left");
    std::fs::rename(&image, &left).expect("the image goes");
    let path = jetpack.file("image.aci", &versioned("two", "1"));
    // What a broken image stands on is not known.
    let record = jetpack.store().join("images").join(&two).join("image.json");
    let text = std::fs::read(&record).expect("a record");
    std::fs::write(&record, "{").expect("a broken record");
    import(&jetpack, &path, &[]).success();
    assert!(jetpack.contents().contains(&format!("layers/{one}")));
    std::fs::write(&record, text).expect("the record");
    import(&jetpack, &path, &[]).success();
    assert_eq!(jetpack.contents(), [format!("images/{two}"), format!("layers/{two}")]);
}

#[test]
fn an_image_whose_id_cannot_be_saved_is_not_kept_unless_it_was_here() {
    let jetpack = Jetpack::fake();
    let path = jetpack.file("a.aci", &versioned("a", "1"));
    let nowhere = jetpack.path("none/id");
    let more = ["--saveid", nowhere.to_str().expect("a plain path")];
    let expected = format!("jetpack: cannot write the id to {}: No such file or directory", nowhere.display());
    let said = import(&jetpack, &path, &more).failure(125);
    assert!(said.starts_with(&(unsigned(path.display()) + &expected)), "{said}");
    assert_eq!(jetpack.contents(), [""; 0]);
    import(&jetpack, &path, &[]).success();
    let before = jetpack.contents();
    let said = import(&jetpack, &path, &more).failure(125);
    assert!(said.contains(&expected), "{said}");
    assert_eq!(jetpack.contents(), before);
}

#[test]
fn an_image_that_is_broken_is_whole_when_it_is_imported_again() {
    let jetpack = Jetpack::fake();
    let path = jetpack.file("a.aci", &versioned("a", "1"));
    let id = import(&jetpack, &path, &[]).success().stdout;
    let before = jetpack.contents();
    let (image, layer) =
        (jetpack.store().join("images").join(id.trim()), jetpack.store().join("layers").join(id.trim()));
    let breaks: [&dyn Fn(); 4] = [
        &|| std::fs::write(image.join("image.json"), "").expect("a broken record"),
        &|| std::fs::remove_file(image.join("manifest")).expect("it"),
        &|| std::fs::remove_file(image.join("image.aci")).expect("it"),
        &|| std::fs::remove_dir_all(&layer).expect("it"),
    ];
    for (n, damage) in breaks.iter().enumerate() {
        damage();
        let output = import(&jetpack, &path, &["--format", "json"]).success();
        assert!(output.stdout.contains("\"known\": false"), "{n}: {}", output.stdout);
        assert_eq!(jetpack.contents(), before, "{n}");
        jetpack.run(["image-manifest", "a"]).success();
        jetpack.run(["export", "a", "/dev/null"]).success();
        assert!(layer.is_dir(), "{n}");
    }
}
