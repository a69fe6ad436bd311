//! The runner: launches a pod's sandbox and stands between it and the person until it ends.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::agent::COMMAND;
use super::message::{Event, Job, Order, receive, send};
use super::relay::Relay;
use crate::error::{Context, Error, Result};
use crate::isolation::{AgentProcess, Isolation, SandboxSpec};
use crate::stage2::AppSpec;
use crate::sys;
use crate::sys::channel::Channel;
use crate::sys::process::Exit;
use crate::sys::signal::{FORWARDED, Signals};
use crate::sys::terminal::KeptMode;

/// How long the pod's terminal is left alone after it was hung up (milliseconds).
const HUNG_UP: u16 = 50;

/// What the runner needs to know beside the plan of the pod.
pub struct Runner<'a> {
    /// The backend.
    pub isolation: &'a dyn Isolation,
    /// Its name, for the agent.
    pub backend: &'a str,
    /// The pod's lock, which the agent holds too.
    pub lock: BorrowedFd<'a>,
    /// Where warnings go.
    pub warn: &'a dyn Fn(&str),
}

impl Runner<'_> {
    /// Runs the app in a new sandbox and returns when everything in it has ended.
    ///
    /// # Errors
    /// The sandbox cannot be made, or the app cannot be started; nothing of the sandbox remains either way.
    pub fn run(&self, sandbox: SandboxSpec, app: AppSpec) -> Result<Exit> {
        let (name, record) = (sandbox.name.clone(), sandbox.record.clone());
        // What an earlier runner left when it was killed would be in the way.
        self.isolation.remove(&name, &record)?;
        let ended = self.launch_and_wait(sandbox, app);
        let removed = self.isolation.remove(&name, &record);
        match (ended, removed) {
            (Ok(exit), Ok(())) => Ok(exit),
            (Ok(_), Err(error)) | (Err(error), Ok(())) => Err(error),
            (Err(error), Err(undo)) => Err(error.and_undo(undo)),
        }
    }

    fn launch_and_wait(&self, sandbox: SandboxSpec, app: AppSpec) -> Result<Exit> {
        let caught: Vec<Signal> = FORWARDED.into_iter().chain([Signal::SIGWINCH, Signal::SIGTSTP]).collect();
        let signals = Signals::catch(&caught).context(|| "cannot catch signals")?;
        let (ours, theirs) = Channel::pair().context(|| "cannot connect to the pod")?;
        let pid = self.launch(&sandbox, &theirs, app.terminal.is_some())?;
        drop(theirs);
        let job = Job { size: sys::terminal::size(&std::io::stdin()), sandbox, app };
        // Without a terminal of its own the app may get the person's, and leave it in any mode.
        let stdin = std::io::stdin();
        let mode = KeptMode::keep(stdin.as_fd()).ok();
        let mut session = Session { channel: ours, signals, relay: None, mode, outcome: None, warn: self.warn };
        // An agent that died early is told by its exit below.
        let served = send(&session.channel, &job, None).and_then(|()| session.serve());
        let Session { channel, relay, mode, outcome, signals, .. } = session;
        // Where serving failed, this ends the pod; else its agent has closed the other end already.
        drop(channel);
        let ended = sys::process::wait(pid).context(|| "cannot wait for the pod")?;
        relay.into_iter().for_each(|relay| relay.drain(&signals));
        drop(mode);
        match outcome {
            Some(outcome) => outcome,
            None => match ended {
                Exit::Signal(_) => {
                    (self.warn)(&format!("the pod's first process was {ended}"));
                    Ok(ended)
                }
                Exit::Code(_) => Err(served.err().unwrap_or_else(|| Error::new("the pod's first process ended early"))),
            },
        }
    }

    fn launch(&self, sandbox: &SandboxSpec, theirs: &Channel, terminal: bool) -> Result<Pid> {
        let null = std::fs::File::options().read(true).write(true).open("/dev/null");
        let null = null.context(|| "cannot open /dev/null")?;
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let standard = if terminal {
            [null.as_fd(), null.as_fd(), null.as_fd()]
        } else {
            let standard = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
            refuse_directories(standard)?;
            standard
        };
        let words = ["jetpack", COMMAND, self.backend];
        let arguments = words.iter().map(|w| CString::new(*w).context(|| "a NUL byte")).collect::<Result<_>>()?;
        let descriptors = standard.into_iter().chain([theirs.as_fd(), self.lock]).collect();
        self.isolation.launch(sandbox, AgentProcess { arguments, descriptors })
    }
}

/// A directory as standard input would be a way out of the pod: openat(2) with `..` knows no root.
fn refuse_directories(standard: [BorrowedFd<'_>; 3]) -> Result<()> {
    for (fd, name) in standard.into_iter().zip(["input", "output", "error"]) {
        let what = || format!("cannot give the pod its standard {name}");
        let copy = std::fs::File::from(fd.try_clone_to_owned().context(what)?);
        if copy.metadata().context(what)?.is_dir() {
            return Err(Error::with_source(what(), "it is a directory of the host's"));
        }
    }
    Ok(())
}

/// The time between the launch and the end of the agent.
struct Session<'a> {
    channel: Channel,
    signals: Signals,
    relay: Option<Relay>,
    mode: Option<KeptMode>,
    outcome: Option<Result<Exit>>,
    warn: &'a dyn Fn(&str),
}

impl Session<'_> {
    /// Serves until the agent closes the connection.
    fn serve(&mut self) -> Result<()> {
        loop {
            let [events, signals, relay @ ..] = self.wait()?;
            if let Some(moving) = &mut self.relay {
                moving.turn(relay);
            }
            if signals {
                self.forward_signals();
            }
            if events && !self.hear()? {
                return Ok(());
            }
        }
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
                other => {
                    if other == Signal::SIGCONT {
                        self.make_raw();
                    }
                    // An agent that has gone needs no signal; its end is seen on the channel.
                    let _ = send(&self.channel, &Order::Signal(other as i32), None);
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

    /// Hears one event; false when the agent has closed the connection.
    fn hear(&mut self) -> Result<bool> {
        let Some((event, fd)) = receive::<Event>(&self.channel)? else { return Ok(false) };
        match event {
            Event::Terminal => self.connect_terminal(fd)?,
            Event::Warning(text) => (self.warn)(&text),
            Event::Failed(told) => self.outcome = Some(Err(told.into())),
            Event::Exited(exit) => self.outcome = Some(Ok(exit)),
        }
        Ok(true)
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
