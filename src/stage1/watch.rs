//! Signals that end long work of this process, so that what it made is removed before.

use std::fmt;

use nix::sys::signal::Signal;

use crate::error::{Context, Error, Result};
use crate::sys::process::Exit;
use crate::sys::signal::{FORWARDED, Signals, go_on, heed, release};

use super::session::HARMLESS;

/// A signal that ended the work of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interruption(Signal);

impl Interruption {
    /// The exit code, as if the signal had killed the process.
    pub fn code(self) -> u8 {
        Exit::Signal(self.0 as i32).code()
    }
}

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "interrupted by {}", self.0)
    }
}

/// Catches the signals that would end this process. While it lives, whatever works long ends with an error when one has
/// arrived.
#[derive(Debug)]
pub struct Watch {
    signals: Signals,
    arrived: Option<Signal>,
}

impl Watch {
    /// Begins to watch.
    ///
    /// # Errors
    /// The signals cannot be caught.
    pub fn begin() -> Result<Watch> {
        let ending: Vec<Signal> = FORWARDED.into_iter().filter(|signal| !HARMLESS.contains(signal)).collect();
        let signals = Signals::catch(&ending).context(|| "cannot catch signals")?;
        heed(Some(&signals));
        Ok(Watch { signals, arrived: None })
    }

    /// Does what deals with signals itself. They are caught all the time: what arrives just before is for `work`, and what it
    /// has left is seen afterwards.
    ///
    /// # Errors
    /// Those of `work`.
    pub(super) fn pause<T>(&mut self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        heed(None);
        let done = work()?;
        release(&HARMLESS).context(|| "cannot catch signals")?;
        self.note();
        heed(Some(&self.signals));
        Ok(done)
    }

    /// Takes in what has arrived.
    fn note(&mut self) {
        let ending = self.signals.pending().into_iter().find(|signal| !HARMLESS.contains(signal));
        self.arrived = self.arrived.or(ending);
    }

    /// Goes on unless one has arrived.
    ///
    /// # Errors
    /// One has.
    pub fn check(&self) -> Result<()> {
        match self.arrived {
            Some(_) => Err(Error::new("interrupted")),
            None => go_on().context(|| "interrupted"),
        }
    }

    /// Ends the watch: what arrives from now on ends nothing, so that all can be cleaned up. Gives the first that has
    /// arrived.
    pub fn end(mut self) -> Option<Interruption> {
        heed(None);
        self.note();
        self.arrived.map(Interruption)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        heed(None);
    }
}
