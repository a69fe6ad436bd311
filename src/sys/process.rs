//! Processes: forking, waiting, identities, and the descriptors that a new program gets.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::unistd::{ForkResult, Gid, Pid, Uid};
use serde::{Deserialize, Serialize};

use super::{Call, Error, Result};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
}

impl Exit {
    /// The exit code that shells and other runtimes show: the code itself, or 128 + the signal's number.
    pub fn code(self) -> u8 {
        let code = match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => 128 + signal,
        };
        u8::try_from(code & 0xff).unwrap_or(u8::MAX)
    }

    /// Whether it was a success.
    pub fn success(self) -> bool {
        self == Exit::Code(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(signal) => match nix::sys::signal::Signal::try_from(*signal) {
                Ok(known) => write!(f, "killed by {known}"),
                Err(_) => write!(f, "killed by signal {signal}"),
            },
        }
    }
}

/// Which system calls a program may make, as far as the kernel can filter them: on Linux, that is. A kernel without filters
/// takes either for leave to make all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seccomp {
    /// Those of the default filter, which depends on the capabilities that the program may have.
    #[default]
    Default,
    /// All.
    Unconfined,
}

/// A pipe whose ends are closed on exec.
///
/// # Errors
/// No descriptors are left.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).call(|| "pipe2(O_CLOEXEC)")
}

/// How many bytes can be read from the pipe `fd` without waiting.
///
/// # Errors
/// It is no reading end.
pub fn readable_bytes(fd: &impl AsFd) -> Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: FIONREAD fills the number that the pointer names.
    let result = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), libc::FIONREAD, &raw mut count) };
    Errno::result(result).call(|| "ioctl(FIONREAD)")?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Forks. The child runs `child` and exits at once with what it returns; no destructors of the parent's values run in it.
///
/// The calling process must have one thread only: `child` allocates.
///
/// # Errors
/// No process can be made.
pub fn fork(child: impl FnOnce() -> i32) -> Result<Pid> {
    // SAFETY: the callers (the runner and the agent of a pod) are single-threaded, so the child may use the whole library.
    match unsafe { nix::unistd::fork() }.call(|| "fork()")? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => exit_now(child()),
    }
}

/// What a new process tells before it becomes another program: nothing, or why it could not.
#[derive(Debug)]
pub struct Birth {
    read: OwnedFd,
    write: OwnedFd,
}

impl Birth {
    /// To be made before the new process is.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn prepare() -> Result<Birth> {
        let (read, write) = pipe()?;
        Ok(Birth { read, write })
    }

    /// In the new process, whose descriptors below `count` will be arranged: does what leads to another program. Returns an
    /// exit code if that failed.
    pub fn attempt(&self, count: RawFd, become_program: impl FnOnce() -> Error) -> i32 {
        let Ok(write) = duplicate_above(self.write.as_fd(), count) else { return 125 };
        let error = become_program();
        // Without a reader there is nobody left to tell.
        let _ = File::from(write).write_all(format!("{}\n{}", error.errno as i32, error.call).as_bytes());
        125
    }

    /// In the parent: waits until the process `pid` is another program.
    ///
    /// # Errors
    /// What the process told; it has been waited for then.
    pub fn await_program(self, pid: Pid) -> Result<Pid> {
        drop(self.write);
        let mut told = String::new();
        File::from(self.read).read_to_string(&mut told).call(|| "read(new process)")?;
        let Some((errno, call)) = told.split_once('\n') else { return Ok(pid) };
        wait(pid)?;
        Err(Error::new(call, Errno::from_raw(errno.parse().unwrap_or(0))))
    }
}

/// Runs `work` in a child process, and gives what it says, or what went wrong in it.
///
/// The calling process must have one thread only.
///
/// # Errors
/// No process can be made, or it was killed.
pub fn in_child(
    work: impl FnOnce() -> std::result::Result<String, String>,
) -> Result<std::result::Result<String, String>> {
    // The first byte tells the one from the other.
    let tell = |how: &[u8], text: String| [how, text.as_bytes()].concat();
    let answer = answer_of_child(|| work().map_or_else(|text| tell(b"!", text), |text| tell(b"=", text)))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match answer.split_first() {
        Some((b'=', rest)) => Ok(Ok(text(rest))),
        Some((_, rest)) => Ok(Err(text(rest))),
        None => Err(Error::new("fork()", Errno::EPIPE)),
    }
}

/// Runs `work` in a child process, and gives what it returns. The child dies with its parent.
///
/// The calling process must have one thread only.
///
/// # Errors
/// No process can be made, or it ended before `work` did.
pub fn answer_of_child(work: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>> {
    let (read, write) = pipe()?;
    let mut write = File::from(write);
    let pid = fork(|| {
        let answered = super::os::die_with_parent().is_ok() && write.write_all(&work()).is_ok();
        i32::from(!answered)
    })?;
    drop(write);
    let mut answer = Vec::new();
    let read = File::from(read).read_to_end(&mut answer).call(|| "read(child)");
    match wait(pid)? {
        Exit::Code(0) => read.map(|_| answer),
        _ => Err(Error::new("fork()", Errno::EINTR)),
    }
}

/// Ends this process without running exit handlers.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit(2) does not return and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Reaps one child that has ended, if there is one: its process id and how it ended.
///
/// # Errors
/// waitpid(2) failed for another reason than that there is no child.
pub fn reap_any() -> Result<Option<(Pid, Exit)>> {
    match ended(-1, libc::WNOHANG) {
        Ok(ended) => Ok(ended),
        Err(Errno::ECHILD) => Ok(None),
        Err(errno) => Err(Error::new("waitpid(-1, WNOHANG)", errno)),
    }
}

/// Waits for the child `pid` to end.
///
/// # Errors
/// It is no child of this process.
pub fn wait(pid: Pid) -> Result<Exit> {
    loop {
        if let Some((_, exit)) = ended(pid.as_raw(), 0).call(|| format!("waitpid({pid})"))? {
            return Ok(exit);
        }
    }
}

/// waitpid(2); `None` if none has ended. Any signal may have killed a child, those without names (signal(7)) too.
fn ended(pid: libc::pid_t, options: libc::c_int) -> nix::Result<Option<(Pid, Exit)>> {
    loop {
        let mut status = 0;
        // SAFETY: waitpid(2) writes the status where the pointer leads.
        let exit = match Errno::result(unsafe { libc::waitpid(pid, &raw mut status, options) }) {
            Ok(0) => return Ok(None),
            Ok(child) if libc::WIFEXITED(status) => (child, Exit::Code(libc::WEXITSTATUS(status))),
            Ok(child) if libc::WIFSIGNALED(status) => (child, Exit::Signal(libc::WTERMSIG(status))),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(errno) => return Err(errno),
        };
        return Ok(Some((Pid::from_raw(exit.0), exit.1)));
    }
}

/// Puts `fds[i]` on descriptor `i` for each `i`, open across exec, and marks everything above for closing on exec.
///
/// # Errors
/// A descriptor cannot be duplicated.
pub fn arrange_descriptors(fds: &[BorrowedFd<'_>]) -> Result<()> {
    let count = RawFd::try_from(fds.len()).unwrap_or(RawFd::MAX);
    let above: Vec<OwnedFd> = fds.iter().map(|fd| duplicate_above(*fd, count - 1)).collect::<Result<_>>()?;
    for (to, from) in above.iter().enumerate() {
        let to = RawFd::try_from(to).unwrap_or(RawFd::MAX);
        // SAFETY: dup2(2) replaces descriptor `to`; this process is about to exec and uses the old one no more.
        Errno::result(unsafe { libc::dup2(from.as_raw_fd(), to) })
            .call(|| format!("dup2({}, {to})", from.as_raw_fd()))?;
    }
    super::os::close_on_exec_from(count)
}

/// Closes every descriptor above 2 but `kept`. For a process that has just been forked, and uses none of those that it has
/// inherited.
///
/// # Errors
/// Never on a kernel that has the call.
pub fn close_all_but(kept: BorrowedFd<'_>) -> Result<()> {
    let kept = u32::try_from(kept.as_raw_fd()).unwrap_or(u32::MAX);
    let ranges = [(3, kept.saturating_sub(1)), (kept.saturating_add(1).max(3), u32::MAX)];
    let mut ranges = ranges.into_iter().filter(|(first, last)| first <= last);
    ranges.try_for_each(|(first, last)| super::os::close_range(first, last))
}

/// A copy of `fd` with a number above `above`, closed on exec.
///
/// # Errors
/// No descriptors are left.
pub fn duplicate_above(fd: BorrowedFd<'_>, above: RawFd) -> Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: F_DUPFD_CLOEXEC takes a number and makes a new descriptor.
    let copy = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, above + 1) };
    let copy = Errno::result(copy).call(|| format!("fcntl({}, F_DUPFD_CLOEXEC)", fd.as_raw_fd()))?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Takes ownership of a descriptor that this process inherited under a known number.
///
/// # Errors
/// The descriptor is not open.
pub fn inherited(fd: RawFd) -> Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: F_SETFD changes a flag of the descriptor, if it is open.
    let result = unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    Errno::result(result).call(|| format!("fcntl({fd}, F_SETFD)"))?;
    // SAFETY: it is open, and each inherited descriptor is asked for once, at the start of the agent.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts this process into `groups`, with `gid` as its own.
///
/// # Errors
/// The process may not, or there are more groups than the kernel allows.
pub fn set_groups(gid: u32, groups: &[u32]) -> Result<()> {
    // SAFETY: the pointer and the length describe `groups`.
    let result = unsafe { libc::setgroups(groups.len() as _, groups.as_ptr()) };
    Errno::result(result).call(|| format!("setgroups({groups:?})"))?;
    let gid = Gid::from_raw(gid);
    nix::unistd::setresgid(gid, gid, gid).call(|| format!("setresgid({gid})"))
}

/// Makes this process `uid`'s, for good.
///
/// # Errors
/// The process may not.
pub fn set_user(uid: u32) -> Result<()> {
    let uid = Uid::from_raw(uid);
    nix::unistd::setresuid(uid, uid, uid).call(|| format!("setresuid({uid})"))
}

/// Replaces this process by `program`.
///
/// # Errors
/// Always, if it returns: the program cannot be executed.
pub fn exec(program: &OsStr, argv: &[CString], env: &[CString]) -> Error {
    let path = match CString::new(program.as_bytes()) {
        Ok(path) => path,
        Err(_) => return Error::new(format!("execve({program:?})"), Errno::EINVAL),
    };
    let Err(errno) = nix::unistd::execve(&path, argv, env);
    Error::new(format!("execve({program:?})"), errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_the_shells() {
        assert_eq!(Exit::Code(3).code(), 3);
        assert_eq!(Exit::Signal(9).code(), 137);
        assert_eq!(Exit::Signal(15).to_string(), "killed by SIGTERM");
    }

    #[test]
    fn a_process_tells_why_it_became_no_other_program() {
        let birth = Birth::prepare().unwrap();
        let missing = || exec(OsStr::new("/nonexistent"), &[c"x".to_owned()], &[]);
        let pid = fork(|| birth.attempt(3, missing)).unwrap();
        assert_eq!(birth.await_program(pid).unwrap_err().errno(), Errno::ENOENT);
        let birth = Birth::prepare().unwrap();
        let pid = fork(|| {
            birth
                .attempt(3, || exec(OsStr::new("/bin/sh"), &[c"sh".to_owned(), c"-c".to_owned(), c":".to_owned()], &[]))
        })
        .unwrap();
        assert_eq!(wait(birth.await_program(pid).unwrap()).unwrap(), Exit::Code(0));
    }

    #[test]
    fn a_child_keeps_one_descriptor_and_no_other() {
        let (read, write) = pipe().unwrap();
        let pid = fork(|| {
            let others = close_all_but(write.as_fd()).is_err() || nix::sys::stat::fstat(&read).is_ok();
            i32::from(
                others || nix::unistd::write(&write, b"x").is_err() || nix::sys::stat::fstat(std::io::stdin()).is_err(),
            )
        })
        .unwrap();
        assert_eq!(wait(pid).unwrap(), Exit::Code(0));
    }

    #[test]
    fn a_child_answers() {
        let many = vec![7; 1 << 20];
        assert_eq!(answer_of_child(|| many.clone()).unwrap(), many);
        answer_of_child(|| exit_now(3)).unwrap_err();
        for answer in [Ok("yes".to_owned()), Ok(String::new()), Err("no".to_owned()), Err(String::new())] {
            assert_eq!(in_child(|| answer.clone()).unwrap(), answer);
        }
    }

    #[test]
    fn a_child_may_end_by_a_signal_that_has_no_name() {
        let unnamed = 40;
        let pid = fork(|| {
            // SAFETY: raise(3) takes a number.
            unsafe { libc::raise(unnamed) };
            0
        })
        .unwrap();
        let exit = wait(pid).unwrap();
        assert_eq!((exit, exit.to_string()), (Exit::Signal(unnamed), format!("killed by signal {unnamed}")));
    }

    #[test]
    fn a_forked_child_gives_its_code() {
        let pid = fork(|| 42).unwrap();
        assert_eq!(wait(pid).unwrap(), Exit::Code(42));
    }
}
