//! Terminals: raw mode with its restoration, window sizes, and pseudo-terminals.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use serde::{Deserialize, Serialize};

use super::{Call, Result};

/// Rows and columns, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Lines of text.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// Whether `fd` is a terminal.
pub fn is_terminal(fd: &impl AsFd) -> bool {
    std::io::IsTerminal::is_terminal(&fd.as_fd())
}

/// Whether the terminal `fd` is this process's own and in the hands of another process group.
pub fn is_in_background(fd: &impl AsFd) -> bool {
    nix::unistd::tcgetpgrp(fd).is_ok_and(|group| group != nix::unistd::getpgrp())
}

/// Opens the terminal that `fd` is once more, for reading or for writing, so that reads and writes return at once while those
/// of others who have `fd` wait as before.
///
/// # Errors
/// It is no terminal, or has no name here.
pub fn reopen(fd: BorrowedFd<'_>, write: bool) -> Result<OwnedFd> {
    let path = nix::unistd::ttyname(fd).call(|| "ttyname()")?;
    let call = || format!("open({path:?}, O_NONBLOCK|O_NOCTTY)");
    let mut options = OpenOptions::new();
    options.read(!write).write(write).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
    options.open(&path).map(OwnedFd::from).call(call)
}

/// The size of the terminal `fd`, if it is one and knows.
pub fn size(fd: &impl AsFd) -> Option<Size> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ fills the structure that the pointer names.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCGWINSZ, &raw mut size) };
    (result == 0 && size.ws_row > 0 && size.ws_col > 0).then_some(Size { rows: size.ws_row, columns: size.ws_col })
}

/// Sets the size of the terminal `fd`; its foreground process group gets SIGWINCH.
///
/// # Errors
/// `fd` is no terminal.
pub fn set_size(fd: &impl AsFd, size: Size) -> Result<()> {
    let size = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads the structure that the pointer names.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    Errno::result(result).map(drop).call(|| "ioctl(TIOCSWINSZ)")
}

/// A terminal that will have its present mode again when this is dropped, whatever happens to it meanwhile.
#[derive(Debug)]
pub struct KeptMode {
    terminal: OwnedFd,
    before: Termios,
}

impl KeptMode {
    /// Remembers the mode of `terminal`.
    ///
    /// # Errors
    /// It is no terminal.
    pub fn keep(terminal: BorrowedFd<'_>) -> Result<KeptMode> {
        let terminal = terminal.try_clone_to_owned().call(|| "dup(terminal)")?;
        let before = tcgetattr(&terminal).call(|| "tcgetattr()")?;
        Ok(KeptMode { terminal, before })
    }

    /// Switches to raw mode: every key is a byte, and none is a signal.
    ///
    /// # Errors
    /// The terminal has gone.
    pub fn make_raw(&self) -> Result<()> {
        let mut raw = self.before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(&self.terminal, SetArg::TCSANOW, &raw).call(|| "tcsetattr(raw)")
    }

    /// Gives the terminal the mode back that it had, if it has another one, and this process is not in the background: there
    /// the terminal is somebody else's now.
    pub fn give_back(&self) {
        if is_in_background(&self.terminal) || tcgetattr(&self.terminal).is_ok_and(|now| now == self.before) {
            return;
        }
        // At once: what is still to be shown may wait for ever for a reader. A terminal that has gone needs no mode.
        let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
    }
}

impl Drop for KeptMode {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// A new pseudo-terminal of the filesystem that this process sees: its master and the path of its slave.
///
/// # Errors
/// There is no `/dev/ptmx` here, or no terminal left.
pub fn open_pty() -> Result<(OwnedFd, PathBuf)> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = nix::pty::posix_openpt(flags).call(|| "posix_openpt()")?;
    nix::pty::grantpt(&master).call(|| "grantpt()")?;
    nix::pty::unlockpt(&master).call(|| "unlockpt()")?;
    // SAFETY: the name is copied before anything else could ask for another one; the process has one thread.
    let name = unsafe { libc::ptsname(master.as_raw_fd()) };
    if name.is_null() {
        return Err(super::Error::new("ptsname()", Errno::last()));
    }
    // SAFETY: ptsname(3) returned a string that ends in NUL.
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
    Ok((OwnedFd::from(master), PathBuf::from(name)))
}

/// Opens the slave without making it anybody's controlling terminal.
///
/// # Errors
/// It cannot be opened.
pub fn open_slave(path: &std::path::Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NOCTTY);
    options.open(path).call(|| format!("open({path:?}, O_RDWR|O_NOCTTY)"))
}

/// Begins a session; `terminal`, if given, becomes its controlling terminal.
///
/// # Errors
/// The process leads a group already, or the terminal belongs to another session.
pub fn new_session(terminal: Option<BorrowedFd<'_>>) -> Result<()> {
    nix::unistd::setsid().call(|| "setsid()")?;
    if let Some(terminal) = terminal {
        // SAFETY: TIOCSCTTY takes a number.
        let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSCTTY as _, 0) };
        Errno::result(result).call(|| "ioctl(TIOCSCTTY)")?;
    }
    Ok(())
}
