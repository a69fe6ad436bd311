//! `init`, `images`, `list` on an empty store.

use crate::support::command::Jetpack;

#[test]
fn an_empty_store_lists_nothing() {
    let jetpack = Jetpack::fake();
    assert_eq!(jetpack.run(["images", "-H"]).success().stdout, "");
    assert_eq!(jetpack.run(["list", "-H"]).success().stdout, "");
    assert_eq!(jetpack.run(["--format", "json", "list"]).success().stdout, "[]\n");
    assert_eq!(jetpack.contents(), [""; 0]);
}
