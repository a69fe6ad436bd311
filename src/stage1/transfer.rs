//! Files that leave a pod or come into it: the two processes that move them, and the pipe between them.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{dup2_stdin, dup2_stdout};

use super::copy::{give, take};
use super::lifecycle::{Engine, RunOptions};
use super::prepare::Wanted;
use super::session::HARMLESS;
use crate::error::{Context, Error, Result};
use crate::progress::{Progress, Step};
use crate::stage0::pod::Pod;
use crate::stage2::exec::{Child, Stdio, Surroundings, become_program, fail, start};
use crate::stage2::{Transfer, Work};
use crate::sys;
use crate::sys::process::Exit;
use crate::sys::signal::{FORWARDED, Signals};

/// Which way files go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Out of the pod.
    Out,
    /// Into it.
    In,
}

/// A copy between a pod and its host.
#[derive(Clone, Debug)]
pub struct Copying {
    /// Which way.
    pub direction: Direction,
    /// The path in the pod; a relative one begins at its root.
    pub inside: OsString,
    /// The path on the host.
    pub outside: OsString,
    /// Whether a link at the end of the source's path is followed.
    pub follow: bool,
    /// Whether files keep their owners, and the rights that go with them.
    pub keep: bool,
    /// Whether nobody is warned of what could not be copied.
    pub quiet: bool,
}

impl Copying {
    /// What the pod does, and what its host.
    fn sides(&self) -> (Transfer, Transfer) {
        let quiet = self.quiet;
        let give = |path: &OsString| Transfer::Give { path: path.clone(), follow: self.follow, quiet };
        let take = |path: &OsString| Transfer::Take { path: path.clone(), keep: self.keep, quiet };
        match self.direction {
            Direction::Out => (give(&self.inside), take(&self.outside)),
            Direction::In => (take(&self.inside), give(&self.outside)),
        }
    }
}

/// In a new process of the agent's, which tells by `report` what goes wrong: does the work. Returns only when
/// that is to become a program and it fails.
pub(super) fn perform(work: &Work, stdio: Stdio<'_>, around: &Surroundings, report: BorrowedFd<'_>) -> Error {
    let transfer = match work {
        Work::Execute(spec) => return become_program(spec, stdio, around),
        Work::Transfer(transfer) => transfer,
    };
    sys::signal::reset_all();
    // No other program closes here what is the agent's: the pod's lock, its control socket, and those who are connected.
    let alone =
        sys::process::arrange_descriptors(&stdio.descriptors).and_then(|()| sys::process::close_all_but(report));
    if let Err(error) = alone {
        fail(report, &Error::with_source("cannot arrange the descriptors of the copy", error));
    }
    let root = around.root.as_os_str().as_bytes();
    let root = root.strip_suffix(b"/").unwrap_or(root);
    let at_root = |path: &OsString| {
        let path = path.as_bytes();
        let begin = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
        OsString::from_vec([root, b"/", &path[begin..]].concat())
    };
    let mut transfer = transfer.clone();
    let (Transfer::Give { path, .. } | Transfer::Take { path, .. }) = &mut transfer;
    *path = at_root(path);
    let (input, output, said) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let error = move_files(&transfer, [input.as_fd(), output.as_fd(), said.as_fd()], None, &crate::progress::Silent);
    // Not by returning: those who own what was closed must not close it again.
    fail(report, &error)
}

/// In a process of its own: moves the files, warns on `said`, and ends. Returns only when it fails.
///
/// Whoever gives ends when he is told to, or when nobody takes any more. Whoever takes ends before that only when he has taken
/// away again what he has made until then: when a signal tells him to, or when the other end of the leash is let go.
fn move_files(
    transfer: &Transfer,
    [input, output, said]: [BorrowedFd<'_>; 3],
    leash: Option<OwnedFd>,
    progress: &dyn Progress,
) -> Error {
    let interrupted = AtomicI32::new(0);
    let moved = (|| {
        let open = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from).context(|| "cannot use the pipe");
        let step = Step::begin(progress, "copying", None);
        let (warnings, quiet) = match transfer {
            Transfer::Give { path, follow, quiet } => {
                let mut out = BufWriter::with_capacity(1 << 16, step.count(open(output)?));
                let warnings = give(Path::new(path), *follow, &mut out)?;
                out.flush().context(|| "cannot write to the pipe")?;
                (warnings, *quiet)
            }
            Transfer::Take { path, keep, quiet } => {
                let signals = Signals::catch(&FORWARDED).context(|| "cannot catch signals")?;
                // They are caught until all is done: one that came while it is cleaned up would end that.
                let input = Interruptible { input: open(input)?, signals: &signals, leash, by: &interrupted };
                (take(step.count(input), Path::new(path), *keep)?, *quiet)
            }
        };
        drop(step);
        let mut said = open(said)?;
        // Nobody may be there to be warned.
        let tell = |warning: &String| drop(writeln!(said, "jetpack: warning: {warning}"));
        warnings.iter().filter(|_| !quiet).for_each(tell);
        Ok(())
    })();
    match moved {
        Ok(()) => sys::process::exit_now(0),
        Err(error) => {
            sys::signal::die_of(interrupted.into_inner());
            error
        }
    }
}

/// What is read until somebody wants it to end.
struct Interruptible<'a> {
    input: File,
    signals: &'a Signals,
    leash: Option<OwnedFd>,
    /// The number of the signal that wanted it.
    by: &'a AtomicI32,
}

impl Read for Interruptible<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let readable = |fd| PollFd::new(fd, PollFlags::POLLIN);
            let mut ready = vec![readable(self.input.as_fd()), readable(self.signals.as_fd())];
            ready.extend(self.leash.iter().map(|leash| readable(leash.as_fd())));
            match poll(&mut ready, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            let ready: Vec<bool> = ready.iter().map(|fd| fd.any().unwrap_or(false)).collect();
            if let Some(signal) = self.signals.pending().into_iter().find(|signal| !HARMLESS.contains(signal)) {
                self.by.store(signal as i32, Ordering::Relaxed);
                return Err(std::io::Error::other(format!("interrupted by {signal}")));
            }
            if ready.get(2) == Some(&true) {
                return Err(std::io::Error::other("interrupted"));
            }
            if ready[0] {
                return self.input.read(buffer);
            }
        }
    }
}

impl Engine<'_> {
    /// Copies files between the root of a pod's app and the host. A pod that does not run is started for it, without its app.
    /// Says which signal has ended the copy, if one has.
    ///
    /// Standard input and output of this process lead elsewhere meanwhile.
    ///
    /// # Errors
    /// What is to be copied is not there, cannot be read or cannot be written, or the pod ends meanwhile.
    pub fn copy(&self, pod: &Pod, app: Option<&str>, copying: &Copying, progress: &dyn Progress) -> Result<Exit> {
        let what = || "cannot connect the pod with its host";
        let (inside, outside) = copying.sides();
        let (read, write) = sys::process::pipe().context(what)?;
        let (pods, hosts) = match copying.direction {
            Direction::Out => (write, read),
            Direction::In => (read, write),
        };
        let (mut host, pods) = Host::start(&outside, pods, hosts, progress)?;
        let null = File::options().read(true).write(true).open("/dev/null").context(what)?;
        let connect = |pods: BorrowedFd<'_>| match copying.direction {
            Direction::Out => dup2_stdin(&null).and_then(|()| dup2_stdout(pods)),
            Direction::In => dup2_stdin(pods).and_then(|()| dup2_stdout(&null)),
        };
        let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
        let own = |fd: BorrowedFd<'_>| sys::process::duplicate_above(fd, 2).context(what);
        let (own_input, own_output) = (own(stdin.as_fd())?, own(stdout.as_fd())?);
        connect(pods.as_fd()).context(what)?;
        drop(pods);
        let pods_side = self.exec(pod, app, Wanted::Transfer(inside), &RunOptions::default());
        // The pipe ends for the host's side when this process has let go of it too.
        dup2_stdin(&own_input).and_then(|()| dup2_stdout(&own_output)).context(what)?;
        let given = pods_side.as_ref().is_ok_and(|exit| exit.success());
        let interrupted = pods_side.as_ref().ok().copied().filter(|exit| is_interruption(*exit));
        // Somebody in the pod may hold the pipe open, and then nothing ends by itself.
        if interrupted.is_some() || (copying.direction == Direction::Out && !given) {
            host.stop();
        }
        match (interrupted, host.wait()?) {
            (Some(exit), _) | (None, Waited::Interrupted(exit)) => Ok(exit),
            (None, Waited::Ended(hosts_side)) => match copying.direction {
                Direction::Out => first_cause(pods_side, hosts_side),
                Direction::In => first_cause(hosts_side, pods_side),
            }
            .map(|()| Exit::Code(0)),
        }
    }
}

/// Whether this is how something ends that a person has interrupted.
fn is_interruption(exit: Exit) -> bool {
    FORWARDED.iter().any(|signal| !HARMLESS.contains(signal) && exit == Exit::Signal(*signal as i32))
}

/// The process of the host's side.
struct Host {
    child: Child,
    gives: bool,
    /// One that takes goes on as long as this is held, and no longer than this process lives.
    leash: Option<OwnedFd>,
}

/// What came of waiting for it.
enum Waited {
    Ended(Result<Exit>),
    /// This process was told to end.
    Interrupted(Exit),
}

impl Host {
    /// Starts the process, which has its end of the pipe alone; gives the pod's end back.
    fn start(transfer: &Transfer, pods: OwnedFd, hosts: OwnedFd, progress: &dyn Progress) -> Result<(Host, OwnedFd)> {
        let (end, leash) = sys::process::pipe().context(|| "cannot start the copy")?;
        let gives = matches!(transfer, Transfer::Give { .. });
        let others = RefCell::new(Some((pods, leash)));
        let child = start(|_| {
            // In the new process only.
            drop(others.take());
            sys::signal::reset_inherited();
            if gives && let Err(error) = sys::os::die_with_parent() {
                return Error::with_source("cannot start the copy", error);
            }
            let stderr = std::io::stderr();
            move_files(transfer, [hosts.as_fd(), hosts.as_fd(), stderr.as_fd()], Some(end), progress)
        })?;
        let (pods, leash) = others.take().ok_or_else(|| Error::new("the pipe to the pod has gone"))?;
        Ok((Host { child, gives, leash: Some(leash) }, pods))
    }

    /// Has it end: at once if it gives, and if it takes when it has taken away again what it has made.
    fn stop(&mut self) {
        self.leash = None;
        if self.gives {
            // It may have ended.
            let _ = kill(self.child.pid, Signal::SIGKILL);
        }
    }

    /// Waits until it has ended; what ends a program has it end before.
    fn wait(mut self) -> Result<Waited> {
        let what = || "cannot wait for the copy";
        let caught: Vec<Signal> = FORWARDED.into_iter().chain([Signal::SIGCHLD]).collect();
        let signals = Signals::catch(&caught).context(what)?;
        let mut interrupted = None;
        loop {
            while let Some((pid, exit)) = sys::process::reap_any().context(what)? {
                if pid == self.child.pid {
                    return Ok(interrupted.map_or_else(|| Waited::Ended(self.child.ended(exit)), Waited::Interrupted));
                }
            }
            match poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno).context(what),
            }
            for exit in signals.pending().into_iter().map(|signal| Exit::Signal(signal as i32)) {
                if is_interruption(exit) {
                    self.stop();
                    interrupted = interrupted.or(Some(exit));
                }
            }
        }
    }
}

/// What went wrong first, if anything did: the one who takes complains when the other gives no more, and the one who gives is
/// killed by SIGPIPE when the other takes no more.
fn first_cause(giver: Result<Exit>, taker: Result<Exit>) -> Result<()> {
    const PIPE: Exit = Exit::Signal(Signal::SIGPIPE as i32);
    match (giver?, taker) {
        (PIPE, Err(error)) => Err(error),
        (given, taken) if given.success() => match taken? {
            taken if taken.success() => Ok(()),
            taken => Err(Error::new(format!("the process that wrote the copy was {taken}"))),
        },
        (given, _) => Err(Error::new(format!("the process that read the original was {given}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cause_is_told() {
        let (well, pipe, kill) = (Exit::Code(0), Exit::Signal(13), Exit::Signal(9));
        let no = |why: &str| Err(Error::new(why.to_owned()));
        let table = [
            (Ok(well), Ok(well), None),
            (Ok(pipe), no("disk full"), Some("disk full")),
            (no("not there"), no("cut short"), Some("not there")),
            (Ok(well), no("disk full"), Some("disk full")),
            (Ok(kill), no("cut short"), Some("the process that read the original was killed by SIGKILL")),
            (Ok(well), Ok(kill), Some("the process that wrote the copy was killed by SIGKILL")),
            (Ok(pipe), Ok(kill), Some("the process that read the original was killed by SIGPIPE")),
        ];
        for (giver, taker, expected) in table {
            let got = first_cause(giver, taker).err().map(|error| error.one_line());
            assert_eq!(got.as_deref(), expected);
        }
    }
}
