//! `-o`, wherever it stands.
//!
//! Of an option that may stand before and behind the subcommand, clap keeps the values of one place only. Settings must not be
//! lost in silence, so each is remembered as it is read.

use std::cell::RefCell;

thread_local! {
    static GIVEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Reads the value of one `-o`.
pub(super) fn remember(text: &str) -> Result<String, std::convert::Infallible> {
    GIVEN.with_borrow_mut(|given| given.push(text.to_owned()));
    Ok(text.to_owned())
}

/// All that were read, in order.
pub(super) fn all() -> Vec<String> {
    GIVEN.take()
}
