//! The plain bytes of an archive: decompressed in a thread of its own, hashed and counted in this one.

use std::io::{self, BufReader, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use sha2::{Digest, Sha512};

use crate::error::{Context, Error, Result};
use crate::stage0::compression::{self, Compression};

/// The length of a piece that goes from one thread to the other.
const PIECE: usize = 256 << 10;

/// How many pieces may wait. With the one being filled and the one being read, this bounds the memory to 2.5 MiB.
const WAITING: usize = 8;

/// The size of the buffer before the decompressor.
const INPUT: usize = 128 << 10;

/// A piece, an empty one at the end, or what ended it early.
type Message = io::Result<Vec<u8>>;

/// Decompresses `archive` in a thread while `consume` takes its plain bytes.
///
/// The thread ends when the archive does, or when `consume` has returned: it can only wait for room in a channel whose other
/// end is then gone.
///
/// # Errors
/// What `consume` returns, among it the errors of reading and decompressing.
pub(super) fn decompress<T>(
    archive: impl Read + Send,
    limit: Option<u64>,
    consume: impl FnOnce(Compression, Plain) -> Result<T>,
) -> Result<T> {
    let input = BufReader::with_capacity(INPUT, archive);
    let (compression, reader) = compression::decoder(input).map_err(|e| match e.kind() {
        io::ErrorKind::InvalidData => Error::new(e.to_string()),
        _ => Error::with_source("cannot read the archive", e),
    })?;
    let (full, pieces) = sync_channel(WAITING);
    let (used, empty) = channel();
    thread::scope(|scope| {
        thread::Builder::new()
            .name("decompress".to_owned())
            .spawn_scoped(scope, move || produce(reader, &full, &empty))
            .context(|| "cannot start the decompressing thread")?;
        consume(compression, Plain::new(pieces, used, compression, limit))
    })
}

/// Sends all that `reader` gives, until nobody wants it.
fn produce(mut reader: impl Read, full: &SyncSender<Message>, empty: &Receiver<Vec<u8>>) {
    loop {
        let mut piece = empty.try_recv().unwrap_or_default();
        piece.resize(PIECE, 0);
        let message = fill(&mut reader, &mut piece).map(|length| {
            piece.truncate(length);
            piece
        });
        let last = message.as_ref().map_or(true, Vec::is_empty);
        if full.send(message).is_err() || last {
            return;
        }
    }
}

/// Reads until the buffer is full or the end is reached. What was read before an error is dropped with it.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match reader.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(length)
}

/// The plain bytes as they arrive.
pub(super) struct Plain {
    pieces: Receiver<Message>,
    used: Sender<Vec<u8>>,
    compression: Compression,
    limit: Option<u64>,
    piece: Vec<u8>,
    at: usize,
    ended: bool,
    hash: Sha512,
    size: u64,
}

impl Plain {
    fn new(pieces: Receiver<Message>, used: Sender<Vec<u8>>, compression: Compression, limit: Option<u64>) -> Self {
        let (piece, hash) = (Vec::new(), Sha512::new());
        Plain { pieces, used, compression, limit, piece, at: 0, ended: false, hash, size: 0 }
    }

    /// The next bytes, none at the end.
    ///
    /// # Errors
    /// Reading or decompressing failed, or the archive is larger than it may be.
    pub(super) fn fill(&mut self) -> Result<&[u8]> {
        if self.at == self.piece.len() && !self.ended {
            self.receive()?;
        }
        Ok(&self.piece[self.at..])
    }

    /// Goes on by `length` bytes of what [`Plain::fill`] returned.
    pub(super) fn consume(&mut self, length: usize) {
        self.at = (self.at + length).min(self.piece.len());
    }

    /// Takes the next piece from the other thread.
    fn receive(&mut self) -> Result<()> {
        let message = self.pieces.recv().context(|| "the decompressing thread ended early")?;
        let piece = message.map_err(|e| self.explain(e))?;
        self.hash.update(&piece);
        self.size += piece.len() as u64;
        if let Some(limit) = self.limit.filter(|limit| self.size > *limit) {
            return Err(super::too_large("the archive has, when decompressed,", limit));
        }
        self.ended = piece.is_empty();
        self.at = 0;
        // Nobody takes it back when the other thread has ended.
        let _ = self.used.send(std::mem::replace(&mut self.piece, piece));
        Ok(())
    }

    /// Puts the format over an error of the decompressor.
    fn explain(&self, error: io::Error) -> Error {
        let what = match (self.compression, error.kind()) {
            (Compression::None, _) => "cannot read the archive".to_owned(),
            (name, io::ErrorKind::UnexpectedEof) => format!("the archive is truncated: its {name} stream ends early"),
            (name, _) => format!("cannot decompress the archive as {name}"),
        };
        Error::with_source(what, error)
    }

    /// The SHA-512 and the length of all that came.
    pub(super) fn finish(self) -> ([u8; 64], u64) {
        (self.hash.finalize().into(), self.size)
    }
}
