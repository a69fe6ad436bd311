//! What `zfs diff -FH` prints (zfs-diff(8)): a line for each object, in columns that tabs separate.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// What has happened to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// It was made.
    Added,
    /// It has gone.
    Removed,
    /// Its content or properties have changed.
    Modified,
    /// The same where it has got or lost names, too.
    Linked,
    /// It was renamed to this.
    Renamed(PathBuf),
}

/// A change of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What has happened.
    pub what: What,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// Its absolute path, by the mount point of the dataset; the former one, if it was renamed.
    pub path: PathBuf,
}

/// Reads what the program says.
pub(super) fn changes(said: &[u8]) -> Result<Vec<Change>> {
    let lines = said.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let wrong = |line| Error::new(format!("cannot understand zfs diff: {:?}", String::from_utf8_lossy(line)));
    lines.map(|line| change(line).ok_or_else(|| wrong(line))).collect()
}

fn change(line: &[u8]) -> Option<Change> {
    let columns: Vec<&[u8]> = line.split(|byte| *byte == b'\t').collect();
    let (what, kind, path) = match *columns {
        [b"+", kind, path] => (What::Added, kind, path),
        [b"-", kind, path] => (What::Removed, kind, path),
        [b"M", kind, path] => (What::Modified, kind, path),
        [b"M", kind, path, [b'(', ..]] => (What::Linked, kind, path),
        [b"R", kind, path, to] => (What::Renamed(decoded(to)?), kind, path),
        _ => return None,
    };
    Some(Change { what, is_directory: kind == b"/", path: decoded(path)? })
}

/// A path whose bytes, where they are no plain characters, are written as a backslash and four octal digits.
fn decoded(text: &[u8]) -> Option<PathBuf> {
    if !text.starts_with(b"/") {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, others @ ..] = rest {
        rest = others;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (digits, others) = rest.split_at_checked(4)?;
        rest = others;
        let digits = str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()))?;
        bytes.push(u8::from_str_radix(digits, 8).ok()?);
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn changes_are_read() {
        let said = b"M\t/\t/s/tree/\n+\tF\t/s/tree/a\\0040b\\0134\\0303\\0244\nR\t/\t/s/tree/old\t/s/tree/new\n\
            M\tF\t/s/tree/two\t(+1)\n-\t@\t/s/tree/link\n";
        let found = changes(said).unwrap();
        let path = |n: usize| found[n].path.as_os_str().as_bytes();
        let directories: Vec<bool> = found.iter().map(|change| change.is_directory).collect();
        assert_eq!(directories, [true, false, true, false, false]);
        assert_eq!((&found[0].what, path(0)), (&What::Modified, &b"/s/tree/"[..]));
        assert_eq!((&found[1].what, path(1)), (&What::Added, "/s/tree/a b\\ä".as_bytes()));
        assert_eq!((&found[2].what, path(2)), (&What::Renamed("/s/tree/new".into()), &b"/s/tree/old"[..]));
        assert_eq!((&found[3].what, path(3)), (&What::Linked, &b"/s/tree/two"[..]));
        assert_eq!((&found[4].what, path(4)), (&What::Removed, &b"/s/tree/link"[..]));
        assert_eq!(changes(b"").unwrap(), []);
    }

    #[test]
    fn nonsense_is_refused() {
        let all: [&[u8]; 9] = [
            b"M\tF",
            b"X\tF\t/a",
            b"M\tF\trelative",
            b"M\tF\t/a\t/b",
            b"R\tF\t/a",
            b"+\tF\t/a\\04",
            b"+\tF\t/a\\00x0",
            b"+\tF\t/a\\0777",
            b"Unable to determine path or stats for object 5",
        ];
        for said in all {
            assert!(changes(said).is_err(), "{}", String::from_utf8_lossy(said));
        }
    }
}
