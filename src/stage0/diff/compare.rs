//! Whether two files are the same.

use std::fs::File;
use std::io::{self, Read};

use nix::sys::stat::{FileStat, SFlag};

use crate::error::{Context, Result};
use crate::stage0::properties::Properties;
use crate::sys::signal::go_on;
use crate::sys::tree::{Walk, file_type};

/// How much is read at once.
const BUFFER: usize = 64 << 10;

/// What a comparison finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    Same,
    /// Nothing but the time of modification differs.
    Time,
    Different,
}

/// Compares the present entries of two walks. The content of regular files is not looked at where `know` says that it is the
/// same.
///
/// # Errors
/// One of them cannot be read.
pub(super) fn compare(
    (old, before): (&mut Walk, &FileStat),
    (new, after): (&mut Walk, &FileStat),
    know: &dyn Fn() -> bool,
) -> Result<Compared> {
    if (before.st_dev, before.st_ino) == (after.st_dev, after.st_ino) {
        return Ok(Compared::Same);
    }
    let kind = file_type(after);
    if stated(before) != stated(after) {
        return Ok(Compared::Different);
    }
    if kind == SFlag::S_IFLNK && read_link(old)? != read_link(new)? {
        return Ok(Compared::Different);
    }
    let properties = |walk: &mut Walk| Properties::read(walk.node().context(|| "cannot open it")?);
    if properties(old)? != properties(new)? {
        return Ok(Compared::Different);
    }
    if kind == SFlag::S_IFREG && !know() && !same_content(open(old)?, open(new)?).context(|| "cannot read it")? {
        return Ok(Compared::Different);
    }
    let time = |stat: &FileStat| (stat.st_mtime, stat.st_mtime_nsec);
    Ok(if time(before) == time(after) { Compared::Same } else { Compared::Time })
}

/// What counts of what lstat(2) says, but for the time. The mode of a symlink means nothing.
fn stated(stat: &FileStat) -> (libc::mode_t, u32, u32, i64, u64) {
    let kind = file_type(stat);
    let mode = if kind == SFlag::S_IFLNK { kind.bits() } else { stat.st_mode };
    let size = if kind == SFlag::S_IFREG { stat.st_size } else { 0 };
    let device = if matches!(kind, SFlag::S_IFCHR | SFlag::S_IFBLK) { stat.st_rdev } else { 0 };
    (mode, stat.st_uid, stat.st_gid, size, device)
}

fn read_link(walk: &Walk) -> Result<std::path::PathBuf> {
    walk.read_link().context(|| "cannot read it")
}

fn open(walk: &mut Walk) -> Result<&File> {
    walk.open().context(|| "cannot open it")
}

/// Whether two files, of which nothing was read before, have the same bytes.
pub(in crate::stage0) fn same_content(mut old: &File, mut new: &File) -> io::Result<bool> {
    let (mut before, mut after) = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        go_on().map_err(io::Error::other)?;
        let (old_length, new_length) = (fill(&mut old, &mut before)?, fill(&mut new, &mut after)?);
        if before[..old_length] != after[..new_length] {
            return Ok(false);
        }
        if old_length == 0 {
            return Ok(true);
        }
    }
}

/// Reads until the buffer is full or the end is reached.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(length)
}
