//! Messages between the runner of a pod and the agent inside: length and bytes on a Unix stream, with a descriptor if need be.

use std::io::{IoSlice, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};

use super::{Call, Error, Result};

/// No message is larger than this (bytes); the largest holds an app's arguments and environment.
const LARGEST: usize = 16 << 20;

/// One end of the connection.
#[derive(Debug)]
pub struct Channel(UnixStream);

impl Channel {
    /// Two connected ends, both closed on exec.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn pair() -> Result<(Channel, Channel)> {
        let (a, b) = UnixStream::pair().call(|| "socketpair(AF_UNIX, SOCK_STREAM)")?;
        Ok((Channel(a), Channel(b)))
    }

    /// An end that was inherited.
    pub fn from_fd(fd: OwnedFd) -> Channel {
        Channel(UnixStream::from(fd))
    }

    /// Sends one message, and a copy of `fd` with it.
    ///
    /// # Errors
    /// The other end is closed, or the message is larger than 16 MiB.
    pub fn send(&self, message: &[u8], fd: Option<BorrowedFd<'_>>) -> Result<()> {
        let call = || format!("sendmsg(agent, {} bytes)", message.len());
        if message.len() > LARGEST {
            return Err(Error::new(call(), Errno::EMSGSIZE));
        }
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_le_bytes();
        let raw: Vec<RawFd> = fd.iter().map(AsRawFd::as_raw_fd).collect();
        let control = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[][..] } else { &control[..] };
        let flags = MsgFlags::MSG_NOSIGNAL;
        let sent = loop {
            match sendmsg::<UnixAddr>(self.0.as_raw_fd(), &[IoSlice::new(&length)], control, flags, None) {
                Err(Errno::EINTR) => {}
                other => break other.call(call)?,
            }
        };
        (&self.0).write_all(&length[sent..]).call(call)?;
        (&self.0).write_all(message).call(call)
    }

    /// Receives one message and the descriptor that came with it; `None` when the other end is closed.
    ///
    /// # Errors
    /// The connection broke in the middle of a message, or the message is larger than 16 MiB.
    pub fn receive(&self) -> Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
        let mut length = [0u8; 4];
        let mut passed = None;
        if !self.fill(&mut length, &mut passed)? {
            return Ok(None);
        }
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > LARGEST {
            return Err(Error::new(format!("recvmsg(agent, {length} bytes)"), Errno::EMSGSIZE));
        }
        let mut message = vec![0; length];
        if length > 0 && !self.fill(&mut message, &mut passed)? {
            return Err(Error::new("recvmsg(agent)", Errno::EPIPE));
        }
        Ok(Some((message, passed)))
    }

    /// Fills `buffer`; false if the stream ended before its first byte.
    fn fill(&self, buffer: &mut [u8], passed: &mut Option<OwnedFd>) -> Result<bool> {
        let mut have = 0;
        while have < buffer.len() {
            let mut space = nix::cmsg_space!(RawFd);
            let mut slices = [IoSliceMut::new(&mut buffer[have..])];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let received = match recvmsg::<UnixAddr>(self.0.as_raw_fd(), &mut slices, Some(&mut space), flags) {
                Err(Errno::EINTR) => continue,
                // A peer that died with unread data resets the connection: for us it is closed all the same.
                Err(Errno::ECONNRESET) if have == 0 => return Ok(false),
                other => other.call(|| "recvmsg(agent)")?,
            };
            for control in received.cmsgs().call(|| "recvmsg(agent)")? {
                if let ControlMessageOwned::ScmRights(fds) = control {
                    // SAFETY: the kernel has just made these descriptors for us; each is owned once here.
                    let mut owned = fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
                    *passed = owned.next();
                }
            }
            match received.bytes {
                0 if have == 0 => return Ok(false),
                0 => return Err(Error::new("recvmsg(agent)", Errno::EPIPE)),
                n => have += n,
            }
        }
        Ok(true)
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_descriptors_arrive_in_order() {
        let (a, b) = Channel::pair().unwrap();
        let (read, write) = super::super::process::pipe().unwrap();
        a.send(b"first", None).unwrap();
        a.send(b"", Some(write.as_fd())).unwrap();
        drop((a, write));
        assert_eq!(b.receive().unwrap().unwrap().0, b"first");
        let (empty, fd) = b.receive().unwrap().unwrap();
        assert!(empty.is_empty());
        nix::unistd::write(fd.expect("a descriptor"), b"x").unwrap();
        let mut byte = [0];
        assert_eq!(nix::unistd::read(read, &mut byte).unwrap(), 1);
        assert!(b.receive().unwrap().is_none());
    }
}
