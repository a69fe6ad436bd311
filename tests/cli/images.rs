//! `images`, `show-image`, `image-manifest`, `destroy-image`, and how an image is named.

use super::{scripted, versioned};
use crate::support::archive::{Archive, manifest};
use crate::support::command::Jetpack;

/// A store with two versions of one image and another image; their ids.
fn three() -> (Jetpack, [String; 3]) {
    let jetpack = Jetpack::fake();
    let archives =
        [versioned("example.com/app", "1.0.0"), versioned("example.com/app", "2.0.0"), versioned("beef", "1.0.0")];
    let ids = archives.map(|archive| jetpack.import(&archive));
    // So that it is sure which one is the oldest.
    for (id, imported) in ids.iter().zip([3000, 2000, 1000]) {
        set_imported(&jetpack, id, imported);
    }
    (jetpack, ids)
}

fn set_imported(jetpack: &Jetpack, id: &str, seconds: u64) {
    let path = jetpack.store().join("images").join(id).join("image.json");
    let text = std::fs::read_to_string(&path).expect("a record");
    let mut record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    record["imported"] = seconds.into();
    std::fs::write(path, record.to_string()).expect("a record");
}

fn shown_id(jetpack: &Jetpack, reference: &str) -> String {
    let output = jetpack.run(["--format", "json", "show-image", reference]).success();
    let json: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
    json["id"].as_str().expect("an id").to_owned()
}

#[test]
fn of_images_of_one_second_the_last_is_meant() {
    let jetpack = Jetpack::fake();
    for number in 0..6 {
        let archive = scripted("example.com/app", &format!("exit {number}"), "").finish();
        let id = jetpack.import(&archive);
        assert_eq!(shown_id(&jetpack, "example.com/app"), id);
    }
}

#[test]
fn the_latest_version_for_this_host_is_meant() {
    let jetpack = Jetpack::fake();
    let other = if cfg!(target_os = "freebsd") { "linux" } else { "freebsd" };
    let image = |version: &str, more: &str| {
        let labels = format!(r#""labels": [{{"name": "version", "value": "{version}"}}{more}]"#);
        Archive::with_manifest(&manifest("app", None).replacen('{', &format!("{{{labels}, "), 1)).finish()
    };
    let for_other = format!(r#", {{"name": "os", "value": "{other}"}}"#);
    let early = jetpack.import(&image("1.9", ""));
    let latest = jetpack.import(&image("1.10", ""));
    let foreign = jetpack.import(&image("3", &for_other));
    jetpack.import(&image("1.10-rc1", ""));
    let table = [("app", &latest), ("app:1.9", &early), ("app:3", &foreign)];
    for (reference, id) in table {
        assert_eq!(shown_id(&jetpack, reference), *id, "{reference}");
    }
    assert_eq!(shown_id(&jetpack, &format!("app,os={other}")), foreign);
}

#[test]
fn lists_are_for_people_or_for_programs() {
    let (jetpack, [one, two, beef]) = three();
    for tag in ["testing", "new"] {
        jetpack.run(["tag", &two, tag]).success();
    }
    let days = |output: &str| {
        let (start, _) = output.rsplit_once(' ').and_then(|(s, _)| s.rsplit_once(' ')).expect("… days ago");
        start.trim_end_matches(|c: char| c.is_ascii_digit() || c == ' ').to_owned()
    };
    let bare = jetpack.run(["images", "-H"]).success().stdout;
    let lines: Vec<String> = bare.lines().map(days).collect();
    let expected = [
        format!("{}  beef             1.0.0  -            linux/amd64  2.5 KiB", &beef[..19]),
        format!("{}  example.com/app  1.0.0  -            linux/amd64  2.5 KiB", &one[..19]),
        format!("{}  example.com/app  2.0.0  new testing  linux/amd64  2.5 KiB", &two[..19]),
    ];
    assert_eq!(lines, expected);
    let headed = jetpack.run(["images"]).success().stdout;
    let head = "ID                   NAME             VERSION  TAGS         FOR          SIZE     IMPORTED";
    assert_eq!(headed.lines().next(), Some(head));
    assert_eq!(headed.lines().count(), 4);
    assert_eq!(jetpack.run(["-q", "images"]).success().stdout, format!("{beef}\n{one}\n{two}\n"));
    let long = jetpack.run(["images", "-l", "-H"]).success().stdout;
    assert!(long.lines().map(|l| &l[..135]).eq([&beef, &one, &two]), "{long}");
    let json: serde_json::Value =
        serde_json::from_str(&jetpack.run(["images", "--format", "json"]).success().stdout).expect("JSON");
    assert_eq!(json[0]["id"], beef);
    assert_eq!(json[1]["labels"][0], serde_json::json!({ "name": "version", "value": "1.0.0" }));
    assert_eq!(json[2]["trust"], "unsigned");
    assert_eq!(json[2]["tags"], serde_json::json!(["example.com/app@new", "example.com/app@testing"]));
    assert_eq!(json.as_array().map(Vec::len), Some(3));
}

#[test]
fn an_image_is_found_by_name_version_label_id_and_prefix() {
    let (jetpack, [one, two, beef]) = three();
    let table = [
        ("example.com/app", &two), // the latest version
        ("example.com/app:2.0.0", &two),
        ("example.com/app,version=2.0.0", &two),
        ("example.com/app,os=linux,version=1.0.0", &one),
        ("example.com/app:2.0.0,arch=amd64", &two),
        ("beef", &beef),
        (&*two.clone(), &two),
        (&two[..20], &two),
        (&two[7..20], &two),
        (&two["sha512-".len()..], &two),
    ];
    for (reference, id) in table {
        assert_eq!(shown_id(&jetpack, reference), *id, "{reference}");
    }
}

#[test]
fn an_image_is_shown() {
    let jetpack = Jetpack::fake();
    let archive = scripted("example.com/app", "exit 0", "").file("rootfs/bin/su", 0o4755, b"x").finish();
    let id = jetpack.import(&archive);
    jetpack.run(["tag", "example.com/app", "stable"]).success();
    let shown = jetpack.run(["show-image", "example.com/app"]).success().stdout;
    let expected = [
        format!("id          {id}"),
        "name        example.com/app".to_owned(),
        "version     -".to_owned(),
        "tags        stable".to_owned(),
        "for         any".to_owned(),
        "depends on  -".to_owned(),
        "command     /bin/app".to_owned(),
        "size        4.5 KiB".to_owned(),
        "files       3".to_owned(),
        "archive     4.5 KiB, none".to_owned(),
        format!("imported    0 s ago from {}", jetpack.path("image.aci").display()),
        "signature   none (allowed by the person who imported it)".to_owned(),
        "setuid      bin/su".to_owned(),
    ];
    let lines: Vec<&str> = shown.lines().collect();
    for (i, (line, expected)) in lines.iter().zip(&expected).enumerate() {
        // The clock may have moved on.
        assert!(*line == expected || i == 10 && line.ends_with(expected.split_once(" ago").expect("ago").1), "{line}");
    }
    assert_eq!(lines.len(), expected.len(), "{shown}");
}

#[test]
fn a_manifest_is_printed_as_it_came() {
    let jetpack = Jetpack::fake();
    let odd = "{ \"acKind\":\"ImageManifest\",\n\t\"acVersion\": \"0.8.11\", \"unknown\": [1,  2], \"name\": \"odd\" }";
    jetpack.import(&Archive::with_manifest(odd).finish());
    assert_eq!(jetpack.run(["image-manifest", "odd"]).success().stdout, format!("{odd}\n"));
    jetpack.import(&Archive::with_manifest(&(manifest("even", None) + "\n")).finish());
    assert_eq!(jetpack.run(["image-manifest", "even"]).success().stdout, manifest("even", None) + "\n");
}

#[test]
fn an_image_goes_unless_a_pod_stands_on_it() {
    let jetpack = super::with_script("exit 0");
    let other = jetpack.import(&versioned("other", "1"));
    let pod = jetpack.run(["prepare", "example.com/app"]).success().stdout.trim().to_owned();
    let before = jetpack.contents();
    let said = jetpack.run(["destroy-image", "example.com/app"]).failure(125);
    let id = jetpack.run(["-q", "images"]).success().stdout.lines().next().expect("an id").to_owned();
    let expected = format!(
        "jetpack: image {} is in use by pods: {pod}\nhelp: destroy those pods first (`jetpack destroy POD`)\n",
        &id[..19]
    );
    assert_eq!(said, expected);
    assert_eq!(jetpack.contents(), before);
    jetpack.run(["destroy", &pod]).success();
    assert_eq!(jetpack.run(["destroy-image", "example.com/app"]).success().stdout, "");
    assert_eq!(jetpack.contents(), [format!("images/{other}"), format!("layers/{other}")]);
    jetpack.run(["destroy-image", "other"]).success();
    assert_eq!(jetpack.contents(), [""; 0]);
}

#[test]
fn several_images_go_at_once() {
    let (jetpack, [one, two, _]) = three();
    jetpack.run(["destroy-image", &one, "beef"]).success();
    assert_eq!(jetpack.contents(), [format!("images/{two}"), format!("layers/{two}")]);
}

#[test]
fn a_broken_image_hides_no_other_and_can_be_removed() {
    let jetpack = Jetpack::fake();
    let whole = jetpack.import(&Archive::with_manifest(&manifest("whole", None)).finish());
    let broken = jetpack.import(&Archive::with_manifest(&manifest("broken", None)).finish());
    std::fs::write(jetpack.store().join("images").join(&broken).join("image.json"), "{").unwrap();
    let listed = jetpack.run(["-q", "images"]).success();
    assert_eq!(listed.stdout.trim(), whole);
    let warned = jetpack.run(["images"]).success().stderr;
    assert!(warned.contains(&broken[..19]), "{warned}");
    jetpack.run(["destroy-image", &broken]).success();
    jetpack.run(["destroy-image", "whole"]).success();
    assert_eq!(jetpack.contents(), [""; 0]);
}

#[test]
fn an_image_stays_while_a_pods_manifest_does_not_tell_what_it_stands_on() {
    let jetpack = super::with_script("exit 0");
    let pod = jetpack.run(["prepare", "example.com/app"]).success().stdout.trim().to_owned();
    std::fs::write(jetpack.store().join("state/prepared").join(&pod).join("manifest"), "{").unwrap();
    let before = jetpack.contents();
    let said = jetpack.run(["destroy-image", "example.com/app"]).failure(125);
    assert!(said.contains(&format!("is in use by pod {pod}: cannot read the manifest of pod {pod}: ")), "{said}");
    assert!(said.ends_with(&format!("\nhelp: destroy that pod first (`jetpack destroy {pod}`)\n")), "{said}");
    assert_eq!(jetpack.contents(), before);
    jetpack.run(["destroy", &pod]).success();
    jetpack.run(["destroy-image", "example.com/app"]).success();
    assert_eq!(jetpack.contents(), [""; 0]);
}
