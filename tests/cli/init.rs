//! `jetpack init`

use std::os::unix::fs::PermissionsExt;

use crate::support::command::Jetpack;

const FAKE: [&str; 2] = ["storage=fake", "isolation=fake"];

#[test]
fn a_store_is_made_once_and_checked_afterwards() {
    let jetpack = Jetpack::uninitialized(&FAKE);
    let store = jetpack.store();
    let at = format!("at {} (storage fake, format 1)\n", store.display());
    assert_eq!(jetpack.run(["init"]).success().stdout, format!("made a store {at}"));
    jetpack.import(&super::versioned("a", "1"));
    let before = jetpack.contents();
    assert_eq!(jetpack.run(["init"]).success().stdout, format!("there is a store {at}"));
    assert_eq!(jetpack.run(["-q", "init"]).success().stdout, "");
    assert_eq!(jetpack.contents(), before);
    let json: serde_json::Value =
        serde_json::from_str(&jetpack.run(["--format", "json", "init"]).success().stdout).expect("JSON");
    let expected = serde_json::json!({ "root": store, "storage": "fake", "format": 1, "made": false });
    assert_eq!(json, expected);
}

#[test]
fn the_store_is_its_owners_alone() {
    let jetpack = Jetpack::fake();
    let mode = |name: &str| std::fs::metadata(jetpack.store().join(name)).expect(name).permissions().mode() & 0o7777;
    for name in ["", "images", "layers", "pods", "state", "state/run", "tmp"] {
        assert_eq!(mode(name), 0o700, "{name}");
    }
    // A store that somebody has opened up in the meantime is not closed by force, but a new one over it is.
    let jetpack = Jetpack::uninitialized(&FAKE);
    std::fs::create_dir(jetpack.store()).expect("a directory");
    std::fs::set_permissions(jetpack.store(), std::fs::Permissions::from_mode(0o777)).expect("a mode");
    jetpack.run(["init"]).success();
    assert_eq!(std::fs::metadata(jetpack.store()).expect("store").permissions().mode() & 0o7777, 0o700);
}

#[test]
fn missing_parents_are_made_and_files_in_the_way_are_named() {
    let jetpack = Jetpack::uninitialized(&FAKE);
    let deep = jetpack.path("a/b/store");
    jetpack.run(["-o", &format!("root.path={}", deep.display()), "init"]).success();
    assert!(deep.join("images").is_dir());
    let jetpack = Jetpack::uninitialized(&FAKE);
    std::fs::write(jetpack.store(), "a file").expect("a file");
    let said = jetpack.run(["init"]).failure(125);
    assert!(said.starts_with(&format!("jetpack: cannot make {}: File exists", jetpack.store().display())), "{said}");
}

#[test]
fn other_stores_are_refused() {
    let table = [
        (
            "format = 2\nstorage = fake\n",
            "has format 2, this program knows 1\nhelp: use the version of Jetpack that made it",
        ),
        (
            "format = 1\nstorage = dir\n",
            "is of kind \"dir\", the configuration asks for \"fake\"\nhelp: set `storage = dir`",
        ),
        ("storage = fake\n", "has no readable format version\n"),
    ];
    for (marker, expected) in table {
        let jetpack = Jetpack::fake();
        std::fs::write(jetpack.store().join("store"), marker).expect("a marker");
        for command in ["init", "images", "list"] {
            let said = jetpack.run([command]).failure(125);
            assert!(said.contains(expected), "{command}: {said}");
        }
    }
}

#[test]
fn without_a_store_there_is_a_way_to_one() {
    let jetpack = Jetpack::uninitialized(&FAKE);
    let expected = format!(
        "jetpack: there is no store at {}\nhelp: run `jetpack init`, or set `root.path` to where the store is\n",
        jetpack.store().display()
    );
    for command in [&["images"][..], &["list"], &["import", "-"], &["run", "x"], &["destroy", "x"]] {
        assert_eq!(jetpack.run(command).failure(125), expected, "{command:?}");
    }
    assert!(!jetpack.store().exists());
}
