//! What can be wrong with a configuration, and where.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::path::Path;

use super::Origin;

/// A configuration that cannot be used: says where (`file:line` or `-o KEY`) and what. The value of a setting appears only
/// where it cannot be a secret.
#[derive(Debug)]
pub struct Error {
    place: Option<String>,
    what: String,
    source: Option<io::Error>,
}

impl Error {
    /// An error in one line of a file.
    pub(super) fn at_line(file: &Path, line: usize, what: impl Into<String>) -> Self {
        Error { place: Some(format!("{}:{line}", file.display())), what: what.into(), source: None }
    }

    /// An error in the setting `key`, which came from `origin`.
    pub(super) fn in_setting(file: &Path, key: &str, origin: Origin, what: impl Into<String>) -> Self {
        Error { place: place(file, key, origin), what: what.into(), source: None }
    }

    /// A file that cannot be read at all.
    pub(super) fn read(file: &Path, source: io::Error) -> Self {
        Error { place: None, what: format!("cannot read {}", file.display()), source: Some(source) }
    }
}

/// Where a setting was made, as people are told; nothing for a default.
pub(super) fn place(file: &Path, key: &str, origin: Origin) -> Option<String> {
    match origin {
        Origin::Default => None,
        Origin::File { line } => Some(format!("{}:{line}", file.display())),
        Origin::Override => Some(format!("-o {key}")),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|s| s as &(dyn StdError + 'static))
    }
}
