//! Signals that arrive as bytes on a pipe, so that one poll(2) can wait for them and for descriptors.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::{Call, Error, Result};

/// The number of SIGTERM.
pub const TERM: i32 = Signal::SIGTERM as i32;

/// The number of SIGKILL.
pub const KILL: i32 = Signal::SIGKILL as i32;

/// The number of the signal that people call `TERM`, `term`, `SIGTERM` or `15`; `None` if there is none. Of signals without
/// names, which are for programs to agree upon, there are none here.
pub fn number(text: &str) -> Option<i32> {
    let signal = match text.parse::<i32>() {
        Ok(number) => Signal::try_from(number),
        Err(_) => {
            let name = text.to_ascii_uppercase();
            let whole = if name.starts_with("SIG") { name } else { format!("SIG{name}") };
            whole.parse::<Signal>()
        }
    };
    signal.ok().map(|signal| signal as i32)
}

/// The writing end of the pipe.
static PIPE: AtomicI32 = AtomicI32::new(-1);

/// The reading end of the pipe, which stays open, and the process whose pipe it is.
static KEPT: Mutex<Option<(u32, OwnedFd)>> = Mutex::new(None);

/// The reading end of the pipe while [`heed`] has said that what arrives ends the work, or -1.
static HEEDED: AtomicI32 = AtomicI32::new(-1);

/// The signals that somebody sends to a program to tell it something or to end it, and that are therefore passed on to an
/// app. All whose default would end the program are here, apart from those that tell of its own faults.
pub const FORWARDED: [Signal; 11] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGTERM,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGXCPU,
    Signal::SIGCONT,
];

/// The reading end of the pipe. There is one per process, from the first catch on: what has arrived and was not read is there
/// for whoever catches signals next.
#[derive(Debug)]
pub struct Signals(OwnedFd);

extern "C" fn note(signal: libc::c_int) {
    let saved = Errno::last_raw();
    let byte = [u8::try_from(signal).unwrap_or(0)];
    let fd = PIPE.load(Ordering::Relaxed);
    // SAFETY: write(2) is async-signal-safe and the buffer is one byte long. A full pipe loses a repetition only.
    unsafe { libc::write(fd, byte.as_ptr().cast(), 1) };
    Errno::set_raw(saved);
}

impl Signals {
    /// Catches `signals` from now on, also if the parent had them blocked; one that is ignored already (as under nohup(1))
    /// stays ignored. Children can be waited for afterwards, even if the parent ignored their ends.
    ///
    /// # Errors
    /// The pipe cannot be made, or a signal cannot be caught.
    pub fn catch(signals: &[Signal]) -> Result<Signals> {
        let read = own_pipe()?;
        let action = SigAction::new(SigHandler::Handler(note), SaFlags::SA_RESTART, SigSet::empty());
        let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
        // SAFETY: the default action runs no code of ours.
        unsafe { sigaction(Signal::SIGCHLD, &default) }.call(|| "sigaction(SIGCHLD)")?;
        for signal in signals {
            // SAFETY: the handler only calls write(2) and keeps errno.
            let before = unsafe { sigaction(*signal, &action) }.call(|| format!("sigaction({signal})"))?;
            if matches!(before.handler(), SigHandler::SigIgn) {
                // SAFETY: puts back what was there.
                unsafe { sigaction(*signal, &before) }.call(|| format!("sigaction({signal})"))?;
            }
        }
        signals.iter().copied().collect::<SigSet>().thread_unblock().call(|| "sigprocmask(SIG_UNBLOCK)")?;
        Ok(Signals(read))
    }

    /// What has arrived since the last call, in order.
    pub fn pending(&self) -> Vec<Signal> {
        let mut arrived = Vec::new();
        let mut bytes = [0u8; 64];
        while let Ok(n) = nix::unistd::read(&self.0, &mut bytes) {
            if n == 0 {
                break;
            }
            arrived.extend(bytes[..n].iter().filter_map(|b| Signal::try_from(i32::from(*b)).ok()));
        }
        arrived
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The reading end of this process's pipe. A child makes one of its own: what is sent to it is not its parent's.
fn own_pipe() -> Result<OwnedFd> {
    let duplicate = |fd: &OwnedFd| fd.try_clone().call(|| format!("dup({})", fd.as_raw_fd()));
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    match &*kept {
        Some((process, read)) if *process == std::process::id() => duplicate(read),
        _ => {
            let (read, write) = super::process::pipe()?;
            set_nonblocking(&read)?;
            set_nonblocking(&write)?;
            let own = duplicate(&read)?;
            PIPE.store(write.into_raw_fd(), Ordering::Relaxed);
            // A parent's stays open: it may be heeded.
            std::mem::forget(kept.replace((std::process::id(), read)));
            Ok(own)
        }
    }
}

/// From now on, what arrives ends long work in this process and its children, or does not. Signals are the process's own, so
/// that what works long looks for them by itself: walks, copies, comparisons.
pub fn heed(signals: Option<&Signals>) {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let fd = signals.and(kept.as_ref()).map_or(-1, |(_, read)| read.as_raw_fd());
    HEEDED.store(fd, Ordering::Relaxed);
}

/// Goes on unless a signal has arrived that is heeded. It stays so until it is read: a child that asks takes nothing away from
/// its parent.
///
/// # Errors
/// One has: `ECANCELED`.
pub fn go_on() -> Result<()> {
    let fd = HEEDED.load(Ordering::Relaxed);
    if fd < 0 {
        return Ok(());
    }
    // SAFETY: the reading end of the pipe is never closed.
    let pipe = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut ready = [PollFd::new(pipe, PollFlags::POLLIN)];
    match poll(&mut ready, PollTimeout::ZERO) {
        Ok(count) if count > 0 => Err(Error::new("interrupted by a signal: work", Errno::ECANCELED)),
        _ => Ok(()),
    }
}

/// Gives signals that were caught their default action again; what is ignored stays ignored.
///
/// # Errors
/// The action of one cannot be set.
pub fn release(signals: &[Signal]) -> Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in signals {
        let call = || format!("sigaction({signal})");
        // SAFETY: the default action runs no code of ours.
        let before = unsafe { sigaction(*signal, &default) }.call(call)?;
        if matches!(before.handler(), SigHandler::SigIgn) {
            // SAFETY: puts back what was there.
            unsafe { sigaction(*signal, &before) }.call(call)?;
        }
    }
    Ok(())
}

/// Stops this process, as the default action of SIGTSTP would, until somebody continues it.
pub fn stop_here() {
    // Nothing can prevent SIGSTOP; a process that cannot be stopped just goes on.
    let _ = nix::sys::signal::raise(Signal::SIGSTOP);
}

/// Gives every signal its default action and unblocks all, as a program expects to find them.
pub fn reset_all() {
    let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator() {
        // SAFETY: the default action runs no code of ours. KILL and STOP refuse, which is as it should be.
        let _ = unsafe { sigaction(signal, &action) };
    }
    let _ = SigSet::all().thread_unblock();
}

/// Ends this process by the signal with this number, whose default action must be that. Nothing happens if there is none.
pub fn die_of(number: i32) {
    if let Ok(signal) = Signal::try_from(number) {
        reset_all();
        let _ = nix::sys::signal::raise(signal);
    }
}

/// As [`reset_all`], but what whoever started this process has it ignore stays ignored, as nohup(1) means it. SIGPIPE, which Rust ignores
/// in any case, ends the process.
pub fn reset_inherited() {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    for signal in Signal::iterator() {
        // SAFETY: the default action runs no code of ours. KILL and STOP refuse, which is as it should be.
        if let Ok(before) = unsafe { sigaction(signal, &default) }
            && signal != Signal::SIGPIPE
            && matches!(before.handler(), SigHandler::SigIgn)
        {
            // SAFETY: puts back what was there.
            let _ = unsafe { sigaction(signal, &before) };
        }
    }
    let _ = SigSet::all().thread_unblock();
}

/// Makes reads and writes of `fd` return at once.
pub(crate) fn set_nonblocking(fd: &impl AsFd) -> Result<()> {
    let fd = fd.as_fd();
    let flags = nix::fcntl::fcntl(fd, nix::fcntl::F_GETFL).call(|| format!("fcntl({}, F_GETFL)", fd.as_raw_fd()))?;
    let flags = OFlag::from_bits_retain(flags) | OFlag::O_NONBLOCK;
    nix::fcntl::fcntl(fd, nix::fcntl::F_SETFL(flags)).call(|| format!("fcntl({}, F_SETFL)", fd.as_raw_fd()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for text in ["TERM", "term", "SIGTERM", "sigterm", "15"] {
            assert_eq!(number(text), Some(TERM), "{text}");
        }
        assert_eq!((number("KILL"), number("9"), number("USR1")), (Some(9), Some(KILL), Some(libc::SIGUSR1)));
        for text in ["", "SIG", "0", "-1", "-9", "65", "128", "4294967311", "TERMINATE", "SIGSIGTERM", " TERM"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn what_arrives_between_two_who_catch_is_not_lost_and_ends_work_when_heeded() {
        // Signals are the process's own, so this is done in another one.
        let answer = super::super::process::in_child(|| {
            let text = |e: Error| e.to_string();
            let first = Signals::catch(&[Signal::SIGUSR1]).map_err(text)?;
            nix::sys::signal::raise(Signal::SIGUSR1).map_err(|e| e.to_string())?;
            let mut said = vec![go_on().is_ok()];
            heed(Some(&first));
            drop(first);
            said.push(go_on().is_err_and(|e| e.errno() == Errno::ECANCELED));
            let next = Signals::catch(&[Signal::SIGUSR2]).map_err(text)?;
            said.push(next.pending() == [Signal::SIGUSR1]);
            said.push(go_on().is_ok());
            nix::sys::signal::raise(Signal::SIGUSR2).map_err(|e| e.to_string())?;
            said.push(go_on().is_err());
            heed(None);
            said.push(go_on().is_ok());
            Ok(format!("{said:?}"))
        });
        assert_eq!(answer.unwrap(), Ok(format!("{:?}", [true; 6])));
    }
}
