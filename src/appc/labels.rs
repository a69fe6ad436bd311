//! Labels (aci.md, Image Manifest Schema): what an image is found by, and which kernel and processor it needs.

use std::collections::HashSet;
use std::env::consts;

use serde::Serialize;
use serde_json::Value;

use super::error::Error;
use super::json::{Fields, FromJson, deserialize_checked};
use super::name::AcIdentifier;

/// The operating systems that `os` may name, each with the processors that `arch` may name beside it: the list of the Go
/// schema and, as freebsd runs there too, `freebsd/aarch64`.
pub const VALID_OS_ARCH: [(&str, &[&str]); 3] = [
    ("linux", &["amd64", "i386", "aarch64", "aarch64_be", "armv6l", "armv7l", "armv7b", "ppc64", "ppc64le", "s390x"]),
    ("freebsd", &["amd64", "i386", "arm", "aarch64"]),
    ("darwin", &["x86_64", "i386"]),
];

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Label {
    /// What is said, such as `version`; never `name`.
    pub name: AcIdentifier,
    /// Any text.
    pub value: String,
}

impl FromJson for Label {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let fields = Fields::of(value)?;
        Ok(Label { name: fields.required("name")?, value: fields.or_default("value")? })
    }
}

/// Labels in the order in which they were given. No two have the same name, none is called `name`, and `os` and `arch`
/// are a pair of [`VALID_OS_ARCH`] (or `os` alone, or neither).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Labels(Vec<Label>);

impl Labels {
    /// Checks the list and takes it.
    ///
    /// # Errors
    /// A name that occurs twice or is `name`, an `os` that is not known, an `arch` without `os` or not one of that `os`.
    pub fn new(labels: Vec<Label>) -> Result<Self, Error> {
        let labels = Labels(labels);
        labels.validate()?;
        Ok(labels)
    }

    /// The value of the label called `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|label| label.name == name).map(|label| label.value.as_str())
    }

    /// Gives a label this value, in its place where it is there already and at the end otherwise.
    ///
    /// # Errors
    /// As [`Labels::new`], of the list as it would be; it is not changed then.
    pub fn set(&mut self, name: AcIdentifier, value: impl Into<String>) -> Result<(), Error> {
        let mut changed = self.0.clone();
        match changed.iter_mut().find(|label| label.name == name) {
            Some(label) => label.value = value.into(),
            None => changed.push(Label { name, value: value.into() }),
        }
        *self = Labels::new(changed)?;
        Ok(())
    }

    /// The labels in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Label> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn validate(&self) -> Result<(), Error> {
        let mut seen = HashSet::new();
        for (i, label) in self.0.iter().enumerate() {
            if label.name == "name" {
                return Err(Error::new("a label cannot be called \"name\"").field("name").index(i));
            }
            if !seen.insert(label.name.as_str()) {
                return Err(Error::bad(label.name.as_str(), "is there already").field("name").index(i));
            }
        }
        self.check_os_arch()
    }

    fn check_os_arch(&self) -> Result<(), Error> {
        let Some((os_at, os)) = self.position("os") else {
            return match self.position("arch") {
                Some((at, arch)) => {
                    Err(Error::bad(arch, "is an arch without an os beside it").field("value").index(at))
                }
                None => Ok(()),
            };
        };
        let Some((_, known)) = VALID_OS_ARCH.iter().find(|(name, _)| *name == os) else {
            let names = VALID_OS_ARCH.map(|(name, _)| name).join(", ");
            return Err(Error::bad(os, format_args!("is not a known os ({names})")).field("value").index(os_at));
        };
        match self.position("arch") {
            Some((at, arch)) if !known.contains(&arch) => {
                let problem = format!("is not a known arch of {os} ({})", known.join(", "));
                Err(Error::bad(arch, problem).field("value").index(at))
            }
            _ => Ok(()),
        }
    }

    fn position(&self, name: &str) -> Option<(usize, &str)> {
        self.0.iter().enumerate().find(|(_, label)| label.name == name).map(|(i, label)| (i, label.value.as_str()))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = &'a Label;
    type IntoIter = std::slice::Iter<'a, Label>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl FromJson for Labels {
    fn from_json(value: &Value) -> Result<Self, Error> {
        Labels::new(Vec::from_json(value)?)
    }
}

deserialize_checked!(Labels);

/// The values of the `os` and `arch` labels that say "this machine", such as `("freebsd", "amd64")`. They are what the
/// program was built for; a processor that the specification has no word for keeps its own.
pub fn host_os_arch() -> (&'static str, &'static str) {
    os_arch(consts::OS, consts::ARCH, cfg!(target_endian = "little"))
}

/// appc's words for Rust's.
fn os_arch(os: &'static str, arch: &'static str, little_endian: bool) -> (&'static str, &'static str) {
    match (os, arch) {
        ("macos", "x86") => ("darwin", "i386"),
        ("macos", arch) => ("darwin", arch),
        (os, "x86_64") => (os, "amd64"),
        (os, "x86") => (os, "i386"),
        ("linux", "aarch64") if !little_endian => (os, "aarch64_be"),
        ("linux", "arm") => (os, if little_endian { "armv7l" } else { "armv7b" }),
        (os, "powerpc64") => (os, if little_endian { "ppc64le" } else { "ppc64" }),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Result<Labels, String> {
        let label = |(name, value): &(&str, &str)| Label { name: name.parse().unwrap(), value: (*value).to_owned() };
        Labels::new(pairs.iter().map(label).collect()).map_err(|e| e.to_string())
    }

    #[test]
    fn accepted() {
        for pairs in [
            &[][..],
            &[("os", "linux")],
            &[("os", "linux"), ("arch", "amd64")],
            &[("arch", "aarch64_be"), ("version", ""), ("os", "linux")],
            &[("os", "freebsd"), ("arch", "aarch64")],
            &[("os", "freebsd"), ("arch", "arm")],
            &[("os", "darwin"), ("arch", "x86_64")],
        ] {
            assert!(labels(pairs).is_ok(), "{pairs:?}");
        }
    }

    #[test]
    fn refused() {
        for (pairs, error) in [
            (&[("name", "x")][..], "[0].name: a label cannot be called \"name\""),
            (&[("a", "1"), ("b", "1"), ("a", "2")], "[2].name: \"a\" is there already"),
            (&[("arch", "amd64")], "[0].value: \"amd64\" is an arch without an os beside it"),
            (&[("os", "plan9")], "[0].value: \"plan9\" is not a known os (linux, freebsd, darwin)"),
            (
                &[("os", "freebsd"), ("arch", "x86_64")],
                "[1].value: \"x86_64\" is not a known arch of freebsd (amd64, i386, arm, aarch64)",
            ),
        ] {
            assert_eq!(labels(pairs), Err(error.to_owned()));
        }
    }

    #[test]
    fn setting_replaces_in_place_or_appends() {
        let mut list = labels(&[("version", "1"), ("os", "linux")]).unwrap();
        list.set("version".parse().unwrap(), "2").unwrap();
        list.set("arch".parse().unwrap(), "amd64").unwrap();
        assert!(list.set("arch".parse().unwrap(), "vax").is_err());
        assert_eq!(Ok(list), labels(&[("version", "2"), ("os", "linux"), ("arch", "amd64")]));
    }

    #[test]
    fn hosts_have_words() {
        for (os, arch, little, words) in [
            ("linux", "x86_64", true, ("linux", "amd64")),
            ("freebsd", "x86_64", true, ("freebsd", "amd64")),
            ("freebsd", "aarch64", true, ("freebsd", "aarch64")),
            ("linux", "x86", true, ("linux", "i386")),
            ("linux", "arm", true, ("linux", "armv7l")),
            ("freebsd", "arm", true, ("freebsd", "arm")),
            ("linux", "powerpc64", true, ("linux", "ppc64le")),
            ("linux", "powerpc64", false, ("linux", "ppc64")),
            ("linux", "s390x", false, ("linux", "s390x")),
            ("macos", "x86_64", true, ("darwin", "x86_64")),
        ] {
            assert_eq!(os_arch(os, arch, little), words);
            assert!(labels(&[("os", words.0), ("arch", words.1)]).is_ok());
        }
        assert!(!host_os_arch().0.is_empty());
    }
}
