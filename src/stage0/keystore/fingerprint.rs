//! Fingerprints: by what keys are named.

use std::fmt;
use std::str::FromStr;

use sequoia_openpgp as openpgp;
use serde::{Deserialize, Serialize};

/// The fingerprint of a key, of 40 hexadecimal digits (version 4) or 64 (version 6). It is shown in capitals, as gpg(1) does, and
/// its file is named in small letters, as rkt does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(String);

impl Fingerprint {
    pub(super) fn of(fingerprint: &openpgp::Fingerprint) -> Fingerprint {
        Fingerprint(fingerprint.to_hex())
    }

    /// The name of a file with the key.
    pub(super) fn file_name(&self) -> String {
        self.0.to_ascii_lowercase()
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    /// Reads one in either case, with blanks or without.
    fn from_str(text: &str) -> Result<Fingerprint, String> {
        let digits: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let digits = digits.strip_prefix("0x").unwrap_or(&digits).to_ascii_uppercase();
        match digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            true if matches!(digits.len(), 40 | 64) => Ok(Fingerprint(digits)),
            _ => Err("a fingerprint has 40 hexadecimal digits, or 64".to_owned()),
        }
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = String;

    fn try_from(text: String) -> Result<Fingerprint, String> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_as_people_copy_them() {
        let plain = "8B86DE38890DDB7291867B025210BD8888182190";
        for text in [
            plain,
            "8b86de38890ddb7291867b025210bd8888182190",
            "8B86 DE38 890D DB72 9186  7B02 5210 BD88 8818 2190",
            "0x8b86de38890ddb7291867b025210bd8888182190",
        ] {
            assert_eq!(text.parse::<Fingerprint>().map(String::from).as_deref(), Ok(plain));
        }
        assert_eq!("ab".repeat(32).parse::<Fingerprint>().map(|f| f.file_name()), Ok("ab".repeat(32)));
        for text in ["", "8B86DE38", &plain[1..], &format!("{plain}0"), &plain.replace('8', "g"), &"é".repeat(20)] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }
}
