//! The beginning of what `zfs send` writes (`dmu_replay_record` and `drr_begin` in OpenZFS' zfs_ioctl.h): the same in every ZFS
//! since there is one, in the byte order of whoever sent it.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use crate::error::{Context, Error, Result};

/// What every stream has in its first record.
const MAGIC: u64 = 0x2_f5ba_cbac;

/// How much of the first record is looked at.
const LENGTH: usize = 56;

/// In the version of a stream: its kind, of which one is that of a single snapshot.
const KINDS: u64 = 3;
const SINGLE: u64 = 1;

/// The type of the first record, and that of a dataset that is a filesystem.
const BEGIN: u32 = 0;
const FILESYSTEM: u32 = 2;

/// What the first record says.
#[derive(Debug, PartialEq, Eq)]
struct Begin {
    record: u32,
    payload: u32,
    version: u64,
    dataset: u32,
    /// The snapshot that the stream builds on; 0 if it is whole.
    base: u64,
}

impl Begin {
    /// Reads the beginning of a file; none if that is no stream.
    fn parse(start: &[u8]) -> Option<Begin> {
        let start: &[u8; LENGTH] = start.get(..LENGTH)?.try_into().ok()?;
        let bytes = |at: usize| start[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let swapped = match bytes(8)? {
            MAGIC => false,
            other if other.swap_bytes() == MAGIC => true,
            _ => return None,
        };
        let long = |at: usize| bytes(at).map(|found| if swapped { found.swap_bytes() } else { found });
        let short = |at: usize| {
            let found = u32::from_le_bytes(start[at..at + 4].try_into().ok()?);
            Some(if swapped { found.swap_bytes() } else { found })
        };
        Some(Begin { record: short(0)?, payload: short(4)?, version: long(16)?, dataset: short(32)?, base: long(48)? })
    }

    /// Why this is not a plain stream of one snapshot of a filesystem.
    fn refuse(&self, incremental: bool) -> Option<&'static str> {
        if self.record != BEGIN || self.version & KINDS != SINGLE {
            return Some("it is a package of several snapshots, or has properties (zfs send -R, -p or -I)");
        }
        if self.payload != 0 {
            return Some("it is encrypted, or is to go on with an interrupted one (zfs send -w or -t)");
        }
        if self.dataset != FILESYSTEM {
            return Some("it is not of a filesystem");
        }
        match (self.base != 0, incremental) {
            (true, false) => Some("it is an increment and ought to be whole"),
            (false, true) => Some("it is whole and ought to be an increment"),
            _ => None,
        }
    }
}

/// Whether a file that begins like this is a stream.
pub fn is_stream(start: &[u8]) -> bool {
    Begin::parse(start).is_some()
}

/// Checks that `stream` is a plain one of one snapshot of a filesystem: what has properties, children or several snapshots
/// begins otherwise. It is an increment if `incremental` is true, and else whole.
///
/// # Errors
/// It is something else.
pub fn check(stream: &File, incremental: bool) -> Result<()> {
    let what = || "cannot receive the stream";
    let mut start = Vec::with_capacity(LENGTH);
    At(stream, 0).take(LENGTH as u64).read_to_end(&mut start).context(what)?;
    let begin = Begin::parse(&start).ok_or_else(|| Error::with_source(what(), "it does not begin as zfs send does"))?;
    begin.refuse(incremental).map_or(Ok(()), |why| Err(Error::with_source(what(), why)))
}

/// Reads a file from a place, whatever its offset is.
struct At<'a>(&'a File, u64);

impl Read for At<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read_at(buffer, self.1)?;
        self.1 += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The beginning of a stream, as a machine of little endian writes it.
    fn start(record: u32, payload: u32, version: u64, dataset: u32, base: u64) -> Vec<u8> {
        let (short, long) = (u32::to_le_bytes, u64::to_le_bytes);
        [
            &short(record)[..],
            &short(payload),
            &long(MAGIC),
            &long(version),
            &long(0x6b02_e0cf),
            &short(dataset),
            &short(0),
            &long(0x7da0_7414_9fb6_9577),
            &long(base),
            &[b'x'; 256],
        ]
        .concat()
    }

    /// The same from a machine of big endian.
    fn swapped(bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for (at, length) in [(0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 4), (36, 4), (40, 8), (48, 8)] {
            bytes[at..at + length].reverse();
        }
        bytes
    }

    #[test]
    fn streams_are_known_by_their_first_bytes() {
        // As zfs-fuse and OpenZFS write it.
        let magic = [0xac, 0xcb, 0xba, 0xf5, 0x02, 0, 0, 0];
        let whole = start(0, 0, 1, 2, 0);
        assert_eq!(whole[8..16], magic);
        for bytes in [&whole, &swapped(&whole)] {
            assert!(is_stream(bytes));
            assert_eq!(Begin::parse(bytes).unwrap(), Begin { record: 0, payload: 0, version: 1, dataset: 2, base: 0 });
            assert!(!is_stream(&bytes[..LENGTH - 1]) && !is_stream(&bytes[1..]));
        }
        for other in [&b""[..], &[0; 512], b"x"] {
            assert!(!is_stream(other));
        }
    }

    #[test]
    fn only_a_plain_stream_of_one_snapshot_is_taken() {
        // The features that a newer ZFS tells of are above the kind.
        let features = 1 << 16 | 1 << 22;
        let table = [
            (start(0, 0, 1, 2, 0), false, None),
            (start(0, 0, features << 2 | 1, 2, 0), false, None),
            (start(0, 0, 1, 2, 7), true, None),
            (start(0, 448, 2, 2, 0), false, Some("it is a package of several")),
            (start(0, 0, 2, 2, 0), false, Some("it is a package of several")),
            (start(0, 0, 3, 2, 0), false, Some("it is a package of several")),
            (start(5, 0, 1, 2, 0), false, Some("it is a package of several")),
            (start(0, 8, 1, 2, 0), false, Some("it is encrypted")),
            (start(0, 0, 1, 3, 0), false, Some("it is not of a filesystem")),
            (start(0, 0, 1, 2, 7), false, Some("it is an increment")),
            (start(0, 0, 1, 2, 0), true, Some("it is whole")),
        ];
        for (bytes, incremental, expected) in table {
            for bytes in [&bytes, &swapped(&bytes)] {
                let why = Begin::parse(bytes).unwrap().refuse(incremental);
                assert_eq!(why.is_some(), expected.is_some(), "{why:?}");
                assert!(why.unwrap_or("").starts_with(expected.unwrap_or("")), "{why:?}");
            }
        }
    }
}
