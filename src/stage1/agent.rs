//! The agent: the first process of a pod, started by the runner as `jetpack agent BACKEND EXE`.
//!
//! On Linux it is the pod's PID 1, so it reaps whatever the app leaves behind, and when it ends the kernel ends everything
//! else in the pod. It has one thread, an empty environment and no descriptors but those the runner gave it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use super::message::{Event, Job, Order, receive, send};
use crate::error::{Context, Error, Result, Told};
use crate::isolation;
use crate::stage2::exec::{Stdio, Surroundings, start};
use crate::stage2::facts::Facts;
use crate::stage2::resolve::{resolve, resolve_handler};
use crate::stage2::{AppSpec, ExecSpec};
use crate::sys;
use crate::sys::channel::Channel;
use crate::sys::process::Exit;
use crate::sys::signal::Signals;

/// The word that follows `jetpack` on the agent's command line. Not for people.
pub const COMMAND: &str = "agent";

/// The number of the descriptor that leads to the runner. 0, 1 and 2 are the app's.
const CHANNEL: i32 = 3;

/// The number of the descriptor that holds the pod's lock.
const LOCK: i32 = 4;

/// The number of the descriptor of the program's protected copy.
const EXE: i32 = 5;

/// Runs the pod that the runner describes. `arguments` are those after [`COMMAND`]. Returns this process's exit code; what
/// went wrong was told to the runner.
pub fn main(arguments: &[String]) -> u8 {
    let Ok(channel) = sys::process::inherited(CHANNEL).map(Channel::from_fd) else { return 125 };
    match Agent::begin(channel, arguments) {
        Ok(agent) => agent.work(),
        Err(()) => 125,
    }
}

struct Agent {
    channel: Channel,
    signals: Signals,
    app: AppSpec,
    facts: Facts,
    around: Surroundings,
    terminal: Option<PathBuf>,
    standard: [OwnedFd; 3],
    _lock: OwnedFd,
}

impl Agent {
    /// Gets inside. An error was told to the runner already.
    fn begin(channel: Channel, arguments: &[String]) -> std::result::Result<Agent, ()> {
        Agent::enter(channel, arguments).map_err(|(channel, error)| {
            // Without the runner there is nobody to tell.
            let _ = send(&channel, &Event::Failed(Told::from(&error)), None);
        })
    }

    fn enter(channel: Channel, arguments: &[String]) -> std::result::Result<Agent, (Channel, Error)> {
        let entered = (|| {
            let [backend, exe] = arguments else {
                return Err(Error::new(format!("`{COMMAND}` is how Jetpack starts itself in a pod")));
            };
            let isolation = isolation::by_name(backend)?;
            isolation.harden(exe, EXE)?;
            // A session of its own, so that Ctrl-C on the runner's terminal is the runner's alone.
            let _ = nix::unistd::setsid();
            nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
            let lock = sys::process::inherited(LOCK).context(|| "the pod's lock is missing")?;
            let signals = Signals::catch(&[Signal::SIGCHLD]).context(|| "cannot wait for processes")?;
            let Some((job, _)) = receive::<Job>(&channel)? else {
                return Err(Error::new("the runner has gone"));
            };
            let inside = isolation.enter(&job.sandbox)?;
            let around = Surroundings { root: inside.root, privileged: inside.privileged };
            let terminal = job.app.terminal.as_ref().map(|_| open_terminal(&channel, &job)).transpose()?;
            terminal.iter().try_for_each(|terminal| isolation.connect_console(terminal))?;
            let facts = Facts::gather(&around.root, &job.app)?;
            let standard = standard_descriptors()?;
            Ok((signals, job.app, facts, around, terminal, standard, lock))
        })();
        match entered {
            Ok((signals, app, facts, around, terminal, standard, lock)) => {
                Ok(Agent { channel, signals, app, facts, around, terminal, standard, _lock: lock })
            }
            Err(error) => Err((channel, error)),
        }
    }

    /// Runs the app with its handlers, and tells how it went.
    fn work(self) -> u8 {
        let event = match self.run() {
            Ok(exit) => Event::Exited(exit),
            Err(error) => Event::Failed(Told::from(&error)),
        };
        match send(&self.channel, &event, None) {
            Ok(()) => 0,
            Err(_) => 125,
        }
    }

    /// pre-start, the program, post-stop (appc, aci.md): the last runs however the program ended, and also when it could not
    /// be started, since pre-start has been through by then.
    fn run(&self) -> Result<Exit> {
        let program = resolve(&self.app, &self.facts)?;
        if let Some(handler) = &self.app.pre_start {
            let ended = self.run_handler(handler)?;
            if !ended.success() {
                let name = &self.app.name;
                return Err(Error::new(format!("the pre-start handler of {name} failed: {ended}")));
            }
        }
        let ended = self.run_program(&program);
        if let Some(handler) = &self.app.post_stop {
            let warning = match self.run_handler(handler) {
                Ok(exit) if exit.success() => None,
                Ok(exit) => Some(exit.to_string()),
                Err(error) => Some(error.one_line()),
            };
            if let Some(warning) = warning {
                let text = format!("the post-stop handler of {} failed: {warning}", self.app.name);
                send(&self.channel, &Event::Warning(text), None)?;
            }
        }
        ended
    }

    fn run_handler(&self, arguments: &[String]) -> Result<Exit> {
        let spec = resolve_handler(&self.app, &self.facts, arguments)?;
        let null = std::fs::File::open(self.around.root.join("dev/null")).or_else(|_| std::fs::File::open("/dev/null"));
        let null = null.context(|| "cannot open /dev/null for a handler")?;
        let slave = self.open_slave()?;
        let output = |i: usize| slave.as_ref().map_or(self.standard[i].as_fd(), AsFd::as_fd);
        self.run_process(
            &spec,
            Stdio { descriptors: [null.as_fd(), output(1), output(2)], controlling_terminal: false },
        )
    }

    fn run_program(&self, spec: &ExecSpec) -> Result<Exit> {
        let slave = self.open_slave()?;
        if let Some(slave) = &slave {
            // So that the app, whoever it is, can open its terminal by name. tty(1) and mesg(1) look at the mode.
            let _ = nix::unistd::fchown(slave, Some(spec.uid.into()), None);
        }
        let of = |i: usize| slave.as_ref().map_or(self.standard[i].as_fd(), AsFd::as_fd);
        let stdio = Stdio { descriptors: [of(0), of(1), of(2)], controlling_terminal: slave.is_some() };
        self.run_process(spec, stdio)
    }

    fn open_slave(&self) -> Result<Option<std::fs::File>> {
        let open = |path: &PathBuf| sys::terminal::open_slave(path).context(|| "cannot open the app's terminal");
        self.terminal.as_ref().map(open).transpose()
    }

    /// Starts a program and waits for it, meanwhile reaping what it leaves and passing signals on.
    fn run_process(&self, spec: &ExecSpec, stdio: Stdio<'_>) -> Result<Exit> {
        let pid = start(spec, stdio, &self.around)?;
        loop {
            let mut ready = [
                PollFd::new(self.channel.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut ready, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other.context(|| "cannot wait for the app")?,
            };
            let ordered = ready[0].any().unwrap_or(false);
            self.signals.pending();
            while let Some((ended, exit)) = sys::process::reap_any().context(|| "cannot wait for the app")? {
                if ended == pid {
                    return Ok(exit);
                }
            }
            if ordered {
                self.obey(pid)?;
            }
        }
    }

    /// Carries out what the runner orders. When the runner has gone, so does the pod.
    fn obey(&self, pid: Pid) -> Result<()> {
        match receive::<Order>(&self.channel)? {
            Some((Order::Signal(number), _)) => {
                if let Ok(signal) = Signal::try_from(number) {
                    // The process may have ended in this moment; then there is nobody to signal.
                    let _ = kill(pid, signal);
                }
                Ok(())
            }
            None => {
                let _ = kill(pid, Signal::SIGKILL);
                sys::process::exit_now(125)
            }
        }
    }
}

/// Makes the app's terminal and passes its master to the runner.
fn open_terminal(channel: &Channel, job: &Job) -> Result<PathBuf> {
    let what = || "cannot make a terminal in the pod";
    let (master, slave) = sys::terminal::open_pty().context(what)?;
    if let Some(size) = job.size {
        sys::terminal::set_size(&master, size).context(what)?;
    }
    send(channel, &Event::Terminal, Some(master.as_fd()))?;
    Ok(slave)
}

/// The descriptors that the app will have if it has no terminal.
fn standard_descriptors() -> Result<[OwnedFd; 3]> {
    let copy =
        |fd: &dyn AsFd| sys::process::duplicate_above(fd.as_fd(), EXE).context(|| "cannot keep the app's descriptors");
    Ok([copy(&std::io::stdin())?, copy(&std::io::stdout())?, copy(&std::io::stderr())?])
}
