//! Unix sockets by their name in an open directory: the path to the directory may be longer than an address can hold.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, connect, listen, socket};

use super::super::{Call, Result};

/// Makes the socket `name` in `directory` and listens on it.
///
/// # Errors
/// `EADDRINUSE`: something of that name is there. Or /proc is not mounted.
pub fn listen_at(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let (socket, address) = prepare(directory, name)?;
    bind(socket.as_raw_fd(), &address).call(|| format!("bind({address})"))?;
    listen(&socket, Backlog::MAXCONN).call(|| format!("listen({address})"))?;
    Ok(socket)
}

/// Connects to the socket `name` in `directory`.
///
/// # Errors
/// `ENOENT`: there is none. `ECONNREFUSED`: nobody listens on it.
pub fn connect_at(directory: BorrowedFd<'_>, name: &str) -> Result<OwnedFd> {
    let (socket, address) = prepare(directory, name)?;
    connect(socket.as_raw_fd(), &address).call(|| format!("connect({address})"))?;
    Ok(socket)
}

fn prepare(directory: BorrowedFd<'_>, name: &str) -> Result<(OwnedFd, UnixAddr)> {
    let path = format!("/proc/self/fd/{}/{name}", directory.as_raw_fd());
    let address = UnixAddr::new(path.as_str()).call(|| format!("sockaddr_un({path:?})"))?;
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None);
    Ok((socket.call(|| "socket(AF_UNIX, SOCK_STREAM)")?, address))
}
