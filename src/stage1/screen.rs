//! The person's terminal as a page that is written anew, and as before when that is over.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use crate::error::{Context, Result};
use crate::sys;
use crate::sys::signal::Signals;
use crate::sys::terminal::KeptMode;

/// Switches to the page beside the one that scrolls, and hides the cursor (xterm, and whatever else is in use).
const ENTER: &str = "\x1b[?1049h\x1b[?25l";

/// Shows the cursor, and goes back.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// To the top left.
const HOME: &str = "\x1b[H";

/// Empties the rest of the line.
const EMPTY_LINE: &str = "\x1b[K";

/// Empties the lines below.
const EMPTY_BELOW: &str = "\x1b[J";

/// What Ctrl-C is in raw mode.
pub const INTERRUPT: u8 = 3;

/// What Ctrl-Z is in raw mode.
const STOP: u8 = 26;

/// What ends in a wait for the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// The time has come.
    Time,
    /// The other descriptor can be read.
    Other,
    /// A key was pressed. Input that has ended is `q`, and SIGINT is [`INTERRUPT`].
    Key(u8),
    /// The page has to be shown again, perhaps in another size.
    Again,
    /// A signal with this number wants this process to end.
    Signal(i32),
}

/// The page.
pub struct Screen {
    /// Of standard input, if that is a terminal too.
    mode: Option<KeptMode>,
    signals: Signals,
}

impl Screen {
    /// Begins to show it on standard output, which is a terminal. Keys come from standard input, if that is one as well.
    ///
    /// # Errors
    /// The terminal has gone, or no descriptors are left.
    pub fn begin() -> Result<Screen> {
        let caught = [
            Signal::SIGHUP,
            Signal::SIGINT,
            Signal::SIGQUIT,
            Signal::SIGTERM,
            Signal::SIGTSTP,
            Signal::SIGCONT,
            Signal::SIGWINCH,
        ];
        let signals = Signals::catch(&caught).context(|| "cannot catch signals")?;
        let screen = Screen { mode: KeptMode::keep(std::io::stdin().as_fd()).ok(), signals };
        screen.enter()?;
        Ok(screen)
    }

    fn enter(&self) -> Result<()> {
        // A terminal that has gone is seen when it is written to.
        self.mode.iter().for_each(|mode| drop(mode.make_raw()));
        write(ENTER)
    }

    fn leave(&self) {
        // Where it has gone there is nothing to give back.
        let _ = write(LEAVE);
        self.mode.iter().for_each(KeptMode::give_back);
    }

    /// How many lines and columns there are.
    pub fn size(&self) -> (usize, usize) {
        let size = sys::terminal::size(&std::io::stdout());
        size.map_or((24, 80), |size| (usize::from(size.rows), usize::from(size.columns)))
    }

    /// Shows lines, no more than there is room for. Each must fit into its line and hold no control characters.
    ///
    /// # Errors
    /// The terminal has gone.
    pub fn show<'l>(&self, lines: impl IntoIterator<Item = &'l str>) -> Result<()> {
        let (rows, _) = self.size();
        let lines: Vec<String> = lines.into_iter().take(rows).map(|line| format!("{line}{EMPTY_LINE}")).collect();
        write(&format!("{HOME}{}{EMPTY_BELOW}", lines.join("\r\n")))
    }

    /// Waits for a key, a signal, `other`, or `until`.
    ///
    /// # Errors
    /// The terminal has gone.
    pub fn wait(&self, other: BorrowedFd<'_>, until: Instant) -> Result<Woken> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Woken::Time);
            }
            let stdin = std::io::stdin();
            let mut ready =
                vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN), PollFd::new(other, PollFlags::POLLIN)];
            if self.mode.is_some() {
                ready.push(PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
            }
            let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
            match poll(&mut ready, timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context(|| "cannot wait for the terminal"),
            }
            let ready: Vec<bool> = ready.iter().map(|fd| fd.any().unwrap_or(false)).collect();
            let woken = match ready.as_slice() {
                [true, ..] => self.heed_signals()?,
                [_, true, ..] => Some(Woken::Other),
                [_, _, true] => self.heed_key()?,
                _ => None,
            };
            if let Some(woken) = woken {
                return Ok(woken);
            }
        }
    }

    fn heed_signals(&self) -> Result<Option<Woken>> {
        let mut woken = None;
        for signal in self.signals.pending() {
            match signal {
                Signal::SIGTSTP => self.stop()?,
                Signal::SIGCONT => self.enter()?,
                Signal::SIGWINCH => {}
                Signal::SIGINT => return Ok(Some(Woken::Key(INTERRUPT))),
                other => return Ok(Some(Woken::Signal(other as i32))),
            }
            woken = Some(Woken::Again);
        }
        Ok(woken)
    }

    fn heed_key(&self) -> Result<Option<Woken>> {
        let mut key = [0];
        match nix::unistd::read(std::io::stdin(), &mut key) {
            Ok(0) | Err(Errno::EIO) => Ok(Some(Woken::Key(b'q'))),
            Ok(_) if key[0] == STOP => self.stop().map(|()| Some(Woken::Again)),
            Ok(_) => Ok(Some(Woken::Key(key[0]))),
            Err(Errno::EINTR | Errno::EAGAIN) => Ok(None),
            Err(errno) => Err(errno).context(|| "cannot read from the terminal"),
        }
    }

    /// Stops as other programs do, with the terminal as they leave it.
    fn stop(&self) -> Result<()> {
        self.leave();
        sys::signal::stop_here();
        self.enter()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

fn write(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context(|| "cannot write to the terminal")
}
