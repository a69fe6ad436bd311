//! How an archive is compressed, told from its first bytes and never from its name; and compressing one.

mod encoder;

use std::fmt;
use std::io::{self, BufRead, Cursor, Read};

use serde::{Deserialize, Serialize};

use crate::config::CompressionKind;

pub use encoder::{Encoder, encoder, processors};

/// The most memory that a compressed stream may make its decoder use. The largest preset of xz needs 65 MiB; an archive that
/// asks for more than this was made to hurt.
pub const DECODER_MEMORY: u64 = 1 << WINDOW_LOG;

/// [`DECODER_MEMORY`] as the base-2 logarithm that zstd wants.
const WINDOW_LOG: u32 = 30;

/// The length of a tar header, and so of what has to be seen to recognise one.
const HEADER: usize = 512;

/// The compression formats that an image may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// A plain tar archive.
    None,
    /// gzip(1), one member or many.
    Gzip,
    /// xz(1), one stream or many.
    Xz,
    /// bzip2(1), one stream or many.
    Bzip2,
    /// zstd(1), one frame or many.
    Zstd,
}

impl Compression {
    /// The name as configuration and output write it.
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Xz => "xz",
            Compression::Bzip2 => "bzip2",
            Compression::Zstd => "zstd",
        }
    }

    /// Recognises the format by the first bytes of a file (512 of them, fewer where the file is shorter).
    ///
    /// A valid tar header goes first, since the name of an archive's first entry may begin with any of the magic numbers.
    pub fn recognise(start: &[u8]) -> Option<Compression> {
        match start {
            _ if is_tar_header(start) => Some(Compression::None),
            [0x1f, 0x8b, ..] => Some(Compression::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Compression::Xz),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Compression::Bzip2),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Compression::Zstd),
            _ if start.get(257..262) == Some(b"ustar") => Some(Compression::None),
            _ => None,
        }
    }
}

impl From<CompressionKind> for Compression {
    fn from(kind: CompressionKind) -> Compression {
        match kind {
            CompressionKind::Xz => Compression::Xz,
            CompressionKind::Bzip2 => Compression::Bzip2,
            CompressionKind::Gzip => Compression::Gzip,
            CompressionKind::Zstd => Compression::Zstd,
            CompressionKind::None => Compression::None,
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Recognises the format of what `reader` gives and returns the reader of its plain bytes.
///
/// Concatenated streams are decoded one after the other, as gzip(1), xz(1), bzip2(1) and zstd(1) do. A stream that ends early
/// gives an error, and so does anything after a stream that is not a further one.
///
/// # Errors
/// What `reader` fails with, or `InvalidData` where the format is not known.
pub fn decoder<'a>(mut reader: impl BufRead + Send + 'a) -> io::Result<(Compression, Box<dyn Read + Send + 'a>)> {
    let mut start = Vec::with_capacity(HEADER);
    reader.by_ref().take(HEADER as u64).read_to_end(&mut start)?;
    let compression = Compression::recognise(&start).ok_or_else(|| {
        let text = "the file is not a tar archive, nor one compressed by gzip, xz, bzip2 or zstd";
        io::Error::new(io::ErrorKind::InvalidData, text)
    })?;
    let whole = Cursor::new(start).chain(reader);
    let plain: Box<dyn Read + Send + 'a> = match compression {
        Compression::None => Box::new(whole),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(whole)),
        Compression::Xz => {
            let stream = xz2::stream::Stream::new_stream_decoder(DECODER_MEMORY, xz2::stream::CONCATENATED)?;
            Box::new(xz2::bufread::XzDecoder::new_stream(whole, stream))
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(whole)?;
            decoder.window_log_max(WINDOW_LOG)?;
            Box::new(decoder)
        }
    };
    Ok((compression, plain))
}

/// Whether `block` is a tar header: its checksum is right. Old implementations summed signed characters.
pub(crate) fn is_tar_header(block: &[u8]) -> bool {
    let Some((header, stored)) = block.get(..HEADER).zip(stored_sum(block)) else { return false };
    let mut unsigned = 8 * i64::from(b' ');
    let mut signed = unsigned;
    for byte in header[..148].iter().chain(&header[156..]) {
        unsigned += i64::from(*byte);
        signed += i64::from(byte.cast_signed());
    }
    header.iter().any(|byte| *byte != 0) && (stored == unsigned || stored == signed)
}

/// The checksum that a header claims.
fn stored_sum(block: &[u8]) -> Option<i64> {
    let field = block.get(148..156)?;
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    i64::from_str_radix(str::from_utf8(&field[..end]).ok()?.trim(), 8).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Xz, Compression::Bzip2, Compression::Zstd];

    fn compress(compression: Compression, plain: &[u8]) -> Vec<u8> {
        crate::stage0::unpack::testing::compress(compression, plain)
    }

    fn decode(bytes: &[u8]) -> io::Result<(Compression, Vec<u8>)> {
        let (compression, mut reader) = decoder(io::BufReader::with_capacity(1000, bytes))?;
        let mut plain = Vec::new();
        reader.read_to_end(&mut plain)?;
        Ok((compression, plain))
    }

    /// A tar archive of one entry whose content does not compress to nothing.
    fn sample() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let data: Vec<u8> = (0u32..20_000).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        builder.append_data(&mut header, "manifest", &data[..]).unwrap();
        builder.into_inner().unwrap()
    }

    #[test]
    fn each_format_is_recognised_and_decoded() {
        for compression in ALL {
            assert_eq!(decode(&compress(compression, &sample())).unwrap(), (compression, sample()), "{compression}");
            let json = serde_json::to_string(&compression).unwrap();
            assert_eq!(json, format!("\"{compression}\""));
        }
    }

    #[test]
    fn concatenated_streams_are_one() {
        let (first, second) = (&sample()[..7000], &sample()[7000..]);
        for compression in &ALL[1..] {
            let mut both = compress(*compression, first);
            both.extend(compress(*compression, second));
            assert_eq!(decode(&both).unwrap(), (*compression, sample()), "{compression}");
        }
    }

    #[test]
    fn garbage_after_the_end_is_an_error() {
        for compression in &ALL[1..] {
            let mut bytes = compress(*compression, &sample());
            bytes.write_all(b"garbage, and then some more of it").unwrap();
            decode(&bytes).unwrap_err();
        }
    }

    #[test]
    fn a_stream_cut_anywhere_is_an_error() {
        for compression in &ALL[1..] {
            let bytes = compress(*compression, &sample());
            for cut in (12..60).chain((60..bytes.len()).step_by(997)).chain(bytes.len() - 12..bytes.len()) {
                assert!(decode(&bytes[..cut]).is_err(), "{compression} cut at {cut} of {}", bytes.len());
            }
            let twice = [bytes.clone(), bytes.clone()].concat();
            for cut in (bytes.len() + 1..bytes.len() + 30).chain(twice.len() - 12..twice.len()) {
                assert!(decode(&twice[..cut]).is_err(), "{compression} cut at {cut} of {}", twice.len());
            }
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for bytes in [&b""[..], b"x", b"PK\x03\x04 a zip file", &[0; 10240], &[b'x'; 10240], b"BZh0"] {
            let error = decode(bytes).unwrap_err().to_string();
            assert!(error.contains("is not a tar archive"), "{error}");
        }
    }

    #[test]
    fn a_tar_header_wins_over_magic_numbers_and_may_be_of_version_7() {
        let mut header = tar::Header::new_old();
        header.set_path("BZh1").unwrap();
        header.set_size(0);
        header.set_cksum();
        assert_eq!(Compression::recognise(header.as_bytes()), Some(Compression::None));
    }

    #[test]
    fn a_window_of_more_than_the_limit_is_refused() {
        // A frame header with a window of 2^31 bytes.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
        let error = decode(&frame).unwrap_err().to_string();
        assert!(error.contains("memory"), "{error}");
    }
}
