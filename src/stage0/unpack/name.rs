//! The names in an archive, which are bytes and not to be trusted.

use crate::error::{Error, Result};

/// The longest name: no system call takes a longer path.
pub(in crate::stage0) const MAX_NAME: usize = 4096;

/// How much of a name an error shows.
const MAX_SHOWN: usize = 300;

/// Where in an image an entry belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The directory around it all, `./`.
    Top,
    /// The image manifest.
    Manifest,
    /// In the root filesystem, under this path; an empty one is the root itself.
    Inside(Vec<u8>),
}

/// Finds the place of an entry.
///
/// # Errors
/// The name is not one that an image may have.
pub(super) fn place(raw: &[u8]) -> Result<Place> {
    let clean = normalise(raw)?;
    match clean.as_slice() {
        b"" => Ok(Place::Top),
        b"manifest" => Ok(Place::Manifest),
        b"rootfs" => Ok(Place::Inside(Vec::new())),
        _ => clean
            .strip_prefix(b"rootfs/")
            .map(|path| Place::Inside(path.to_vec()))
            .ok_or_else(|| Error::new(format!("{} is neither the manifest nor in rootfs", show(raw)))),
    }
}

/// The name without `.` parts and superfluous slashes. It can be empty, for `./`.
fn normalise(raw: &[u8]) -> Result<Vec<u8>> {
    let bad = |why: &str| Err(Error::new(format!("an entry's name {why}: {}", show(raw))));
    if raw.is_empty() {
        return Err(Error::new("an entry's name is empty"));
    }
    if raw.len() > MAX_NAME {
        return bad("is longer than 4096 bytes");
    }
    if raw.contains(&0) {
        return bad("has a NUL byte in it");
    }
    if raw[0] == b'/' {
        return bad("is absolute");
    }
    let mut clean = Vec::with_capacity(raw.len());
    for part in raw.split(|b| *b == b'/') {
        match part {
            b"" | b"." => continue,
            b".." => return bad("goes up by .."),
            _ => {}
        }
        if !clean.is_empty() {
            clean.push(b'/');
        }
        clean.extend_from_slice(part);
    }
    Ok(clean)
}

/// The last part of a path, and what is before it.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    path.iter().rposition(|b| *b == b'/').map_or((&[], path), |at| (&path[..at], &path[at + 1..]))
}

/// A name as errors show it: nothing in it can act on a terminal, and it is not endless.
pub(in crate::stage0) fn show(name: &[u8]) -> String {
    let mut text = String::new();
    for chunk in name[..name.len().min(MAX_SHOWN * 2)].utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() { text.extend(c.escape_default()) } else { text.push(c) }
        }
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    shorten(&text)
}

/// The same text, or its beginning.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_find_their_places() {
        let inside = |path: &[u8]| Ok(Place::Inside(path.to_vec()));
        let cases: [(&[u8], std::result::Result<Place, &str>); 19] = [
            (b"./", Ok(Place::Top)),
            (b".", Ok(Place::Top)),
            (b"manifest", Ok(Place::Manifest)),
            (b"./manifest", Ok(Place::Manifest)),
            (b"rootfs", inside(b"")),
            (b"./rootfs/", inside(b"")),
            (b"rootfs/bin//./sh", inside(b"bin/sh")),
            (b"rootfs/..data", inside(b"..data")),
            (b"rootfs/\xff\xfe", inside(b"\xff\xfe")),
            (b"", Err("an entry's name is empty")),
            (b"/rootfs/x", Err("an entry's name is absolute: /rootfs/x")),
            (b"rootfs/../x", Err("an entry's name goes up by ..: rootfs/../x")),
            (b"..", Err("an entry's name goes up by ..: ..")),
            (b"rootfs/a\0b", Err("an entry's name has a NUL byte in it: rootfs/a\\u{0}b")),
            (b"rootfs/\x1b[2J/..", Err("an entry's name goes up by ..: rootfs/\\u{1b}[2J/..")),
            (b"rootfs/\xff/..", Err("an entry's name goes up by ..: rootfs/\\xff/..")),
            (b"etc/passwd", Err("etc/passwd is neither the manifest nor in rootfs")),
            (b"rootfsx", Err("rootfsx is neither the manifest nor in rootfs")),
            (b"manifest/x", Err("manifest/x is neither the manifest nor in rootfs")),
        ];
        for (raw, expected) in cases {
            let found = place(raw).map_err(|e| e.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{}", show(raw));
        }
    }

    #[test]
    fn long_names_are_refused_and_shown_in_part() {
        let error = place(&[b'x'; 5000]).unwrap_err().to_string();
        assert!(error.starts_with("an entry's name is longer than 4096 bytes: xxx"), "{error}");
        assert!(error.ends_with("x…") && error.len() < 400, "{error}");
    }

    #[test]
    fn paths_are_split_at_their_last_slash() {
        assert_eq!(split(b"a/b/c"), (&b"a/b"[..], &b"c"[..]));
        assert_eq!(split(b"a"), (&b""[..], &b"a"[..]));
    }
}
