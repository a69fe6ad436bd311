//! How far long work has come, told to whoever shows it.

use std::io::{Read, Result, Write};

/// Hears how far work has come, from whatever thread does it. Work has steps, of which one at a time is under way.
pub trait Progress: Sync {
    /// A step begins: what it does (`copying app.aci`), and how many bytes it will move, if that is known.
    fn begin(&self, what: &str, total: Option<u64>);

    /// So many more bytes have been moved.
    fn advance(&self, bytes: u64);

    /// The step has ended, well or not.
    fn end(&self);
}

/// Nobody is there to hear.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _what: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn end(&self) {}
}

/// A step under way, which ends when this is dropped.
pub struct Step<'a>(&'a dyn Progress);

impl<'a> Step<'a> {
    /// Begins a step, as [`Progress::begin`] does.
    pub fn begin(progress: &'a dyn Progress, what: &str, total: Option<u64>) -> Step<'a> {
        progress.begin(what, total);
        Step(progress)
    }

    /// So many more bytes have been moved.
    pub fn advance(&self, bytes: u64) {
        self.0.advance(bytes);
    }

    /// `stream`, with what is read from it or written to it counted.
    pub fn count<T>(&self, stream: T) -> Counted<'_, T> {
        Counted { stream, step: self }
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A stream whose bytes are counted.
pub struct Counted<'a, T> {
    stream: T,
    step: &'a Step<'a>,
}

impl<T> Counted<'_, T> {
    /// The stream itself.
    pub fn into_inner(self) -> T {
        self.stream
    }
}

impl<T: Read> Read for Counted<'_, T> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.stream.read(buffer)?;
        self.step.advance(count as u64);
        Ok(count)
    }
}

impl<T: Write> Write for Counted<'_, T> {
    fn write(&mut self, buffer: &[u8]) -> Result<usize> {
        let count = self.stream.write(buffer)?;
        self.step.advance(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> Result<()> {
        self.stream.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Progress for Heard {
        fn begin(&self, what: &str, total: Option<u64>) {
            self.0.lock().unwrap().push(format!("{what} {total:?}"));
        }

        fn advance(&self, bytes: u64) {
            self.0.lock().unwrap().push(bytes.to_string());
        }

        fn end(&self) {
            self.0.lock().unwrap().push("end".to_owned());
        }
    }

    #[test]
    fn what_is_moved_is_counted_and_the_step_ends() {
        let heard = Heard::default();
        {
            let step = Step::begin(&heard, "copying", Some(5));
            let mut into = Vec::new();
            step.count(&b"12345"[..]).read_to_end(&mut into).unwrap();
            step.count(&mut into).write_all(b"678").unwrap();
            assert_eq!(into, b"12345678");
        }
        assert_eq!(*heard.0.lock().unwrap(), ["copying Some(5)", "5", "0", "3", "end"]);
    }
}
