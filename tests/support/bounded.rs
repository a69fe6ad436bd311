//! Waiting that ends: a test that would hang fails instead.

use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

/// The longest that anything here is waited for.
pub(crate) const LONG: Duration = Duration::from_secs(20);

/// Waits until `happened()`, and fails the test with `what` if it does not in time.
#[track_caller]
pub(crate) fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !happened() {
        assert!(Instant::now() < end, "waited in vain for this: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits for the end of `child`, which is killed if it does not end in time.
#[track_caller]
pub(crate) fn ended(child: &mut Child) -> ExitStatus {
    let end = Instant::now() + LONG;
    loop {
        if let Some(status) = child.try_wait().expect("a child") {
            return status;
        }
        if Instant::now() > end {
            let _ = child.kill();
            let _ = child.wait();
            panic!("the command did not end in time");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
