//! What is looked for: the name of an image and its labels.

use std::fmt;

use super::super::reference::Wanted;
use crate::appc::labels::VALID_OS_ARCH;
use crate::appc::{AcIdentifier, Dependency, ImageManifest, Label, Labels, host_os_arch};
use crate::error::{Context, Error, Result};

/// The version that templates get when none is asked for, as the specification's reference implementation has it. It is no
/// label: the image found may have any version.
const LATEST: &str = "latest";

/// An image that is asked for by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRef {
    name: AcIdentifier,
    /// What was asked for, and nothing else.
    labels: Vec<Label>,
    /// `os` and `arch` of the host, as far as they were not asked for.
    assumed: Vec<Label>,
}

impl ImageRef {
    /// The image called `name` with these labels, and for this host where they do not say for which.
    ///
    /// # Errors
    /// The labels break the specification.
    pub fn new(name: AcIdentifier, labels: Vec<Label>) -> Result<ImageRef> {
        ImageRef::on(host_os_arch(), name, labels)
    }

    /// What a dependency means: the image of its name and labels, and for the same system as the image that depends on it, whose
    /// labels are `parent`, or else for this host.
    ///
    /// # Errors
    /// The labels break the specification.
    pub fn of_dependency(dependency: &Dependency, parent: &Labels) -> Result<ImageRef> {
        let (os, arch) = host_os_arch();
        let platform = (parent.get("os").unwrap_or(os), parent.get("arch").unwrap_or(arch));
        ImageRef::on(platform, dependency.image_name.clone(), dependency.labels.iter().cloned().collect())
    }

    /// Reads `name[:version][,label=value…]`.
    ///
    /// # Errors
    /// The reference is not of that form, or breaks the specification.
    pub fn parse(reference: &str) -> Result<ImageRef> {
        let what = || format!("cannot look for {reference:?}");
        let wanted = Wanted::parse(reference)?;
        let name = wanted.name.parse().context(what)?;
        let mut labels = Vec::new();
        for (name, value) in wanted.labels {
            if value.is_empty() {
                return Err(Error::with_source(what(), Error::new(format!("the {name} is empty"))));
            }
            labels.push(Label { name: name.parse().context(what)?, value });
        }
        ImageRef::new(name, labels).context(what)
    }

    fn on((os, arch): (&str, &str), name: AcIdentifier, labels: Vec<Label>) -> Result<ImageRef> {
        let asked = |name: &str| labels.iter().find(|label| label.name == name).map(|label| label.value.as_str());
        let system = asked("os").unwrap_or(os);
        // A system that does not run on the host's processor has no default.
        let has_arch = VALID_OS_ARCH.iter().any(|(name, archs)| *name == system && archs.contains(&arch));
        let defaults = [("os", os, true), ("arch", arch, has_arch)];
        let missing = defaults.into_iter().filter(|(name, _, known)| *known && asked(name).is_none());
        let label = |(name, value, _): (&str, &str, bool)| Ok(Label { name: name.parse()?, value: value.to_owned() });
        let assumed = missing.map(label).collect::<std::result::Result<Vec<Label>, crate::appc::Error>>();
        let assumed = assumed.context(|| "the host has no labels")?;
        Labels::new(labels.iter().chain(&assumed).cloned().collect())
            .context(|| "the labels break the specification")?;
        Ok(ImageRef { name, labels, assumed })
    }

    /// The name.
    pub fn name(&self) -> &AcIdentifier {
        &self.name
    }

    /// Whether it can be looked for on the web: its name begins with that of a host.
    pub fn is_discoverable(&self) -> bool {
        super::begins_with_host(&self.name)
    }

    /// What a label's place in a template is filled with.
    pub(super) fn value(&self, label: &str) -> Option<&str> {
        let given = self.labels.iter().chain(&self.assumed).find(|given| given.name == label);
        given.map(|given| given.value.as_str()).or((label == "version").then_some(LATEST))
    }

    /// Checks that an image is the one that was asked for (discovery.md, Validation): it has the name and the labels. The labels of
    /// the host, for which nobody has asked, it may lack, as files for every host do; but it may not have others.
    ///
    /// # Errors
    /// It is another one.
    pub fn check(&self, manifest: &ImageManifest) -> Result<()> {
        if manifest.name != self.name {
            return Err(Error::new(format!("the image is called {}, not {}", manifest.name, self.name)));
        }
        let has = |label: &Label| manifest.labels.get(label.name.as_str());
        for label in self.labels.iter().chain(self.assumed.iter().filter(|label| has(label).is_some())) {
            let Label { name, value } = label;
            match has(label) {
                Some(other) if other != value => {
                    return Err(Error::new(format!("the {name} of the image is {other:?}, not {value:?}")));
                }
                Some(_) => {}
                None => return Err(Error::new(format!("the image has no label {name}, which is to be {value:?}"))),
            }
        }
        Ok(())
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)?;
        self.labels.iter().try_for_each(|label| write!(f, ",{}={}", label.name, label.value))
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A reference as it is read on a host with these labels.
    pub(crate) fn on(host: (&str, &str), reference: &str) -> Result<ImageRef> {
        let wanted = Wanted::parse(reference)?;
        let labels = wanted.labels.into_iter().map(|(name, value)| Label { name: name.parse().unwrap(), value });
        ImageRef::on(host, wanted.name.parse().unwrap(), labels.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX: (&str, &str) = ("linux", "amd64");

    #[test]
    fn the_host_fills_in_what_was_not_asked_for() {
        let table = [
            (LINUX, "a", [Some("linux"), Some("amd64"), Some("latest"), None]),
            (("freebsd", "aarch64"), "a:1.2,x=y", [Some("freebsd"), Some("aarch64"), Some("1.2"), Some("y")]),
            (("freebsd", "amd64"), "a,os=linux", [Some("linux"), Some("amd64"), Some("latest"), None]),
            (LINUX, "a,arch=i386", [Some("linux"), Some("i386"), Some("latest"), None]),
            (LINUX, "a,os=darwin", [Some("darwin"), None, Some("latest"), None]),
        ];
        for (host, text, expected) in table {
            let reference = testing::on(host, text).unwrap();
            assert_eq!(["os", "arch", "version", "x"].map(|label| reference.value(label)), expected, "{text}");
        }
        assert_eq!(ImageRef::parse("example.com/a:1,x=y").unwrap().to_string(), "example.com/a,version=1,x=y");
    }

    #[test]
    fn references_that_mean_nothing_are_refused() {
        let table = [
            ("Example.com/a", "cannot look for \"Example.com/a\": \"Example.com/a\" is not an AC identifier"),
            ("a:", "cannot look for \"a:\": the version is empty"),
            (
                "a,os=plan9",
                "cannot look for \"a,os=plan9\": the labels break the specification: [0].value: \"plan9\" is not",
            ),
            ("a,os=linux,arch=vax", "the labels break the specification: [1].value: \"vax\" is not a known arch"),
            ("a:1,version=2", "\"version\" is there already"),
            ("a,name=b", "a label cannot be called \"name\""),
            ("a,x", "\"x\" in the image reference \"a,x\" is no label"),
        ];
        for (text, expected) in table {
            let error = ImageRef::parse(text).unwrap_err().one_line();
            assert!(error.contains(expected), "{error}");
        }
    }

    /// Labels of an image.
    type Given<'a> = &'a [(&'a str, &'a str)];

    #[test]
    fn only_the_image_that_was_asked_for_is_taken() {
        let manifest = |name: &str, labels: &[(&str, &str)]| {
            let mut manifest = ImageManifest::new(name.parse().unwrap());
            let label =
                |(name, value): &(&str, &str)| Label { name: name.parse().unwrap(), value: (*value).to_owned() };
            manifest.labels = Labels::new(labels.iter().map(label).collect()).unwrap();
            manifest
        };
        let own = &[("version", "1"), ("os", "linux"), ("arch", "amd64")];
        let table: [(&str, Given<'_>, &str); 9] = [
            ("a", own, ""),
            ("a", &[], ""),
            ("a:1", own, ""),
            ("a:1,os=linux", own, ""),
            ("b", own, "the image is called a, not b"),
            ("a:2", own, "the version of the image is \"1\", not \"2\""),
            ("a:1", &[("os", "linux")], "the image has no label version, which is to be \"1\""),
            ("a", &[("os", "freebsd")], "the os of the image is \"freebsd\", not \"linux\""),
            ("a,os=linux", &[], "the image has no label os, which is to be \"linux\""),
        ];
        for (reference, labels, expected) in table {
            let checked = testing::on(LINUX, reference).unwrap().check(&manifest("a", labels));
            assert_eq!(checked.err().map(|e| e.to_string()).unwrap_or_default(), expected, "{reference} {labels:?}");
        }
    }
}
