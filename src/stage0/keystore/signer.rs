//! Who signed an image, as the store remembers it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::fingerprint::Fingerprint;

/// Somebody whose signature was good when the image was imported.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signer {
    /// The primary key.
    pub fingerprint: Fingerprint,
    /// What the key called its owner.
    pub user_id: String,
    /// When the signature was made, in seconds since 1970.
    pub signed: u64,
}

impl fmt::Display for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.user_id.as_str() {
            "" => write!(f, "key {}", self.fingerprint),
            user_id => write!(f, "{user_id} (key {})", self.fingerprint),
        }
    }
}
