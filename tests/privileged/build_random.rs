//! Random changes of random trees: what is built of them and imported elsewhere is the same tree.

use jetpack::stage0::diff::random::{Random, Wild, describe};

use super::build::{let_end, root_of, waiting};
use super::pods;
use crate::support::command::or_skip;

/// The trees are made and changed by the host, in the running pod, so that nothing about them is too odd; below one directory,
/// so that the command keeps its shell.
fn built(seed: u64, kind: &str, other: &str) {
    let jetpack = or_skip!(pods(kind));
    let elsewhere = or_skip!(pods(other));
    let mut random = Random::new(seed).of_text();
    let mut expected = None;
    for (step, parent) in [("grown", "busybox-base"), ("disturbed", "grown")] {
        let directory = jetpack.path(step);
        std::fs::create_dir(&directory).expect("a directory");
        std::fs::write(directory.join("manifest.json"), format!("{{\"name\": \"{step}\"}}")).expect("a manifest");
        let mut child = waiting(&jetpack, &["build", "--dir", directory.to_str().expect("plain"), parent]);
        let (stdout, root) = root_of(&mut child);
        let tree = root.join("tree");
        if step == "grown" {
            std::fs::create_dir(&tree).expect("a directory");
            Wild { random: &mut random, root: &tree }.grow(40);
        } else {
            Wild { random: &mut random, root: &tree }.disturb(20);
        }
        expected = Some(describe(&tree));
        let id = let_end(child, stdout);
        elsewhere.import_file(&jetpack.store().join("images").join(id.trim()).join("image.aci"));
    }
    let expected = expected.expect("a tree");
    for store in [&jetpack, &elsewhere] {
        let mut child = waiting(store, &["run", "--destroy", "disturbed", "--"]);
        let (stdout, root) = root_of(&mut child);
        let found = describe(&root.join("tree"));
        let_end(child, stdout);
        for path in expected.keys().chain(found.keys()) {
            assert_eq!(expected.get(path), found.get(path), "seed {seed}, {kind} to {other}: {}", path.display());
        }
    }
}

#[test]
fn random_changes_are_the_same_after_a_build_on_an_overlay() {
    (0..6).for_each(|seed| built(seed, "overlay", "dir"));
}

#[test]
fn random_changes_are_the_same_after_a_build_in_a_directory() {
    (100..106).for_each(|seed| built(seed, "dir", "overlay"));
}
