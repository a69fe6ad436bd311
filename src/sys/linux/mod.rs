//! What only Linux has: namespaces, its mounts, capabilities, filters of system calls.

mod agent;
pub mod attrs;
mod capabilities;
mod control;
mod mount;
mod mounted;
mod processes;
mod seccomp;

pub use agent::{AgentExe, Namespaces, spawn_agent};
pub use capabilities::become_app;
pub use control::{connect_at, listen_at};
pub use mount::{
    MountFlags, attach_mount, bind, bind_read_only, clone_mount, clone_tree, has_filesystem, make_character_device,
    make_private, mount_dataset, mount_filesystem, mount_privately, mount_root, open_without_links, pivot,
    remount_bind, restrict_mount, unmount,
};
pub use mounted::{Mounted, filesystem_of, mounted};
pub use processes::{own_pid_namespace, processes, signal_process};

use std::os::fd::{AsFd, RawFd};
use std::path::Path;

use nix::errno::Errno;

use super::abi::Abi;
use super::{Call, Result};

/// Whether this kernel has capabilities (capabilities(7)).
pub const HAS_CAPABILITIES: bool = true;

/// Whether a sandbox can have some of the host's addresses for its network.
pub const SHARES_ADDRESSES: bool = false;

/// Whether this kernel runs such programs: its own only.
pub fn runs(abi: Abi) -> bool {
    abi == Abi::Native
}

/// Marks every descriptor from `first` on for closing on exec.
///
/// # Errors
/// The kernel is older than 5.11.
pub fn close_on_exec_from(first: RawFd) -> Result<()> {
    let first = u32::try_from(first).unwrap_or(0);
    // SAFETY: close_range(2) with CLOSE_RANGE_CLOEXEC closes nothing now.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    Errno::result(result).map(drop).call(|| format!("close_range({first}, MAX, CLOSE_RANGE_CLOEXEC)"))
}

/// Closes the descriptors from `first` to `last`, those that are open.
///
/// # Errors
/// Never on a Linux that has the call (5.9).
pub fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: the callers use none of these descriptors any more, and end without dropping what owns them.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
    Errno::result(result).map(drop).call(|| format!("close_range({first}, {last})"))
}

/// Has the kernel send SIGKILL to this process when its parent dies.
///
/// # Errors
/// Never on a Linux that has the call.
pub fn die_with_parent() -> Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).call(|| "prctl(PR_SET_PDEATHSIG, SIGKILL)")
}

/// Hides this process's memory, descriptors and program from other processes without CAP_SYS_PTRACE.
///
/// # Errors
/// Never on a Linux that has the call.
pub fn forbid_tracing() -> Result<()> {
    nix::sys::prctl::set_dumpable(false).call(|| "prctl(PR_SET_DUMPABLE, 0)")
}

/// Gives this process and its descendants an empty session keyring instead of the one it has (keyrings(7)).
///
/// # Errors
/// The user has too many keys. A kernel without keys is no error.
pub fn new_session_keyring() -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: a null name asks for an anonymous keyring.
    let result =
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
    match Errno::result(result) {
        Err(Errno::ENOSYS) => Ok(()),
        other => other.map(drop).call(|| "keyctl(KEYCTL_JOIN_SESSION_KEYRING, NULL)"),
    }
}

/// Forgets who logged in on the host (pam_loginuid(8)), so that a login in this process can begin anew. A kernel without
/// audit, or one that does not permit it, has its reasons: then a login that insists on it fails by itself.
pub fn forget_login() {
    const NOBODY: &[u8] = b"4294967295";
    let path = "/proc/self/loginuid";
    if std::fs::read(path).is_ok_and(|now| now.trim_ascii() != NOBODY) {
        let _ = std::fs::write(path, NOBODY);
    }
}

/// Writes what the kernel holds of the filesystem of `path` to its disk.
///
/// # Errors
/// The disk fails or is full.
pub fn sync_filesystem(path: &Path) -> Result<()> {
    let directory = std::fs::File::open(path).call(|| format!("open({path:?})"))?;
    nix::unistd::syncfs(directory.as_fd()).call(|| format!("syncfs({path:?})"))
}

/// Switches the loopback interface of this network namespace on.
///
/// # Errors
/// The process may not administer the namespace.
pub fn loopback_up() -> Result<()> {
    use std::os::fd::AsRawFd;
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").call(|| "socket(AF_INET, SOCK_DGRAM)")?;
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads the structure that the pointer names.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    Errno::result(result).map(drop).call(|| "ioctl(lo, SIOCSIFFLAGS, UP)")
}
