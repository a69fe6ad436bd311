//! Files that others may write while they are read.

use std::fs::File;
use std::io::{Read, Write};

use nix::sys::stat::{FileStat, fstat};

use super::{BUFFER, Pack};
use crate::error::{Context, Error, Result};
use crate::sys::tree::Walk;

/// The largest file that says it is empty (bytes): it has to be read to its end before its size can be told.
const LARGEST: usize = 64 << 20;

const CHANGED: &str = "files that changed while they were read may be cut short or end in zeros";

/// What a file begins with.
pub(super) struct Head {
    bytes: Vec<u8>,
    /// How long it is by what it says and by what has been read.
    size: u64,
    /// Whether that is all of it.
    is_all: bool,
}

impl Head {
    /// Reads as much as tells how large the file is.
    ///
    /// # Errors
    /// It cannot be read, or says that it is empty and does not end.
    pub(super) fn read(file: &File, stat: &FileStat) -> Result<Head> {
        let said = u64::try_from(stat.st_size).unwrap_or_default();
        let most = if said == 0 { LARGEST } else { BUFFER };
        let mut bytes = Vec::new();
        file.take(most as u64 + 1).read_to_end(&mut bytes).context(|| "cannot read it")?;
        let is_all = bytes.len() <= most;
        if said == 0 && !is_all {
            return Err(Error::new(format!("it says that it is empty, and has more than {} MiB", LARGEST >> 20)));
        }
        let read = bytes.len() as u64;
        Ok(Head { size: if is_all { read } else { said.max(read) }, bytes, is_all })
    }

    pub(super) fn size(&self) -> i64 {
        i64::try_from(self.size).unwrap_or(i64::MAX)
    }
}

impl<W: Write> Pack<W> {
    /// Adds the content of a regular file, which is made as long as its header says.
    pub(super) fn content_in_use(&mut self, walk: &mut Walk, stat: &FileStat, head: Head) -> Result<()> {
        self.archive.add(&head.bytes)?;
        let mut left = head.size - head.bytes.len() as u64;
        if !head.is_all {
            let mut file = walk.open().context(|| "cannot open it")?;
            self.buffer.resize(BUFFER, 0);
            while left > 0 {
                let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
                let count = match file.read(&mut self.buffer[..most]) {
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                    other => other.context(|| "cannot read it")?,
                };
                if count == 0 {
                    break;
                }
                self.archive.add(&self.buffer[..count])?;
                left -= count as u64;
            }
            let after = fstat(file).context(|| "cannot read it")?;
            let version = |stat: &FileStat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec);
            if left != 0 || version(&after) != version(stat) {
                self.warnings.count(CHANGED);
            }
        }
        self.buffer.clear();
        self.buffer.resize(BUFFER, 0);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            self.archive.add(&self.buffer[..most])?;
            left -= most as u64;
        }
        self.archive.pad()
    }
}
