//! Between a person and a program in a pod, while it runs: events of the agent, signals, bytes between terminals.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use serde::Serialize;

use super::message::{Event, Heard, Order, hear, send};
use super::relay::Relay;
use crate::error::{Context, Error, Result};
use crate::sys;
use crate::sys::channel::Channel;
use crate::sys::process::Exit;
use crate::sys::signal::{FORWARDED, Signals};
use crate::sys::terminal::KeptMode;

/// How long the pod's terminal is left alone after it was hung up (milliseconds).
const HUNG_UP: u16 = 50;

/// Signals that end nothing.
pub(super) const HARMLESS: [Signal; 3] = [Signal::SIGWINCH, Signal::SIGCONT, Signal::SIGTSTP];

/// Catches the signals that a session deals with.
///
/// # Errors
/// No descriptors are left.
pub(super) fn catch_signals() -> Result<Signals> {
    let caught: Vec<Signal> = FORWARDED.into_iter().chain([Signal::SIGWINCH, Signal::SIGTSTP]).collect();
    Signals::catch(&caught).context(|| "cannot catch signals")
}

/// Refuses directories. One as standard input would be a way out of the pod: openat(2) with `..` knows no root.
///
/// # Errors
/// One of them is a directory.
pub(super) fn refuse_directories(standard: [BorrowedFd<'_>; 3]) -> Result<()> {
    for (fd, name) in standard.into_iter().zip(["input", "output", "error"]) {
        let what = || format!("cannot give the pod its standard {name}");
        let copy = std::fs::File::from(fd.try_clone_to_owned().context(what)?);
        if copy.metadata().context(what)?.is_dir() {
            return Err(Error::with_source(what(), "it is a directory of the host's"));
        }
    }
    Ok(())
}

/// How far the program is that a session is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// It is the pod's own: it ends when the agent does.
    Own,
    /// It was asked for. Until it begins, there is nobody to pass signals to, and what ends a program ends the session.
    Asked,
    /// It was asked for and has begun.
    Begun,
}

/// The time between the launch, or the request, and the end of the program.
pub(super) struct Session<'a> {
    channel: Channel,
    program: Program,
    signals: Signals,
    relay: Option<Relay>,
    mode: Option<KeptMode>,
    outcome: Option<Result<Exit>>,
    warn: &'a dyn Fn(&str),
}

/// What is left of a session when the connection is closed.
pub(super) struct Remains {
    program: Program,
    signals: Signals,
    relay: Option<Relay>,
    mode: Option<KeptMode>,
    outcome: Option<Result<Exit>>,
}

impl Remains {
    /// Brings the last of the output to the person, and gives the terminal back. Says how far the program was, and how it ended,
    /// if the agent has said that.
    pub(super) fn finish(self) -> (Program, Option<Result<Exit>>) {
        self.relay.into_iter().for_each(|relay| relay.drain(&self.signals));
        drop(self.mode);
        (self.program, self.outcome)
    }
}

impl<'a> Session<'a> {
    /// A session on the terminal of this process, if it has one.
    pub(super) fn new(channel: Channel, program: Program, signals: Signals, warn: &'a dyn Fn(&str)) -> Session<'a> {
        // Without a terminal of its own the program may get the person's, and leave it in any mode.
        let mode = KeptMode::keep(std::io::stdin().as_fd()).ok();
        Session { channel, program, signals, relay: None, mode, outcome: None, warn }
    }

    /// Says the first message, and serves until the program has ended.
    ///
    /// # Errors
    /// The agent has gone, or cannot be understood.
    pub(super) fn hold(&mut self, first: &impl Serialize, fds: &[BorrowedFd<'_>]) -> Result<()> {
        send(&self.channel, first, fds)?;
        loop {
            let [events, signals, relay @ ..] = self.wait()?;
            if let Some(moving) = &mut self.relay {
                moving.turn(relay);
            }
            // First what the agent has said, whether or not it was seen above: a program that has begun gets its signals.
            let open = !(events || signals) || self.hear()?;
            if signals {
                self.forward_signals();
            }
            if !open || (self.program != Program::Own && self.outcome.is_some()) {
                return Ok(());
            }
        }
    }

    /// Closes the connection.
    pub(super) fn hang_up(self) -> Remains {
        let Session { program, signals, relay, mode, outcome, .. } = self;
        Remains { program, signals, relay, mode, outcome }
    }

    /// Waits until something can be done, and says what: events, signals, and the three of the relay.
    fn wait(&mut self) -> Result<[bool; 5]> {
        let [pod, input, output] = self.relay.as_ref().map_or([None, None, None], Relay::interests);
        let readable = |fd| Some(PollFd::new(fd, PollFlags::POLLIN));
        let wanted = [readable(self.channel.as_fd()), readable(self.signals.as_fd()), pod, input, output];
        let places: Vec<usize> = (0..wanted.len()).filter(|place| wanted[*place].is_some()).collect();
        let mut interests: Vec<PollFd<'_>> = wanted.into_iter().flatten().collect();
        let hung_up = self.relay.as_ref().is_some_and(Relay::pod_hung_up);
        let timeout = if hung_up { PollTimeout::from(HUNG_UP) } else { PollTimeout::NONE };
        let count = match poll(&mut interests, timeout) {
            Err(Errno::EINTR) => return Ok([false; 5]),
            other => other.context(|| "cannot wait for the pod")?,
        };
        let mut ready = [false; 5];
        for (place, interest) in places.into_iter().zip(&interests) {
            ready[place] = interest.any().unwrap_or(false);
        }
        drop(interests);
        if count == 0
            && let Some(relay) = &mut self.relay
        {
            relay.look_again();
        }
        Ok(ready)
    }

    fn forward_signals(&mut self) {
        for signal in self.signals.pending() {
            match signal {
                Signal::SIGWINCH => self.resize(),
                Signal::SIGTSTP => self.stop(),
                other if self.program == Program::Asked && !HARMLESS.contains(&other) => {
                    self.outcome = self.outcome.take().or(Some(Ok(Exit::Signal(other as i32))));
                }
                other => {
                    if other == Signal::SIGCONT {
                        self.make_raw();
                    }
                    // An agent that has gone needs no signal; its end is seen on the channel.
                    let _ = send(&self.channel, &Order::Signal(other as i32), &[]);
                }
            }
        }
    }

    /// Stops as other programs do, with the terminal as they leave it.
    fn stop(&self) {
        self.mode.iter().for_each(KeptMode::give_back);
        sys::signal::stop_here();
        self.make_raw();
    }

    /// Makes the person's terminal raw, if the pod has one of its own.
    fn make_raw(&self) {
        if self.relay.is_some() {
            // A terminal that has gone is seen by the relay.
            self.mode.iter().for_each(|mode| drop(mode.make_raw()));
        }
    }

    fn resize(&self) {
        if let (Some(relay), Some(size)) = (&self.relay, sys::terminal::size(&std::io::stdin())) {
            let _ = sys::terminal::set_size(&relay.master(), size);
        }
    }

    /// Hears what the agent has said; false when it has closed the connection.
    fn hear(&mut self) -> Result<bool> {
        loop {
            let (event, fds) = match hear::<Event>(&mut self.channel)? {
                Heard::Message(event, fds) => (event, fds),
                Heard::Partial => return Ok(true),
                Heard::Closed => return Ok(false),
            };
            match event {
                Event::Terminal => self.connect_terminal(fds.into_iter().next())?,
                Event::Started => self.program = Program::Begun,
                Event::Warning(text) => (self.warn)(&text),
                Event::Failed(told) => self.outcome = Some(Err(told.into())),
                Event::Exited(exit) => self.outcome = Some(Ok(exit)),
                // For those who watch.
                Event::Watched(_) | Event::Obeyed => {}
            }
        }
    }

    fn connect_terminal(&mut self, master: Option<OwnedFd>) -> Result<()> {
        let what = || "cannot connect to the pod's terminal";
        let master = master.ok_or_else(|| Error::new(what()))?;
        let input = std::io::stdin().as_fd().try_clone_to_owned().context(what)?;
        let output = std::io::stdout().as_fd().try_clone_to_owned().context(what)?;
        self.relay = Some(Relay::new(master, input, output).context(what)?);
        self.make_raw();
        // The window may have changed since the pod was told its size.
        self.resize();
        Ok(())
    }
}
