//! Between a person and a program in a pod, while it runs: events of the agent, signals, bytes between terminals.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::signal::Signal;
use serde::Serialize;

use super::message::{Event, Heard, Order, hear, send};
use super::relay::Relay;
use super::streams::{Streams, wait_for};
use crate::error::{Context, Error, Result};
use crate::sys;
use crate::sys::channel::Channel;
use crate::sys::process::Exit;
use crate::sys::signal::{FORWARDED, Signals};
use crate::sys::terminal::KeptMode;

/// How long the pod's terminal is left alone after it was hung up.
const HUNG_UP: Duration = Duration::from_millis(50);

/// How long the agent may leave somebody unanswered before he is told.
const PATIENCE: Duration = Duration::from_secs(10);

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

/// How far the program is that a session is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    /// It is the pod's own: it ends when the agent does.
    Own,
    /// It was asked for. Until it begins, there is nobody to pass signals to, and what ends a program ends the session.
    Asked,
    /// It was asked for and has begun.
    Begun,
    /// It was asked for, and moves files: root of the pod may stop it, so what ends a program always ends the session.
    Moving,
}

/// The time between the launch, or the request, and the end of the program.
pub(super) struct Session<'a> {
    channel: Channel,
    program: Program,
    signals: Signals,
    /// Of a program that has a terminal.
    relay: Option<Relay>,
    /// Of one that has none.
    streams: Streams,
    mode: Option<KeptMode>,
    outcome: Option<Result<Exit>>,
    /// Since when the agent has been asked and has said nothing, until the person has been told.
    unanswered: Option<Instant>,
    warn: &'a dyn Fn(&str),
}

/// What is left of a session when the connection is closed.
pub(super) struct Remains<'a> {
    program: Program,
    signals: Signals,
    relay: Option<Relay>,
    streams: Streams,
    mode: Option<KeptMode>,
    outcome: Option<Result<Exit>>,
    warn: &'a dyn Fn(&str),
}

impl Remains<'_> {
    /// Brings the last of the output to the person, and gives the terminal back. Says how far the program was, and how it ended,
    /// if the agent has said that. A success of which the person did not get everything is none.
    pub(super) fn finish(self) -> (Program, Option<Result<Exit>>) {
        self.relay.into_iter().for_each(|relay| relay.drain(&self.signals));
        let lost = self.streams.finish(&self.signals);
        drop(self.mode);
        let outcome = match (self.outcome, lost) {
            (Some(Ok(exit)), Some(lost)) if exit.success() => Some(Err(lost)),
            (outcome, lost) => {
                lost.iter().for_each(|lost| (self.warn)(&lost.one_line()));
                outcome
            }
        };
        (self.program, outcome)
    }
}

impl<'a> Session<'a> {
    /// A session that moves these streams, or, when the agent makes one, what passes through a terminal.
    pub(super) fn new(
        channel: Channel,
        program: Program,
        streams: Streams,
        signals: Signals,
        warn: &'a dyn Fn(&str),
    ) -> Session<'a> {
        let unanswered = (program != Program::Own).then(Instant::now);
        Session { channel, program, signals, relay: None, streams, mode: None, outcome: None, unanswered, warn }
    }

    /// Says the first message, with descriptors that are the pod's alone then, and serves until the program has ended.
    ///
    /// # Errors
    /// The agent has gone, or cannot be understood.
    pub(super) fn hold(&mut self, first: &impl Serialize, fds: Vec<OwnedFd>) -> Result<()> {
        send(&self.channel, first, &fds.iter().map(AsFd::as_fd).collect::<Vec<BorrowedFd<'_>>>())?;
        drop(fds);
        loop {
            let (events, signals) = self.wait()?;
            self.note_silence(events);
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
    pub(super) fn hang_up(self) -> Remains<'a> {
        let Session { program, signals, relay, streams, mode, outcome, warn, .. } = self;
        Remains { program, signals, relay, streams, mode, outcome, warn }
    }

    /// Waits until something can be done, and moves what can be moved; says whether there are events, and signals.
    fn wait(&mut self) -> Result<(bool, bool)> {
        let readable = |fd| Some(PollFd::new(fd, PollFlags::POLLIN));
        let mut wanted = vec![readable(self.channel.as_fd()), readable(self.signals.as_fd())];
        wanted.extend(self.relay.as_ref().map_or([None, None, None], Relay::interests));
        // Input is for a program that has begun.
        if self.program != Program::Asked {
            wanted.extend(self.streams.interests());
        }
        let hung_up = self.relay.as_ref().is_some_and(Relay::pod_hung_up).then_some(HUNG_UP);
        let unanswered = self.unanswered.map(|asked| PATIENCE.saturating_sub(asked.elapsed()));
        let patience = hung_up.into_iter().chain(unanswered).chain(self.streams.patience()).min();
        // Rounded up, so that the last part of a millisecond is not spent asking again and again.
        let whole = |time: Duration| PollTimeout::try_from(time.as_millis() + 1).unwrap_or(PollTimeout::MAX);
        let ready =
            wait_for(wanted, patience.map_or(PollTimeout::NONE, whole)).context(|| "cannot wait for the pod")?;
        if let Some(relay) = &mut self.relay {
            relay.turn([ready[2], ready[3], ready[4]]);
            if hung_up.is_some() && !ready.contains(&true) {
                relay.look_again();
            }
        }
        self.streams.turn(&ready[5..]);
        Ok((ready[0], ready[1]))
    }

    /// Tells the person, once, that the agent does not answer.
    fn note_silence(&mut self, heard: bool) {
        if heard {
            self.unanswered = None;
        }
        if self.unanswered.take_if(|asked| asked.elapsed() >= PATIENCE).is_some() {
            (self.warn)("the pod does not answer yet; its first process may have been stopped");
        }
    }

    fn forward_signals(&mut self) {
        for signal in self.signals.pending() {
            match signal {
                Signal::SIGWINCH => self.resize(),
                Signal::SIGTSTP => self.stop(),
                other if matches!(self.program, Program::Asked | Program::Moving) && !HARMLESS.contains(&other) => {
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
                Event::Started if self.program == Program::Moving => {}
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
        self.mode = KeptMode::keep(input.as_fd()).ok();
        self.relay = Some(Relay::new(master, input, output).context(what)?);
        self.make_raw();
        // The window may have changed since the pod was told its size.
        self.resize();
        Ok(())
    }
}
