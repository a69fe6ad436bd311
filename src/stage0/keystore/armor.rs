//! Armor: the text in which OpenPGP's packets are sent.

use std::io::Read;

use sequoia_openpgp::armor::{Reader, ReaderMode};

use crate::error::{Context, Error, Result};

const BEGIN: &[u8] = b"-----BEGIN PGP ";

/// The packets of a file: as they are, or out of every armored block in it, one after the other, since people join such files
/// with cat(1). `kinds` are the blocks that may be in it, as their first lines name them.
///
/// # Errors
/// A block is broken, or of another kind.
pub(super) fn dearmor(bytes: &[u8], kinds: &[&str]) -> Result<Vec<u8>> {
    // Packets that are not armored begin with a byte that no text has.
    if bytes.first().is_some_and(|first| first & 0x80 != 0) {
        return Ok(bytes.to_vec());
    }
    let starts: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(BEGIN)).collect();
    if starts.is_empty() {
        return Err(Error::new("it is nothing of OpenPGP"));
    }
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    let mut packets = Vec::new();
    for (start, end) in starts.iter().zip(ends) {
        let block = &bytes[*start..end];
        let label = &block[BEGIN.len()..];
        if !kinds.iter().any(|kind| label.starts_with(format!("{kind}-----").as_bytes())) {
            let label: Vec<u8> = label.iter().copied().take(40).take_while(|byte| *byte != b'-').collect();
            return Err(Error::new(format!("it holds a PGP {}", String::from_utf8_lossy(&label))));
        }
        let mut reader = Reader::from_bytes(block, ReaderMode::Tolerant(None));
        reader.read_to_end(&mut packets).context(|| "an armored block is broken")?;
    }
    Ok(packets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_come_out_of_every_block() {
        let block = |kind: &str, text: &str| {
            format!("some words\n-----BEGIN PGP {kind}-----\nComment: x\n\n{text}\n-----END PGP {kind}-----\n")
        };
        let two = block("SIGNATURE", "YWI=") + &block("SIGNATURE", "Y2Q=");
        assert_eq!(dearmor(two.as_bytes(), &["SIGNATURE"]).unwrap(), b"abcd");
        assert_eq!(dearmor(b"\xc2\x01x", &["SIGNATURE"]).unwrap(), b"\xc2\x01x");
        for (text, said) in [
            (block("PUBLIC KEY BLOCK", "YWI="), "it holds a PGP PUBLIC KEY BLOCK"),
            ("what is this\n".to_owned(), "it is nothing of OpenPGP"),
            (block("SIGNATURE", "a"), "an armored block is broken"),
        ] {
            assert_eq!(dearmor(text.as_bytes(), &["SIGNATURE"]).unwrap_err().to_string(), said);
        }
    }
}
