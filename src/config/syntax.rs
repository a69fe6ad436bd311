//! The syntax of `jetpack.conf`: bytes to settings, with the line each begins on. Nothing is looked up or expanded here.
//!
//! It is the properties format as its users write it:
//!
//! * the file is UTF-8, a byte order mark is skipped, lines end in LF or CR LF;
//! * a blank line, and a line whose first character after blanks is `#` or `!`, is skipped;
//! * any other line is `KEY = VALUE` or `KEY: VALUE`, the blanks (space, tab, form feed) round key and value being dropped;
//! * a line that ends in a backslash goes on in the next one, whose leading blanks are dropped (a comment does not go on);
//! * in keys and values `\t` `\n` `\r` `\f` and `\uXXXX` stand for a character, and a backslash before any other character
//!   for that character: `\\` for a backslash, `\:` for a colon in a key, `\ ` for a blank at the end of a value.
//!
//! A line without `=` or `:` is an error, where the properties format would read a key and its value, or an empty value:
//! it is far more often a slip than meant.

use std::path::Path;
use std::str::Chars;

use super::error::Error;

/// One setting as it was written, escapes decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    /// The key.
    pub(super) key: String,
    /// The value, references not expanded.
    pub(super) value: String,
    /// The line the setting begins on, from 1.
    pub(super) line: usize,
}

/// What is wrong with a line; the caller knows the file and the line.
type Wrong = &'static str;

/// Reads a whole file; `file` is only for the errors.
pub(super) fn parse(file: &Path, bytes: &[u8]) -> Result<Vec<Setting>, Error> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = 1 + bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count();
        Error::at_line(file, line, "not UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut settings = Vec::new();
    for (line, text) in
        logical_lines(text).map_err(|line| Error::at_line(file, line, "nothing follows the backslash"))?
    {
        let (key, value) = setting(&text).map_err(|what| Error::at_line(file, line, what))?;
        settings.push(Setting { key, value, line });
    }
    Ok(settings)
}

/// Says why `key` cannot be a key, wherever it comes from.
pub(super) fn check_key(key: &str) -> Result<(), Wrong> {
    match key {
        "" => Err("the key is missing"),
        _ if !key.bytes().all(|b| b.is_ascii_graphic()) => Err("a key may hold only printable ASCII without blanks"),
        _ => Ok(()),
    }
}

/// The lines that hold settings, continued ones joined, comments and blank lines left out. The error is the number of a line
/// that ought to go on where the file ends.
fn logical_lines(text: &str) -> Result<Vec<(usize, String)>, usize> {
    let mut lines = Vec::new();
    let mut physical = text.split('\n').map(|l| l.strip_suffix('\r').unwrap_or(l)).enumerate();
    while let Some((index, first)) = physical.next() {
        let first = first.trim_start_matches(is_blank);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut whole = first.to_owned();
        let mut last = index;
        while goes_on(&whole) {
            whole.pop();
            let Some((at, next)) = physical.next() else { return Err(last + 1) };
            whole.push_str(next.trim_start_matches(is_blank));
            last = at;
        }
        lines.push((index + 1, whole));
    }
    Ok(lines)
}

/// Whether the line ends in a backslash that is not itself escaped.
fn goes_on(line: &str) -> bool {
    line.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Takes one logical line apart.
fn setting(line: &str) -> Result<(String, String), Wrong> {
    if line.chars().any(|c| c.is_control() && !is_blank(c)) {
        return Err("control character");
    }
    let mut chars = line.chars();
    let key = key(&mut chars)?;
    let rest = chars.as_str().trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).ok_or("expected KEY = VALUE")?;
    check_key(&key)?;
    Ok((key, value(rest.trim_start_matches(is_blank))?))
}

/// Reads the key and stops before the blank or separator behind it.
fn key(chars: &mut Chars<'_>) -> Result<String, Wrong> {
    let mut key = String::new();
    while let Some(c) = chars.clone().next().filter(|c| !is_blank(*c) && !matches!(c, '=' | ':')) {
        chars.next();
        key.push(if c == '\\' { escaped(chars)? } else { c });
    }
    Ok(key)
}

/// Decodes a value and drops the blanks behind it, except escaped ones.
fn value(text: &str) -> Result<String, Wrong> {
    let mut value = String::new();
    let mut keep = 0;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        value.push(if c == '\\' { escaped(&mut chars)? } else { c });
        if c == '\\' || !is_blank(c) {
            keep = value.len();
        }
    }
    value.truncate(keep);
    Ok(value)
}

/// The character that an escape stands for; its backslash has been read.
fn escaped(chars: &mut Chars<'_>) -> Result<char, Wrong> {
    let decoded = match chars.next().ok_or("nothing follows the backslash")? {
        't' => '\t',
        'n' => '\n',
        'r' => '\r',
        'f' => '\x0c',
        'u' => {
            let digits: String = chars.by_ref().take(4).collect();
            let all_hex = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            let code = u32::from_str_radix(&digits, 16).ok().filter(|_| all_hex);
            code.and_then(char::from_u32).ok_or("\\u needs the four hexadecimal digits of a character")?
        }
        other => other,
    };
    if decoded == '\0' { Err("a NUL character cannot be used") } else { Ok(decoded) }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Expected<'a> = &'a [(&'a str, &'a str, usize)];

    fn read(bytes: &[u8]) -> Result<Vec<(String, String, usize)>, String> {
        let settings = parse(Path::new("f"), bytes).map_err(|e| e.to_string())?;
        Ok(settings.into_iter().map(|s| (s.key, s.value, s.line)).collect())
    }

    #[test]
    fn accepted_lines() {
        let table: &[(&str, Expected<'_>)] = &[
            ("", &[]),
            ("\n \t\n# c\n  # c\n! c = d\n# ends in \\\nk = v", &[("k", "v", 7)]),
            ("k=v", &[("k", "v", 1)]),
            ("k: v\n", &[("k", "v", 1)]),
            ("  k \t=\x0c v w \t\n", &[("k", "v w", 1)]),
            ("k =", &[("k", "", 1)]),
            ("k = a=b:c # d", &[("k", "a=b:c # d", 1)]),
            ("\u{feff}k = v\r\nl = w\r\n", &[("k", "v", 1), ("l", "w", 2)]),
            ("k = a \\\n   b\\\r\n\tc\nl = w", &[("k", "a bc", 1), ("l", "w", 4)]),
            ("k = a\\\\\nl = w", &[("k", "a\\", 1), ("l", "w", 2)]),
            ("root.zfs.org.example\\:note = on", &[("root.zfs.org.example:note", "on", 1)]),
            ("k = \\u00e9\\t\\:\\q\\ ", &[("k", "é\t:q ", 1)]),
            ("k = 1\nk = 2", &[("k", "1", 1), ("k", "2", 2)]),
        ];
        for (text, expected) in table {
            let expected: Vec<_> = expected.iter().map(|(k, v, l)| ((*k).to_owned(), (*v).to_owned(), *l)).collect();
            assert_eq!(read(text.as_bytes()), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn refused_lines() {
        let table: &[(&[u8], &str)] = &[
            (b"a = b\ndebug", "f:2: expected KEY = VALUE"),
            (b"debug on", "f:1: expected KEY = VALUE"),
            (b"= v", "f:1: the key is missing"),
            (b"a = b\n\n k = \xff", "f:3: not UTF-8"),
            (b"k = a\x00b", "f:1: control character"),
            (b"k = a\\u0000b", "f:1: a NUL character cannot be used"),
            (b"k = \\u12", "f:1: \\u needs the four hexadecimal digits of a character"),
            (b"k = \\u+123", "f:1: \\u needs the four hexadecimal digits of a character"),
            (b"k = \\ud800", "f:1: \\u needs the four hexadecimal digits of a character"),
            (b"a = b\nk = a\\\nb\\", "f:3: nothing follows the backslash"),
            ("k\u{e9} = v".as_bytes(), "f:1: a key may hold only printable ASCII without blanks"),
            (b"a\\ b = v", "f:1: a key may hold only printable ASCII without blanks"),
        ];
        for (text, expected) in table {
            assert_eq!(read(text), Err((*expected).to_owned()), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic() {
        // A small generator with a fixed seed: every run sees the same inputs, rich in the characters that mean something.
        const RICH: &[u8] = b"\\\\u0d=:#!\n\r \t${}.ak\xc3\xa9\xff\x00";
        let mut state: u32 = 0x9e37_79b9;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as usize
        };
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..next() % 40).map(|_| RICH[next() % RICH.len()]).collect();
            match read(&bytes) {
                Ok(settings) => assert!(settings.iter().all(|s| !s.0.is_empty() && s.2 >= 1)),
                Err(error) => assert!(error.starts_with("f:"), "{error}"),
            }
        }
    }
}
