//! Sizes as zfs(8) writes them.

/// The letters that may follow a number, each 1024 times the one before it.
const UNITS: &str = "KMGTPE";

/// Reads a number of bytes: `512M`, `10G`, `1048576`. The letters are powers of 1024, and may be small.
///
/// # Errors
/// It is no such number, is zero, or is more than 64 bits hold.
pub fn size(text: &str) -> Result<u64, String> {
    let wrong = || "write a size such as 512M or 10G".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let exponent = match &text[digits.len()..] {
        "" => 0,
        unit => {
            UNITS.find(&unit.to_ascii_uppercase()).map(|at| at + 1).filter(|_| unit.len() == 1).ok_or_else(wrong)?
        }
    };
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let factor = 1_u64 << (10 * exponent);
    match number.checked_mul(factor) {
        None => Err("that is more than there can be".to_owned()),
        Some(0) => Err(wrong()),
        Some(bytes) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, expected) in [("1", 1), ("512k", 512 << 10), ("10G", 10 << 30), ("1E", 1 << 60)] {
            assert_eq!(size(text), Ok(expected), "{text}");
        }
        for text in ["", "G", "0", "0G", "-1", "+1", "1.5G", "1GB", "1X", "16E", "1 G", "99999999999999999999", "1é"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
