//! `jetpack gc`

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{versioned, with_script};
use crate::support::archive::{Archive, manifest};
use crate::support::command::Jetpack;

#[test]
fn what_crashes_left_goes_and_all_else_stays() {
    let jetpack = with_script("exit 0");
    let prepare = || jetpack.run(["prepare", "example.com/app"]).success().stdout.trim().to_owned();
    let (exited, prepared, half) = (prepare(), prepare(), prepare());
    jetpack.run(["run", &exited]).success();
    let whole: Vec<String> = jetpack.contents().into_iter().filter(|name| !name.contains(&half)).collect();
    let state = jetpack.store().join("state");
    std::fs::rename(state.join("prepared").join(&half), state.join("preparing").join(&half)).expect("the directory");
    // A command was killed between a layer and its image.
    let image = jetpack.import(&versioned("other", "1"));
    std::fs::rename(jetpack.store().join("images").join(&image), jetpack.path("gone")).expect("the image goes");
    std::fs::create_dir(jetpack.store().join("tmp/rubbish")).expect("a directory");
    assert_ne!(jetpack.contents(), whole);
    assert_eq!(jetpack.run(["gc"]).success().stdout, format!("removed what was left of pod {half}\n"));
    assert_eq!(jetpack.contents(), whole);
    assert_eq!(jetpack.run(["gc"]).success().stdout, "");
    assert_eq!(jetpack.run(["--format", "json", "gc"]).success().stdout, "{\n  \"images\": [],\n  \"pods\": []\n}\n");
    jetpack.run(["run", &exited]).success();
    jetpack.run(["destroy", &exited, &prepared]).success();
}

/// A store with images of which some are needed, all of them imported two days ago: their ids.
fn old_images() -> (Jetpack, HashMap<&'static str, String>) {
    let jetpack = with_script("exit 0");
    let on = |name: &str, dependency: &str| {
        let more = format!("{{\"dependencies\": [{{\"imageName\": \"{dependency}\"}}],");
        Archive::with_manifest(&manifest(name, None).replacen('{', &more, 1)).finish()
    };
    let mut ids = HashMap::new();
    let listed = jetpack.run(["-q", "images"]).success().stdout;
    ids.insert("example.com/app", listed.trim().to_owned());
    ids.insert("base", jetpack.import(&versioned("base", "1")));
    ids.insert("tagged", jetpack.import(&versioned("tagged", "1")));
    ids.insert("middle", jetpack.import(&on("middle", "base")));
    ids.insert("top", jetpack.import(&on("top", "middle")));
    jetpack.run(["tag", "tagged", "keep"]).success();
    ids.values().for_each(|id| set_old(&jetpack, id));
    (jetpack, ids)
}

/// Makes an image two days old.
fn set_old(jetpack: &Jetpack, id: &str) {
    let then = SystemTime::now() - Duration::from_secs(2 * 86_400);
    let directory = jetpack.store().join("images").join(id);
    let text = std::fs::read_to_string(directory.join("image.json")).expect("a record");
    let mut record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    record["imported"] = then.duration_since(UNIX_EPOCH).expect("a time").as_secs().into();
    std::fs::write(directory.join("image.json"), record.to_string()).expect("a record");
    if let Ok(used) = File::options().write(true).open(directory.join("used")) {
        used.set_modified(then).expect("a time");
    }
}

fn listed(jetpack: &Jetpack) -> BTreeSet<String> {
    jetpack.run(["-q", "images"]).success().stdout.lines().map(str::to_owned).collect()
}

#[test]
fn images_that_nobody_needs_go_when_they_are_old_and_that_is_asked_for() {
    let (jetpack, ids) = old_images();
    let all = listed(&jetpack);
    let pod = jetpack.run(["prepare", "example.com/app"]).success().stdout.trim().to_owned();
    set_old(&jetpack, &ids["example.com/app"]);
    jetpack.run(["gc"]).success();
    jetpack.run(["gc", "--images", "--older", "3d"]).success();
    assert_eq!(listed(&jetpack), all);
    let told = jetpack.run(["--format", "json", "gc", "--images"]).success().stdout;
    let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    // What others need goes after those.
    assert_eq!(told, serde_json::json!({ "pods": [], "images": [ids["top"], ids["middle"], ids["base"]] }));
    assert_eq!(listed(&jetpack), BTreeSet::from([ids["example.com/app"].clone(), ids["tagged"].clone()]));
    // Destroying its pod is a use.
    jetpack.run(["destroy", &pod]).success();
    assert_eq!(jetpack.run(["gc", "--images"]).success().stdout, "");
    set_old(&jetpack, &ids["example.com/app"]);
    jetpack.run(["untag", "tagged@keep"]).success();
    let said = jetpack.run(["gc", "--images"]).success().stdout;
    assert_eq!(said, format!("removed image {}\nremoved image {}\n", ids["example.com/app"], ids["tagged"]));
    assert_eq!(jetpack.contents(), [""; 0]);
}

#[test]
fn what_was_used_lately_stays_with_all_that_it_needs() {
    let (jetpack, ids) = old_images();
    let pod = jetpack.run(["prepare", "example.com/app"]).success().stdout.trim().to_owned();
    jetpack.run(["run", "--destroy", &pod]).success();
    std::fs::write(jetpack.store().join("images").join(&ids["top"]).join("used"), "").expect("a note");
    let before = listed(&jetpack);
    assert_eq!(jetpack.run(["gc", "--images"]).success().stdout, "");
    assert_eq!(listed(&jetpack), before);
    jetpack.run(["gc", "--images", "--older", "0s"]).success();
    assert_eq!(listed(&jetpack), BTreeSet::from([ids["tagged"].clone()]));
}

#[test]
fn what_a_broken_image_or_pod_may_need_stays() {
    let jetpack = with_script("exit 0");
    let base = jetpack.import(&versioned("base", "1"));
    let named = format!("{{\"dependencies\": [{{\"imageName\": \"base\", \"imageID\": \"{base}\"}}],");
    let top = jetpack.import(&Archive::with_manifest(&manifest("top", None).replacen('{', &named, 1)).finish());
    std::fs::write(jetpack.store().join("images").join(&top).join("image.json"), "").expect("a broken record");
    let pod = jetpack.run(["prepare", "example.com/app"]).success().stdout.trim().to_owned();
    jetpack.run(["gc", "--images", "--older", "0s"]).success();
    assert_eq!(listed(&jetpack).len(), 2);
    std::fs::write(jetpack.store().join("state/prepared").join(&pod).join("manifest"), "{").expect("a broken manifest");
    let said = jetpack.run(["gc", "--images", "--older", "0s"]).failure(125);
    assert!(said.contains(&format!("is in use by pod {pod}: ")), "{said}");
    assert_eq!(listed(&jetpack).len(), 2);
}

#[test]
fn what_a_broken_image_may_need_by_its_name_stays() {
    let jetpack = with_script("exit 0");
    jetpack.import(&versioned("base", "1"));
    let named = "{\"dependencies\": [{\"imageName\": \"base\"}],";
    let top = jetpack.import(&Archive::with_manifest(&manifest("top", None).replacen('{', named, 1)).finish());
    let directory = jetpack.store().join("images").join(&top);
    std::fs::write(directory.join("image.json"), "").expect("a broken record");
    jetpack.run(["gc", "--images", "--older", "0s"]).success();
    let left = jetpack.run(["images", "-H"]).success().stdout;
    assert!(left.contains(" base ") && !left.contains("example.com/app"), "{left}");
    jetpack.run(["destroy-image", "base"]).failure(125);
    // Of one of which nothing can be read, nobody knows what it needs.
    std::fs::write(directory.join("manifest"), "{").expect("a broken manifest");
    jetpack.run(["gc", "--images", "--older", "0s"]).success();
    assert_eq!(listed(&jetpack).len(), 1);
    jetpack.run(["destroy-image", &top]).success();
    jetpack.run(["gc", "--images", "--older", "0s"]).success();
    assert_eq!(jetpack.contents(), [""; 0]);
}

#[test]
fn while_a_tag_cannot_be_read_no_image_goes() {
    let (jetpack, ids) = old_images();
    let before = listed(&jetpack);
    std::fs::write(jetpack.store().join("tags/tagged@keep"), "sha512-").expect("a tag");
    let said = jetpack.run(["gc", "--images"]).failure(125);
    let help = "help: set it anew, with `jetpack tag IMAGE tagged@keep`, or remove it with `jetpack untag tagged@keep`";
    assert!(said.starts_with("jetpack: cannot read the tag tagged@keep: ") && said.contains(help), "{said}");
    assert_eq!(listed(&jetpack), before);
    jetpack.run(["tag", &ids["tagged"], "keep"]).success();
    jetpack.run(["gc", "--images"]).success();
    assert_eq!(listed(&jetpack), BTreeSet::from([ids["tagged"].clone()]));
}

#[test]
fn to_import_an_image_again_or_one_on_it_is_a_use() {
    let (jetpack, ids) = old_images();
    jetpack.import(&versioned("base", "1"));
    jetpack.run(["gc", "--images"]).success();
    assert_eq!(listed(&jetpack), BTreeSet::from([ids["base"].clone(), ids["tagged"].clone()]));
    set_old(&jetpack, &ids["base"]);
    let on = "{\"dependencies\": [{\"imageName\": \"base\"}],";
    let top = jetpack.import(&Archive::with_manifest(&manifest("top", None).replacen('{', on, 1)).finish());
    jetpack.run(["destroy-image", &top]).success();
    assert_eq!(jetpack.run(["gc", "--images"]).success().stdout, "");
}

#[test]
fn what_came_from_an_old_store_is_not_old_in_the_new_one() {
    let (old, ids) = old_images();
    let new = Jetpack::uninitialized(&["storage=fake", "isolation=fake"]);
    new.run(["init", "--from", old.store().to_str().expect("a plain path")]).success();
    assert_eq!(new.run(["gc", "--images"]).success().stdout, "");
    assert_eq!(listed(&new).len(), ids.len());
}

#[test]
fn ages_are_checked() {
    let jetpack = Jetpack::fake();
    for age in ["", "1", "h", "1.5h", "-1h"] {
        let said = jetpack.run(["gc", "--images", &format!("--older={age}")]).failure(125);
        assert!(said.contains("write a time such as 30m, 12h or 7d") || said.contains("a value is required"), "{said}");
    }
    let said = jetpack.run(["gc", "--older", "1h"]).failure(125);
    assert!(said.contains("--images"), "{said}");
}

#[test]
fn without_a_store_there_is_nothing_to_collect() {
    let said = Jetpack::uninitialized(&["storage=fake"]).run(["gc"]).failure(125);
    assert!(said.contains("there is no store at"), "{said}");
}
