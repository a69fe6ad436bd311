//! One download: whole, or gone on with where an earlier one broke off.

use std::fs::File;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::blocking::Response;
use reqwest::header::{
    CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, LAST_MODIFIED, RANGE,
};
use url::Url;

use super::super::store::Store;
use super::cache::{Entry, Validators};
use super::web::{Asked, Trouble, Web, refusal};
use crate::error::{Context, Error, Result};
use crate::progress::Step;
use crate::sys::signal::go_on;

/// How often a download that breaks off is gone on with before it counts as failed.
const ATTEMPTS: u32 = 5;

/// After so many bytes more a download that breaks off has as many attempts as at first.
const PROGRESS: u64 = 1 << 20;

/// The pause before the second attempt; it doubles with each.
const PAUSE: Duration = Duration::from_millis(250);

/// The least that must come, in bytes per second, on average over the time that a server may take.
const SLOWEST: u64 = 1024;

/// How much is read at a time, in bytes.
const PIECE: usize = 1 << 16;

/// How often the room on the disk is looked at, in bytes.
const LOOK: u64 = 16 << 20;

/// The room that a download leaves on the disk, in bytes, and as a part of all.
const ROOM: (u64, u64) = (64 << 20, 20);

/// What came of it.
pub(super) enum Outcome {
    /// The file is the one that is known.
    NotModified,
    /// The file is where its entry has it.
    Whole(Validators),
}

/// A file to be fetched.
pub(super) struct Download<'a> {
    pub(super) store: &'a Store,
    pub(super) web: &'a Web,
    pub(super) url: &'a Url,
    pub(super) entry: &'a Entry,
    /// What is known of the file that was fetched before.
    pub(super) known: Option<&'a Validators>,
    /// The most that it may have, in bytes.
    pub(super) most: Option<u64>,
}

impl Download<'_> {
    /// Fetches the file. `may_begin` is asked once, when it is known that there is a file to be fetched, and before that is.
    pub(super) fn run(&self, may_begin: &mut dyn FnMut() -> Result<()>) -> Result<Outcome> {
        let mut may_begin = Some(may_begin);
        let mut failed = 0;
        loop {
            let before = self.entry.length();
            let trouble = match self.attempt(&mut may_begin) {
                Ok(outcome) => return Ok(outcome),
                Err(trouble) => trouble,
            };
            failed = if self.entry.length() >= before + PROGRESS { 1 } else { failed + 1 };
            if !trouble.passing || failed >= ATTEMPTS {
                if self.entry.begun().is_none() {
                    self.entry.discard()?;
                }
                return Err(trouble.error);
            }
            std::thread::sleep(PAUSE * 2_u32.pow(failed - 1));
            go_on().context(|| "cannot go on")?;
        }
    }

    fn attempt(&self, may_begin: &mut Option<&mut dyn FnMut() -> Result<()>>) -> Asked<Outcome> {
        let begun = self.entry.begun();
        let begins = may_begin.is_some();
        let asked = self.web.get(self.url, self.headers(begun.as_ref()));
        // A host that cannot be reached at first is told at once.
        let answer = asked.map_err(|trouble| Trouble { passing: trouble.passing && !begins, ..trouble })?;
        let status = answer.status();
        let again = |text: String| Trouble { error: Error::new(text), passing: true };
        match (status, begun) {
            (StatusCode::NOT_MODIFIED, None) if self.known.is_some() => return Ok(Outcome::NotModified),
            (StatusCode::OK | StatusCode::PARTIAL_CONTENT, _) => {}
            (StatusCode::RANGE_NOT_SATISFIABLE, Some(_)) => {
                self.entry.discard()?;
                return Err(again(refusal(status)));
            }
            _ if is_passing(status) => return Err(again(refusal(status))),
            _ => return Err(Error::new(refusal(status)).into()),
        }
        if let Some(may_begin) = may_begin.take() {
            may_begin()?;
        }
        let validators = validators(answer.headers());
        if status == StatusCode::OK {
            let file = self.entry.begin(&validators)?;
            let total = number(answer.headers(), CONTENT_LENGTH);
            self.receive(answer, file, (0, total))?;
            return Ok(Outcome::Whole(validators));
        }
        let from = self.entry.length();
        match range(answer.headers()) {
            Some((start, total))
                if start == from && self.entry.begun().is_some_and(|b| b.strong() == validators.strong()) =>
            {
                self.receive(answer, self.entry.go_on()?, (from, total))?;
                Ok(Outcome::Whole(validators))
            }
            _ => {
                self.entry.discard()?;
                Err(again("the server sends another part than was asked for".to_owned()))
            }
        }
    }

    fn headers(&self, begun: Option<&Validators>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut set = |name: HeaderName, value: Option<&str>| {
            headers.extend(value.and_then(|value| HeaderValue::from_str(value).ok()).map(|value| (name, value)));
        };
        match (begun, self.known) {
            (Some(begun), _) => {
                set(RANGE, Some(&format!("bytes={}-", self.entry.length())));
                set(IF_RANGE, begun.strong());
            }
            (None, Some(known)) => {
                set(IF_NONE_MATCH, known.etag.as_deref());
                set(IF_MODIFIED_SINCE, known.last_modified.as_deref());
            }
            (None, None) => {}
        }
        headers
    }

    /// Writes what comes behind the first `from` bytes, of which there are `total`, if the server says so.
    fn receive(&self, mut answer: Response, mut file: File, (from, total): (u64, Option<u64>)) -> Asked<()> {
        self.check_size(total.unwrap_or(from))?;
        self.check_room(total.map_or(0, |total| total.saturating_sub(from)))?;
        let what = || "cannot write into the store";
        let doing = if from == 0 { "fetching" } else { "going on with" };
        let step = Step::begin(
            self.store.progress(),
            &format!("{doing} {}", self.url),
            total.map(|total| total.saturating_sub(from)),
        );
        let mut pace = Pace::new(self.web.settings().timeout);
        let mut piece = vec![0; PIECE];
        let (mut written, mut looked) = (from, from);
        loop {
            go_on().context(|| "cannot go on")?;
            let count = match answer.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => return Err(self.web.broken(&error)),
            };
            written += count as u64;
            self.check_size(written)?;
            if written >= looked + LOOK {
                self.check_room(0)?;
                looked = written;
            }
            file.write_all(&piece[..count]).context(what)?;
            step.advance(count as u64);
            if !pace.keeps_up(count as u64, Instant::now()) {
                return Err(Error::new(format!("less than {SLOWEST} bytes come in a second")).into());
            }
        }
        match total.filter(|total| *total != written) {
            None => Ok(()),
            Some(total) => {
                Err(Trouble { error: Error::new(format!("{written} of {total} bytes came")), passing: true })
            }
        }
    }

    fn check_size(&self, size: u64) -> Result<()> {
        match self.most.filter(|most| size > *most) {
            None => Ok(()),
            Some(most) => {
                self.entry.discard()?;
                Err(Error::new(format!("it has more than {most} bytes")))
            }
        }
    }

    /// Checks that the disk has room for `more` bytes and some besides.
    fn check_room(&self, more: u64) -> Result<()> {
        let space = self.store.space()?;
        let (room, part) = ROOM;
        let free = space.free.saturating_sub(room.min(space.total / part));
        if free > more {
            return Ok(());
        }
        self.entry.discard()?;
        Err(Error::new("it has no room on the disk of the store"))
    }
}

/// Whether enough comes.
struct Pace {
    since: Instant,
    bytes: u64,
    time: Duration,
}

impl Pace {
    fn new(time: Duration) -> Pace {
        Pace { since: Instant::now(), bytes: 0, time }
    }

    /// So many more bytes have come; false when over the last stretch of time too few have.
    fn keeps_up(&mut self, bytes: u64, now: Instant) -> bool {
        self.bytes += bytes;
        let passed = now.duration_since(self.since);
        if passed < self.time {
            return true;
        }
        let enough = self.bytes >= SLOWEST * passed.as_secs();
        (self.since, self.bytes) = (now, 0);
        enough
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Trouble {
        Trouble { error, passing: false }
    }
}

/// Whether a server that says so may say something else soon.
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn number(headers: &HeaderMap, name: HeaderName) -> Option<u64> {
    text(headers, name)?.parse().ok()
}

fn validators(headers: &HeaderMap) -> Validators {
    Validators { etag: text(headers, ETAG), last_modified: text(headers, LAST_MODIFIED) }
}

/// Where the part begins, and how much the whole has: `bytes 100-199/200`, or `/*` where that is not known.
fn range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = text(headers, CONTENT_RANGE)?;
    let (part, total) = range.strip_prefix("bytes ")?.split_once('/')?;
    let start = part.split_once('-')?.0.parse().ok()?;
    Some((start, total.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_read() {
        let table = [
            ("bytes 100-199/200", Some((100, Some(200)))),
            ("bytes 0-0/*", Some((0, None))),
            ("bytes */200", None),
            ("items 1-2/3", None),
            ("bytes 1/2", None),
        ];
        for (text, expected) in table {
            let headers = HeaderMap::from_iter([(CONTENT_RANGE, HeaderValue::from_static(text))]);
            assert_eq!(range(&headers), expected, "{text}");
        }
    }

    #[test]
    fn who_sends_too_little_for_too_long_is_too_slow() {
        let begun = Instant::now();
        let after = |seconds: u64| begun + Duration::from_secs(seconds);
        let mut pace = Pace { since: begun, bytes: 0, time: Duration::from_secs(10) };
        assert!(pace.keeps_up(1, after(9)));
        assert!(pace.keeps_up(10 * SLOWEST, after(10)));
        // What came before does not count.
        assert!(pace.keeps_up(1, after(15)));
        assert!(!pace.keeps_up(SLOWEST, after(20)));
    }
}
