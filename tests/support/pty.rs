//! A person at a terminal, played by the test.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::Pid;

use super::bounded::LONG;
use super::command::with_default_signals;

/// A pseudo-terminal with a command running on it as the leader of its session.
pub(crate) struct Terminal {
    master: File,
    slave: File,
    child: Child,
    seen: String,
}

impl Terminal {
    /// Starts `command` on a new terminal of 24 lines and 80 columns.
    pub(crate) fn start(command: &Command) -> Terminal {
        let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&size), None).expect("a pseudo-terminal");
        let slave = File::from(slave);
        // setsid(1) makes its standard input the controlling terminal, and becomes the command itself.
        let mut leader = Command::new("setsid");
        let command = with_default_signals(command);
        leader.arg("-c").arg(command.get_program()).args(command.get_args()).env_clear();
        leader.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm");
        let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
        let child = leader.stdin(end()).stdout(end()).stderr(end()).spawn().expect("setsid starts");
        Terminal { master: File::from(master), slave, child, seen: String::new() }
    }

    /// Types.
    pub(crate) fn send(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("the terminal takes what is typed");
    }

    /// Reads until `text` has appeared; gives everything up to its end since the last call.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) -> String {
        let end = Instant::now() + LONG;
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            assert!(Instant::now() < end, "{text:?} did not appear; the terminal shows {:?}", self.seen);
            self.read_some();
        }
    }

    /// Types `key` now and then until `text` appears: a key that sends a signal is lost on a process that is not yet in the
    /// foreground.
    #[track_caller]
    pub(crate) fn insist(&mut self, key: &str, text: &str) {
        let end = Instant::now() + LONG;
        while !self.seen.contains(text) {
            assert!(Instant::now() < end, "{text:?} did not appear; the terminal shows {:?}", self.seen);
            self.send(key);
            let again = Instant::now() + Duration::from_millis(500);
            while Instant::now() < again && !self.seen.contains(text) {
                self.read_some();
            }
        }
        self.expect(text);
    }

    /// Waits for the end of the command; gives its exit code (128 + the signal that killed it) and what was not yet read.
    #[track_caller]
    pub(crate) fn end(mut self) -> (i32, String) {
        let code = self.code();
        while self.read_some() {}
        (code, std::mem::take(&mut self.seen))
    }

    /// Waits for the end of the command, reading on; gives its exit code.
    #[track_caller]
    pub(crate) fn code(&mut self) -> i32 {
        let end = Instant::now() + LONG;
        loop {
            self.read_some();
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
            }
            assert!(Instant::now() < end, "the command did not end; the terminal shows {:?}", self.seen);
        }
    }

    /// The terminal's mode.
    pub(crate) fn mode(&self) -> Termios {
        tcgetattr(&self.slave).expect("a terminal")
    }

    /// Gives the terminal another size, of which its foreground processes are told.
    pub(crate) fn resize(&self, rows: u16, columns: u16) {
        let slave = Stdio::from(self.slave.try_clone().expect("a descriptor"));
        let sizes = ["rows".to_owned(), rows.to_string(), "cols".to_owned(), columns.to_string()];
        assert!(Command::new("stty").args(sizes).stdin(slave).status().expect("stty starts").success());
    }

    /// Sends the command a signal.
    pub(crate) fn kill(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).expect("the command runs");
    }

    /// Reads what comes within an instant; false if nothing did.
    fn read_some(&mut self) -> bool {
        let mut ready = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut ready, PollTimeout::from(50u8)).unwrap_or(0) == 0 {
            return false;
        }
        let mut bytes = [0; 4096];
        let count = self.master.read(&mut bytes).unwrap_or(0);
        self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        count > 0
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
