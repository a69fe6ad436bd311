//! Those who have connected to the pod's control socket, and the programs that run for them.
//!
//! Whoever has connected and does not say what he wants is sent away after a while, and there are so many places and no more:
//! neither silence nor half a message costs others anything.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::super::message::{Event, Heard, Order, Request, Run, hear, send};
use super::super::transfer::perform;
use super::app::Now;
use crate::error::{Context, Error, Result, Told};
use crate::stage2::exec::{Child, Stdio, Surroundings, start};
use crate::stage2::facts::Facts;
use crate::stage2::resolve::resolve;
use crate::sys;
use crate::sys::channel::{Channel, Listener};
use crate::sys::process::Exit;

/// How many may be served at a time. Others wait until one has gone.
const PLACES: usize = 128;

/// How long somebody may take to say what he wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// All of them.
pub(super) struct Sessions {
    control: Listener,
    /// What the host's kernel knows the pod by, if that is a descriptor.
    identity: Option<OwnedFd>,
    sessions: Vec<Session>,
    /// No more descriptors were left: nobody is let in before somebody has gone.
    full: bool,
}

/// Somebody who has connected.
struct Session {
    /// The connection, until it is closed.
    channel: Option<Channel>,
    since: Instant,
    /// What runs for him.
    program: Option<Program>,
    /// Whether he watches the pod.
    watching: bool,
}

struct Program {
    child: Child,
    on_terminal: bool,
}

impl Sessions {
    /// Nobody yet.
    pub(super) fn new(control: Listener, identity: Option<OwnedFd>) -> Sessions {
        Sessions { control, identity, sessions: Vec::new(), full: false }
    }

    /// What to wait for: those who have connected, and last those who want to.
    pub(super) fn interests(&self) -> Vec<BorrowedFd<'_>> {
        let control = (!self.full && self.sessions.len() < PLACES).then(|| self.control.as_fd());
        self.sessions.iter().filter_map(|session| Some(session.channel.as_ref()?.as_fd())).chain(control).collect()
    }

    /// How long to wait at most (milliseconds): until somebody has said nothing for too long.
    pub(super) fn patience(&self) -> Option<u16> {
        let left = |session: &Session| PATIENCE.saturating_sub(session.since.elapsed());
        let shortest = self.sessions.iter().filter(|session| session.is_undecided()).map(left).min()?;
        Some(u16::try_from(shortest.as_millis()).unwrap_or(u16::MAX).saturating_add(1))
    }

    /// Serves those who have said something. `ready` tells which of [`Sessions::interests`] have.
    pub(super) fn turn(&mut self, ready: &[bool], around: &Surroundings, app: Now) {
        let mut ready = ready.iter().copied();
        for session in self.sessions.iter_mut().filter(|session| session.channel.is_some()) {
            if ready.next().unwrap_or(false) {
                session.serve(around, app, self.identity.as_ref());
            }
        }
        let before = self.sessions.len();
        self.sessions.retain(|session| !session.is_over());
        self.full &= self.sessions.len() == before;
        if ready.next().unwrap_or(false) {
            match self.control.accept() {
                Ok(Some(channel)) => {
                    let (channel, since) = (Some(channel), Instant::now());
                    self.sessions.push(Session { channel, since, program: None, watching: false });
                }
                Ok(None) => {}
                Err(_) => self.full = !self.sessions.is_empty(),
            }
        }
    }

    /// Tells whoever wants to know that the process `pid` has ended.
    pub(super) fn ended(&mut self, pid: Pid, exit: Exit) {
        let is_his = |session: &Session| session.program.as_ref().is_some_and(|program| program.child.pid == pid);
        let Some(at) = self.sessions.iter().position(is_his) else { return };
        self.full = false;
        let Session { channel, program: Some(program), .. } = self.sessions.remove(at) else { return };
        let event = match program.child.ended(exit) {
            Ok(exit) => Event::Exited(exit),
            Err(error) => Event::Failed(Told::from(&error)),
        };
        // Whoever has gone needs no news.
        let _ = channel.map(|channel| send(&channel, &event, &[]));
    }

    /// Ends what runs for them: the kernel does it where this is the pod's first process or a jail's, and nobody elsewhere.
    pub(super) fn end(&mut self) {
        for session in self.sessions.drain(..) {
            session.program.iter().for_each(|program| program.signal_group(Signal::SIGKILL));
        }
    }
}

impl Program {
    /// Signals the process and those of its group.
    fn signal_group(&self, signal: Signal) {
        // It may not lead a group yet.
        if killpg(self.child.pid, signal).is_err() {
            let _ = kill(self.child.pid, signal);
        }
    }
}

impl Session {
    /// Whether he has still to say what he wants.
    fn is_undecided(&self) -> bool {
        self.program.is_none() && !self.watching
    }

    fn is_over(&self) -> bool {
        let gone = self.program.is_none() && self.channel.is_none();
        gone || (self.is_undecided() && self.since.elapsed() >= PATIENCE)
    }

    /// Does what he wants, as far as he has said it.
    fn serve(&mut self, around: &Surroundings, app: Now, identity: Option<&OwnedFd>) {
        let Some(channel) = &mut self.channel else { return };
        let open = match &self.program {
            Some(program) => obey(channel, program),
            None if self.watching => obey_watcher(channel, app),
            None => match begin(channel, around, app, identity) {
                Ok(Begun::Not) => true,
                Ok(Begun::Gone) => false,
                Ok(Begun::Program(program)) => {
                    self.program = Some(program);
                    true
                }
                Ok(Begun::Watching) => {
                    self.watching = true;
                    true
                }
                Err(error) => {
                    let _ = send(channel, &Event::Failed(Told::from(&error)), &[]);
                    false
                }
            },
        };
        if !open {
            self.channel = None;
        }
    }
}

/// Carries out what is ordered; false when the connection is closed. A terminal hangs up by itself then; without one the
/// program and its group get the same signal from here.
fn obey(channel: &mut Channel, program: &Program) -> bool {
    match hear::<Order>(channel) {
        Ok(Heard::Message(Order::Signal(number), _)) => {
            super::signal(program.child.pid, number);
            true
        }
        Ok(Heard::Partial) => true,
        Ok(Heard::Closed) | Err(_) => {
            if !program.on_terminal {
                program.signal_group(Signal::SIGHUP);
            }
            false
        }
    }
}

/// Carries out what somebody who watches the pod orders; false when the connection is closed.
fn obey_watcher(channel: &mut Channel, app: Now) -> bool {
    match hear::<Order>(channel) {
        Ok(Heard::Message(Order::Signal(number), _)) => {
            app.process.into_iter().for_each(|pid| super::signal(pid, number));
            send(channel, &Event::Obeyed, &[]).is_ok()
        }
        Ok(Heard::Partial) => true,
        Ok(Heard::Closed) | Err(_) => false,
    }
}

enum Begun {
    /// The request is not there yet.
    Not,
    /// And will not come.
    Gone,
    Program(Program),
    Watching,
}

fn begin(channel: &mut Channel, around: &Surroundings, app: Now, identity: Option<&OwnedFd>) -> Result<Begun> {
    let (run, standard) = match hear::<Request>(channel)? {
        Heard::Message(Request::Exec(run), fds) => (run, fds),
        Heard::Message(Request::Watch, _) => {
            let fds: Vec<BorrowedFd<'_>> = identity.into_iter().map(AsFd::as_fd).collect();
            return send(channel, &Event::Watched(Pid::this().as_raw()), &fds).map(|()| Begun::Watching);
        }
        Heard::Partial => return Ok(Begun::Not),
        Heard::Closed => return Ok(Begun::Gone),
    };
    if app.is_stopping {
        return Err(Error::new("the pod is stopping").help("its app has ended; try again when the pod has"));
    }
    let on_terminal = run.app.terminal.is_some();
    let child = start(|| match become_session(&run, standard, channel, around) {
        Ok(never) => match never {},
        Err(error) => error,
    })?;
    Ok(Begun::Program(Program { child, on_terminal }))
}

/// In the new process: looks at the root as it is now, makes the terminal, and becomes the program.
fn become_session(
    run: &Run,
    standard: Vec<OwnedFd>,
    channel: &Channel,
    around: &Surroundings,
) -> Result<std::convert::Infallible> {
    let facts = Facts::gather(&around.root, &run.app)?;
    let work = resolve(&run.app, &facts)?;
    let slave = match run.app.terminal {
        Some(_) => {
            let path = super::open_terminal(channel, run.size)?;
            Some(sys::terminal::open_slave(&path).context(|| "cannot open the terminal in the pod")?)
        }
        None if standard.len() == 3 => None,
        None => return Err(Error::new("standard input, output and error are missing")),
    };
    send(channel, &Event::Started, &[])?;
    let of = |i: usize| slave.as_ref().map_or_else(|| standard[i].as_fd(), AsFd::as_fd);
    let stdio = Stdio { descriptors: [of(0), of(1), of(2)], controlling_terminal: slave.is_some() };
    Err(perform(&work, stdio, around))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::os::{connect_at, listen_at};

    #[test]
    fn there_are_so_many_places_and_who_has_gone_makes_room() {
        let name = format!("jetpack-sessions-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let directory = std::fs::File::open(std::env::temp_dir()).unwrap();
        let control = Listener::from_fd(listen_at(directory.as_fd(), &name).unwrap()).unwrap();
        let mut sessions = Sessions::new(control, None);
        let around = Surroundings { root: "/".into(), privileged: false };
        let turn = |sessions: &mut Sessions| {
            let ready = vec![true; sessions.interests().len()];
            sessions.turn(&ready, &around, Now::default());
        };
        assert_eq!((sessions.patience(), sessions.interests().len()), (None, 1));
        let mut clients: Vec<Channel> =
            (0..PLACES).map(|_| Channel::from_fd(connect_at(directory.as_fd(), &name).unwrap())).collect();
        (0..PLACES).for_each(|_| turn(&mut sessions));
        // All have come, and nobody else is listened to.
        assert_eq!((sessions.sessions.len(), sessions.interests().len()), (PLACES, PLACES));
        assert!(sessions.patience().is_some_and(|left| left > 0));
        let mut late = Channel::from_fd(connect_at(directory.as_fd(), &name).unwrap());
        drop(clients.pop());
        turn(&mut sessions);
        assert_eq!(sessions.sessions.len(), PLACES - 1);
        turn(&mut sessions);
        assert_eq!(sessions.sessions.len(), PLACES);
        // What cannot be understood is answered, and the connection closed.
        late.send(b"nonsense", &[]).unwrap();
        turn(&mut sessions);
        let (answer, _) = late.receive().unwrap().expect("an answer");
        assert!(matches!(serde_json::from_slice(&answer).unwrap(), Event::Failed(_)));
        assert!(late.receive().unwrap().is_none());
        // Silence ends in time.
        for session in &mut sessions.sessions {
            session.since -= PATIENCE;
        }
        assert_eq!(sessions.patience(), Some(1));
        sessions.turn(&[], &around, Now::default());
        assert!(sessions.sessions.is_empty());
        assert!(clients.pop().expect("a client").receive().unwrap().is_none());
        std::fs::remove_file(path).unwrap();
    }
}
