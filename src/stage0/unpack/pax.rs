//! Extended headers of the pax format: records of a key and a value, which may be any bytes.

use nix::sys::time::TimeSpec;

use crate::error::{Error, Result};

use super::name;

/// The most records of one header.
const MAX_RECORDS: usize = 100_000;

/// The records of one extended header.
#[derive(Default)]
pub(super) struct Records(Vec<(String, Vec<u8>)>);

impl Records {
    /// Splits records by the length that each begins with.
    ///
    /// # Errors
    /// The header is damaged, or a name in it is not text.
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self> {
        let damaged = || Error::new("an extended header is damaged");
        let mut records = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (record, after) = record(rest).ok_or_else(damaged)?;
            let equals = record.iter().position(|b| *b == b'=').ok_or_else(damaged)?;
            let key = str::from_utf8(&record[..equals]).map_err(|_| damaged())?;
            records.push((key.to_owned(), record[equals + 1..].to_vec()));
            if records.len() > MAX_RECORDS {
                return Err(Error::new(format!("an extended header has more than {MAX_RECORDS} records")));
            }
            rest = after;
        }
        Ok(Records(records))
    }

    /// The value of `key`. The last one counts, and an empty one is as none.
    pub(super) fn get(&self, key: &str) -> Option<&[u8]> {
        let found = self.0.iter().rev().find(|(k, _)| k == key)?;
        Some(found.1.as_slice()).filter(|value| !value.is_empty())
    }

    /// Whether `key` is given, be it empty.
    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(k, _)| k == key)
    }

    /// All records whose key begins with `prefix`, as the rest of the key and the value. A later one of the same key
    /// replaces the earlier.
    pub(super) fn with_prefix(&self, prefix: &str) -> Vec<(&str, &[u8])> {
        let mut found: Vec<(&str, &[u8])> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for (key, value) in &self.0 {
            let Some(rest) = key.strip_prefix(prefix) else { continue };
            let place = *places.entry(rest).or_insert(found.len());
            if place == found.len() {
                found.push((rest, value));
            } else {
                found[place].1 = value;
            }
        }
        found
    }

    /// Checks a global header: it may say what changes no file.
    ///
    /// # Errors
    /// It would change files. No tool that makes images writes such a header, and readers disagree about it.
    pub(super) fn check_global(&self) -> Result<()> {
        let changes = |key: &str| {
            let plain = ["path", "linkpath", "size", "uid", "gid", "mtime", "atime"];
            let spaces = ["GNU.sparse.", "SCHILY.", "LIBARCHIVE.xattr."];
            plain.contains(&key) || spaces.iter().any(|space| key.starts_with(space))
        };
        match self.0.iter().find(|(key, _)| changes(key)) {
            Some((key, _)) => {
                let key = name::show(key.as_bytes());
                Err(Error::new(format!("a global extended header sets {key} for all entries, which is not supported")))
            }
            None => Ok(()),
        }
    }
}

/// The first record (without its length and line end), and what follows it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|b| *b == b' ')?;
    let digits = bytes[..space].iter().all(u8::is_ascii_digit);
    let length: usize = str::from_utf8(&bytes[..space]).ok().filter(|_| digits)?.parse().ok()?;
    let (record, after) = bytes.split_at_checked(length)?;
    Some((record.get(space + 1..)?.strip_suffix(b"\n")?, after))
}

/// A time: seconds with a sign and a fraction, of which nanoseconds are kept.
pub(super) fn time(value: &[u8]) -> Option<TimeSpec> {
    let text = str::from_utf8(value).ok()?;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let seconds: i64 = whole.parse().ok()?;
    let nanoseconds = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanoseconds = nanoseconds.fold(0, |sum: i64, digit| sum * 10 + i64::from(digit - b'0'));
    Some(match (negative, nanoseconds) {
        (false, _) => TimeSpec::new(seconds, nanoseconds),
        (true, 0) => TimeSpec::new(-seconds, 0),
        (true, _) => TimeSpec::new(-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

/// Undoes the escaping of a name in `LIBARCHIVE.xattr.`: `%` and two hexadecimal digits.
pub(super) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        plain.push(if byte == b'%' { hex(bytes.next()?)? << 4 | hex(bytes.next()?)? } else { byte });
    }
    Some(plain)
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Undoes base64, with or without the padding at its end.
pub(super) fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii_end();
    let end = text.iter().rposition(|b| *b != b'=').map_or(0, |at| at + 1);
    let mut plain = Vec::with_capacity(end / 4 * 3 + 3);
    let (mut bits, mut count) = (0u32, 0u32);
    for byte in &text[..end] {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            plain.push((bits >> count) as u8);
        }
    }
    (end % 4 != 1 && text.len() - end <= 2).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_may_hold_any_bytes() {
        let records = Records::parse(b"11 a=b\n=\xff\0\n6 c=d\n6 c=e\n5 f=\n".to_vec()).unwrap();
        assert_eq!(records.get("a"), Some(&b"b\n=\xff\0"[..]));
        assert_eq!(records.get("c"), Some(&b"e"[..]));
        assert_eq!((records.get("f"), records.has("f"), records.has("g")), (None, true, false));
        assert_eq!(records.with_prefix("c"), [("", &b"e"[..])]);
    }

    #[test]
    fn damaged_records_are_refused() {
        for bytes in
            ["x", "6 a=b", "7 a=b\n", "0 a=b\n", "6 abc\n", "-6 a=b\n", "99999999999999999999999 a=b\n", "2 \n"]
        {
            assert!(Records::parse(bytes.as_bytes().to_vec()).is_err(), "{bytes}");
        }
    }

    #[test]
    fn times() {
        for (text, expected) in [
            ("0", Some((0, 0))),
            ("1700000000.123456789", Some((1_700_000_000, 123_456_789))),
            ("1.5", Some((1, 500_000_000))),
            ("1.1234567899", Some((1, 123_456_789))),
            ("-1", Some((-1, 0))),
            ("-1.25", Some((-2, 750_000_000))),
            ("", None),
            (".5", None),
            ("1.x", None),
            ("--1", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(time(text.as_bytes()), expected.map(|(s, n)| TimeSpec::new(s, n)), "{text}");
        }
    }

    #[test]
    fn base64_and_escapes() {
        for (text, expected) in [
            ("", Some("")),
            ("Zg", Some("f")),
            ("Zg==", Some("f")),
            ("Zm8", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYg==", Some("foob")),
            ("Z", None),
            ("Zm9v!", None),
        ] {
            assert_eq!(from_base64(text.as_bytes()), expected.map(|s| s.as_bytes().to_vec()), "{text}");
        }
        assert_eq!(unescape("user.a%20%C3%bc"), Some("user.a ü".as_bytes().to_vec()));
        assert_eq!((unescape("%2"), unescape("%zz")), (None, None));
    }

    #[test]
    fn global_headers_that_change_files_are_refused() {
        assert!(Records::parse(b"13 comment=x\n".to_vec()).unwrap().check_global().is_ok());
        for record in ["10 path=x\n", "10 size=1\n", "27 SCHILY.xattr.user.a=bcd\n"] {
            let error = Records::parse(record.as_bytes().to_vec()).unwrap().check_global().unwrap_err();
            assert!(error.to_string().starts_with("a global extended header sets "), "{error}");
        }
    }
}
