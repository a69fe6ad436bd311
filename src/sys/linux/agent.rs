//! Starting the agent of a pod: this very program, executed again as the first process of new namespaces.
//!
//! A process of the pod that got hold of the runtime's program through /proc/PID/exe could rewrite it on the host, and an
//! image whose entry point is `/proc/self/exe` could have it executed with libraries of the image's choice (CVE-2019-5736).
//! So the agent runs from a private copy that cannot be written: a detached, read-only mount of the one file, or, where the
//! kernel has no mount_setattr(2), a sealed memfd. As soon as it runs, [`AgentExe::close_behind`] takes the right to
//! execute that copy away as well.

use std::ffi::{CString, c_char};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::ptr;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::Pid;

use super::super::process::Birth;
use super::super::{Call, Error, Result, process};
use super::mount::{clone_mount, set_mount_attributes};

const OWN_PROGRAM: &str = "/proc/self/exe";

/// Which namespaces the agent gets anew, besides those that every pod has of its own: mount, PID, UTS, IPC and cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespaces {
    /// A network namespace.
    pub network: bool,
}

/// A copy of this program that nothing in a pod can write.
#[derive(Debug)]
pub enum AgentExe {
    /// A detached read-only mount.
    Mount(OwnedFd),
    /// A sealed file in memory.
    Memory(OwnedFd),
}

impl AgentExe {
    /// The cheapest such copy that this kernel can make.
    ///
    /// # Errors
    /// /proc is not mounted, or neither way works.
    pub fn protected() -> Result<AgentExe> {
        AgentExe::in_mount().or_else(|_| AgentExe::in_memory())
    }

    /// A detached mount of the program's file (Linux 5.12).
    ///
    /// # Errors
    /// The kernel is older, or the file is not in this mount namespace.
    pub fn in_mount() -> Result<AgentExe> {
        let fd = clone_mount(Path::new(OWN_PROGRAM))?;
        let flags = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
        set_mount_attributes(fd.as_fd(), flags, false)?;
        Ok(AgentExe::Mount(fd))
    }

    /// A copy in memory, sealed against every change (Linux 3.17).
    ///
    /// # Errors
    /// The program cannot be read, or there is no memory for it.
    pub fn in_memory() -> Result<AgentExe> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        // Where vm.memfd_noexec is set, what is to be executed must say so; kernels before 6.3 do not know the word.
        let executable = MFdFlags::from_bits_retain(libc::MFD_EXEC);
        let memory = memfd_create(c"jetpack", flags | executable).or_else(|_| memfd_create(c"jetpack", flags));
        let memory = memory.call(|| "memfd_create(\"jetpack\")")?;
        let mut copy = File::from(memory);
        let mut program = File::open(OWN_PROGRAM).call(|| format!("open({OWN_PROGRAM:?})"))?;
        std::io::copy(&mut program, &mut copy).call(|| "write(memfd)")?;
        let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
        fcntl(&copy, FcntlArg::F_ADD_SEALS(seals)).call(|| "fcntl(memfd, F_ADD_SEALS)")?;
        Ok(AgentExe::Memory(OwnedFd::from(copy)))
    }

    /// The word by which the agent is told what it runs from, and [`AgentExe::inherited`]'s argument.
    pub fn kind(&self) -> &'static str {
        match self {
            AgentExe::Mount(_) => "mount",
            AgentExe::Memory(_) => "memory",
        }
    }

    /// In the agent: the copy that it runs from.
    pub fn inherited(kind: &str, fd: OwnedFd) -> AgentExe {
        if kind == "mount" { AgentExe::Mount(fd) } else { AgentExe::Memory(fd) }
    }

    /// In the agent: nobody can execute the copy from now on, not even by `/proc/self/exe`.
    ///
    /// # Errors
    /// The kernel refuses; the agent must not go on then.
    pub fn close_behind(self) -> Result<()> {
        match self {
            AgentExe::Mount(fd) => set_mount_attributes(fd.as_fd(), libc::MOUNT_ATTR_NOEXEC, false),
            AgentExe::Memory(fd) => {
                fchmod(&fd, Mode::empty()).call(|| "fchmod(memfd, 0)")?;
                let forever = SealFlag::F_SEAL_SEAL | SealFlag::from_bits_retain(libc::F_SEAL_EXEC);
                let sealed = fcntl(&fd, FcntlArg::F_ADD_SEALS(forever));
                // Before Linux 6.3 a mode cannot be sealed; whoever traces this process could then execute the copy.
                let sealed = sealed.or_else(|_| fcntl(&fd, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SEAL)));
                sealed.map(drop).call(|| "fcntl(memfd, F_ADD_SEALS)")
            }
        }
    }
}

impl AsFd for AgentExe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            AgentExe::Mount(fd) | AgentExe::Memory(fd) => fd.as_fd(),
        }
    }
}

/// Starts the agent with `arguments`, an empty environment, and `fds[i]` as descriptor `i`; the program's copy comes after
/// them.
///
/// # Errors
/// The kernel lacks a namespace, or the process may not make one.
pub fn spawn_agent(
    exe: &AgentExe,
    namespaces: Namespaces,
    fds: &[BorrowedFd<'_>],
    arguments: &[CString],
) -> Result<Pid> {
    let mut flags =
        libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC | libc::CLONE_NEWCGROUP;
    if namespaces.network {
        flags |= libc::CLONE_NEWNET;
    }
    let fds: Vec<BorrowedFd<'_>> = fds.iter().copied().chain([exe.as_fd()]).collect();
    let mut argv: Vec<*const c_char> = arguments.iter().map(|a| a.as_ptr()).collect();
    argv.push(ptr::null());
    let birth = Birth::prepare()?;
    match clone_process(flags)? {
        Some(pid) => birth.await_program(pid),
        None => process::exit_now(birth.attempt(i32::try_from(fds.len()).unwrap_or(0), || become_agent(&fds, &argv))),
    }
}

/// In the child: arranges descriptors and executes.
fn become_agent(fds: &[BorrowedFd<'_>], argv: &[*const c_char]) -> Error {
    if let Err(error) = process::arrange_descriptors(fds) {
        return error;
    }
    let exe = i32::try_from(fds.len()).unwrap_or(0) - 1;
    let environment = [ptr::null::<c_char>()];
    // SAFETY: `argv` and `environment` are arrays of strings that end in a null pointer.
    unsafe {
        libc::syscall(libc::SYS_execveat, exe, c"".as_ptr(), argv.as_ptr(), environment.as_ptr(), libc::AT_EMPTY_PATH)
    };
    Error::new("execveat(agent)", Errno::last())
}

/// clone3(2) as fork: `None` in the child.
fn clone_process(flags: libc::c_int) -> Result<Option<Pid>> {
    // SAFETY: all zeroes is a valid clone_args: no stack, no thread-local storage, no descriptors.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::try_from(flags).unwrap_or(0);
    arguments.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without CLONE_VM the child has a copy of this memory, as after fork(2); the runner has one thread.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<libc::clone_args>()) };
    match Errno::result(pid) {
        Ok(0) => Ok(None),
        Ok(pid) => Ok(Some(Pid::from_raw(i32::try_from(pid).unwrap_or(-1)))),
        Err(errno) => Err(Error::new(format!("clone3({flags:#x})"), errno)),
    }
}
