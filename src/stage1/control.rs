//! The control socket of a pod that runs: by it other commands reach the agent, and the runner has no part in what they say.
//!
//! It stands in the pod's directory, where nobody but root comes, and which no pod sees. The runner listens on it before the
//! agent begins, so that whoever connects early waits, and leaves it to the agent alone, so that nobody waits for an agent
//! that has gone.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::message::{Event, Heard, Order, Request, Run, hear, send};
use super::session::{Program, Session, catch_signals};
use super::streams::{Streams, connect};
use crate::error::{Context, Error, Result};
use crate::stage2::{self, AppSpec};
use crate::sys;
use crate::sys::channel::Channel;
use crate::sys::process::Exit;
use crate::sys::processes::Process;

/// Makes the socket of a pod whose lock this process holds, in place of one that a killed runner left.
pub(super) fn listen(path: &Path) -> Result<OwnedFd> {
    let what = || format!("cannot make {}", path.display());
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).context(what),
        _ => {}
    }
    let (directory, name) = open_directory(path).context(what)?;
    sys::os::listen_at(directory.as_fd(), &name).context(what)
}

/// Removes the socket. Nobody listens on it any more: one that stays is in nobody's way.
pub(super) fn forget(path: &Path) {
    let _ = std::fs::remove_file(path);
}

fn open_directory(path: &Path) -> std::io::Result<(File, String)> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok((File::open(path.parent().unwrap_or(path))?, name.unwrap_or_default()))
}

/// A connection to the agent of a pod.
#[derive(Debug)]
pub struct Connection {
    pod: String,
    channel: Channel,
}

/// Connects to the agent of the pod called `pod`, whose control socket is at `path`; `None` if nobody listens there: the pod
/// does not run, or not yet, or no more.
///
/// # Errors
/// The socket cannot be reached for another reason.
pub fn attach(pod: &str, path: &Path) -> Result<Option<Connection>> {
    let what = || format!("cannot connect to pod {pod}");
    let (directory, name) = match open_directory(path) {
        // It has moved on.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        opened => opened.context(what)?,
    };
    match sys::os::connect_at(directory.as_fd(), &name) {
        Ok(socket) => Ok(Some(Connection { pod: pod.to_owned(), channel: Channel::from_fd(socket) })),
        Err(e) if matches!(e.errno(), Errno::ENOENT | Errno::ECONNREFUSED) => Ok(None),
        Err(e) => Err(e).context(what),
    }
}

impl Connection {
    /// Runs a program in the pod, and returns when it has ended. When the pod ends first, that is told as a warning, and the
    /// program was killed.
    ///
    /// # Errors
    /// The program cannot be started, or the pod has ended before it was.
    pub fn run(self, app: AppSpec, warn: &dyn Fn(&str)) -> Result<Exit> {
        let Connection { pod, channel } = self;
        let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let (fds, streams) = match app.terminal {
            Some(_) => (Vec::new(), Streams::none()),
            None => {
                let (fds, streams) = connect([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])?;
                (Vec::from(fds), streams)
            }
        };
        let program =
            if matches!(app.program, stage2::Program::Transfer(_)) { Program::Moving } else { Program::Asked };
        let request = Request::Exec(Box::new(Run { app, size: sys::terminal::size(&stdin) }));
        let mut session = Session::new(channel, program, streams, catch_signals()?, warn);
        let served = session.hold(&request, fds);
        match (session.hang_up().finish(), served) {
            ((_, Some(outcome)), _) => outcome,
            ((Program::Begun | Program::Moving, None), _) => {
                warn(&format!("pod {pod} has ended, and the command with it"));
                Ok(Exit::Signal(nix::sys::signal::Signal::SIGKILL as i32))
            }
            ((_, None), served) => {
                let what = format!("pod {pod} has ended before the command began");
                Err(served.err().map_or_else(|| Error::new(&*what), |error| Error::with_source(&*what, error)))
            }
        }
    }
}

/// How long the agent may take to answer. It waits for nothing itself, but may have been stopped.
const PATIENCE: Duration = Duration::from_secs(10);

impl Connection {
    /// Watches the pod from now on.
    ///
    /// # Errors
    /// The agent does not answer, or has gone.
    pub fn watch(self) -> Result<Watch> {
        let Connection { pod, channel } = self;
        // That an agent has gone is seen below.
        let _ = send(&channel, &Request::Watch, &[]);
        let mut watch = Watch { pod, channel, agent: 0, identity: None };
        match watch.hear(PATIENCE)? {
            Some(Heard::Message(Event::Watched(agent), fds)) => {
                Ok(Watch { agent, identity: fds.into_iter().next(), ..watch })
            }
            Some(Heard::Closed) => Err(Error::new(format!("pod {} has just ended", watch.pod))),
            _ => Err(watch.silence()),
        }
    }
}

/// A pod that is watched until it ends: this run of it and no later one.
#[derive(Debug)]
pub struct Watch {
    pod: String,
    channel: Channel,
    agent: i32,
    identity: Option<OwnedFd>,
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

impl Watch {
    /// The pod.
    pub fn pod(&self) -> &str {
        &self.pod
    }

    /// What its host's kernel knows it by, if that is a descriptor.
    pub fn identity(&self) -> Option<&OwnedFd> {
        self.identity.as_ref()
    }

    /// Whether this process of the pod is its agent.
    pub fn is_agent(&self, process: &Process) -> bool {
        process.inside == Some(self.agent)
    }

    /// Sends the signal with this number to the pod's app, or to its handler if that is what runs now. A pod that has ended
    /// needs none.
    ///
    /// # Errors
    /// The agent does not answer.
    pub fn signal(&mut self, number: i32) -> Result<()> {
        // That an agent has gone is seen below.
        let _ = send(&self.channel, &Order::Signal(number), &[]);
        match self.hear(PATIENCE)? {
            Some(Heard::Message(Event::Obeyed, _) | Heard::Closed) => Ok(()),
            _ => Err(self.silence()),
        }
    }

    /// Waits until `deadline` for the pod's end; says whether that has come.
    ///
    /// # Errors
    /// The agent says what nobody has asked for.
    pub fn ends_before(&mut self, deadline: Instant) -> Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        Ok(matches!(self.hear(left)?, Some(Heard::Closed)))
    }

    /// What the agent says within this time.
    fn hear(&mut self, within: Duration) -> Result<Option<Heard<Event>>> {
        let until = Instant::now() + within;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            // Rounded up, so that the last part of a millisecond is not spent asking again and again.
            let timeout = PollTimeout::try_from(left.as_millis() + 1).unwrap_or(PollTimeout::MAX);
            let mut ready = [PollFd::new(self.channel.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, if left.is_zero() { PollTimeout::ZERO } else { timeout }) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context(|| format!("cannot wait for pod {}", self.pod)),
                Ok(0) if left.is_zero() => return Ok(None),
                Ok(0) => {}
                Ok(_) => match hear(&mut self.channel)? {
                    Heard::Partial => {}
                    heard => return Ok(Some(heard)),
                },
            }
        }
    }

    fn silence(&self) -> Error {
        Error::new(format!("pod {} does not answer", self.pod))
            .help("its first process may have been stopped; killing its `jetpack run` with SIGKILL ends it in any case")
    }
}
