//! Writing the content of a regular file. Blocks of zeros become holes, so that a file claims no more room than it needs.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::error::{Error, Result};

use super::archive::Archive;
use super::entry::Entry;

/// The unit of holes: the block of most filesystems.
const BLOCK: usize = 4096;

/// Writes the content of `entry` to the new and empty `file`.
///
/// # Errors
/// The archive is truncated or damaged, or the file cannot be written.
pub(super) fn write(entry: &Entry, archive: &mut Archive, file: &File) -> Result<()> {
    let failed = |e: io::Error| Error::with_source(format!("cannot write {}", entry.shown()), e);
    let (length, pieces) = entry.layout();
    let mut written = 0;
    for (start, size) in pieces {
        let (mut offset, end) = (start, start + size);
        while offset < end {
            let bytes = archive.piece(end - offset)?;
            let last = write_data(file, bytes, offset).map_err(failed)?;
            written = last.unwrap_or(written);
            let count = bytes.len();
            offset += count as u64;
            archive.advance(count);
        }
    }
    if written < length { file.set_len(length).map_err(failed) } else { Ok(()) }
}

/// Writes the blocks of `bytes`, which belong at `offset`, that are not zero, in as few calls as there are runs of them. A
/// block may come in two parts, at the end of one piece of the archive and the beginning of the next. Returns the offset
/// after the last byte written.
fn write_data(file: &File, bytes: &[u8], offset: u64) -> io::Result<Option<u64>> {
    let mut last = None;
    let mut run = 0..0;
    let mut at = 0;
    while at < bytes.len() {
        let into_block = (offset + at as u64) % BLOCK as u64;
        let end = (at + BLOCK - into_block as usize).min(bytes.len());
        let is_hole = is_zero(&bytes[at..end]);
        if !is_hole {
            run = if run.end == at && !run.is_empty() { run.start..end } else { at..end };
        }
        if !run.is_empty() && (is_hole || end == bytes.len()) {
            file.write_all_at(&bytes[run.clone()], offset + run.start as u64)?;
            last = Some(offset + run.end as u64);
            run = 0..0;
        }
        at = end;
    }
    Ok(last)
}

/// Whether a block has nothing but zeros.
fn is_zero(block: &[u8]) -> bool {
    block.chunks(64).all(|chunk| chunk.iter().fold(0, |any, byte| any | byte) == 0)
}
