//! Starting the agent of a pod: this very program, executed again with a clean memory and environment.
//!
//! It goes into the jail itself. The program's file is not in the jail's filesystem, and no magic link leads to it: procfs
//! names a program by its path, which means nothing inside. The descriptor used here is closed before the jail is entered.

use std::ffi::{CString, c_char};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;
use nix::unistd::Pid;

use super::super::process::Birth;
use super::super::{Call, Error, Result, process};

/// This program's file.
#[derive(Debug)]
pub struct AgentExe(OwnedFd);

impl AgentExe {
    /// Opens it.
    ///
    /// # Errors
    /// It is no longer where it was.
    pub fn protected() -> Result<AgentExe> {
        let path = std::env::current_exe().call(|| "sysctl(KERN_PROC_PATHNAME)")?;
        let file = File::open(&path).call(|| format!("open({path:?})"))?;
        Ok(AgentExe(OwnedFd::from(file)))
    }

    /// The word by which the agent is told what it runs from, and [`AgentExe::inherited`]'s argument.
    pub fn kind(&self) -> &'static str {
        "file"
    }

    /// In the agent: the file that it runs from.
    pub fn inherited(_kind: &str, fd: OwnedFd) -> AgentExe {
        AgentExe(fd)
    }

    /// In the agent: closes the descriptor, the only way from the jail to the file.
    ///
    /// # Errors
    /// Never.
    pub fn close_behind(self) -> Result<()> {
        Ok(())
    }
}

impl AsFd for AgentExe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Starts the agent with `arguments`, an empty environment, and `fds[i]` as descriptor `i`; the program's file comes after
/// them.
///
/// # Errors
/// No process can be made.
pub fn spawn_agent(exe: &AgentExe, fds: &[BorrowedFd<'_>], arguments: &[CString]) -> Result<Pid> {
    let fds: Vec<BorrowedFd<'_>> = fds.iter().copied().chain([exe.as_fd()]).collect();
    let mut argv: Vec<*const c_char> = arguments.iter().map(|a| a.as_ptr()).collect();
    argv.push(ptr::null());
    let birth = Birth::prepare()?;
    let become_agent = || {
        if let Err(error) = process::arrange_descriptors(&fds) {
            return error;
        }
        let environment = [ptr::null::<c_char>()];
        // SAFETY: `argv` and `environment` are arrays of strings that end in a null pointer.
        unsafe { libc::fexecve(exe.0.as_raw_fd(), argv.as_ptr(), environment.as_ptr()) };
        Error::new("fexecve(agent)", Errno::last())
    };
    let pid = process::fork(|| birth.attempt(i32::try_from(fds.len()).unwrap_or(0), become_agent))?;
    birth.await_program(pid)
}
