//! `jetpack gc`

use super::{versioned, with_script};
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
    assert_eq!(jetpack.run(["--format", "json", "gc"]).success().stdout, "{\n  \"pods\": []\n}\n");
    jetpack.run(["run", &exited]).success();
    jetpack.run(["destroy", &exited, &prepared]).success();
}

#[test]
fn without_a_store_there_is_nothing_to_collect() {
    let said = Jetpack::uninitialized(&["storage=fake"]).run(["gc"]).failure(125);
    assert!(said.contains("there is no store at"), "{said}");
}
