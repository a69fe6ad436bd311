//! The Image ID type (types.md).

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::Error;
use super::json::FromJson;

/// The only hash that the specification allows, with the dash that follows it.
const PREFIX: &str = "sha512-";
/// Bytes in the digest.
const BYTES: usize = 64;
/// Hex digits that tell one image from another for a person.
const SHORT: usize = 12;

/// The SHA-512 digest of an image's uncompressed tar: `sha512-` and 128 lower-case hex digits.
///
/// Only the whole form is an image id. What people type may be a prefix; finding the image that it belongs to is the
/// store's work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageId(String);

impl ImageId {
    /// The id of the image whose uncompressed tar has this SHA-512 digest.
    pub fn from_digest(digest: &[u8; BYTES]) -> Self {
        let mut text = String::with_capacity(PREFIX.len() + 2 * BYTES);
        text.push_str(PREFIX);
        for byte in digest {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        ImageId(text)
    }

    /// `sha512-` and all 128 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 128 digits alone.
    pub fn hex(&self) -> &str {
        self.0.get(PREFIX.len()..).unwrap_or_default()
    }

    /// `sha512-` and the first 12 digits, for tables and messages.
    pub fn short(&self) -> &str {
        self.0.get(..PREFIX.len() + SHORT).unwrap_or_default()
    }
}

impl TryFrom<String> for ImageId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        let is_hex = |digits: &str| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match text.strip_prefix(PREFIX) {
            None => Err(Error::bad(&text, "is not an image id: it does not begin with sha512-")),
            Some(digits) if digits.len() != 2 * BYTES => {
                let problem =
                    format!("is not an image id: {} characters follow sha512-, not 128", digits.chars().count());
                Err(Error::bad(&text, problem))
            }
            Some(digits) if !is_hex(digits) => {
                Err(Error::bad(&text, "is not an image id: it has characters other than 0-9 and a-f"))
            }
            Some(_) => Ok(ImageId(text)),
        }
    }
}

impl FromStr for ImageId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::try_from(text.to_owned())
    }
}

impl From<ImageId> for String {
    fn from(id: ImageId) -> String {
        id.0
    }
}

impl AsRef<str> for ImageId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromJson for ImageId {
    fn from_json(value: &Value) -> Result<Self, Error> {
        Self::try_from(String::from_json(value)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_become_ids() {
        let mut digest = [0xab; BYTES];
        digest[0] = 0x01;
        let id = ImageId::from_digest(&digest);
        assert_eq!(id.short(), "sha512-01ababababab");
        assert_eq!(id.hex().len(), 128);
        assert_eq!(id.as_str().parse::<ImageId>().as_ref(), Ok(&id));
    }

    #[test]
    fn only_the_whole_form_is_an_id() {
        let digits = "0".repeat(128);
        for (text, cause) in [
            (digits.clone(), "begin with sha512-"),
            (format!("sha256-{digits}"), "begin with sha512-"),
            (format!("sha512-{}", "0".repeat(32)), "32 characters follow"),
            (format!("sha512-{digits}0"), "129 characters follow"),
            (format!("sha512-{}", "A".repeat(128)), "other than 0-9 and a-f"),
            (format!("sha512-{}", "é".repeat(64)), "other than 0-9 and a-f"),
            (String::new(), "begin with sha512-"),
        ] {
            let error = ImageId::try_from(text.clone()).expect_err(&text);
            assert!(error.to_string().contains(cause), "{error}");
        }
    }
}
