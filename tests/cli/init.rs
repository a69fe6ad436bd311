//! `jetpack init`

use std::os::unix::fs::PermissionsExt;

use crate::support::command::Jetpack;

/// What `jetpack init` says of the store and the user, without what it says of FreeBSD's rc.conf.
fn said(jetpack: &Jetpack, arguments: &[&str]) -> String {
    let stdout = jetpack.run(arguments).success().stdout;
    stdout.split_once("to start pods").map_or(stdout.clone(), |(before, _)| before.to_owned())
}

const FAKE: [&str; 2] = ["storage=fake", "isolation=fake"];

#[test]
fn a_store_is_made_once_and_checked_afterwards() {
    let jetpack = Jetpack::uninitialized(&FAKE);
    let store = jetpack.store();
    let at = format!("at {} (storage fake, format 1)\n", store.display());
    assert_eq!(said(&jetpack, &["init"]), format!("made a store {at}"));
    jetpack.import(&super::versioned("a", "1"));
    let before = jetpack.contents();
    assert_eq!(said(&jetpack, &["init"]), format!("there is a store {at}"));
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
    let jetpack = Jetpack::uninitialized(&FAKE);
    std::fs::create_dir(jetpack.store()).expect("a directory");
    std::fs::set_permissions(jetpack.store(), std::fs::Permissions::from_mode(0o777)).expect("a mode");
    jetpack.run(["init"]).success();
    assert_eq!(std::fs::metadata(jetpack.store()).expect("store").permissions().mode() & 0o7777, 0o700);
}

#[test]
fn a_store_that_somebody_opened_to_others_is_refused() {
    let jetpack = Jetpack::fake();
    let change = |mode| {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(jetpack.store(), mode).expect("a mode");
    };
    for mode in [0o755, 0o770, 0o701, 0o1700] {
        change(mode);
        let at = jetpack.store().display().to_string();
        let expected = format!(
            "jetpack: the store at {at} is open to others: its mode is {mode:04o}\nhelp: if nobody has changed it \
             meanwhile, close it with `chmod 0700 {at}`\n"
        );
        for command in ["init", "images", "list"] {
            assert_eq!(jetpack.run([command]).failure(125), expected, "{command} {mode:o}");
        }
    }
    // A group that is allowed to look in is the administrator's choice.
    for mode in [0o700, 0o750] {
        change(mode);
        jetpack.run(["images"]).success();
    }
}

#[test]
fn a_directory_that_holds_anything_else_does_not_become_a_store() {
    let jetpack = Jetpack::uninitialized(&FAKE);
    std::fs::create_dir(jetpack.store()).expect("a directory");
    std::fs::set_permissions(jetpack.store(), std::fs::Permissions::from_mode(0o755)).expect("a mode");
    std::fs::create_dir(jetpack.store().join("images")).expect("somebody's directory");
    let said = jetpack.run(["init"]).failure(125);
    let expected = format!(
        "jetpack: {} is neither empty nor a store\nhelp: set `root.path` to a directory that is empty or not there yet\n",
        jetpack.store().display()
    );
    assert_eq!(said, expected);
    assert_eq!(std::fs::metadata(jetpack.store()).expect("it").permissions().mode() & 0o7777, 0o755);
    assert_eq!(std::fs::read_dir(jetpack.store()).expect("it").count(), 1);
    // The root of a filesystem of its own is as good as empty, and a killed `init` can be repeated.
    for name in ["lost+found", "store.new"] {
        let jetpack = Jetpack::uninitialized(&FAKE);
        std::fs::create_dir(jetpack.store()).expect("a directory");
        std::fs::write(jetpack.store().join(name), "").expect("a file");
        jetpack.run(["init"]).success();
        assert!(!jetpack.store().join("store.new").exists());
    }
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

#[test]
fn a_user_is_made_only_when_asked_and_where_there_is_none() {
    let jetpack = Jetpack::uninitialized(&[FAKE[0], FAKE[1], "mds.user=root"]);
    let at = format!("a store at {} (storage fake, format 1)\n", jetpack.store().display());
    assert_eq!(said(&jetpack, &["init", "--user"]), format!("made {at}there is a user root\n"));
    assert_eq!(said(&jetpack, &["init"]), format!("there is {at}"));
    let json: serde_json::Value =
        serde_json::from_str(&jetpack.run(["--format", "json", "init", "--user"]).success().stdout).expect("JSON");
    assert_eq!(json["user"], serde_json::json!({ "name": "root", "made": false }));
}

#[test]
fn what_is_no_name_for_a_user_is_refused() {
    for name in ["-r", "a b", ""] {
        let jetpack = Jetpack::uninitialized(&[FAKE[0], FAKE[1], &format!("mds.user={name}")]);
        let expected =
            format!("jetpack: {name:?} is no name for a user\nhelp: set `mds.user` to another, such as _jetpack\n");
        assert_eq!(jetpack.run(["init", "--user"]).failure(125), expected);
    }
}
