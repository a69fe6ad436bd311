//! What is mounted, as proc_pid_mountinfo(5) has it.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use nix::errno::Errno;

use super::super::{Call, Error, Result};

/// A filesystem that is mounted in this mount namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Its kind: `ext4`, `fuse.sshfs`.
    pub kind: String,
    /// Where: absolute, without links.
    pub target: PathBuf,
    id: u64,
}

/// What is mounted in this mount namespace, the oldest first.
///
/// # Errors
/// /proc is not mounted.
pub fn mounted() -> Result<Vec<Mounted>> {
    let path = "/proc/self/mountinfo";
    let text = fs::read(path).call(|| format!("read({path:?})"))?;
    Ok(text.split(|byte| *byte == b'\n').filter_map(parse).collect())
}

/// The filesystem in which a place is that was opened.
///
/// # Errors
/// /proc is not mounted, or the place is in no mount of this mount namespace.
pub fn filesystem_of(place: BorrowedFd<'_>) -> Result<Mounted> {
    let path = format!("/proc/self/fdinfo/{}", place.as_raw_fd());
    let text = fs::read_to_string(&path).call(|| format!("read({path:?})"))?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    let found = mounted()?.into_iter().find(|mounted| Some(mounted.id) == id);
    found.ok_or_else(|| Error::new(format!("read({path:?}): mnt_id {id:?}"), Errno::ENOENT))
}

fn parse(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|byte| *byte == b' ');
    let text = |field: &[u8]| String::from_utf8(field.to_vec()).ok();
    let id = text(fields.next()?)?.parse().ok()?;
    let target = PathBuf::from(OsString::from_vec(unescaped(fields.nth(3)?)));
    let kind = text(fields.skip_while(|field| *field != b"-").nth(1)?)?;
    Some(Mounted { kind, target, id })
}

/// A name in which blanks, line ends and backslashes are `\` with three octal digits.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, tail @ ..] = rest {
        rest = tail;
        if let (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) = (first, tail) {
            plain.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
            rest = tail;
        } else {
            plain.push(*first);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn lines_are_read() {
        let read = |line: &str| parse(line.as_bytes()).map(|m| (m.id, m.kind, m.target.display().to_string()));
        let expected = |id, kind: &str, target: &str| Some((id, kind.to_owned(), target.to_owned()));
        let line = r"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(read(line), expected(36, "ext3", "/mnt2"));
        let line = r"7 1 0:5 / /a\040b\134040\012- rw shared:1 master:2 - fuse.x none rw";
        assert_eq!(read(line), expected(7, "fuse.x", "/a b\\040\n-"));
        for bad in ["", "x 35 98:0 / /a rw - ext3", "36 35 98:0 / /a rw", "36 35 98:0 /"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_filesystem_of_a_place_is_found() {
        let found = |path: &str| filesystem_of(fs::File::open(path).unwrap().as_fd()).unwrap();
        assert_eq!((found("/proc").kind, found("/proc").target), ("proc".to_owned(), PathBuf::from("/proc")));
        assert_eq!(found("/proc/sys/kernel").kind, "proc");
        assert_ne!(found("/").kind, "proc");
    }
}
