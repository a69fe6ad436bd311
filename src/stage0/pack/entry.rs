//! The headers of one entry of an archive.

use nix::sys::stat::{FileStat, SFlag};

use crate::error::{Error, Result};
use crate::stage0::properties::Properties;
use crate::stage0::unpack::MAX_EXTENDED;
use crate::sys::tree::file_type;

/// The unit of the format.
pub(super) const BLOCK: usize = 512;

/// The largest number in a field of seven octal digits, and of eleven.
const MAX_SEVEN: u64 = 0o777_7777;
const MAX_ELEVEN: u64 = 0o777_7777_7777;

/// The longest name in a header, and what may stand before it.
const MAX_SHORT: usize = 100;
const MAX_PREFIX: usize = 155;

/// An entry, without its content.
pub(super) struct Entry<'a> {
    name: &'a [u8],
    kind: u8,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    size: u64,
    /// What a link points to.
    pub(super) link: Vec<u8>,
    device: (u32, u32),
    properties: Option<&'a Properties>,
}

impl<'a> Entry<'a> {
    /// A regular file that belongs to root and has no time.
    pub(super) fn file(name: &'a [u8], size: u64) -> Self {
        Entry {
            name,
            kind: b'0',
            mode: 0o644,
            owner: (0, 0),
            mtime: (0, 0),
            size,
            link: Vec::new(),
            device: (0, 0),
            properties: None,
        }
    }

    /// An entry for the file that `stat` describes. The target of a symlink is left to be set.
    ///
    /// # Errors
    /// No image may hold such a file.
    pub(super) fn new(name: &'a [u8], stat: &FileStat, properties: &'a Properties) -> Result<Self> {
        let kind = match file_type(stat) {
            SFlag::S_IFREG => b'0',
            SFlag::S_IFLNK => b'2',
            SFlag::S_IFCHR => b'3',
            SFlag::S_IFBLK => b'4',
            SFlag::S_IFDIR => b'5',
            SFlag::S_IFIFO => b'6',
            other => return Err(Error::new(format!("it is of a type that no archive holds ({:o})", other.bits()))),
        };
        let mut entry = Entry { kind, properties: Some(properties), ..Entry::of(name, stat) };
        match kind {
            b'0' => entry.size = u64::try_from(stat.st_size).unwrap_or_default(),
            b'3' | b'4' => entry.device = (libc::major(stat.st_rdev) as u32, libc::minor(stat.st_rdev) as u32),
            _ => {}
        }
        if kind == b'3' && entry.device == (0, 0) {
            return Err(Error::new("it is a whiteout, the device 0:0, which belongs to overlayfs"));
        }
        Ok(entry)
    }

    /// An entry for another name of the file that stands in the archive as `first`.
    pub(super) fn hard_link(name: &'a [u8], stat: &FileStat, first: &[u8]) -> Self {
        Entry { kind: b'1', link: first.to_vec(), ..Entry::of(name, stat) }
    }

    /// What all entries say of a file. The mode of a symlink means nothing, and systems differ about it.
    fn of(name: &'a [u8], stat: &FileStat) -> Self {
        let mode = if file_type(stat) == SFlag::S_IFLNK { 0o777 } else { (u64::from(stat.st_mode) & 0o7777) as u32 };
        let mtime = (stat.st_mtime, stat.st_mtime_nsec);
        Entry { mode, owner: (stat.st_uid, stat.st_gid), mtime, ..Entry::file(name, 0) }
    }

    /// The headers: the extended one where it is needed, and the entry's own.
    ///
    /// # Errors
    /// The properties need more room than readers accept.
    pub(super) fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut header = tar::Header::new_ustar();
        let mut records = Records::default();
        self.names(&mut header, &mut records);
        self.numbers(&mut header, &mut records);
        if let Some(properties) = self.properties {
            records.properties(properties);
        }
        let mut bytes = records.to_blocks()?;
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        Ok(bytes)
    }

    /// The name and the target of a link. Where they do not fit, the header has their beginning.
    fn names(&self, header: &mut tar::Header, records: &mut Records) {
        let fitting = split(self.name);
        let (prefix, name) = fitting.unwrap_or((&[], &self.name[..self.name.len().min(MAX_SHORT)]));
        let link = &self.link[..self.link.len().min(MAX_SHORT)];
        if let Some(ustar) = header.as_ustar_mut() {
            ustar.prefix[..prefix.len()].copy_from_slice(prefix);
            ustar.name[..name.len()].copy_from_slice(name);
            ustar.linkname[..link.len()].copy_from_slice(link);
        }
        let long = [("path", self.name, fitting.is_none()), ("linkpath", &self.link, self.link.len() > MAX_SHORT)];
        let long = long.into_iter().filter(|(_, _, is_long)| *is_long).collect::<Vec<_>>();
        if long.iter().any(|(_, value, _)| str::from_utf8(value).is_err()) {
            records.add("hdrcharset", b"BINARY");
        }
        for (key, value, _) in long {
            records.add(key, value);
        }
    }

    /// Everything that is a number. A field whose number stands in the extended header is zero.
    fn numbers(&self, header: &mut tar::Header, records: &mut Records) {
        let mut fit = |key: &str, value: u64, most: u64| {
            if value <= most {
                return value;
            }
            records.add(key, value.to_string().as_bytes());
            0
        };
        header.set_size(fit("size", self.size, MAX_ELEVEN));
        header.set_uid(fit("uid", u64::from(self.owner.0), MAX_SEVEN));
        header.set_gid(fit("gid", u64::from(self.owner.1), MAX_SEVEN));
        let major = fit("SCHILY.devmajor", u64::from(self.device.0), MAX_SEVEN) as u32;
        let minor = fit("SCHILY.devminor", u64::from(self.device.1), MAX_SEVEN) as u32;
        if let Some(ustar) = header.as_ustar_mut() {
            ustar.set_device_major(major);
            ustar.set_device_minor(minor);
        }
        header.set_mode(self.mode);
        header.as_old_mut().linkflag[0] = self.kind;
        let seconds = u64::try_from(self.mtime.0).ok().filter(|seconds| *seconds <= MAX_ELEVEN);
        header.set_mtime(seconds.unwrap_or_default());
        if seconds.is_none() || self.mtime.1 != 0 {
            records.add("mtime", time(self.mtime).as_bytes());
        }
    }
}

/// The two fields of a header for a name; none where it does not fit.
fn split(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= MAX_SHORT {
        return Some((&[], name));
    }
    let slashes = name.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    let mut places = slashes.filter(|at| *at <= MAX_PREFIX && name.len() - at - 1 <= MAX_SHORT);
    places.next().map(|at| (&name[..at], &name[at + 1..]))
}

/// A time as extended headers have it: decimal seconds, with a fraction where there is one.
fn time((seconds, nanoseconds): (i64, i64)) -> String {
    if nanoseconds == 0 {
        return seconds.to_string();
    }
    let (sign, whole, fraction) = match seconds {
        0.. => ("", seconds.unsigned_abs(), nanoseconds),
        _ => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanoseconds),
    };
    format!("{sign}{whole}.{fraction:09}").trim_end_matches('0').to_owned()
}

/// The records of an extended header.
#[derive(Default)]
struct Records(Vec<u8>);

impl Records {
    /// Adds a record: its length, which counts itself, a key and a value.
    fn add(&mut self, key: &str, value: &[u8]) {
        let rest = key.len() + value.len() + 3;
        let mut length = rest + 1;
        while rest + length.to_string().len() != length {
            length = rest + length.to_string().len();
        }
        self.0.extend_from_slice(format!("{length} {key}=").as_bytes());
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }

    /// Adds access control lists, flags and extended attributes.
    fn properties(&mut self, properties: &Properties) {
        let acls = &properties.acls;
        for (key, text) in [
            ("SCHILY.acl.access", acls.access.as_deref()),
            ("SCHILY.acl.default", acls.default.as_deref()),
            ("SCHILY.acl.ace", acls.nfs4.as_deref()),
            ("SCHILY.fflags", Some(properties.flags.as_str()).filter(|flags| !flags.is_empty())),
        ] {
            if let Some(text) = text {
                self.add(key, text.as_bytes());
            }
        }
        for (name, value) in &properties.xattrs {
            self.xattr(name, value);
        }
    }

    /// Adds an extended attribute. Keys are text and end at `=`, and some readers decode `%` in them; a name that cannot be
    /// written so is written as libarchive does.
    fn xattr(&mut self, name: &[u8], value: &[u8]) {
        match str::from_utf8(name) {
            Ok(name) if !name.contains(['=', '%']) => self.add(&format!("SCHILY.xattr.{name}"), value),
            _ => self.add(&format!("LIBARCHIVE.xattr.{}", escape(name)), base64(value).as_bytes()),
        }
    }

    /// The header and its content; nothing where there are no records.
    fn to_blocks(&self) -> Result<Vec<u8>> {
        let size = self.0.len() as u64;
        if size == 0 {
            return Ok(Vec::new());
        }
        if size > MAX_EXTENDED {
            return Err(Error::new(format!("its properties have {size} bytes, more than {MAX_EXTENDED}")));
        }
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..14].copy_from_slice(b"././@PaxHeader");
        header.as_old_mut().linkflag[0] = b'x';
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend_from_slice(&self.0);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        Ok(bytes)
    }
}

/// A name with `%` and two hexadecimal digits for whatever may be misread.
fn escape(name: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    name.iter().map(|b| if plain(*b) { char::from(*b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Base64, without the padding at its end.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_where_they_fit() {
        let (long, short) = (vec![b'x'; 150], vec![b'y'; 100]);
        let joined = [&long[..], b"/", &short].concat();
        assert_eq!(split(&short), Some((&b""[..], &short[..])));
        assert_eq!(split(&joined), Some((&long[..], &short[..])));
        assert_eq!((split(&[&joined[..], b"z"].concat()), split(&[b'x'; 101])), (None, None));
        assert_eq!(split(&[&[b'p'; 156][..], b"/name"].concat()), None);
    }

    #[test]
    fn times_have_a_fraction_where_it_counts() {
        for (seconds, nanoseconds, expected) in [
            (0, 0, "0"),
            (-5, 0, "-5"),
            (1_234_567_890, 123_456_789, "1234567890.123456789"),
            (7, 500_000_000, "7.5"),
            (0, 1, "0.000000001"),
            (-1, 500_000_000, "-0.5"),
            (-2, 999_999_999, "-1.000000001"),
            (10, 100, "10.0000001"),
        ] {
            assert_eq!(time((seconds, nanoseconds)), expected);
        }
    }

    #[test]
    fn records_count_their_own_length() {
        for length in [1, 80, 88, 89, 90, 91, 980, 985, 986, 987, 990, 9980] {
            let mut records = Records::default();
            records.add("key", &vec![b'v'; length]);
            let text = String::from_utf8(records.0).unwrap();
            assert_eq!(text.split_once(' ').unwrap().0, text.len().to_string());
        }
    }

    #[test]
    fn odd_attributes_are_escaped() {
        assert_eq!(escape(b"user.a=b%\xff"), "user.a%3Db%25%FF");
        for (plain, expected) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg")] {
            assert_eq!(base64(plain.as_bytes()), expected);
        }
    }

    #[test]
    fn large_numbers_go_to_the_extended_header() {
        let mut entry = Entry::file(b"rootfs/f", (8 << 30) + 5);
        entry.owner = (0o777_7777, 4_000_000_000);
        entry.mtime = (0o777_7777_7777 + 1, 0);
        let bytes = entry.to_bytes().unwrap();
        let text = String::from_utf8_lossy(&bytes[512..1024]);
        let expected = "19 size=8589934597\n18 gid=4000000000\n20 mtime=8589934592\n";
        assert_eq!(text.trim_end_matches('\0'), expected);
        let header = tar::Header::from_byte_slice(&bytes[1024..]);
        assert_eq!((header.uid().unwrap(), header.gid().unwrap(), header.size().unwrap()), (0o777_7777, 0, 0));
        assert_eq!(header.mtime().unwrap(), 0);
        entry = Entry::file(b"rootfs/f", (8 << 30) - 1);
        assert_eq!(entry.to_bytes().unwrap().len(), 512);
    }
}
