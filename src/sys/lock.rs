//! File locks: flock(2) on a file that is never written.
//!
//! The lock belongs to the open file description, so a child that inherits the descriptor holds it too, and the kernel
//! releases it when the last copy is closed, however the holders died.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::{Call, Error, Result};

/// How long [`Lock::try_exclusive`] outwaits someone who only looks: [`is_held`] holds a shared lock for an instant.
const PATIENCE: Duration = Duration::from_millis(50);

/// A held lock; dropping the last descriptor releases it.
#[derive(Debug)]
pub struct Lock(File);

impl Lock {
    /// Waits for the exclusive lock on `path`, which must exist.
    ///
    /// # Errors
    /// The file cannot be opened or locked.
    pub fn exclusive(path: &Path) -> Result<Lock> {
        Lock::take(path, libc::LOCK_EX)
    }

    /// Waits for a shared lock on `path`, which must exist.
    ///
    /// # Errors
    /// The file cannot be opened or locked.
    pub fn shared(path: &Path) -> Result<Lock> {
        Lock::take(path, libc::LOCK_SH)
    }

    fn take(path: &Path, operation: libc::c_int) -> Result<Lock> {
        let file = open(path)?;
        flock(&file, operation, path)?;
        Ok(Lock(file))
    }

    /// Takes the exclusive lock, or says `None` if another process holds it.
    ///
    /// # Errors
    /// The file cannot be opened or locked for another reason than that it is held.
    pub fn try_exclusive(path: &Path) -> Result<Option<Lock>> {
        let file = open(path)?;
        let until = Instant::now() + PATIENCE;
        loop {
            match flock(&file, libc::LOCK_EX | libc::LOCK_NB, path) {
                Ok(()) => return Ok(Some(Lock(file))),
                Err(e) if e.errno() == Errno::EWOULDBLOCK && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(e) if e.errno() == Errno::EWOULDBLOCK => return Ok(None),
                Err(e) => return Err(e),
            }
        }
    }
}

impl AsFd for Lock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether some process holds the exclusive lock on `path`.
///
/// # Errors
/// The file cannot be opened, or its lock not be asked for.
pub fn is_held(path: &Path) -> Result<bool> {
    let file = open(path)?;
    match flock(&file, libc::LOCK_SH | libc::LOCK_NB, path) {
        Ok(()) => Ok(false),
        Err(e) if e.errno() == Errno::EWOULDBLOCK => Ok(true),
        Err(e) => Err(e),
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).call(|| format!("open({path:?})"))
}

fn flock(file: &File, operation: libc::c_int, path: &Path) -> Result<()> {
    loop {
        // SAFETY: the descriptor is open for as long as `file` is borrowed.
        let result = unsafe { libc::flock(file.as_raw_fd(), operation) };
        match Errno::result(result) {
            Ok(_) => return Ok(()),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(Error::new(format!("flock({path:?}, {operation})"), errno)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exclusive_lock_is_seen_and_released() {
        let path = std::env::temp_dir().join(format!("jetpack-lock-{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        let lock = Lock::try_exclusive(&path).unwrap().expect("free");
        assert!(is_held(&path).unwrap());
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        drop(lock);
        assert!(!is_held(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
    }
}
