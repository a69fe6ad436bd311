//! What only FreeBSD has: jails, nmount(2), procctl(2).

mod agent;
pub mod attrs;
mod control;
mod jail;
mod mount;

pub use agent::{AgentExe, spawn_agent};
pub use control::{connect_at, listen_at};
pub use jail::{attach, create, dying, own, parameter_kind, remove};
pub use mount::{
    Mounted, filesystem_of, has_filesystem, mount, mount_dataset, mount_in, mounted, unmount, unmount_by_force,
};

use std::ffi::CStr;
use std::os::fd::RawFd;
use std::path::Path;

use nix::errno::Errno;

use super::abi::Abi;
use super::process::Seccomp;
use super::rootfs::RootFs;
use super::{Call, Result};

/// Whether this kernel has capabilities (capabilities(7)).
pub const HAS_CAPABILITIES: bool = false;

/// Whether a sandbox can have some of the host's addresses for its network.
pub const SHARES_ADDRESSES: bool = true;

unsafe extern "C" {
    /// modfind(2).
    fn modfind(name: *const libc::c_char) -> libc::c_int;
}

/// Whether this kernel runs such programs now. Each kind is a module of the kernel, also where it is linked into it.
pub fn runs(abi: Abi) -> bool {
    let module = match abi {
        Abi::Native => return true,
        Abi::Linux => c"linux64elf",
        Abi::Linux32 => c"linuxelf",
    };
    has_module(module)
}

/// Whether the kernel has a module of this name now, loaded or linked into it.
fn has_module(name: &CStr) -> bool {
    // SAFETY: the name is a string that ends in NUL.
    unsafe { modfind(name.as_ptr()) >= 0 }
}

/// Marks every descriptor from `first` on for closing on exec.
///
/// # Errors
/// Never: where close_range(2) lacks the flag (before FreeBSD 15), the descriptors are walked.
pub fn close_on_exec_from(first: RawFd) -> Result<()> {
    let flags = libc::c_int::try_from(libc::CLOSE_RANGE_CLOEXEC).unwrap_or(0);
    // SAFETY: close_range(2) with CLOSE_RANGE_CLOEXEC closes nothing now.
    if unsafe { libc::close_range(libc::c_uint::try_from(first).unwrap_or(0), libc::c_uint::MAX, flags) } == 0 {
        return Ok(());
    }
    // SAFETY: getdtablesize(2) has no arguments. The limit is that of the process, small enough to walk.
    let limit = unsafe { libc::getdtablesize() };
    for fd in first..limit {
        // SAFETY: F_SETFD changes a flag of the descriptor, if it is open; that it is not is expected of most.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// Closes the descriptors from `first` to `last`, those that are open.
///
/// # Errors
/// Never on a FreeBSD that has the call (12.2).
pub fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: the callers use none of these descriptors any more, and end without dropping what owns them.
    let result = unsafe { libc::close_range(first, last, 0) };
    Errno::result(result).map(drop).call(|| format!("close_range({first}, {last})"))
}

/// Has the kernel send SIGKILL to this process when its parent dies.
///
/// # Errors
/// Never on a FreeBSD that has the call (11.2).
pub fn die_with_parent() -> Result<()> {
    let mut signal = libc::SIGKILL;
    // SAFETY: PROC_PDEATHSIG_CTL reads the number that the pointer names.
    let result = unsafe { libc::procctl(libc::P_PID, own_id(), libc::PROC_PDEATHSIG_CTL, (&raw mut signal).cast()) };
    Errno::result(result).map(drop).call(|| "procctl(PROC_PDEATHSIG_CTL, SIGKILL)")
}

/// Hides this process's memory from debuggers: nobody in the jail can look into the agent.
///
/// # Errors
/// Never on a FreeBSD that has the call (10.2).
pub fn forbid_tracing() -> Result<()> {
    let mut control = libc::PROC_TRACE_CTL_DISABLE;
    // SAFETY: PROC_TRACE_CTL reads the number that the pointer names.
    let result = unsafe { libc::procctl(libc::P_PID, own_id(), libc::PROC_TRACE_CTL, (&raw mut control).cast()) };
    Errno::result(result).map(drop).call(|| "procctl(PROC_TRACE_CTL, DISABLE)")
}

/// Makes this process the app's: its user and groups. There are no capabilities here, so `capabilities` must be empty;
/// nor are there filters of system calls, which a jail refuses by itself.
///
/// # Errors
/// The process lacks the rights for a step, or `capabilities` is not empty.
pub fn become_app(
    uid: u32,
    gid: u32,
    groups: &[u32],
    capabilities: &[String],
    no_new_privileges: bool,
    _seccomp: Seccomp,
) -> Result<()> {
    if !capabilities.is_empty() {
        return Err(super::Error::new(format!("capset({capabilities:?})"), Errno::ENOSYS));
    }
    super::process::set_groups(gid, groups)?;
    super::process::set_user(uid)?;
    if no_new_privileges {
        let mut control = libc::PROC_NO_NEW_PRIVS_ENABLE;
        // SAFETY: PROC_NO_NEW_PRIVS_CTL reads the number that the pointer names.
        let result =
            unsafe { libc::procctl(libc::P_PID, own_id(), libc::PROC_NO_NEW_PRIVS_CTL, (&raw mut control).cast()) };
        Errno::result(result).call(|| "procctl(PROC_NO_NEW_PRIVS_CTL, ENABLE)")?;
    }
    Ok(())
}

/// Forgets who logged in on the host: nothing here keeps a login from beginning anew.
pub fn forget_login() {}

/// Writes what is in the kernel's caches to the disk. There is no syncfs(2): all filesystems are meant.
///
/// # Errors
/// Never.
pub fn sync_filesystem(_path: &Path) -> Result<()> {
    // SAFETY: sync(2) has no arguments.
    unsafe { libc::sync() };
    Ok(())
}

/// Mounts `roots` where only this process and its children see them: there are no mount namespaces here. A directory is there
/// already, and devices outside of devfs(5) do nothing.
///
/// # Errors
/// There is something to mount.
pub fn mount_privately(roots: &[RootFs]) -> Result<()> {
    match roots.iter().all(|root| matches!(root, RootFs::Directory { .. })) {
        true => Ok(()),
        false => Err(super::Error::new("mount(\"overlay\")", Errno::EOPNOTSUPP)),
    }
}

fn own_id() -> libc::id_t {
    libc::id_t::from(std::process::id())
}
