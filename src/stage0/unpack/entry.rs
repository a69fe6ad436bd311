//! One entry of an archive: what its header and its extended headers say together.

use nix::sys::time::TimeSpec;

use crate::error::{Error, Result};

use super::archive::Archive;
use super::name;
use super::pax::{self, Records};
use super::sparse::{self, Sparse};

/// What an entry makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    HardLink,
    Symlink,
    Character,
    Block,
    Directory,
    Fifo,
}

/// The contents of the extended headers before an entry.
#[derive(Default)]
pub(super) struct Extensions {
    pub(super) pax: Option<Vec<u8>>,
    pub(super) name: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
}

impl Extensions {
    pub(super) fn is_empty(&self) -> bool {
        self.pax.is_none() && self.name.is_none() && self.link.is_none()
    }
}

/// An entry, without its content.
pub(super) struct Entry {
    /// Its name as it stands in the archive.
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    /// How many bytes of content the archive has.
    pub(super) stored: u64,
    sparse: Option<Sparse>,
    /// What a link points to.
    pub(super) link: Vec<u8>,
    /// The twelve bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: TimeSpec,
    pub(super) atime: TimeSpec,
    /// Major and minor number.
    pub(super) device: (u32, u32),
    pub(super) pax: Records,
}

impl Entry {
    /// Reads the fields, and the map of a sparse file from `archive`, whose content it then expects.
    ///
    /// # Errors
    /// A field is not what it should be.
    pub(super) fn new(header: &tar::Header, extensions: Extensions, archive: &mut Archive) -> Result<Self> {
        let pax = Records::parse(extensions.pax.unwrap_or_default())?;
        let old = header.as_old();
        let header_name = || header_name(header);
        let name = sparse::name(&pax).or(pax.get("path")).map(<[u8]>::to_vec);
        let name = name.or_else(|| extensions.name.map(without_nul)).unwrap_or_else(header_name);
        let link = pax.get("linkpath").map(<[u8]>::to_vec).or_else(|| extensions.link.map(without_nul));
        let fields = Fields { name: &name, pax: &pax };
        let stored = fields.number("size", &old.size, i64::MAX as u64)?;
        let mtime = fields.time("mtime")?.map_or_else(|| fields.header_time(&old.mtime), Ok)?;
        let mut entry = Entry {
            kind: fields.kind(old.linkflag[0])?,
            stored,
            sparse: None,
            link: link.unwrap_or_else(|| until_nul(&old.linkname).to_vec()),
            mode: fields.field("mode", &old.mode, u64::from(u32::MAX))? as u32 & 0o7777,
            uid: fields.number("uid", &old.uid, u64::from(u32::MAX - 1))? as u32,
            gid: fields.number("gid", &old.gid, u64::from(u32::MAX - 1))? as u32,
            mtime,
            atime: fields.time("atime")?.unwrap_or(mtime),
            device: fields.device(header)?,
            name: Vec::new(),
            pax: Records::default(),
        };
        (entry.name, entry.pax) = (name, pax);
        archive.expect(stored);
        entry.sparse = Sparse::read(header, &entry, archive)?;
        Ok(entry)
    }

    /// The name as errors show it.
    pub(super) fn shown(&self) -> String {
        name::show(&self.name)
    }

    /// Whether the content has a map of holes before it.
    pub(super) fn is_sparse(&self) -> bool {
        self.sparse.is_some()
    }

    /// The length of the file, with its holes.
    pub(super) fn length(&self) -> u64 {
        self.sparse.as_ref().map_or(self.stored, |sparse| sparse.length)
    }

    /// Where the content goes: the length of the file, and the offset and length of each piece of content.
    pub(super) fn layout(&self) -> (u64, Vec<(u64, u64)>) {
        match &self.sparse {
            Some(sparse) => (sparse.length, sparse.pieces.clone()),
            None => (self.stored, vec![(0, self.stored)]),
        }
    }
}

/// Reads fields, from the extended header where that has them.
struct Fields<'a> {
    name: &'a [u8],
    pax: &'a Records,
}

impl Fields<'_> {
    fn error(&self, what: &str, why: &str) -> Error {
        Error::new(format!("the {what} of {} {why}", name::show(self.name)))
    }

    /// A number of the extended header, else of the header.
    fn number(&self, key: &str, field: &[u8], most: u64) -> Result<u64> {
        let Some(value) = self.pax.get(key) else { return self.field(key, field, most) };
        let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
        let number = str::from_utf8(value).ok().filter(|_| digits).ok_or_else(|| self.error(key, "is not a number"))?;
        number.parse().ok().filter(|n| *n <= most).ok_or_else(|| self.error(key, "is too large"))
    }

    /// A number of the header.
    fn field(&self, what: &str, field: &[u8], most: u64) -> Result<u64> {
        let value = number(field).ok_or_else(|| self.error(what, "is not a number"))?;
        if value < 0 {
            return Err(self.error(what, "is negative"));
        }
        u64::try_from(value).ok().filter(|n| *n <= most).ok_or_else(|| self.error(what, "is too large"))
    }

    /// A time of the extended header.
    fn time(&self, key: &str) -> Result<Option<TimeSpec>> {
        let Some(value) = self.pax.get(key) else { return Ok(None) };
        pax::time(value).map(Some).ok_or_else(|| self.error(key, "is not a time"))
    }

    /// The time of the header, which has whole seconds and may be before 1970.
    fn header_time(&self, field: &[u8]) -> Result<TimeSpec> {
        let seconds = number(field).and_then(|n| i64::try_from(n).ok());
        seconds.map(|seconds| TimeSpec::new(seconds, 0)).ok_or_else(|| self.error("mtime", "is not a time"))
    }

    /// The numbers of a device.
    fn device(&self, header: &tar::Header) -> Result<(u32, u32)> {
        let most = u64::from(u32::MAX);
        let (major, minor): (&[u8], &[u8]) = match (header.as_ustar(), header.as_gnu()) {
            (Some(ustar), _) => (&ustar.dev_major, &ustar.dev_minor),
            (_, Some(gnu)) => (&gnu.dev_major, &gnu.dev_minor),
            _ => (&[], &[]),
        };
        let is_device = matches!(header.as_old().linkflag[0], b'3' | b'4');
        if !is_device {
            return Ok((0, 0));
        }
        let major = self.number("SCHILY.devmajor", major, most)?;
        Ok((major as u32, self.number("SCHILY.devminor", minor, most)? as u32))
    }

    /// What the type flag stands for. A file whose name ends in a slash is how version 7 wrote a directory.
    fn kind(&self, flag: u8) -> Result<Kind> {
        Ok(match flag {
            0 | b'0' | b'7' if self.name.ends_with(b"/") => Kind::Directory,
            0 | b'0' | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Character,
            b'4' => Kind::Block,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            other => return Err(self.error("type", &format!("is {}, which is not known", name::show(&[other])))),
        })
    }
}

/// The name in the header itself. The tar crate's own function turns nothing but its Windows separators, yet on Unix it
/// agrees with this only where the prefix field is used as ustar says.
fn header_name(header: &tar::Header) -> Vec<u8> {
    let old = header.as_old();
    let name = until_nul(&old.name);
    match header.as_ustar().map(|ustar| until_nul(&ustar.prefix)) {
        Some(prefix) if !prefix.is_empty() => [prefix, b"/", name].concat(),
        _ => name.to_vec(),
    }
}

/// A number as headers have it: octal digits, or big-endian two's complement behind a set bit. Blanks are zero.
pub(super) fn number(field: &[u8]) -> Option<i128> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => {
            let sign = if first & 0x40 != 0 { -1 } else { 0 };
            let start = (sign << 6) | i128::from(first & 0x3f);
            Some(field[1..].iter().fold(start, |sum, byte| (sum << 8) | i128::from(*byte)))
        }
        _ => {
            let text = str::from_utf8(until_nul(field)).ok()?.trim_matches(' ');
            if text.is_empty() { Some(0) } else { text.bytes().try_fold(0, octal_digit) }
        }
    }
}

/// One more digit of an octal number.
fn octal_digit(sum: i128, digit: u8) -> Option<i128> {
    (b'0'..=b'7').contains(&digit).then(|| (sum << 3) | i128::from(digit - b'0'))
}

/// The bytes before the first NUL.
fn until_nul(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|b| *b == 0).unwrap_or(field.len())]
}

/// A long name without the NUL that ends it. Another one within stays, to be refused.
fn without_nul(mut name: Vec<u8>) -> Vec<u8> {
    if name.last() == Some(&0) {
        name.pop();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_numbers() {
        let cases: [(&[u8], Option<i128>); 11] = [
            (b"0000644\0", Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"77777777777\0", Some(0o77_777_777_777)),
            (b"\0\0\0\0", Some(0)),
            (b"", Some(0)),
            (b"0008\0", None),
            (b"-1\0", None),
            (b"12 3\0", None),
            (b"\x80\0\0\0\0\0\0\x05", Some(5)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\x80\0\0\x7f\xff\xff\xff\xff\xff\xff\xff\xff", Some(0x7f_ffff_ffff_ffff_ffff)),
        ];
        for (field, expected) in cases {
            assert_eq!(number(field), expected, "{field:?}");
        }
    }
}
