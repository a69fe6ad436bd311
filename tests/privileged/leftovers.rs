//! Nothing of a pod stays on the host.

use super::pods;
use crate::support::command::{or_skip, storages};
use crate::support::host::Snapshot;

#[test]
fn a_run_that_destroys_leaves_the_store_as_it_was() {
    for storage in storages() {
        let jetpack = or_skip!(pods(storage));
        let (before, contents) = (Snapshot::take(&jetpack.store()), jetpack.contents());
        let output = jetpack.run(["run", "--destroy", "busybox-base", "--", "echo", "hello"]).success();
        assert_eq!(output.stdout, "hello\n");
        assert_eq!(Snapshot::take(&jetpack.store()), before, "{storage}");
        assert_eq!(jetpack.contents(), contents, "{storage}");
    }
}
