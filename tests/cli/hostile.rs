//! Archives that were made to hurt: each is refused or contained, nothing outside changes, and nothing is left.

use crate::support::command::Jetpack;
use crate::support::hostile::{archives, check_all, cut_short};

#[test]
fn each_is_refused_or_contained() {
    check_all(&Jetpack::fake(), "fake", archives);
}

#[test]
fn each_that_ends_early_is_refused() {
    check_all(&Jetpack::fake(), "fake", |_| cut_short());
}
