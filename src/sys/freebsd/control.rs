//! Unix sockets by their name in an open directory: the path to the directory may be longer than an address can hold.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use libc::{c_int, sockaddr, socklen_t};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrLike, UnixAddr, listen, socket};

use super::super::{Call, Result};

unsafe extern "C" {
    fn bindat(directory: c_int, socket: c_int, address: *const sockaddr, length: socklen_t) -> c_int;
    fn connectat(directory: c_int, socket: c_int, address: *const sockaddr, length: socklen_t) -> c_int;
}

/// Makes the socket `name` in `directory` and listens on it.
///
/// # Errors
/// `EADDRINUSE`: something of that name is there.
pub fn listen_at(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let (socket, address) = prepare(name)?;
    // SAFETY: bindat(2) reads the address, whose pointer and length belong together.
    let result = unsafe { bindat(directory.as_raw_fd(), socket.as_raw_fd(), address.as_ptr().cast(), address.len()) };
    Errno::result(result).call(|| format!("bindat({}, {name:?})", directory.as_raw_fd()))?;
    listen(&socket, Backlog::MAXCONN).call(|| format!("listen({name:?})"))?;
    Ok(socket)
}

/// Connects to the socket `name` in `directory`.
///
/// # Errors
/// `ENOENT`: there is none. `ECONNREFUSED`: nobody listens on it.
pub fn connect_at(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let (socket, address) = prepare(name)?;
    // SAFETY: connectat(2) reads the address, whose pointer and length belong together.
    let result =
        unsafe { connectat(directory.as_raw_fd(), socket.as_raw_fd(), address.as_ptr().cast(), address.len()) };
    Errno::result(result).call(|| format!("connectat({}, {name:?})", directory.as_raw_fd()))?;
    Ok(socket)
}

fn prepare(name: &str) -> Result<(OwnedFd, UnixAddr)> {
    let address = UnixAddr::new(name).call(|| format!("sockaddr_un({name:?})"))?;
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    Ok((socket.call(|| "socket(AF_UNIX, SOCK_STREAM)")?, address))
}
