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

/// How long [`Lock::try_exclusive`] outwaits those who only look: [`is_held`] holds a shared lock for an instant, which is
/// long where the kernel lets somebody else run in between.
const PATIENCE: Duration = Duration::from_secs(5);

/// A held lock; dropping the last descriptor releases it.
#[derive(Debug)]
pub struct Lock(File);

/// What comes of trying to take a lock: `None` if somebody else holds it.
pub type Tried = Result<Option<Lock>>;

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

    /// Takes the exclusive lock, or says `None` at once if somebody else holds it. Shared locks are outwaited: they are held
    /// for an instant.
    ///
    /// # Errors
    /// The file cannot be opened or locked for another reason than that it is held.
    pub fn try_exclusive(path: &Path) -> Tried {
        let file = open(path)?;
        let until = Instant::now() + PATIENCE;
        while !try_flock(&file, libc::LOCK_EX, path)? {
            // Where a shared lock is to be had nobody holds the exclusive one.
            if !try_flock(&file, libc::LOCK_SH, path)? || Instant::now() > until {
                return Ok(None);
            }
            flock(&file, libc::LOCK_UN, path)?;
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(Some(Lock(file)))
    }

    /// Takes the exclusive lock if nobody holds any, without waiting.
    ///
    /// # Errors
    /// As [`Lock::try_exclusive`].
    pub fn exclusive_at_once(path: &Path) -> Tried {
        let file = open(path)?;
        Ok(try_flock(&file, libc::LOCK_EX, path)?.then_some(Lock(file)))
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
    Ok(!try_flock(&open(path)?, libc::LOCK_SH, path)?)
}

fn open(path: &Path) -> Result<File> {
    File::open(path).call(|| format!("open({path:?})"))
}

/// Whether the lock could be had without waiting.
fn try_flock(file: &File, operation: libc::c_int, path: &Path) -> Result<bool> {
    match flock(file, operation | libc::LOCK_NB, path) {
        Ok(()) => Ok(true),
        Err(e) if e.errno() == Errno::EWOULDBLOCK => Ok(false),
        Err(e) => Err(e),
    }
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

    #[test]
    fn somebody_who_looks_for_long_is_outwaited_and_a_holder_is_not() {
        let path = std::env::temp_dir().join(format!("jetpack-lock-slow-{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        let looking = Lock::shared(&path).unwrap();
        let slow = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            drop(looking);
        });
        let lock = Lock::try_exclusive(&path).unwrap().expect("only looked at");
        slow.join().unwrap();
        let asked = Instant::now();
        assert!(Lock::try_exclusive(&path).unwrap().is_none());
        assert!(asked.elapsed() < PATIENCE / 2, "{:?}", asked.elapsed());
        drop(lock);
        std::fs::remove_file(&path).unwrap();
    }
}
