//! Those who have connected to the pod's control socket, and the programs that run for them.
//!
//! Whoever has connected and does not say what he wants is sent away after a while, and there are so many places for each kind
//! and no more: neither silence nor half a message costs others anything, and however many commands run, the pod can be
//! looked at and ended. A place is free again when its connection is closed, whatever becomes of the program.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::super::message::{Event, Heard, Order, Request, Run, hear, send};
use super::super::transfer::perform;
use super::app::Now;
use crate::error::{Context, Error, Result, Told};
use crate::stage2;
use crate::stage2::exec::{Child, Stdio, Surroundings, start};
use crate::stage2::facts::Facts;
use crate::stage2::resolve::resolve;
use crate::sys;
use crate::sys::channel::{Channel, Listener};
use crate::sys::process::Exit;

/// For how many programs run at a time. Others are refused.
const COMMANDS: usize = 128;

/// How many watch the pod at a time. Others are refused.
const WATCHERS: usize = 32;

/// How many may be connected beside them, until they have said what they want. Others wait.
const UNDECIDED: usize = 16;

/// How long somebody may take to say what he wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// All of them.
pub(super) struct Sessions {
    control: Listener,
    /// What the host's kernel knows the pod by, if that is a descriptor.
    identity: Option<OwnedFd>,
    sessions: Vec<Session>,
    /// The programs of those who have gone.
    left: Vec<Pid>,
    /// No more descriptors were left: nobody is let in before somebody has gone.
    full: bool,
}

/// Somebody who has connected.
struct Session {
    channel: Channel,
    since: Instant,
    /// What runs for him.
    program: Option<Program>,
    /// Whether he watches the pod.
    watching: bool,
}

struct Program {
    child: Child,
    on_terminal: bool,
    moves_files: bool,
}

/// What is free.
struct Room {
    commands: usize,
    watchers: usize,
}

impl Sessions {
    /// Nobody yet.
    pub(super) fn new(control: Listener, identity: Option<OwnedFd>) -> Sessions {
        Sessions { control, identity, sessions: Vec::new(), left: Vec::new(), full: false }
    }

    /// What to wait for: those who have connected, and last those who want to.
    pub(super) fn interests(&self) -> Vec<BorrowedFd<'_>> {
        let has_room = !self.full && self.sessions.len() < COMMANDS + WATCHERS + UNDECIDED;
        self.sessions
            .iter()
            .map(|session| session.channel.as_fd())
            .chain(has_room.then(|| self.control.as_fd()))
            .collect()
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
        let mut room = self.room();
        let mut open = Vec::new();
        for session in &mut self.sessions {
            let said = ready.next().unwrap_or(false);
            open.push((!said || session.serve(around, app, self.identity.as_ref(), &mut room)) && !session.is_late());
        }
        self.full &= open.iter().all(|open| *open);
        let mut open = open.into_iter();
        self.sessions.retain(|session| {
            let stays = open.next().unwrap_or(true);
            if !stays && let Some(program) = &session.program {
                program.hang_up();
                self.left.push(program.child.pid);
            }
            stays
        });
        if ready.next().unwrap_or(false) {
            match self.control.accept() {
                Ok(Some(channel)) => {
                    self.sessions.push(Session { channel, since: Instant::now(), program: None, watching: false });
                }
                Ok(None) => {}
                Err(_) => self.full = !self.sessions.is_empty(),
            }
        }
    }

    fn room(&self) -> Room {
        let count = |is: fn(&Session) -> bool| self.sessions.iter().filter(|session| is(session)).count();
        Room {
            commands: COMMANDS.saturating_sub(count(|session| session.program.is_some())),
            watchers: WATCHERS.saturating_sub(count(|session| session.watching)),
        }
    }

    /// Tells whoever wants to know that the process `pid` has ended.
    pub(super) fn ended(&mut self, pid: Pid, exit: Exit) {
        self.left.retain(|left| *left != pid);
        let is_his = |session: &Session| session.program.as_ref().is_some_and(|program| program.child.pid == pid);
        let Some(at) = self.sessions.iter().position(is_his) else { return };
        self.full = false;
        let Session { channel, program: Some(program), .. } = self.sessions.remove(at) else { return };
        let event = match program.child.ended(exit) {
            Ok(exit) => Event::Exited(exit),
            Err(error) => Event::Failed(Told::from(&error)),
        };
        // Whoever has gone needs no news.
        let _ = send(&channel, &event, &[]);
    }

    /// Ends what runs for them: the kernel does it where this is the pod's first process or a jail's, and nobody elsewhere.
    pub(super) fn end(&mut self) {
        let theirs = self.sessions.drain(..).filter_map(|session| Some(session.program?.child.pid));
        theirs.chain(self.left.drain(..)).for_each(|pid| signal_group(pid, Signal::SIGKILL));
    }
}

/// Signals the process and those of its group.
fn signal_group(pid: Pid, signal: Signal) {
    // It may not lead a group yet.
    if killpg(pid, signal).is_err() {
        let _ = kill(pid, signal);
    }
}

impl Program {
    /// Passes a signal on. Root of the pod can stop a process that moves files, and must not hold up its end by that.
    fn signal(&self, number: i32) {
        super::signal(self.child.pid, number);
        if self.moves_files {
            super::signal(self.child.pid, super::CONTINUE);
        }
    }

    /// Tells it that whoever wanted it has gone. A terminal hangs up by itself.
    fn hang_up(&self) {
        if self.moves_files {
            self.signal(Signal::SIGHUP as i32);
        } else if !self.on_terminal {
            signal_group(self.child.pid, Signal::SIGHUP);
        }
    }
}

impl Session {
    /// Whether he has still to say what he wants.
    fn is_undecided(&self) -> bool {
        self.program.is_none() && !self.watching
    }

    /// Whether he has taken too long to say it.
    fn is_late(&self) -> bool {
        self.is_undecided() && self.since.elapsed() >= PATIENCE
    }

    /// Does what he wants, as far as he has said it; false when the connection is closed.
    fn serve(&mut self, around: &Surroundings, app: Now, identity: Option<&OwnedFd>, room: &mut Room) -> bool {
        let channel = &mut self.channel;
        match &self.program {
            Some(program) => obey(channel, program),
            None if self.watching => obey_watcher(channel, app),
            None => match begin(channel, around, app, identity, room) {
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
        }
    }
}

/// Carries out what is ordered; false when the connection is closed.
fn obey(channel: &mut Channel, program: &Program) -> bool {
    match hear::<Order>(channel) {
        Ok(Heard::Message(Order::Signal(number), _)) => {
            program.signal(number);
            true
        }
        Ok(Heard::Partial) => true,
        Ok(Heard::Closed) | Err(_) => false,
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

fn begin(
    channel: &mut Channel,
    around: &Surroundings,
    app: Now,
    identity: Option<&OwnedFd>,
    room: &mut Room,
) -> Result<Begun> {
    let (run, standard) = match hear::<Request>(channel)? {
        Heard::Message(Request::Exec(run), fds) => (run, fds),
        Heard::Message(Request::Watch, _) => {
            take(&mut room.watchers, || format!("{WATCHERS} others watch the pod"))?;
            let fds: Vec<BorrowedFd<'_>> = identity.into_iter().map(AsFd::as_fd).collect();
            return send(channel, &Event::Watched(Pid::this().as_raw()), &fds).map(|()| Begun::Watching);
        }
        Heard::Partial => return Ok(Begun::Not),
        Heard::Closed => return Ok(Begun::Gone),
    };
    if app.is_stopping {
        return Err(Error::new("the pod is stopping").help("its app has ended; try again when the pod has"));
    }
    take(&mut room.commands, || format!("{COMMANDS} other commands run in the pod"))?;
    let on_terminal = run.app.terminal.is_some();
    let moves_files = matches!(run.app.program, stage2::Program::Transfer(_));
    let child = start(|report| match become_session(&run, standard, channel, around, report) {
        Ok(never) => match never {},
        Err(error) => error,
    })?;
    Ok(Begun::Program(Program { child, on_terminal, moves_files }))
}

/// Takes a place, if one is free.
fn take(free: &mut usize, taken: impl FnOnce() -> String) -> Result<()> {
    *free =
        free.checked_sub(1).ok_or_else(|| Error::new(taken()).help("that is all it has room for; try again later"))?;
    Ok(())
}

/// In the new process: looks at the root as it is now, makes the terminal, and becomes the program.
fn become_session(
    run: &Run,
    standard: Vec<OwnedFd>,
    channel: &Channel,
    around: &Surroundings,
    report: BorrowedFd<'_>,
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
    Err(perform(&work, stdio, around, report))
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
        let places = COMMANDS + WATCHERS + UNDECIDED;
        let mut clients: Vec<Channel> =
            (0..places).map(|_| Channel::from_fd(connect_at(directory.as_fd(), &name).unwrap())).collect();
        (0..places).for_each(|_| turn(&mut sessions));
        // All have come, and nobody else is listened to.
        assert_eq!((sessions.sessions.len(), sessions.interests().len()), (places, places));
        assert!(sessions.patience().is_some_and(|left| left > 0));
        let mut late = Channel::from_fd(connect_at(directory.as_fd(), &name).unwrap());
        drop(clients.pop());
        // A process that another test has just made may hold the connection for a moment.
        let turn_until = |sessions: &mut Sessions, is_so: &dyn Fn(&Sessions) -> bool| {
            for _ in 0..1000 {
                turn(sessions);
                if is_so(sessions) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            panic!("nobody has made room");
        };
        turn_until(&mut sessions, &|sessions| sessions.sessions.len() == places - 1);
        turn(&mut sessions);
        assert_eq!(sessions.sessions.len(), places);
        // Watchers take no more than their places.
        for (at, watcher) in clients.iter_mut().take(WATCHERS + 1).enumerate() {
            send(watcher, &Request::Watch, &[]).unwrap();
            let ready: Vec<bool> = (0..places).map(|place| place == at).collect();
            sessions.turn(&ready, &around, Now::default());
            let answer: Option<Event> = crate::stage1::message::receive(watcher).unwrap();
            assert_eq!(matches!(answer, Some(Event::Watched(_))), at < WATCHERS, "{answer:?}");
        }
        assert_eq!((sessions.sessions.len(), sessions.room().watchers), (places - 1, 0));
        drop(clients.drain(..WATCHERS));
        turn_until(&mut sessions, &|sessions| sessions.room().watchers == WATCHERS);
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
