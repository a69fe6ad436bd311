//! Files that leave a pod or come into it: the two processes that move them, and the pipe between them.

use std::cell::RefCell;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::{dup2_stdin, dup2_stdout};

use super::copy::{give, take};
use super::lifecycle::{Engine, RunOptions};
use super::prepare::Wanted;
use crate::error::{Context, Error, Result};
use crate::progress::{Progress, Step};
use crate::stage0::pod::Pod;
use crate::stage2::exec::{Child, Stdio, Surroundings, become_program, start};
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
    pub inside: String,
    /// The path on the host.
    pub outside: String,
    /// Whether a link at the end of the source's path is followed.
    pub follow: bool,
    /// Whether files keep their owners, and the rights that go with them.
    pub keep: bool,
}

impl Copying {
    /// What the pod does, and what its host.
    fn sides(&self) -> (Transfer, Transfer) {
        let give = |path: &str| Transfer::Give { path: path.to_owned(), follow: self.follow };
        let take = |path: &str| Transfer::Take { path: path.to_owned(), keep: self.keep };
        match self.direction {
            Direction::Out => (give(&self.inside), take(&self.outside)),
            Direction::In => (take(&self.inside), give(&self.outside)),
        }
    }
}

/// In a new process of the agent's: does the work. Returns only when it fails.
pub(super) fn perform(work: &Work, stdio: Stdio<'_>, around: &Surroundings) -> Error {
    match work {
        Work::Execute(spec) => become_program(spec, stdio, around),
        Work::Transfer(transfer) => {
            let [input, output, said] = stdio.descriptors;
            let root = around.root.display().to_string();
            let at_root = |path: &str| format!("{}/{}", root.trim_end_matches('/'), path.trim_start_matches('/'));
            let transfer = match transfer.clone() {
                Transfer::Give { path, follow } => Transfer::Give { path: at_root(&path), follow },
                Transfer::Take { path, keep } => Transfer::Take { path: at_root(&path), keep },
            };
            move_files(&transfer, [input, output, said], &crate::progress::Silent)
        }
    }
}

/// In a process of its own: moves the files, warns on `said`, and ends. Returns only when it fails.
fn move_files(transfer: &Transfer, [input, output, said]: [BorrowedFd<'_>; 3], progress: &dyn Progress) -> Error {
    // Whoever gives ends when he is told to, or when nobody takes any more. Whoever takes sees the end of what comes, and
    // takes away what he has made until then.
    sys::signal::reset_all();
    let _caught = matches!(transfer, Transfer::Take { .. }).then(|| Signals::catch(&FORWARDED));
    let moved = (|| {
        let open = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map(File::from).context(|| "cannot use the pipe");
        let step = Step::begin(progress, "copying", None);
        let warnings = match transfer {
            Transfer::Give { path, follow } => {
                let mut out = BufWriter::with_capacity(1 << 16, step.count(open(output)?));
                let warnings = give(Path::new(path), *follow, &mut out)?;
                out.flush().context(|| "cannot write to the pipe")?;
                warnings
            }
            Transfer::Take { path, keep } => take(step.count(open(input)?), Path::new(path), *keep)?,
        };
        drop(step);
        let mut said = open(said)?;
        // Nobody may be there to be warned.
        warnings.iter().for_each(|warning| drop(writeln!(said, "jetpack: warning: {warning}")));
        Ok(())
    })();
    match moved {
        Ok(()) => sys::process::exit_now(0),
        Err(error) => error,
    }
}

impl Engine<'_> {
    /// Copies files between the root of a pod's app and the host. A pod that does not run is started for it, without its app.
    ///
    /// Standard input and output of this process are used up.
    ///
    /// # Errors
    /// What is to be copied is not there, cannot be read or cannot be written, or the pod ends meanwhile.
    pub fn copy(&self, pod: &Pod, app: Option<&str>, copying: &Copying, progress: &dyn Progress) -> Result<()> {
        let what = || "cannot connect the pod with its host";
        let (inside, outside) = copying.sides();
        let (read, write) = sys::process::pipe().context(what)?;
        let (pods, hosts) = match copying.direction {
            Direction::Out => (write, read),
            Direction::In => (read, write),
        };
        let (host, pods) = start_host(&outside, pods, hosts, progress)?;
        let null = File::options().read(true).write(true).open("/dev/null").context(what)?;
        let connect = |pods: BorrowedFd<'_>| match copying.direction {
            Direction::Out => dup2_stdin(&null).and_then(|()| dup2_stdout(pods)),
            Direction::In => dup2_stdin(pods).and_then(|()| dup2_stdout(&null)),
        };
        connect(pods.as_fd()).context(what)?;
        drop(pods);
        let pods_side = self.exec(pod, app, Wanted::Transfer(inside), &RunOptions::default());
        // The pipe ends for the host's side when this process has let go of it too.
        connect(null.as_fd()).context(what)?;
        let exit = sys::process::wait(host.pid).context(|| "cannot wait for the copy")?;
        let hosts_side = host.ended(exit);
        match copying.direction {
            Direction::Out => first_cause(pods_side, hosts_side),
            Direction::In => first_cause(hosts_side, pods_side),
        }
    }
}

/// Starts the process of the host's side, which has its end of the pipe alone; gives the pod's end back.
fn start_host(transfer: &Transfer, pods: OwnedFd, hosts: OwnedFd, progress: &dyn Progress) -> Result<(Child, OwnedFd)> {
    let pods = RefCell::new(Some(pods));
    let child = start(|| {
        // In the new process only.
        drop(pods.take());
        let stderr = std::io::stderr();
        move_files(transfer, [hosts.as_fd(), hosts.as_fd(), stderr.as_fd()], progress)
    })?;
    let pods = pods.take().ok_or_else(|| Error::new("the pipe to the pod has gone"))?;
    Ok((child, pods))
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
