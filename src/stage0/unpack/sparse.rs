//! Sparse files: the old GNU format, whose map is in headers, and versions 0.1 and 1.0 of the one in extended headers, which
//! GNU tar and bsdtar write.

use crate::error::{Error, Result};

use super::archive::{Archive, BLOCK};
use super::entry::{self, Entry};
use super::pax::Records;

/// The most pieces that a file may have.
const MAX_PIECES: usize = 1 << 20;

/// The map of a sparse file.
pub(super) struct Sparse {
    /// The length of the file with its holes.
    pub(super) length: u64,
    /// Offset and length of each piece that is not a hole, in order.
    pub(super) pieces: Vec<(u64, u64)>,
}

/// The real name of a sparse file, whose `path` is made up for readers that do not know.
pub(super) fn name(pax: &Records) -> Option<&[u8]> {
    pax.get("GNU.sparse.name")
}

impl Sparse {
    /// Reads the map of `entry`, if it is sparse. The archive stands before its content.
    ///
    /// # Errors
    /// The map does not fit the file, or is of a version that is not known.
    pub(super) fn read(header: &tar::Header, entry: &Entry, archive: &mut Archive) -> Result<Option<Self>> {
        let pax = &entry.pax;
        let version = (pax.get("GNU.sparse.major").unwrap_or(b"0"), pax.get("GNU.sparse.minor").unwrap_or(b"1"));
        let is_pax = !pax.with_prefix("GNU.sparse.").is_empty();
        let is_old = header.as_old().linkflag[0] == b'S';
        let mut reader = Reader { entry, archive };
        let (sparse, stored) = match version {
            _ if !is_pax && !is_old => return Ok(None),
            _ if is_old && is_pax => return Err(reader.error("is of two formats")),
            _ if is_old => (reader.old_gnu(header)?, entry.stored),
            (b"1", b"0") => reader.version_1_0()?,
            (b"0", b"1") if pax.has("GNU.sparse.map") => (reader.version_0_1()?, entry.stored),
            _ => return Err(reader.error("is of a version that is not supported")),
        };
        check(&sparse, stored).map_err(|why| reader.error(why))?;
        Ok(Some(sparse))
    }
}

/// Whether a map is in order and speaks of as many bytes as there are.
fn check(sparse: &Sparse, stored: u64) -> std::result::Result<(), &'static str> {
    let (mut end, mut sum) = (0u64, 0u64);
    for (offset, length) in &sparse.pieces {
        if *offset < end {
            return Err("is out of order");
        }
        end = offset.checked_add(*length).filter(|end| *end <= sparse.length).ok_or("goes beyond the file")?;
        sum += length;
    }
    if sum == stored { Ok(()) } else { Err("does not fit the size") }
}

/// Reads a map.
struct Reader<'a> {
    entry: &'a Entry,
    archive: &'a mut Archive,
}

impl Reader<'_> {
    fn error(&self, why: &str) -> Error {
        Error::new(format!("the map of the sparse file {} {why}", self.entry.shown()))
    }

    /// A number of a header, at most what a file offset can be.
    fn field(&self, field: &[u8]) -> Result<u64> {
        let value = entry::number(field).filter(|n| *n <= i128::from(i64::MAX));
        value.and_then(|n| u64::try_from(n).ok()).ok_or_else(|| self.error("has a number that is none"))
    }

    /// A number in decimal digits, at most what a file offset can be.
    fn decimal(&self, text: &[u8]) -> Result<u64> {
        let text = str::from_utf8(text).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
        let value = text.and_then(|t| t.parse().ok()).filter(|n| *n <= i64::MAX as u64);
        value.ok_or_else(|| self.error("has a number that is none"))
    }

    /// The first four pieces are in the header, 21 in each of the blocks that may follow.
    fn old_gnu(&mut self, header: &tar::Header) -> Result<Sparse> {
        let gnu = header.as_gnu().ok_or_else(|| self.error("is not in a GNU header"))?;
        let mut pieces = Vec::new();
        self.add(&gnu.sparse, &mut pieces)?;
        let mut more = gnu.is_extended();
        let mut block = tar::GnuExtSparseHeader::new();
        while more {
            *block.as_mut_bytes() = self.archive.block()?;
            self.add(block.sparse(), &mut pieces)?;
            more = block.is_extended();
        }
        Ok(Sparse { length: self.field(&gnu.realsize)?, pieces })
    }

    /// Adds the pieces of one header.
    fn add(&self, headers: &[tar::GnuSparseHeader], pieces: &mut Vec<(u64, u64)>) -> Result<()> {
        for header in headers.iter().filter(|header| !header.is_empty()) {
            pieces.push((self.field(&header.offset)?, self.field(&header.numbytes)?));
        }
        if pieces.len() > MAX_PIECES { Err(self.error("has too many pieces")) } else { Ok(()) }
    }

    /// The map is a record: numbers with commas between them.
    fn version_0_1(&self) -> Result<Sparse> {
        let pax = &self.entry.pax;
        let map = pax.get("GNU.sparse.map").unwrap_or_default();
        let numbers: Vec<u64> =
            map.split(|b| *b == b',').filter(|n| !n.is_empty()).map(|n| self.decimal(n)).collect::<Result<_>>()?;
        if !numbers.len().is_multiple_of(2) || numbers.len() / 2 > MAX_PIECES {
            return Err(self.error("has an odd number of numbers, or too many"));
        }
        let length = pax.get("GNU.sparse.size").ok_or_else(|| self.error("lacks the size of the file"))?;
        let pieces = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        Ok(Sparse { length: self.decimal(length)?, pieces })
    }

    /// The map is the first blocks of the content: how many pieces, then the numbers, each on a line.
    fn version_1_0(&mut self) -> Result<(Sparse, u64)> {
        let length =
            self.entry.pax.get("GNU.sparse.realsize").ok_or_else(|| self.error("lacks the size of the file"))?;
        let length = self.decimal(length)?;
        let mut lines = Lines { block: [0; BLOCK], at: BLOCK, left: self.entry.stored };
        let count = self.line(&mut lines)?;
        if count > MAX_PIECES as u64 {
            return Err(self.error("has too many pieces"));
        }
        let mut pieces = Vec::new();
        for _ in 0..count {
            pieces.push((self.line(&mut lines)?, self.line(&mut lines)?));
        }
        Ok((Sparse { length, pieces }, lines.left))
    }

    /// The number on the next line.
    fn line(&mut self, lines: &mut Lines) -> Result<u64> {
        let mut digits = Vec::new();
        loop {
            if lines.at == BLOCK {
                let left = lines.left.checked_sub(BLOCK as u64).ok_or_else(|| self.error("is cut off"))?;
                *lines = Lines { block: self.archive.content_block()?, at: 0, left };
            }
            let byte = lines.block[lines.at];
            lines.at += 1;
            match byte {
                b'\n' if !digits.is_empty() => return self.decimal(&digits),
                b'0'..=b'9' if digits.len() < 20 => digits.push(byte),
                _ => return Err(self.error("has a number that is none")),
            }
        }
    }
}

/// The blocks in which a map is written, and how much of the content is left after them.
struct Lines {
    block: [u8; BLOCK],
    at: usize,
    left: u64,
}
