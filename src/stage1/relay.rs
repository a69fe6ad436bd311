//! Bytes between the person's terminal and the pod's.
//!
//! Nothing here blocks for long: what one side does not take yet is kept, so that a full pseudo-terminal cannot stop output,
//! nor a stopped screen the signals.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::session::HARMLESS;
use crate::sys;
use crate::sys::signal::Signals;

/// How many bytes are kept for a side that does not take them, before the other side is asked for no more.
const ENOUGH: usize = 64 * 1024;

/// How many bytes are read at most when the program has ended: more than a terminal holds, so that nothing is lost that was
/// written before.
const LAST: usize = 128 * 1024;

/// What a terminal sends when its reader should see the end of input.
const END_OF_INPUT: u8 = 4;

/// The state of the relay.
pub(super) struct Relay {
    master: OwnedFd,
    input: OwnedFd,
    output: OwnedFd,
    to_pod: Vec<u8>,
    to_person: Vec<u8>,
    input_open: bool,
    mid_line: bool,
    pod_open: bool,
}

impl Relay {
    /// A relay between `master` and the descriptors `input` and `output` of the person.
    pub(super) fn new(master: OwnedFd, input: OwnedFd, output: OwnedFd) -> sys::Result<Relay> {
        sys::signal::set_nonblocking(&master)?;
        let (to_pod, to_person) = (Vec::new(), Vec::new());
        Ok(Relay { master, input, output, to_pod, to_person, input_open: true, mid_line: false, pod_open: true })
    }

    /// The pod's terminal.
    pub(super) fn master(&self) -> BorrowedFd<'_> {
        self.master.as_fd()
    }

    /// What to wait for: the pod's side, the person's input, the person's output. A side of which nothing is wanted is left
    /// out, since poll(2) reports a hang-up whether or not it was asked.
    pub(super) fn interests(&self) -> [Option<PollFd<'_>>; 3] {
        let when = |wanted: bool, flag| if wanted { flag } else { PollFlags::empty() };
        let pod = when(self.pod_open && self.to_person.len() < ENOUGH, PollFlags::POLLIN)
            | when(self.pod_open && !self.to_pod.is_empty(), PollFlags::POLLOUT);
        let input = when(self.input_open && self.to_pod.len() < ENOUGH, PollFlags::POLLIN);
        let output = when(!self.to_person.is_empty(), PollFlags::POLLOUT);
        [
            (!pod.is_empty()).then(|| PollFd::new(self.master.as_fd(), pod)),
            (!input.is_empty()).then(|| PollFd::new(self.input.as_fd(), input)),
            (!output.is_empty()).then(|| PollFd::new(self.output.as_fd(), output)),
        ]
    }

    /// Moves what can be moved. `ready` tells which of [`Relay::interests`] are.
    pub(super) fn turn(&mut self, ready: [bool; 3]) {
        if ready[1] && self.input_open && self.to_pod.len() < ENOUGH {
            self.read_input();
        }
        if ready[0] && self.pod_open {
            self.read_pod();
        }
        self.write_pod();
        if ready[2] {
            self.write_person();
        }
    }

    /// Whether the pod's side was hung up and need not be waited for. A new process may open the terminal again.
    pub(super) fn pod_hung_up(&self) -> bool {
        !self.pod_open
    }

    /// Looks again at a side that was hung up.
    pub(super) fn look_again(&mut self) {
        self.pod_open = true;
    }

    /// When the program has ended: brings what is left to the person, as long as it takes; a signal that would end a program
    /// ends this too. Whoever writes on to the terminal is not listened to for ever.
    pub(super) fn drain(mut self, signals: &Signals) {
        let mut left = LAST;
        loop {
            if self.to_person.len() < ENOUGH && left > 0 {
                let before = self.to_person.len();
                self.read_pod();
                left = left.saturating_sub(self.to_person.len() - before);
            }
            if self.to_person.is_empty() {
                return;
            }
            let mut ready =
                [PollFd::new(self.output.as_fd(), PollFlags::POLLOUT), PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                Err(_) => return,
                Ok(_) => {}
            }
            let [writable, signalled] = ready.map(|r| r.any().unwrap_or(false));
            if signalled && signals.pending().iter().any(|signal| !HARMLESS.contains(signal)) {
                return;
            }
            if writable {
                self.write_person();
            }
        }
    }

    fn read_input(&mut self) {
        let mut bytes = [0; 4096];
        match nix::unistd::read(&self.input, &mut bytes) {
            Ok(0) => {
                self.input_open = false;
                // In the middle of a line the first one only ends what can be read so far (termios(4), VEOF).
                let times = if self.mid_line { 2 } else { 1 };
                self.to_pod.extend([END_OF_INPUT].repeat(times));
            }
            Ok(n) => {
                self.to_pod.extend_from_slice(&bytes[..n]);
                self.mid_line = !matches!(bytes[n - 1], b'\n' | b'\r');
            }
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => self.input_open = false,
        }
    }

    fn read_pod(&mut self) {
        let mut bytes = [0; 4096];
        match nix::unistd::read(&self.master, &mut bytes) {
            Ok(n) if n > 0 => self.to_person.extend_from_slice(&bytes[..n]),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            _ => self.pod_open = false,
        }
    }

    fn write_pod(&mut self) {
        if self.to_pod.is_empty() || !self.pod_open {
            return;
        }
        match nix::unistd::write(&self.master, &self.to_pod) {
            Ok(n) => drop(self.to_pod.drain(..n)),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(_) => self.to_pod.clear(),
        }
    }

    /// A little at a time: the descriptor blocks, and it said that it has room.
    fn write_person(&mut self) {
        let some = self.to_person.len().min(1024);
        match nix::unistd::write(&self.output, &self.to_person[..some]) {
            Ok(n) => drop(self.to_person.drain(..n)),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            // Nobody reads any more: what would be written is lost, as it is at the end of a pipe.
            Err(_) => self.to_person.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn bytes_cross_both_ways_and_the_rest_is_drained() {
        let (master, slave) = sys::terminal::open_pty().unwrap();
        let slave = sys::terminal::open_slave(&slave).unwrap();
        let raw = sys::terminal::KeptMode::keep(slave.as_fd()).unwrap();
        raw.make_raw().unwrap();
        let (input, typing) = sys::process::pipe().unwrap();
        let (screen, output) = sys::process::pipe().unwrap();
        let mut relay = Relay::new(master, input, output).unwrap();
        nix::unistd::write(&typing, b"hello").unwrap();
        drop(typing);
        relay.turn([false, true, false]);
        relay.turn([false, true, false]);
        let mut typed = [0; 7];
        (&slave).read_exact(&mut typed).unwrap();
        assert_eq!(&typed, b"hello\x04\x04");
        nix::unistd::write(&slave, b"world").unwrap();
        relay.drain(&Signals::catch(&[]).unwrap());
        drop((raw, slave));
        let mut seen = Vec::new();
        std::fs::File::from(screen).read_to_end(&mut seen).unwrap();
        assert_eq!(seen, b"world");
    }
}
