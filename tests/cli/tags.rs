//! `tag`, `untag`, and `name@tag` where an image is named.

use serde_json::{Value, json};

use super::{scripted, versioned, with_script};
use crate::support::command::Jetpack;

const NAME: &str = "example.com/app";

fn id_of(jetpack: &Jetpack, reference: &str) -> String {
    let output = jetpack.run(["--format", "json", "show-image", reference]).success();
    let json: Value = serde_json::from_str(&output.stdout).expect("JSON");
    json["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_tag_means_one_image_and_can_move() {
    let jetpack = Jetpack::fake();
    let [one, two] = ["1", "2"].map(|version| jetpack.import(&versioned(NAME, version)));
    assert_eq!(jetpack.run(["tag", "example.com/app:1", "stable"]).success().stdout, "");
    assert_eq!((id_of(&jetpack, NAME), id_of(&jetpack, "example.com/app@stable")), (two.clone(), one.clone()));
    let moved = jetpack.run(["--format", "json", "tag", &two, "example.com/app@stable"]).success().stdout;
    let moved: Value = serde_json::from_str(&moved).expect("JSON");
    assert_eq!(moved, json!({ "tag": "example.com/app@stable", "id": two, "before": one }));
    assert_eq!(id_of(&jetpack, "example.com/app@stable"), two);
    // By one tag another is given.
    jetpack.run(["tag", "example.com/app@stable", "2.x"]).success();
    jetpack.run(["untag", "example.com/app@stable"]).success();
    assert_eq!(id_of(&jetpack, "example.com/app@2.x"), two);
    let said = jetpack.run(["show-image", "example.com/app@stable"]).failure(125);
    assert_eq!(said, "jetpack: there is no tag example.com/app@stable\nhelp: there is example.com/app@2.x\n");
    assert_eq!(jetpack.run(["-q", "images"]).success().stdout.lines().count(), 2);
}

#[test]
fn a_tag_stands_wherever_an_image_does() {
    let jetpack = Jetpack::fake();
    jetpack.import(&scripted(NAME, "echo first", "").finish());
    jetpack.run(["tag", NAME, "first"]).success();
    jetpack.import(&scripted(NAME, "echo second", "").finish());
    let reference = "example.com/app@first";
    assert_eq!(jetpack.run(["run", "--destroy", NAME]).success().stdout, "second\n");
    assert_eq!(jetpack.run(["run", "--destroy", reference]).success().stdout, "first\n");
    let file = jetpack.path("out.aci");
    jetpack.run(["export", reference, file.to_str().expect("a plain path")]).success();
    assert!(jetpack.run(["image-manifest", reference]).success().stdout.contains(NAME));
    let pod = jetpack.run(["prepare", reference]).success().stdout;
    jetpack.run(["destroy", pod.trim()]).success();
    jetpack.run(["destroy-image", reference]).success();
    assert_eq!(jetpack.run(["-q", "images"]).success().stdout.lines().count(), 1);
}

#[test]
fn what_is_no_tag_is_refused() {
    let jetpack = Jetpack::fake();
    jetpack.import(&versioned(NAME, "1"));
    let table: [(&[&str], &str); 9] = [
        (&["tag", NAME, "a/b"], "\"a/b\" is not a tag\nhelp: a tag has letters"),
        (&["tag", NAME, ""], "\"\" is not a tag\nhelp: "),
        (&["tag", NAME, "other@x"], ": the image is called example.com/app\nhelp: a tag of it is example.com/app@x\n"),
        (&["tag", "other", "x"], "there is no image \"other\"\n"),
        (&["untag", "example.com/app"], "\"example.com/app\" is not of the form NAME@TAG\n"),
        (
            &["untag", "example.com/app@x"],
            "there is no tag example.com/app@x\nhelp: no image example.com/app has a tag",
        ),
        (&["show-image", "example.com/app@x"], "there is no tag example.com/app@x\n"),
        (&["show-image", "example.com/app:1@x"], "has both a tag and a label\nhelp: "),
        (&["show-image", "example.com/app@../../x"], "\"../../x\" is not a tag\n"),
    ];
    for (arguments, expected) in table {
        let said = jetpack.run(arguments).failure(125);
        assert!(said.contains(expected), "{arguments:?}: {said}");
        assert!(!jetpack.store().join("tags").exists());
    }
}

#[test]
fn tags_go_with_their_image() {
    let jetpack = with_script("exit 0");
    let other = jetpack.import(&versioned("other", "1"));
    for (image, tag) in [(NAME, "a"), (NAME, "b"), ("other", "a")] {
        jetpack.run(["tag", image, tag]).success();
    }
    let pod = jetpack.run(["prepare", NAME]).success().stdout;
    // What is refused changes nothing.
    jetpack.run(["destroy-image", NAME]).failure(125);
    assert_eq!(id_of(&jetpack, "example.com/app@b"), id_of(&jetpack, NAME));
    jetpack.run(["destroy", pod.trim()]).success();
    let said = jetpack.run(["-v", "destroy-image", NAME]).success().stderr;
    assert!(said.ends_with(", example.com/app@a, example.com/app@b\n"), "{said}");
    let files = || std::fs::read_dir(jetpack.store().join("tags")).expect("tags").count();
    assert_eq!((files(), id_of(&jetpack, "other@a")), (1, other.clone()));
    // As a killed command leaves it.
    std::fs::rename(jetpack.store().join("images").join(&other), jetpack.path("gone")).expect("the image goes");
    jetpack.run(["show-image", "other@a"]).failure(125);
    jetpack.run(["gc"]).success();
    assert_eq!(files(), 0);
}

#[test]
fn a_tag_that_has_rotted_hides_nothing_and_can_be_mended() {
    let jetpack = Jetpack::fake();
    let id = jetpack.import(&versioned(NAME, "1"));
    jetpack.run(["tag", NAME, "a"]).success();
    std::fs::write(jetpack.store().join("tags/example.com+app@a"), "sha512-").expect("a tag");
    assert_eq!(jetpack.run(["-q", "images"]).success().stdout.trim(), id);
    let said = jetpack.run(["show-image", "example.com/app@a"]).failure(125);
    assert!(said.contains("\nhelp: set it anew, with `jetpack tag IMAGE example.com/app@a`"), "{said}");
    jetpack.run(["tag", NAME, "a"]).success();
    assert_eq!(id_of(&jetpack, "example.com/app@a"), id);
    std::fs::write(jetpack.store().join("tags/example.com+app@a"), "").expect("a tag");
    jetpack.run(["untag", "example.com/app@a"]).success();
}
