//! System calls: the only place where unsafe code may stand.
//!
//! What every Unix has in common stands beside this file; what differs stands in `linux` and `freebsd`, which offer the same
//! function names wherever both can do the thing. Each wrapper's [`Error`] shows the call with its arguments, as strace(1)
//! would. Nothing here knows of images or pods.

#![allow(unsafe_code, reason = "wrappers of system calls; each block says why it is sound")]

use std::fmt;

use nix::errno::Errno;

pub mod abi;
pub mod acl;
pub mod addresses;
pub mod channel;
pub mod lock;
pub mod parameter;
pub mod paths;
pub mod process;
pub mod processes;
pub mod rootfs;
pub mod signal;
pub mod terminal;
#[cfg(test)]
pub(crate) mod testing;
pub mod tree;

#[cfg(target_os = "freebsd")]
#[path = "freebsd/mod.rs"]
pub mod os;
#[cfg(target_os = "linux")]
#[path = "linux/mod.rs"]
pub mod os;

/// What the wrappers return.
pub type Result<T> = std::result::Result<T, Error>;

/// A system call that failed: the call with its arguments, and the reason.
#[derive(Debug)]
pub struct Error {
    call: String,
    errno: Errno,
}

impl Error {
    /// Records that `call` (written as strace writes it) failed with `errno`.
    pub fn new(call: impl Into<String>, errno: Errno) -> Self {
        Error { call: call.into(), errno }
    }

    /// The reason.
    pub fn errno(&self) -> Errno {
        self.errno
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {}", self.call, self.errno.desc())
    }
}

impl std::error::Error for Error {}

/// Names the call of a result of `nix` or `std::io`.
pub(crate) trait Call<T> {
    /// Puts `call()` on the error.
    fn call<S: Into<String>>(self, call: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Call<T> for nix::Result<T> {
    fn call<S: Into<String>>(self, call: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|errno| Error::new(call(), errno))
    }
}

impl<T> Call<T> for std::io::Result<T> {
    fn call<S: Into<String>>(self, call: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| Error::new(call(), Errno::from_raw(e.raw_os_error().unwrap_or(Errno::EIO as i32))))
    }
}

/// Whether this process has all of root's rights over the system.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// The kernel's name and release, as `uname -sr` says them.
pub fn kernel() -> String {
    let Ok(name) = nix::sys::utsname::uname() else { return "unknown".to_owned() };
    format!("{} {}", name.sysname().to_string_lossy(), name.release().to_string_lossy())
}
