//! Signals that end a build, while it works and no command runs that they could be passed on to.

use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::error::{Context, Error, Result};
use crate::sys::signal::{FORWARDED, Signals, release};

/// Catches the signals that would end this process, so that what it made is removed before.
#[derive(Debug)]
pub(super) struct Watch(Signals);

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// The signals cannot be caught.
    pub(super) fn begin() -> Result<Watch> {
        // The runner has caught these, too.
        release(&[Signal::SIGWINCH, Signal::SIGTSTP, Signal::SIGCONT]).context(|| "cannot catch signals")?;
        let ending: Vec<Signal> = FORWARDED.into_iter().filter(|signal| *signal != Signal::SIGCONT).collect();
        Ok(Watch(Signals::catch(&ending).context(|| "cannot catch signals")?))
    }

    /// Whether one has arrived. It stays so: a child process that asks takes nothing away from its parent.
    pub(super) fn has_arrived(&self) -> bool {
        let mut ready = [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
        poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }

    /// Goes on unless one has arrived.
    ///
    /// # Errors
    /// One has.
    pub(super) fn check(&self) -> Result<()> {
        if self.has_arrived() { Err(interrupted()) } else { Ok(()) }
    }

    /// The number of the first that has arrived.
    pub(super) fn signal(&self) -> Option<i32> {
        self.0.pending().first().map(|signal| *signal as i32)
    }
}

/// What ends a build when a signal has arrived. Nobody reads it: the signal is told instead.
pub(super) fn interrupted() -> Error {
    Error::new("interrupted")
}
