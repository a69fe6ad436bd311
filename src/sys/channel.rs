//! Messages between the agent of a pod and the processes of the host that it serves: length and bytes on a Unix stream, with
//! descriptors if need be.

use std::io::{IoSlice, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};

use super::{Call, Error, Result};

/// No message is larger than this (bytes); the largest holds an app's arguments and environment.
const LARGEST: usize = 16 << 20;

/// The most descriptors that one message brings: a program's standard input, output and error.
const MOST_DESCRIPTORS: usize = 3;

/// How many bytes are made room for at a time: a length that was only announced must not cost memory.
const PIECE: usize = 64 << 10;

/// The bytes that say how long a message is.
const HEAD: usize = 4;

/// One end of the connection.
#[derive(Debug)]
pub struct Channel {
    stream: UnixStream,
    /// What has arrived of the next message, its length first.
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

/// What came of a look at a channel.
#[derive(Debug)]
pub enum Received {
    /// A message, and the descriptors that came with it.
    Message(Vec<u8>, Vec<OwnedFd>),
    /// No more than a part of a message, or nothing; the rest may come later.
    Partial,
    /// The other end is closed.
    Closed,
}

impl Channel {
    /// Two connected ends, both closed on exec.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn pair() -> Result<(Channel, Channel)> {
        let (a, b) = UnixStream::pair().call(|| "socketpair(AF_UNIX, SOCK_STREAM)")?;
        Ok((Channel::over(a), Channel::over(b)))
    }

    /// An end that was inherited, or connected by name.
    pub fn from_fd(fd: OwnedFd) -> Channel {
        Channel::over(UnixStream::from(fd))
    }

    fn over(stream: UnixStream) -> Channel {
        Channel { stream, bytes: Vec::new(), descriptors: Vec::new() }
    }

    /// Sends one message, and copies of `fds` with it.
    ///
    /// # Errors
    /// The other end is closed, the message is larger than 16 MiB, or, on a channel from [`Listener::accept`], the other side
    /// does not take it.
    pub fn send(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> Result<()> {
        let call = || format!("sendmsg(agent, {} bytes, {} descriptors)", message.len(), fds.len());
        if message.len() > LARGEST || fds.len() > MOST_DESCRIPTORS {
            return Err(Error::new(call(), Errno::EMSGSIZE));
        }
        let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_le_bytes();
        let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        let control = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[][..] } else { &control[..] };
        let flags = MsgFlags::MSG_NOSIGNAL;
        let sent = loop {
            match sendmsg::<UnixAddr>(self.stream.as_raw_fd(), &[IoSlice::new(&length)], control, flags, None) {
                Err(Errno::EINTR) => {}
                other => break other.call(call)?,
            }
        };
        (&self.stream).write_all(&length[sent..]).call(call)?;
        (&self.stream).write_all(message).call(call)
    }

    /// Waits for one message and the descriptors with it; `None` when the other end is closed.
    ///
    /// # Errors
    /// The connection broke in the middle of a message, or the message is larger than 16 MiB.
    pub fn receive(&mut self) -> Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        loop {
            match self.look(MsgFlags::empty())? {
                Received::Message(message, descriptors) => return Ok(Some((message, descriptors))),
                Received::Partial => {}
                Received::Closed => return Ok(None),
            }
        }
    }

    /// Takes what has arrived, without waiting for more.
    ///
    /// # Errors
    /// As of [`Channel::receive`].
    pub fn try_receive(&mut self) -> Result<Received> {
        self.look(MsgFlags::MSG_DONTWAIT)
    }

    /// Reads on until there is a message, or nothing more for now. Never beyond the end of the message, so that descriptors
    /// stay with the one that they came with.
    fn look(&mut self, flags: MsgFlags) -> Result<Received> {
        loop {
            let wanted = self.wanted()?;
            if self.bytes.len() == wanted {
                let message = std::mem::take(&mut self.bytes).split_off(HEAD);
                return Ok(Received::Message(message, std::mem::take(&mut self.descriptors)));
            }
            match self.read(wanted, flags) {
                Ok(0) if self.bytes.is_empty() => return Ok(Received::Closed),
                Ok(0) => return Err(Error::new("recvmsg(agent)", Errno::EPIPE)),
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(Received::Partial),
                // A peer that died with unread data resets the connection: for us it is closed all the same.
                Err(Errno::ECONNRESET) if self.bytes.is_empty() => return Ok(Received::Closed),
                Err(errno) => return Err(Error::new("recvmsg(agent)", errno)),
            }
        }
    }

    /// How many bytes the message has, its head included, as far as that is known.
    fn wanted(&self) -> Result<usize> {
        let Some(head) = self.bytes.first_chunk::<HEAD>() else { return Ok(HEAD) };
        let length = usize::try_from(u32::from_le_bytes(*head)).unwrap_or(usize::MAX);
        if length > LARGEST {
            return Err(Error::new(format!("recvmsg(agent, {length} bytes)"), Errno::EMSGSIZE));
        }
        Ok(HEAD + length)
    }

    /// Reads a piece that ends with byte number `wanted` at the latest.
    fn read(&mut self, wanted: usize, flags: MsgFlags) -> nix::Result<usize> {
        let have = self.bytes.len();
        self.bytes.resize(wanted.min(have + PIECE), 0);
        let mut space = nix::cmsg_space!([RawFd; MOST_DESCRIPTORS]);
        let mut slices = [IoSliceMut::new(&mut self.bytes[have..])];
        let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
        let mut count = 0;
        let received = recvmsg::<UnixAddr>(self.stream.as_raw_fd(), &mut slices, Some(&mut space), flags);
        let read = received.and_then(|received| {
            count = received.bytes;
            for control in received.cmsgs()? {
                if let ControlMessageOwned::ScmRights(fds) = control {
                    // SAFETY: the kernel has just made these descriptors for us; each is owned once here.
                    self.descriptors.extend(fds.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
                }
            }
            Ok(count)
        });
        self.bytes.truncate(have + count);
        read
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// A socket on which others connect.
#[derive(Debug)]
pub struct Listener(UnixListener);

impl Listener {
    /// A listening socket that was inherited. From now on nobody is waited for.
    ///
    /// # Errors
    /// Never for a socket.
    pub fn from_fd(fd: OwnedFd) -> Result<Listener> {
        super::signal::set_nonblocking(&fd)?;
        Ok(Listener(UnixListener::from(fd)))
    }

    /// A connection to whoever has asked for one first; `None` when nobody does. Sending on it does not wait either.
    ///
    /// # Errors
    /// No descriptors are left.
    pub fn accept(&self) -> Result<Option<Channel>> {
        match self.0.accept() {
            Ok((stream, _)) => {
                super::signal::set_nonblocking(&stream)?;
                Ok(Some(Channel::over(stream)))
            }
            Err(e) => match Errno::from_raw(e.raw_os_error().unwrap_or(0)) {
                // Whoever asked may have gone meanwhile.
                Errno::EAGAIN | Errno::ECONNABORTED | Errno::EINTR => Ok(None),
                errno => Err(Error::new("accept(control)", errno)),
            },
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_descriptors_arrive_in_order() {
        let (a, mut b) = Channel::pair().unwrap();
        let (read, write) = super::super::process::pipe().unwrap();
        a.send(b"first", &[]).unwrap();
        a.send(b"", &[read.as_fd(), write.as_fd()]).unwrap();
        a.send(b"last", &[]).unwrap();
        drop((a, write));
        assert_eq!(b.receive().unwrap().unwrap().0, b"first");
        let (empty, mut fds) = b.receive().unwrap().unwrap();
        assert!(empty.is_empty());
        nix::unistd::write(fds.pop().expect("a descriptor"), b"x").unwrap();
        let mut byte = [0];
        assert_eq!(nix::unistd::read(fds.pop().expect("another"), &mut byte).unwrap(), 1);
        let (last, none) = b.receive().unwrap().unwrap();
        assert_eq!((last.as_slice(), none.len()), (&b"last"[..], 0));
        assert!(b.receive().unwrap().is_none());
    }

    #[test]
    fn sockets_are_found_by_directories_with_long_paths() {
        let top = super::super::testing::Scratch::new();
        let directory = top.path().join("a-directory-with-a-long-name".repeat(5));
        std::fs::create_dir(&directory).unwrap();
        let open = std::fs::File::open(&directory).unwrap();
        let connect = || super::super::os::connect_at(open.as_fd(), "control");
        let errno = |result: Result<OwnedFd>| result.unwrap_err().errno();
        assert_eq!(errno(connect()), Errno::ENOENT);
        let socket = super::super::os::listen_at(open.as_fd(), "control").unwrap();
        assert!(directory.join("control").exists());
        assert_eq!(errno(super::super::os::listen_at(open.as_fd(), "control")), Errno::EADDRINUSE);
        let listener = Listener::from_fd(socket).unwrap();
        assert!(listener.accept().unwrap().is_none());
        // Whoever connects does not wait to be let in.
        let client = Channel::from_fd(connect().unwrap());
        client.send(b"hello", &[]).unwrap();
        let mut served = listener.accept().unwrap().expect("somebody has connected");
        assert!(matches!(served.try_receive().unwrap(), Received::Message(text, _) if text == b"hello"));
        drop((served, listener));
        assert_eq!(errno(connect()), Errno::ECONNREFUSED);
    }

    #[test]
    fn half_a_message_is_not_waited_for() {
        let (mut a, b) = Channel::pair().unwrap();
        for byte in [3, 0, 0, 0, b'a', b'b'] {
            assert!(matches!(a.try_receive().unwrap(), Received::Partial));
            (&b.stream).write_all(&[byte]).unwrap();
        }
        assert!(matches!(a.try_receive().unwrap(), Received::Partial));
        (&b.stream).write_all(b"c").unwrap();
        assert!(matches!(a.try_receive().unwrap(), Received::Message(text, _) if text == b"abc"));
        (&b.stream).write_all(&[9]).unwrap();
        drop(b);
        assert_eq!(a.try_receive().unwrap_err().errno(), Errno::EPIPE);
    }

    #[test]
    fn a_length_is_believed_up_to_a_limit_and_costs_nothing_before_the_bytes_come() {
        let (mut a, b) = Channel::pair().unwrap();
        (&b.stream).write_all(&u32::try_from(LARGEST).unwrap().to_le_bytes()).unwrap();
        assert!(matches!(a.try_receive().unwrap(), Received::Partial));
        assert!(a.bytes.capacity() <= 2 * PIECE, "{}", a.bytes.capacity());
        let (mut a, b) = Channel::pair().unwrap();
        (&b.stream).write_all(&u32::MAX.to_le_bytes()).unwrap();
        assert_eq!(a.try_receive().unwrap_err().errno(), Errno::EMSGSIZE);
    }
}
