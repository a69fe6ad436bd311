//! Copying the content of a file with its holes.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use nix::fcntl::copy_file_range;
use nix::unistd::{Whence, lseek};

use crate::sys::os::attrs;
use crate::sys::signal::go_on;

/// How much the kernel copies at once. A signal that arrives meanwhile is seen afterwards.
const STRETCH: usize = 16 << 20;

/// How much is read at once where the kernel does not copy.
const BUFFER: usize = 256 << 10;

/// Copies `length` bytes into the empty file `to`, leaving holes where there are some. What is said to be empty is read to its end:
/// it may be a file of proc(5).
pub(super) fn copy_content(from: &File, to: &File, length: u64) -> io::Result<()> {
    if length == 0 {
        return read_and_write(from, to, 0, u64::MAX);
    }
    if attrs::clone_file(from.as_fd(), to.as_fd()) {
        return Ok(());
    }
    let mut offset = 0;
    while let Some((start, end)) = next_data(from, offset, length)? {
        copy_range(from, to, start, end)?;
        offset = end;
    }
    to.set_len(length)
}

/// Where the next data at or after `offset` begins and ends. All is data where the filesystem does not tell.
fn next_data(file: &File, offset: u64, length: u64) -> io::Result<Option<(u64, u64)>> {
    if offset >= length {
        return Ok(None);
    }
    let seek = |at: u64, whence| lseek(file, i64::try_from(at).unwrap_or(i64::MAX), whence);
    let start = match seek(offset, Whence::SeekData) {
        Err(Errno::ENXIO) => return Ok(None),
        Err(Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOTTY) => return Ok(Some((offset, length))),
        other => other?.cast_unsigned(),
    };
    let end = seek(start, Whence::SeekHole)?.cast_unsigned().min(length);
    Ok((start < end).then_some((start, end)))
}

/// Copies what is between two offsets, in the kernel if it can.
fn copy_range(from: &File, to: &File, mut start: u64, end: u64) -> io::Result<()> {
    while start < end {
        go_on().map_err(io::Error::other)?;
        let (mut source, mut target) = (start.cast_signed(), start.cast_signed());
        let most = usize::try_from(end - start).unwrap_or(usize::MAX).min(STRETCH);
        match copy_file_range(from, Some(&mut source), to, Some(&mut target), most) {
            // Filesystems that cannot, or files that are longer than their filesystem says.
            Ok(0) | Err(Errno::EXDEV | Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EBADF) => {
                return read_and_write(from, to, start, end);
            }
            other => start += other? as u64,
        }
    }
    Ok(())
}

/// Copies what is between two offsets through memory.
fn read_and_write(from: &File, to: &File, mut start: u64, end: u64) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    while start < end {
        go_on().map_err(io::Error::other)?;
        let most = usize::try_from(end - start).unwrap_or(BUFFER).min(BUFFER);
        match from.read_at(&mut buffer[..most], start) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                to.write_all_at(&buffer[..count], start)?;
                start += count as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
