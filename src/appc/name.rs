//! AC Identifiers and AC Names: the two kinds of key that the specification uses (types.md).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::Error;
use super::json::FromJson;

/// The characters other than letters and digits that an identifier may have.
const IDENTIFIER_SEPARATORS: &[u8] = b"-._~/";
/// The same for a name.
const NAME_SEPARATORS: &[u8] = b"-";

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

/// Whether `text` begins and ends with a letter or digit, has nothing but those and separators, and no component between
/// slashes is empty, `.` or `..`.
fn is_identifier(text: &str) -> bool {
    let is_edge = |byte: Option<u8>| byte.is_some_and(is_word_byte);
    is_edge(text.bytes().next())
        && is_edge(text.bytes().next_back())
        && text.bytes().all(|byte| is_word_byte(byte) || IDENTIFIER_SEPARATORS.contains(&byte))
        && text.split('/').all(|component| !matches!(component, "" | "." | ".."))
}

/// Whether `text` is words of letters and digits with exactly one separator between two of them.
fn is_name(text: &str) -> bool {
    text.split('-').all(|word| !word.is_empty() && word.bytes().all(is_word_byte))
}

/// Something near `text` that is both a name and an identifier in shape: lower case, each run of anything else one
/// separator, none at the ends. What is allowed as a separator stays as it is (the first of a run), the rest becomes `filler`.
fn sanitized(text: &str, separators: &[u8], filler: char) -> Option<String> {
    let mut clean = String::with_capacity(text.len());
    let mut pending = None;
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        if u8::try_from(c).is_ok_and(is_word_byte) {
            clean.extend(pending.take().filter(|_| !clean.is_empty()));
            clean.push(c);
        } else {
            let allowed = u8::try_from(c).is_ok_and(|byte| separators.contains(&byte));
            pending = pending.or(Some(if allowed { c } else { filler }));
        }
    }
    (!clean.is_empty()).then_some(clean)
}

/// Defines a string type that is checked when it is made.
macro_rules! word_type {
    ($(#[$doc:meta])* $name:ident, $is_valid:path, $separators:expr, $filler:expr, $wanted:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// A valid one as near to `text` as can be: lower case, with every run of characters that may not stand there
            /// as one separator. None where `text` has no ASCII letter or digit at all.
            pub fn sanitize(text: &str) -> Option<Self> {
                sanitized(text, $separators, $filler).map($name)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;

            fn try_from(text: String) -> Result<Self, Error> {
                if $is_valid(&text) { Ok($name(text)) } else { Err(Error::bad(&text, $wanted)) }
            }
        }

        impl FromStr for $name {
            type Err = Error;

            fn from_str(text: &str) -> Result<Self, Error> {
                Self::try_from(text.to_owned())
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }

        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }

        impl FromJson for $name {
            fn from_json(value: &Value) -> Result<Self, Error> {
                Self::try_from(String::from_json(value)?)
            }
        }
    };
}

word_type! {
    /// An AC Identifier: the name of an image, of a label, of an annotation or of an isolator, such as
    /// `example.com/ourapp` (types.md). Lower-case ASCII letters, digits, `-`, `.`, `_`, `~` and `/`; the first and the last
    /// character are a letter or digit.
    ///
    /// The specification contradicts itself here: its expression lets no two separators meet, and its own example
    /// `example.com/~user/app_v1` has two that do, as have images made of Docker repositories with `__` in their names. The
    /// prose and the Go schema allow them, and so does this type, but never a component between slashes that is empty, `.` or
    /// `..`: identifiers end up in paths and URLs.
    AcIdentifier, is_identifier, IDENTIFIER_SEPARATORS, '_',
    "is not an AC identifier (a-z 0-9 - . _ ~ / with a letter or digit at both ends)"
}

word_type! {
    /// An AC Name: the name of an app, a volume, a mount point or a port, such as `reduce-worker`. Lower-case ASCII letters
    /// and digits with a single `-` between two of them (types.md, `^[a-z0-9]+([-][a-z0-9]+)*$`).
    AcName, is_name, NAME_SEPARATORS, '-',
    "is not an AC name (a-z and 0-9, with single - between them)"
}

impl AcIdentifier {
    /// What follows the last `/`: `worker` of `example.com/worker`.
    pub fn last_component(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers() {
        for good in ["a", "7", "my~database", "example.com/~user/app_v1", "a.b/c_d-e~f/1.0.0", "a__b--c", "a/.b/..c"] {
            assert_eq!(good.parse::<AcIdentifier>().map(String::from).as_deref(), Ok(good));
        }
        let bad = "|BAR|foo#|foo.com/BAR|/app|app/|-app|app-|.app|app.|_app|app~|a//b|a/../b|a/./b|a b|é|a\n|a\0";
        for bad in bad.split('|') {
            let error = bad.parse::<AcIdentifier>().expect_err(bad);
            assert!(error.to_string().starts_with(&format!("{bad:?} is not an AC identifier")), "{error}");
        }
    }

    #[test]
    fn names() {
        for good in ["a", "7", "foo-bar-baz", "0-0"] {
            assert!(good.parse::<AcName>().is_ok(), "{good}");
        }
        for bad in ["", "foo#", "example.com", "a/b", "a_b", "A", "-a", "a-", "a--b"] {
            assert!(bad.parse::<AcName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sanitizing_makes_valid_names() {
        for (text, name) in [
            ("foo#", Some("foo")),
            ("EXAMPLE.com", Some("example-com")),
            ("-/.app.name-test/-/", Some("app-name-test")),
            ("release-1.0.0", Some("release-1-0-0")),
            ("a--b", Some("a-b")),
            ("ünï", Some("n")),
            ("", None),
            ("///", None),
            ("é", None),
        ] {
            assert_eq!(AcName::sanitize(text).as_ref().map(AcName::as_str), name, "{text}");
        }
        for (text, identifier) in [
            ("Example.com/Foo Bar", Some("example.com/foo_bar")),
            ("docker.io/library/a__b", Some("docker.io/library/a_b")),
            ("../../etc", Some("etc")),
            ("a/../b", Some("a/b")),
        ] {
            assert_eq!(AcIdentifier::sanitize(text).as_ref().map(AcIdentifier::as_str), identifier, "{text}");
        }
    }

    #[test]
    fn last_components() {
        for (name, last) in [("example.com/a/worker", "worker"), ("worker", "worker")] {
            assert_eq!(AcIdentifier::try_from(name.to_owned()).unwrap().last_component(), last);
        }
    }

    #[test]
    fn serde_checks_too() {
        assert_eq!(serde_json::from_str::<AcName>("\"a-b\"").unwrap(), "a-b");
        assert!(serde_json::from_str::<AcName>("\"a_b\"").is_err());
        assert_eq!(serde_json::to_string(&"a.b".parse::<AcIdentifier>().unwrap()).unwrap(), "\"a.b\"");
    }
}
