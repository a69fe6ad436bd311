//! Standard input, output and error of a program that has no terminal of the pod's.
//!
//! Whoever has a descriptor can open what is behind it anew, with other rights than he was given, and can keep it when he
//! should have ended. So a program gets only pipes, sockets and the null device as they are; for a person's terminal, file or
//! device it gets a pipe, and the bytes are moved here.
//!
//! A stream holds one piece at a time: when that is written, the next is read. So what one side does not take, the other side
//! is not asked for.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;

use super::session::HARMLESS;
use crate::error::{Context, Error, Result};
use crate::sys;
use crate::sys::signal::Signals;

/// The most bytes that are read at once: as many as a pipe holds.
const PIECE: usize = 64 << 10;

/// The most bytes that are written at once to a terminal that may make the writer wait.
const LITTLE: usize = 1 << 10;

/// How long a terminal whose input is for others is left alone.
const REST: Duration = Duration::from_millis(200);

const NAMES: [&str; 3] = ["input", "output", "error"];

/// What has to be moved.
pub(super) struct Streams {
    flows: Vec<Flow>,
    unread: Option<Unread>,
    lost: Option<Error>,
}

/// One stream.
struct Flow {
    /// 0, 1 or 2.
    number: usize,
    source: OwnedFd,
    sink: OwnedFd,
    /// Whether the person's side is a terminal.
    on_terminal: bool,
    /// The most bytes that are written at once.
    most: usize,
    /// What has been read and not yet written stands in `from..to`.
    bytes: Box<[u8]>,
    from: usize,
    to: usize,
    /// No more is read.
    ended: bool,
    /// No more than this is read.
    limit: Option<usize>,
    /// Nothing is read before this.
    resting: Option<Instant>,
}

/// A file that is standard input. What the program has not read of it is left to those who come next, as if the program had
/// read the file itself.
struct Unread {
    file: File,
    /// Where the file stood in the beginning.
    start: u64,
    /// The program's end of the pipe.
    pipe: OwnedFd,
}

/// What a program gets for these standard streams of the person's, and what has to be moved then.
///
/// # Errors
/// One of them is a directory: as standard input it would be a way out of the pod, since openat(2) with `..` knows no root.
pub(super) fn connect(persons: [BorrowedFd<'_>; 3]) -> Result<([OwnedFd; 3], Streams)> {
    let mut streams = Streams::none();
    let input = streams.connect_input(persons[0]).context(|| cannot_give(0))?;
    let output = streams.connect_output(1, persons[1]).context(|| cannot_give(1))?;
    let error = streams.connect_error(persons, &output).context(|| cannot_give(2))?;
    Ok(([input, output, error], streams))
}

fn cannot_give(number: usize) -> String {
    format!("cannot give the pod its standard {}", NAMES[number])
}

fn found(fd: BorrowedFd<'_>) -> std::io::Result<std::fs::Metadata> {
    File::from(fd.try_clone_to_owned()?).metadata()
}

/// Whether a program may have this as it is: nothing can be opened anew through it.
fn is_harmless(fd: BorrowedFd<'_>) -> std::io::Result<bool> {
    let found = found(fd)?;
    let kind = found.file_type();
    if kind.is_dir() {
        return Err(std::io::Error::other("it is a directory of the host's"));
    }
    let is_null = || std::fs::metadata("/dev/null").is_ok_and(|null| null.rdev() == found.rdev());
    Ok(kind.is_fifo() || kind.is_socket() || (kind.is_char_device() && is_null()))
}

fn is_same(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> std::io::Result<bool> {
    let (one, other) = (found(one)?, found(other)?);
    Ok((one.dev(), one.ino(), one.rdev()) == (other.dev(), other.ino(), other.rdev()))
}

impl Streams {
    /// Nothing to move.
    pub(super) fn none() -> Streams {
        Streams { flows: Vec::new(), unread: None, lost: None }
    }

    fn connect_input(&mut self, persons: BorrowedFd<'_>) -> std::io::Result<OwnedFd> {
        if is_harmless(persons)? {
            return persons.try_clone_to_owned();
        }
        let (read, write) = pipe()?;
        sys::signal::set_nonblocking(&write).map_err(std::io::Error::other)?;
        if found(persons)?.is_file() {
            let mut file = File::from(persons.try_clone_to_owned()?);
            if let Ok(start) = file.stream_position() {
                self.unread = Some(Unread { file, start, pipe: read.try_clone()? });
            }
        }
        let (source, on_terminal, _) = reach(persons, false)?;
        self.flows.push(Flow::new(0, source, write, on_terminal, PIECE));
        Ok(read)
    }

    fn connect_output(&mut self, number: usize, persons: BorrowedFd<'_>) -> std::io::Result<OwnedFd> {
        if is_harmless(persons)? {
            return persons.try_clone_to_owned();
        }
        let (read, write) = pipe()?;
        sys::signal::set_nonblocking(&read).map_err(std::io::Error::other)?;
        let (sink, on_terminal, most) = reach(persons, true)?;
        self.flows.push(Flow::new(number, read, sink, on_terminal, most));
        Ok(write)
    }

    fn connect_error(&mut self, persons: [BorrowedFd<'_>; 3], output: &OwnedFd) -> std::io::Result<OwnedFd> {
        if !is_harmless(persons[2])? && is_same(persons[1], persons[2])? {
            // One pipe, so that what is written to both arrives in order.
            return output.try_clone();
        }
        self.connect_output(2, persons[2])
    }

    /// What to wait for: of each stream, what is read and what is written.
    pub(super) fn interests(&self) -> Vec<Option<PollFd<'_>>> {
        self.flows.iter().flat_map(Flow::interests).collect()
    }

    /// How long to wait at most.
    pub(super) fn patience(&self) -> Option<Duration> {
        let now = Instant::now();
        let left = |flow: &Flow| flow.resting?.checked_duration_since(now).filter(|left| !left.is_zero());
        self.flows.iter().filter_map(left).min()
    }

    /// Moves what can be moved. `ready` tells which of [`Streams::interests`] are.
    pub(super) fn turn(&mut self, ready: &[bool]) {
        for (flow, ready) in self.flows.iter_mut().zip(ready.chunks(2)) {
            if let Err(lost) = flow.turn(ready[0], ready[1]) {
                self.lost.get_or_insert(lost);
            }
        }
        // What is closed here is the end of the program's input, or of whoever reads what it writes.
        self.flows.retain(|flow| !flow.is_over());
    }

    /// When the program has ended: gives back what it has not read, and brings the person what it had written by now. Whoever
    /// writes on in the pod is not listened to. A signal that would end a program ends this too.
    ///
    /// Gives what went wrong with a stream of the person's, if anything did.
    pub(super) fn finish(mut self, signals: &Signals) -> Option<Error> {
        let held = self.flows.iter().filter(|flow| flow.is_input()).map(|flow| flow.to - flow.from).sum();
        self.flows.retain(|flow| !flow.is_input());
        self.unread.take().into_iter().for_each(|unread| unread.give_back(held));
        for flow in &mut self.flows {
            flow.limit = Some(sys::process::readable_bytes(&flow.source).unwrap_or(0));
        }
        loop {
            self.read_what_is_there();
            if self.flows.is_empty() {
                break;
            }
            let mut wanted = vec![Some(PollFd::new(signals.as_fd(), PollFlags::POLLIN))];
            wanted.extend(self.interests());
            let Ok(ready) = wait_for(wanted, PollTimeout::NONE) else { break };
            let arrived = if ready[0] { signals.pending() } else { Vec::new() };
            if arrived.contains(&Signal::SIGTSTP) {
                sys::signal::stop_here();
            }
            if arrived.iter().any(|signal| !HARMLESS.contains(signal)) {
                break;
            }
            self.turn(&ready[1..]);
        }
        self.lost
    }

    /// Reads where nothing is held. What is not there now will not come: somebody in the pod has taken it.
    fn read_what_is_there(&mut self) {
        for flow in self.flows.iter_mut().filter(|flow| flow.is_empty()) {
            if flow.limit != Some(0) {
                // Pipes of this process's own fail for no reason but that.
                let _ = flow.read();
            }
            flow.ended |= flow.is_empty();
        }
        self.flows.retain(|flow| !flow.is_over());
    }
}

impl Unread {
    /// Gives back what is still in the pipe, and `held` bytes beside that.
    fn give_back(mut self, held: usize) {
        // The other end is closed, but for those that the program may have opened.
        if sys::signal::set_nonblocking(&self.pipe).is_err() {
            return;
        }
        let Ok(now) = self.file.stream_position() else { return };
        let most = now.saturating_sub(self.start);
        let mut left = held as u64;
        let mut bytes = [0; 4096];
        while left < most {
            match nix::unistd::read(&self.pipe, &mut bytes) {
                Ok(0) => break,
                Ok(n) => left += n as u64,
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        // A file that cannot be moved back is one for which nobody comes next.
        let _ = self.file.seek(SeekFrom::Start(now - left.min(most)));
    }
}

impl Flow {
    fn new(number: usize, source: OwnedFd, sink: OwnedFd, on_terminal: bool, most: usize) -> Flow {
        let bytes = vec![0; PIECE].into_boxed_slice();
        let (from, to, ended, limit, resting) = (0, 0, false, None, None);
        Flow { number, source, sink, on_terminal, most, bytes, from, to, ended, limit, resting }
    }

    fn is_input(&self) -> bool {
        self.number == 0
    }

    fn is_empty(&self) -> bool {
        self.from == self.to
    }

    fn is_over(&self) -> bool {
        self.is_empty() && (self.ended || self.limit == Some(0))
    }

    fn interests(&self) -> [Option<PollFd<'_>>; 2] {
        let source = PollFd::new(self.source.as_fd(), PollFlags::POLLIN);
        // poll(2) tells without being asked that nobody is left to read a pipe.
        let asked = if self.is_empty() { PollFlags::empty() } else { PollFlags::POLLOUT };
        let sink = PollFd::new(self.sink.as_fd(), asked);
        let reads = self.is_empty() && self.resting.is_none_or(|until| until <= Instant::now());
        [reads.then_some(source), (!self.is_empty() || self.is_input()).then_some(sink)]
    }

    /// # Errors
    /// Something of the stream is lost.
    fn turn(&mut self, readable: bool, writable: bool) -> Result<()> {
        if readable {
            self.read()?;
        }
        match (writable, self.is_empty()) {
            (true, false) => self.write(),
            // A program that reads no more has had enough.
            (true, true) if !readable => {
                self.ended = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn read(&mut self) -> Result<()> {
        self.resting = None;
        if self.is_input() && self.on_terminal && sys::terminal::is_in_background(&self.source) {
            // What is typed now is for somebody else. Nobody tells when that changes.
            self.resting = Some(Instant::now() + REST);
            return Ok(());
        }
        let most = self.limit.unwrap_or(PIECE).min(PIECE);
        match nix::unistd::read(&self.source, &mut self.bytes[..most]) {
            Ok(0) => self.ended = true,
            Ok(n) => {
                (self.from, self.to) = (0, n);
                self.limit = self.limit.map(|limit| limit - n);
            }
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => return self.give_up("read", errno),
        }
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        let to = self.to.min(self.from + self.most);
        match nix::unistd::write(&self.sink, &self.bytes[self.from..to]) {
            Ok(n) => self.from += n,
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => return self.give_up("write", errno),
        }
        Ok(())
    }

    fn give_up(&mut self, action: &str, errno: Errno) -> Result<()> {
        self.ended = true;
        self.from = self.to;
        // A program that reads no more has had enough; a terminal that has gone has nobody before it.
        if errno == Errno::EPIPE || self.on_terminal {
            return Ok(());
        }
        Err(Error::with_source(format!("cannot {action} standard {}", NAMES[self.number]), errno.desc()))
    }
}

fn pipe() -> std::io::Result<(OwnedFd, OwnedFd)> {
    sys::process::pipe().map_err(std::io::Error::other)
}

/// A way to the person's side; whether it is a terminal, and how much may be written at once. Others share the person's own
/// descriptor, which therefore stays as it is: a terminal is opened anew where that is possible, for a descriptor that
/// makes nobody wait.
fn reach(persons: BorrowedFd<'_>, write: bool) -> std::io::Result<(OwnedFd, bool, usize)> {
    if !sys::terminal::is_terminal(&persons) {
        return Ok((persons.try_clone_to_owned()?, false, PIECE));
    }
    match sys::terminal::reopen(persons, write) {
        Ok(own) => Ok((own, true, PIECE)),
        Err(_) => Ok((persons.try_clone_to_owned()?, true, LITTLE)),
    }
}

/// Waits until something of what is wanted can be done, and says what.
///
/// # Errors
/// poll(2) failed for another reason than a signal.
pub(super) fn wait_for(wanted: Vec<Option<PollFd<'_>>>, timeout: PollTimeout) -> nix::Result<Vec<bool>> {
    let mut ready = vec![false; wanted.len()];
    let (places, mut interests): (Vec<usize>, Vec<PollFd<'_>>) =
        wanted.into_iter().enumerate().filter_map(|(place, wanted)| Some((place, wanted?))).unzip();
    match poll(&mut interests, timeout) {
        Ok(_) => {
            for (place, interest) in places.into_iter().zip(&interests) {
                ready[place] = interest.any().unwrap_or(false);
            }
            Ok(ready)
        }
        Err(Errno::EINTR) => Ok(ready),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
#[path = "streams_tests.rs"]
mod tests;
