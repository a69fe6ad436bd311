//! The AC Version and AC Kind types (types.md).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::Error;
use super::json::FromJson;

/// The version of the specification that this module implements and writes.
const CURRENT: &str = "0.8.11";
/// Its major series, the only one that is read.
const MAJOR: &str = "0";

/// The version of the specification a manifest was written for: a semantic version of the series 0.
///
/// An implementation of one version is compatible with its whole major series, so newer versions of the series are read
/// (what they may add is ignored like any unknown field), and those of another series are refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AcVersion(String);

impl AcVersion {
    /// The version that new manifests carry, 0.8.11.
    pub fn current() -> Self {
        AcVersion(CURRENT.to_owned())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for AcVersion {
    fn default() -> Self {
        AcVersion::current()
    }
}

/// Whether `text` is a version as in SemVer 2.0.0.
fn is_semver(text: &str) -> bool {
    let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
    let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_digits = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    let is_number = |word: &str| is_digits(word) && (word == "0" || !word.starts_with('0'));
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && pre.is_none_or(|pre| pre.split('.').all(|word| is_word(word) && (!is_digits(word) || is_number(word))))
        && build.is_none_or(|build| build.split('.').all(is_word))
}

impl TryFrom<String> for AcVersion {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        if !is_semver(&text) {
            return Err(Error::bad(&text, "is not a semantic version such as 0.8.11"));
        }
        if text == "0.0.0" {
            return Err(Error::bad(&text, "is not a version of the specification"));
        }
        if text.split('.').next() != Some(MAJOR) {
            return Err(Error::bad(
                &text,
                format_args!("is not compatible with version {CURRENT} of the specification"),
            ));
        }
        Ok(AcVersion(text))
    }
}

impl FromStr for AcVersion {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::try_from(text.to_owned())
    }
}

impl From<AcVersion> for String {
    fn from(version: AcVersion) -> String {
        version.0
    }
}

impl fmt::Display for AcVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromJson for AcVersion {
    fn from_json(value: &Value) -> Result<Self, Error> {
        Self::try_from(String::from_json(value)?)
    }
}

/// What a manifest is for; its `acKind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum AcKind {
    /// `"ImageManifest"`.
    ImageManifest,
    /// `"PodManifest"`.
    PodManifest,
}

impl AcKind {
    /// The word in the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            AcKind::ImageManifest => "ImageManifest",
            AcKind::PodManifest => "PodManifest",
        }
    }

    /// An error unless this is `wanted`.
    pub(super) fn expect(self, wanted: AcKind) -> Result<(), Error> {
        let problem = || Error::bad(self.as_str(), format_args!("is not {:?}", wanted.as_str())).field("acKind");
        if self == wanted { Ok(()) } else { Err(problem()) }
    }
}

impl FromJson for AcKind {
    fn from_json(value: &Value) -> Result<Self, Error> {
        match String::from_json(value)?.as_str() {
            "ImageManifest" => Ok(AcKind::ImageManifest),
            "PodManifest" => Ok(AcKind::PodManifest),
            other => Err(Error::bad(other, "is not ImageManifest or PodManifest")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_the_series_are_read() {
        for good in ["0.8.11", "0.1.1", "0.9.0", "0.8.11+git", "0.8.4-rc.1+3e2f.x", "0.8.1--"] {
            assert_eq!(good.parse::<AcVersion>().map(String::from).as_deref(), Ok(good));
        }
    }

    #[test]
    fn the_rest_is_refused() {
        let no_version =
            ["", "0", "0.8", "0.8.11.1", "v0.8.11", "0.08.1", "0.8.1-", "0.8.1-01", "0.8.1+", "0.8.x", " 0.8.1"];
        for bad in no_version {
            let error = bad.parse::<AcVersion>().expect_err(bad);
            assert!(error.to_string().contains("not a semantic version"), "{error}");
        }
        let error = "1.0.0".parse::<AcVersion>().expect_err("another series");
        assert_eq!(error.to_string(), "\"1.0.0\" is not compatible with version 0.8.11 of the specification");
        assert!("0.0.0".parse::<AcVersion>().is_err());
    }
}
