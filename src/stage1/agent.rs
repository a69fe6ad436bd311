//! The agent: the first process of a pod, started by the runner as `jetpack agent BACKEND EXE`.
//!
//! On Linux it is the pod's PID 1, so it reaps whatever the app leaves behind, and when it ends the kernel ends everything
//! else in the pod. It has one thread, an empty environment and no descriptors but those the runner gave it.
//!
//! It waits in one place for everything: what the runner says, the ends of processes, connections on the pod's control socket,
//! and what those say who have connected. Nothing else waits. Messages are read as they come; whatever looks at a root that
//! the pod may have changed happens in the process that is to become a program, which can hang without harm to others.

mod app;
mod sessions;

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use self::app::Main;
use self::sessions::Sessions;
use super::message::{Event, Heard, Job, Order, hear, receive, send};
use crate::error::{Context, Error, Result, Told};
use crate::isolation::{self, Inside};
use crate::stage2::exec::Surroundings;
use crate::stage2::facts::Facts;
use crate::sys;
use crate::sys::channel::{Channel, Listener};
use crate::sys::process::Exit;
use crate::sys::signal::Signals;
use crate::sys::terminal::Size;

/// The word that follows `jetpack` on the agent's command line. Not for people.
pub const COMMAND: &str = "agent";

/// The number of the descriptor that leads to the runner. 0, 1 and 2 are the app's.
const CHANNEL: i32 = 3;

/// The number of the descriptor that holds the pod's lock.
const LOCK: i32 = 4;

/// The number of the descriptor on which others connect.
const CONTROL: i32 = 5;

/// The number of the descriptor of the program's protected copy.
const EXE: i32 = 6;

/// The number of SIGCONT.
const CONTINUE: i32 = Signal::SIGCONT as i32;

/// Runs the pod that the runner describes. `arguments` are those after [`COMMAND`]. Returns this process's exit code; what
/// went wrong was told to the runner.
pub fn main(arguments: &[String]) -> u8 {
    let Ok(mut channel) = sys::process::inherited(CHANNEL).map(Channel::from_fd) else { return 125 };
    match Agent::enter(&mut channel, arguments) {
        Ok(agent) => agent.work(channel),
        Err(error) => {
            // Without the runner there is nobody to tell.
            let _ = send(&channel, &Event::Failed(Told::from(&error)), &[]);
            125
        }
    }
}

struct Agent {
    signals: Signals,
    around: Surroundings,
    main: Main,
    sessions: Sessions,
    _lock: OwnedFd,
}

impl Agent {
    /// Gets inside.
    fn enter(channel: &mut Channel, arguments: &[String]) -> Result<Agent> {
        let [backend, exe] = arguments else {
            return Err(Error::new(format!("`{COMMAND}` is how Jetpack starts itself in a pod")));
        };
        let isolation = isolation::by_name(backend)?;
        isolation.harden(exe, EXE)?;
        // A session of its own, so that Ctrl-C on the runner's terminal is the runner's alone.
        let _ = nix::unistd::setsid();
        nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
        let lock = sys::process::inherited(LOCK).context(|| "the pod's lock is missing")?;
        let control = sys::process::inherited(CONTROL).and_then(Listener::from_fd);
        let control = control.context(|| "the pod's control socket is missing")?;
        let signals = Signals::catch(&[Signal::SIGCHLD]).context(|| "cannot wait for processes")?;
        let Some(job) = receive::<Job>(channel)? else {
            return Err(Error::new("the runner has gone"));
        };
        let Inside { root, privileged, identity } = isolation.enter(&job.sandbox)?;
        let around = Surroundings { root, privileged };
        let terminal = job.app.terminal.as_ref().map(|_| open_terminal(channel, job.size)).transpose()?;
        terminal.iter().try_for_each(|terminal| isolation.connect_console(terminal))?;
        let facts = Facts::gather(&around.root, &job.app)?;
        let main = Main::new(job.app, facts, terminal, standard_descriptors()?);
        Ok(Agent { signals, around, main, sessions: Sessions::new(control, identity), _lock: lock })
    }

    /// Runs the app with its handlers, and whatever else is asked for meanwhile; tells the runner how the app ended.
    fn work(mut self, mut channel: Channel) -> u8 {
        let event = match self.run(&mut channel) {
            Ok(exit) => Event::Exited(exit),
            Err(error) => Event::Failed(Told::from(&error)),
        };
        self.sessions.end();
        match send(&channel, &event, &[]) {
            Ok(()) => 0,
            Err(_) => 125,
        }
    }

    fn run(&mut self, channel: &mut Channel) -> Result<Exit> {
        self.main.begin(&self.around)?;
        loop {
            let (ordered, asking) = self.wait(channel)?;
            if ordered {
                self.obey(channel)?;
            }
            self.sessions.turn(&asking, &self.around, self.main.now());
            self.signals.pending();
            while let Some((pid, exit)) = sys::process::reap_any().context(|| "cannot wait for the app")? {
                if Some(pid) != self.main.pid() {
                    // Or an orphan, of which nobody wants to know.
                    self.sessions.ended(pid, exit);
                    continue;
                }
                let outcome = self.main.ended(exit, &self.around);
                self.main.warnings().try_for_each(|text| send(channel, &Event::Warning(text), &[]))?;
                if let Some(outcome) = outcome {
                    return outcome;
                }
            }
        }
    }

    /// Waits until something happens; says whether the runner has said something, and which of [`Sessions::interests`] have.
    fn wait(&self, channel: &Channel) -> Result<(bool, Vec<bool>)> {
        let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
        let own = [readable(channel.as_fd()), readable(self.signals.as_fd())];
        let mut ready: Vec<PollFd<'_>> =
            own.into_iter().chain(self.sessions.interests().into_iter().map(readable)).collect();
        let timeout = self.sessions.patience().map_or(PollTimeout::NONE, PollTimeout::from);
        match poll(&mut ready, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context(|| "cannot wait for the app"),
        }
        let mut ready = ready.iter().map(|fd| fd.any().unwrap_or(false));
        let ordered = ready.next().unwrap_or(false);
        Ok((ordered, ready.skip(1).collect()))
    }

    /// Carries out what the runner orders. When the runner has gone, so does the pod.
    fn obey(&mut self, channel: &mut Channel) -> Result<()> {
        match hear::<Order>(channel)? {
            Heard::Message(Order::Signal(number), _) => {
                self.main.pid().into_iter().for_each(|pid| signal(pid, number));
                // Nobody in the pod holds up the end of what moves files by stopping it.
                self.main.pid().filter(|_| self.main.moves_files()).into_iter().for_each(|pid| signal(pid, CONTINUE));
            }
            Heard::Partial => {}
            Heard::Closed => {
                let _ = self.main.pid().map(|pid| kill(pid, Signal::SIGKILL));
                self.sessions.end();
                sys::process::exit_now(125)
            }
        }
        Ok(())
    }
}

/// Sends the process a signal. It may have ended in this moment; then there is nobody to signal.
fn signal(pid: Pid, number: i32) {
    if let Ok(signal) = Signal::try_from(number) {
        let _ = kill(pid, signal);
    }
}

/// Makes a terminal and passes its master to the other side.
fn open_terminal(channel: &Channel, size: Option<Size>) -> Result<PathBuf> {
    let what = || "cannot make a terminal in the pod";
    let (master, slave) = sys::terminal::open_pty().context(what)?;
    if let Some(size) = size {
        sys::terminal::set_size(&master, size).context(what)?;
    }
    send(channel, &Event::Terminal, &[master.as_fd()])?;
    Ok(slave)
}

/// The descriptors that the app will have if it has no terminal.
fn standard_descriptors() -> Result<[OwnedFd; 3]> {
    let copy =
        |fd: &dyn AsFd| sys::process::duplicate_above(fd.as_fd(), EXE).context(|| "cannot keep the app's descriptors");
    Ok([copy(&std::io::stdin())?, copy(&std::io::stdout())?, copy(&std::io::stderr())?])
}
