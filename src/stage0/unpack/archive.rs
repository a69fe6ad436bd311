//! The tar format: headers and contents, one after the other.
//!
//! The fields of a header are laid out by the tar crate. Its iteration is not used: it splits extended headers at line ends,
//! which loses binary values, and takes an archive that was cut off for one that has ended.

use crate::error::{Error, Result};
use crate::stage0::compression::is_tar_header;

use super::entry::{Entry, Extensions};
use super::name;
use super::pax::Records;
use super::plain::Plain;

/// The unit of the format.
pub(super) const BLOCK: usize = 512;

/// The longest extended header. It holds all extended attributes of one file, each of which Linux limits to 64 KiB.
pub(in crate::stage0) const MAX_EXTENDED: u64 = 8 << 20;

/// An archive being read.
pub(super) struct Archive {
    plain: Plain,
    /// What is left of the content of the current entry, and of the padding after it.
    content: u64,
    padding: u64,
    /// The current entry as errors show it.
    current: String,
    began: bool,
}

impl Archive {
    pub(super) fn new(plain: Plain) -> Self {
        Archive { plain, content: 0, padding: 0, current: String::new(), began: false }
    }

    /// The next entry, with what its extended headers say; none at the end-of-archive marker.
    ///
    /// # Errors
    /// The archive is damaged or truncated, or reading it failed.
    pub(super) fn next(&mut self) -> Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_rest()?;
            let block = self.block()?;
            if block.iter().all(|b| *b == 0) {
                if extensions.is_empty() {
                    return Ok(None);
                }
                return Err(Error::new("the archive ends after an extended header"));
            }
            let header = self.check(&block)?;
            if !self.extend(&header, &mut extensions)? {
                let entry = Entry::new(&header, extensions, self)?;
                self.current = entry.shown();
                return Ok(Some(entry));
            }
        }
    }

    /// Checks the sum of a header.
    fn check(&mut self, block: &[u8; BLOCK]) -> Result<tar::Header> {
        if !is_tar_header(block) {
            return Err(if self.began {
                Error::new(format!("the archive is damaged: no header after {}", self.current))
            } else {
                Error::new("the file is not a tar archive")
            });
        }
        self.began = true;
        let mut header = tar::Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        Ok(header)
    }

    /// Reads an extended header into `extensions`; false where the header is that of an entry.
    fn extend(&mut self, header: &tar::Header, extensions: &mut Extensions) -> Result<bool> {
        let (slot, what) = match header.as_old().linkflag[0] {
            b'x' => (&mut extensions.pax, "extended header"),
            b'L' => (&mut extensions.name, "long name"),
            b'K' => (&mut extensions.link, "long link name"),
            b'g' => {
                self.current = "the global extended header".to_owned();
                let bytes = self.extension(header)?;
                Records::parse(bytes)?.check_global()?;
                return Ok(true);
            }
            _ => return Ok(false),
        };
        if slot.is_some() {
            return Err(Error::new(format!("an entry has two of a {what}")));
        }
        self.current = format!("the {what} after {}", if self.current.is_empty() { "nothing" } else { &self.current });
        *slot = Some(self.extension(header)?);
        Ok(true)
    }

    /// The content of an extended header.
    fn extension(&mut self, header: &tar::Header) -> Result<Vec<u8>> {
        let size = super::entry::number(&header.as_old().size).and_then(|n| u64::try_from(n).ok());
        let size = size.ok_or_else(|| Error::new(format!("the size of {} is not a number", self.current)))?;
        if size > MAX_EXTENDED {
            return Err(Error::new(format!("{} has {size} bytes, more than {MAX_EXTENDED}", self.current)));
        }
        self.expect(size);
        self.content()
    }

    /// Says that `size` bytes of content and their padding come next.
    pub(super) fn expect(&mut self, size: u64) {
        self.content = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// Takes `length` bytes, which are part of the content, before the content proper.
    ///
    /// # Errors
    /// As [`Archive::piece`].
    pub(super) fn content_block(&mut self) -> Result<[u8; BLOCK]> {
        let block = self.block()?;
        self.content = self.content.saturating_sub(BLOCK as u64);
        Ok(block)
    }

    /// All of the content that is left, which the caller has found to be little. Memory grows with what arrives, not with
    /// what was claimed.
    ///
    /// # Errors
    /// As [`Archive::piece`].
    pub(super) fn content(&mut self) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let piece = self.piece(u64::MAX)?;
            if piece.is_empty() {
                return Ok(all);
            }
            all.extend_from_slice(piece);
            let length = piece.len();
            self.advance(length);
        }
    }

    /// The next bytes of the content, at most `most`; none at its end. [`Archive::advance`] goes past them.
    ///
    /// # Errors
    /// The archive is truncated, or reading it failed.
    pub(super) fn piece(&mut self, most: u64) -> Result<&[u8]> {
        let most = self.content.min(most);
        if most == 0 {
            return Ok(&[]);
        }
        let bytes = self.plain.fill()?;
        if bytes.is_empty() {
            return Err(truncated(&self.current));
        }
        let length = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
        Ok(&bytes[..length])
    }

    /// Goes past `length` bytes of content.
    pub(super) fn advance(&mut self, length: usize) {
        self.plain.consume(length);
        self.content -= length as u64;
    }

    /// Goes past what is left of an entry.
    fn skip_rest(&mut self) -> Result<()> {
        self.content += std::mem::take(&mut self.padding);
        loop {
            let length = self.piece(u64::MAX)?.len();
            if length == 0 {
                return Ok(());
            }
            self.advance(length);
        }
    }

    /// One block, whatever it is part of.
    pub(super) fn block(&mut self) -> Result<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        let mut length = 0;
        while length < BLOCK {
            let bytes = self.plain.fill()?;
            if bytes.is_empty() {
                return Err(truncated(&self.current));
            }
            let part = bytes.len().min(BLOCK - length);
            block[length..length + part].copy_from_slice(&bytes[..part]);
            self.plain.consume(part);
            length += part;
        }
        Ok(block)
    }

    /// Reads to the end of the file, where only zeros may stand, and returns digest and length of it all.
    ///
    /// # Errors
    /// Something follows the end of the archive, or reading it failed.
    pub(super) fn finish(mut self) -> Result<([u8; 64], u64)> {
        loop {
            let bytes = self.plain.fill()?;
            if bytes.is_empty() {
                return Ok(self.plain.finish());
            }
            if bytes.iter().any(|b| *b != 0) {
                return Err(Error::new("the archive goes on after its end-of-archive marker"));
            }
            let length = bytes.len();
            self.plain.consume(length);
        }
    }
}

/// The archive ended in or after the entry `current`.
fn truncated(current: &str) -> Error {
    let place = if current.is_empty() { "its first header" } else { current };
    Error::new(format!("the archive is truncated: it ends within or after {}", name::shorten(place)))
}
