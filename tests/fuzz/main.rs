//! Inputs made by chance for what reads what strangers wrote: archives and manifests. None may make it panic or hang.
//!
//! Each target begins with whole inputs and changes them, in ways that know the format and in ways that do not. What comes of an
//! input is told in words; an input that made it say something new is kept, and changed further. That reaches most of what can
//! be said, on every kernel and with the compiler that builds the rest.
//!
//! `make fuzz` does it for a minute, with other numbers each time; `make check` for some seconds, always with the same. An input
//! that fails is kept in a file, and `JETPACK_FUZZ_INPUT` names one to be tried again, alone.

#![expect(clippy::print_stdout, reason = "what came of the inputs is shown")]

mod archives;
mod manifests;

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// How long a target has where nobody says: enough to find what has become wrong at large.
const SHORT: u64 = 4;

/// The most that one input may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The most inputs that are kept.
const MOST: usize = 2000;

/// The longest input.
pub(crate) const LONGEST: usize = 256 << 10;

/// What reads inputs.
pub(crate) trait Target {
    /// Whole inputs to begin with.
    fn seeds(&self) -> Vec<Vec<u8>>;
    /// Another input, made of one and with parts of another.
    fn change(&self, random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8>;
    /// What comes of an input, in words.
    fn read(&mut self, input: &[u8]) -> String;
}

/// Numbers by chance (xorshift*).
pub(crate) struct Random(u64);

impl Random {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end.max(1)
    }

    /// One of several.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// A text like another, of which a number or a character is something else.
    pub(crate) fn vary(&mut self, text: &str) -> String {
        let mut chars: Vec<char> = text.chars().collect();
        let at = self.below(chars.len() + 1);
        let is_digit = |c: &char| c.is_ascii_digit();
        let digits = chars[at..].iter().position(is_digit).map(|first| {
            let first = at + first;
            first..chars[first..].iter().position(|c| !is_digit(c)).map_or(chars.len(), |length| first + length)
        });
        let number = *self.pick(&[
            "0",
            "1",
            "4",
            "9",
            "512",
            "-1",
            "1.5",
            "00",
            "",
            "65536",
            "4294967296",
            "9223372036854775807",
        ]);
        let token = *self.pick(&[
            ",", ".", "/", "..", "-", "e", "E", "Ki", "m", "G", "%", "=", ":", " ", "\n", "\0", "é", "user:", "@",
        ]);
        match (self.below(4), digits) {
            (0 | 1, Some(digits)) => drop(chars.splice(digits, number.chars())),
            (2, _) if at < chars.len() => drop(chars.remove(at)),
            (3, _) => {
                let copy = chars[at..].to_vec();
                chars.extend(copy);
            }
            _ => drop(chars.splice(at..at, token.chars())),
        }
        chars.into_iter().collect()
    }

    /// Changes bytes without knowing what they are.
    pub(crate) fn disturb(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        let at = self.below(bytes.len() + 1);
        let length = self.below(bytes.len() - at + 1).min(1 << self.below(12));
        match self.below(6) {
            0 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
            1 if at < bytes.len() => bytes[at] = *self.pick(&[0, 1, b'0', b'9', 0x7f, 0x80, 0xff, b'\n', b'"', b'/']),
            2 => drop(bytes.drain(at..at + length)),
            3 => {
                let copy = bytes[at..at + length].to_vec();
                let to = self.below(bytes.len() + 1);
                bytes.splice(to..to, copy);
            }
            4 => {
                let from = self.below(other.len() + 1);
                let end = (from + length).min(other.len());
                bytes.splice(at..at + length, other[from..end].iter().copied());
            }
            _ => bytes.truncate(at),
        }
        bytes.truncate(LONGEST);
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// What was said, without its numbers and what it quotes, which are as many as inputs.
fn shape(said: &str) -> String {
    let mut shape = String::new();
    for c in said.split('"').step_by(2).flat_map(str::chars).take(200) {
        let c = if c.is_ascii_digit() || !c.is_ascii() { '0' } else { c };
        if c != '0' || !shape.ends_with('0') {
            shape.push(c);
        }
    }
    shape
}

/// Has the target read inputs until its time is over.
fn fuzz(name: &str, target: &mut impl Target) {
    if let Some(path) = std::env::var_os("JETPACK_FUZZ_INPUT") {
        println!("{}", target.read(&std::fs::read(path).expect("an input")));
        return;
    }
    let time = Duration::from_secs(number("JETPACK_FUZZ_SECONDS").unwrap_or(SHORT));
    let seed = number("JETPACK_FUZZ_SEED").unwrap_or(1);
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut kept = target.seeds();
    let mut said: HashSet<String> = kept.clone().iter().map(|input| shape(&attempt(name, target, input))).collect();
    let (begin, mut count) = (Instant::now(), 0);
    while begin.elapsed() < time {
        let (one, other) = (random.below(kept.len()), random.below(kept.len()));
        let input = target.change(&mut random, &kept[one], &kept[other]);
        count += 1;
        if said.insert(shape(&attempt(name, target, &input))) {
            if kept.len() < MOST {
                kept.push(input);
            } else {
                kept[one] = input;
            }
        }
    }
    println!("{name}: {count} inputs, {} kinds of answer, seed {seed}", said.len());
    assert!(count > 0 && said.len() > 5, "{count} inputs, {said:?}");
}

/// Has the target read an input, which is kept if that fails.
fn attempt(name: &str, target: &mut impl Target, input: &[u8]) -> String {
    let begin = Instant::now();
    let read = catch_unwind(AssertUnwindSafe(|| target.read(input)));
    let failure = match read {
        Ok(said) if begin.elapsed() < PATIENCE => return said,
        Ok(_) => "takes too long",
        Err(_) => "panics",
    };
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    // Tests may run on another host than the one that built them.
    let built = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let directory = if built.is_dir() { built.to_path_buf() } else { std::env::temp_dir() };
    let path = directory.join(format!("fuzz-{name}-{since}"));
    std::fs::write(&path, input).expect("the input is kept");
    panic!("an input {failure}; try it again with JETPACK_FUZZ_INPUT={} and the test {name}", path.display());
}

#[test]
fn archives() {
    fuzz("archives", &mut archives::Archives::new());
}

#[test]
fn manifests() {
    fuzz("manifests", &mut manifests::Manifests);
}
