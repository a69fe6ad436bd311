//! The runner: launches a pod's sandbox and stands between it and the person until it ends.

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use super::agent::COMMAND;
use super::control;
use super::message::Job;
use super::session::{Program, Session, catch_signals};
use super::streams::{Streams, connect};
use crate::error::{Context, Error, Result};
use crate::isolation::{AgentProcess, Isolation, Launched, SandboxSpec};
use crate::stage2::AppSpec;
use crate::sys;
use crate::sys::channel::Channel;
use crate::sys::process::Exit;

/// What the runner needs to know beside the plan of the pod.
pub struct Runner<'a> {
    /// The backend.
    pub isolation: &'a dyn Isolation,
    /// Its name, for the agent.
    pub backend: &'a str,
    /// The pod's lock, which the agent holds too.
    pub lock: BorrowedFd<'a>,
    /// The pod's control socket.
    pub control: &'a Path,
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
        self.remove(&name, &record)?;
        let ended = self.launch_and_wait(sandbox, app);
        let removed = self.remove(&name, &record);
        control::forget(self.control);
        match (ended, removed) {
            (Ok(exit), Ok(())) => Ok(exit),
            (Ok(_), Err(error)) | (Err(error), Ok(())) => Err(error),
            (Err(error), Err(undo)) => Err(error.and_undo(undo)),
        }
    }

    fn remove(&self, name: &str, record: &Path) -> Result<()> {
        self.isolation.remove(name, record)?.iter().for_each(|lingering| (self.warn)(lingering));
        Ok(())
    }

    fn launch_and_wait(&self, sandbox: SandboxSpec, app: AppSpec) -> Result<Exit> {
        let signals = catch_signals()?;
        let (ours, theirs) = Channel::pair().context(|| "cannot connect to the pod")?;
        let (standard, streams) = standard(app.terminal.is_some())?;
        let launched = self.launch(&sandbox, &theirs, &standard)?;
        drop((theirs, standard));
        let job = Job { size: sys::terminal::size(&std::io::stdin()), sandbox, app };
        let mut session = Session::new(ours, Program::Own, streams, signals, self.warn);
        // An agent that died early is told by its exit below.
        let served = session.hold(&job, Vec::new());
        // Where serving failed, this ends the pod; else its agent has closed the other end already.
        let remains = session.hang_up();
        let ended = sys::process::wait(launched.agent).context(|| "cannot wait for the pod")?;
        let (_, outcome) = remains.finish();
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

    fn launch(&self, sandbox: &SandboxSpec, theirs: &Channel, standard: &[OwnedFd; 3]) -> Result<Launched> {
        let words = ["jetpack", COMMAND, self.backend];
        let arguments = words.iter().map(|w| CString::new(*w).context(|| "a NUL byte")).collect::<Result<_>>()?;
        // From now on somebody may connect. The agent alone keeps the socket, so that it refuses when the agent has gone.
        let control = control::listen(self.control)?;
        let descriptors =
            standard.iter().map(AsFd::as_fd).chain([theirs.as_fd(), self.lock, control.as_fd()]).collect();
        self.isolation.launch(sandbox, AgentProcess { arguments, descriptors }, self.warn)
    }
}

/// What the app gets for standard input, output and error; nothing if it has a terminal.
fn standard(terminal: bool) -> Result<([OwnedFd; 3], Streams)> {
    if !terminal {
        return connect([std::io::stdin().as_fd(), std::io::stdout().as_fd(), std::io::stderr().as_fd()]);
    }
    let what = || "cannot open /dev/null";
    let null = OwnedFd::from(File::options().read(true).write(true).open("/dev/null").context(what)?);
    let copy = || null.try_clone().context(what);
    Ok(([copy()?, copy()?, copy()?], Streams::none()))
}
