//! Streams that end when a signal has arrived.

use std::io::{self, Read, Write};

use crate::sys::signal::go_on;

/// A stream that goes on until [`go_on`] says that a signal has arrived.
pub(crate) struct Interruptible<T>(pub(crate) T);

impl<T: Read> Read for Interruptible<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        go_on().map_err(io::Error::other)?;
        self.0.read(buffer)
    }
}

impl<T: Write> Write for Interruptible<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        go_on().map_err(io::Error::other)?;
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
