//! Compressing on several processors.
//!
//! The input is cut into blocks of a fixed length, each of which becomes a stream of its own: a gzip member, an xz or bzip2
//! stream, a zstd frame. Every reader of these formats takes a row of them for one. (liblzma has an encoder with threads, for xz
//! alone and not on FreeBSD.) What comes out depends on the input only, not on the number of threads or on how it was written.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write};
use std::num::NonZero;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use super::Compression;

/// The most threads that are started. Each takes the memory of one encoder (94 MiB for xz, 30 MiB for zstd, 8 MiB or less for
/// the others) and of two or three blocks.
const MAX_THREADS: usize = 16;

/// The presets: those of xz(1), gzip(1) and bzip2(1); of zstd one that still gains more than it costs.
const XZ_PRESET: u32 = 6;
const ZSTD_LEVEL: i32 = 9;

/// The length of a block: long enough for what an encoder remembers, and short enough that small images use two processors.
fn block_length(compression: Compression) -> usize {
    match compression {
        Compression::None => 0,
        Compression::Gzip => 2 << 20,
        Compression::Bzip2 => 9 * 900_000,
        Compression::Zstd => 16 << 20,
        Compression::Xz => 16 << 20,
    }
}

/// How many threads compress fastest here.
pub fn processors() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Compresses what is written to it and writes that to `out`. [`Encoder::finish`] has to be called: without it, the end is
/// missing.
///
/// # Errors
/// A thread cannot be started.
pub fn encoder<W: Write>(compression: Compression, out: W, threads: usize) -> io::Result<Encoder<W>> {
    start(compression, out, threads, block_length(compression))
}

/// As [`encoder`], with blocks of `most` bytes.
fn start<W: Write>(compression: Compression, out: W, threads: usize, most: usize) -> io::Result<Encoder<W>> {
    let (jobs, waiting) = channel();
    let waiting = Arc::new(Mutex::new(waiting));
    let threads = if compression == Compression::None { 0 } else { threads.clamp(1, MAX_THREADS) };
    let work = |_| {
        let waiting = Arc::clone(&waiting);
        thread::Builder::new().name("compress".to_owned()).spawn(move || work(compression, &waiting))
    };
    let workers = (0..threads).map(work).collect::<io::Result<Vec<_>>>()?;
    Ok(Encoder { out, most, block: Vec::new(), jobs, pending: VecDeque::new(), workers, is_empty: true })
}

/// A block to compress, and where the result goes.
type Job = (Vec<u8>, SyncSender<io::Result<Vec<u8>>>);

/// A writer that compresses.
pub struct Encoder<W> {
    out: W,
    /// The length of a block; zero where nothing is compressed.
    most: usize,
    block: Vec<u8>,
    jobs: Sender<Job>,
    /// The results to come, in the order of the input.
    pending: VecDeque<Receiver<io::Result<Vec<u8>>>>,
    workers: Vec<JoinHandle<()>>,
    is_empty: bool,
}

impl<W: Write> Encoder<W> {
    /// Compresses what is left, writes it, and returns the writer, flushed.
    ///
    /// # Errors
    /// What the writer fails with.
    pub fn finish(mut self) -> io::Result<W> {
        if self.most > 0 && (self.is_empty || !self.block.is_empty()) {
            self.compress()?;
        }
        while !self.pending.is_empty() {
            self.write_next()?;
        }
        let Encoder { mut out, jobs, workers, .. } = self;
        drop(jobs);
        for worker in workers {
            worker.join().map_err(|_| lost())?;
        }
        out.flush()?;
        Ok(out)
    }

    /// Gives the block to whichever thread is free. With a block more than threads under way, none of them waits.
    fn compress(&mut self) -> io::Result<()> {
        if self.pending.len() > self.workers.len() {
            self.write_next()?;
        }
        let (result, pending) = sync_channel(1);
        self.jobs.send((std::mem::take(&mut self.block), result)).map_err(|_| lost())?;
        self.pending.push_back(pending);
        self.is_empty = false;
        Ok(())
    }

    /// Writes the oldest block that has not been written.
    fn write_next(&mut self) -> io::Result<()> {
        let Some(pending) = self.pending.pop_front() else { return Ok(()) };
        self.out.write_all(&pending.recv().map_err(|_| lost())??)
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.most == 0 {
            return self.out.write(bytes);
        }
        if self.block.len() == self.most {
            self.compress()?;
        }
        let length = bytes.len().min(self.most - self.block.len());
        self.block.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    /// Only what has been compressed can be flushed: the last block is open until [`Encoder::finish`].
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A thread is gone that should not be.
fn lost() -> io::Error {
    io::Error::other("a compressing thread ended early")
}

/// Compresses blocks until there are no more.
fn work(compression: Compression, waiting: &Mutex<Receiver<Job>>) {
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((block, result)) = job else { return };
        // Nobody waits for it where writing has failed.
        let _ = result.send(compress(compression, &block));
    }
}

/// Makes a block a stream.
fn compress(compression: Compression, block: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let length = match compression {
        Compression::None => Ok(0),
        Compression::Gzip => flate2::read::GzEncoder::new(block, flate2::Compression::new(6)).read_to_end(&mut out),
        Compression::Bzip2 => bzip2::read::BzEncoder::new(block, bzip2::Compression::best()).read_to_end(&mut out),
        Compression::Xz => xz2::read::XzEncoder::new(block, XZ_PRESET).read_to_end(&mut out),
        Compression::Zstd => {
            let mut encoder = zstd::bulk::Compressor::new(ZSTD_LEVEL)?;
            encoder.include_checksum(true)?;
            out = encoder.compress(block)?;
            Ok(out.len())
        }
    };
    length.map(|_| out)
}

#[cfg(test)]
mod tests {
    use super::super::decoder;
    use super::*;

    const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Xz, Compression::Bzip2, Compression::Zstd];

    /// A tar archive of `length` bytes or a little more, which compress a little.
    fn sample(length: usize) -> Vec<u8> {
        let data: Vec<u8> = (0u32..).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 & 0x3f).take(length).collect();
        let mut header = tar::Header::new_gnu();
        header.set_size(length as u64);
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_data(&mut header, "manifest", &data[..]).unwrap();
        builder.into_inner().unwrap()
    }

    /// The length of the blocks of these tests.
    fn most(compression: Compression) -> usize {
        block_length(compression).min(50_000)
    }

    fn encode(compression: Compression, plain: &[u8], threads: usize, piece: usize) -> Vec<u8> {
        let mut encoder = start(compression, Vec::new(), threads, most(compression)).unwrap();
        for piece in plain.chunks(piece) {
            encoder.write_all(piece).unwrap();
        }
        encoder.finish().unwrap()
    }

    fn decode(bytes: &[u8]) -> (Compression, Vec<u8>) {
        let (compression, mut reader) = decoder(bytes).unwrap();
        let mut plain = Vec::new();
        reader.read_to_end(&mut plain).unwrap();
        (compression, plain)
    }

    #[test]
    fn blocks_are_one_stream_whatever_wrote_them() {
        for compression in ALL {
            let plain = sample(250_000);
            let bytes = encode(compression, &plain, 2, plain.len());
            assert!(decode(&bytes) == (compression, plain.clone()), "{compression}");
            assert!(encode(compression, &plain, 5, 7000) == bytes, "{compression}");
        }
    }

    #[test]
    fn nothing_is_a_stream_too() {
        for compression in &ALL[1..] {
            let bytes = encode(*compression, b"", 2, 1);
            assert_eq!(Compression::recognise(&bytes), Some(*compression));
            assert_eq!(decode(&bytes), (*compression, Vec::new()));
        }
    }

    /// A writer that takes some bytes and then no more.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let length = bytes.len().min(self.0);
            self.0 -= length;
            if length == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(length) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_an_error() {
        for compression in ALL {
            let mut encoder = start(compression, Full(1000), 2, most(compression)).unwrap();
            let mut wrote = Ok(());
            for piece in sample(200_000).chunks(10_000) {
                wrote = wrote.and_then(|()| encoder.write_all(piece));
            }
            let error = wrote.and_then(|()| encoder.finish().map(drop)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{compression}");
        }
    }
}
