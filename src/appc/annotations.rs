//! Annotations (aci.md, Image Manifest Schema): extra data with a few names of fixed meaning.

use std::collections::HashSet;

use serde::Serialize;
use serde_json::Value;

use super::error::Error;
use super::json::{Fields, FromJson, deserialize_checked};
use super::name::AcIdentifier;
use super::timestamp::is_timestamp;

/// One annotation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Annotation {
    /// What is said, such as `created`.
    pub name: AcIdentifier,
    /// Any text, but for the few names that [`Annotations`] checks.
    pub value: String,
}

impl FromJson for Annotation {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let fields = Fields::of(value)?;
        Ok(Annotation { name: fields.required("name")?, value: fields.or_default("value")? })
    }
}

impl Annotation {
    fn validate(&self) -> Result<(), Error> {
        let value = self.value.as_str();
        match self.name.as_str() {
            "created" if !is_timestamp(value) => {
                Err(Error::bad(value, "is not an RFC 3339 timestamp such as 2014-10-27T19:32:27Z"))
            }
            "homepage" | "documentation" if !is_web_address(value) => {
                Err(Error::bad(value, "is not an http or https address"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether `text` is `http` or `https` (in any case), `://`, a host, and whatever follows, without control characters.
fn is_web_address(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    (scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https"))
        && !host.is_empty()
        && !host.contains(char::is_whitespace)
        && !rest.contains(char::is_control)
}

/// Annotations in the order in which they were given, no two with the same name. `created` is an RFC 3339 timestamp,
/// `homepage` and `documentation` are http or https addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Annotations(Vec<Annotation>);

impl Annotations {
    /// Checks the list and takes it.
    ///
    /// # Errors
    /// A name that occurs twice; `created`, `homepage` or `documentation` with a value that is not theirs.
    pub fn new(annotations: Vec<Annotation>) -> Result<Self, Error> {
        let annotations = Annotations(annotations);
        annotations.validate()?;
        Ok(annotations)
    }

    /// The value of the annotation called `name`.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|annotation| annotation.name == name).map(|annotation| annotation.value.as_str())
    }

    /// Gives an annotation this value, in its place where it is there already and at the end otherwise.
    ///
    /// # Errors
    /// `created`, `homepage` or `documentation` with a value that is not theirs; nothing is changed then.
    pub fn set(&mut self, name: AcIdentifier, value: impl Into<String>) -> Result<(), Error> {
        let new = Annotation { name, value: value.into() };
        new.validate()?;
        match self.0.iter_mut().find(|annotation| annotation.name == new.name) {
            Some(annotation) => *annotation = new,
            None => self.0.push(new),
        }
        Ok(())
    }

    /// These with those of `over` added; where both have a name, the value is `over`'s (ace.md, App Metadata: the pod
    /// manifest's take precedence over the image's).
    #[must_use]
    pub fn overridden_by(&self, over: &Annotations) -> Annotations {
        let theirs: HashSet<&str> = over.iter().map(|annotation| annotation.name.as_str()).collect();
        let ours = self.iter().filter(|annotation| !theirs.contains(annotation.name.as_str()));
        Annotations(ours.chain(over).cloned().collect())
    }

    /// The annotations in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Annotation> {
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
        for (i, annotation) in self.0.iter().enumerate() {
            if !seen.insert(annotation.name.as_str()) {
                return Err(Error::bad(annotation.name.as_str(), "is there already").field("name").index(i));
            }
            annotation.validate().map_err(|e| e.field("value").index(i))?;
        }
        Ok(())
    }
}

impl<'a> IntoIterator for &'a Annotations {
    type Item = &'a Annotation;
    type IntoIter = std::slice::Iter<'a, Annotation>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl FromJson for Annotations {
    fn from_json(value: &Value) -> Result<Self, Error> {
        Annotations::new(Vec::from_json(value)?)
    }
}

deserialize_checked!(Annotations);

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> Result<Annotations, String> {
        let one = |(name, value): &(&str, &str)| Annotation { name: name.parse().unwrap(), value: (*value).to_owned() };
        Annotations::new(pairs.iter().map(one).collect()).map_err(|e| e.to_string())
    }

    #[test]
    fn values_of_fixed_meaning_are_checked() {
        for pairs in [
            &[][..],
            &[("created", "2014-10-27T19:32:27.67021798Z"), ("authors", ""), ("x/y", "\n")],
            &[("homepage", "https://example.com"), ("documentation", "HTTP://[::1]:80/a b?c#d")],
        ] {
            assert!(annotations(pairs).is_ok(), "{pairs:?}");
        }
        for (pairs, error) in [
            (&[("a", "1"), ("a", "1")][..], "[1].name: \"a\" is there already"),
            (&[("created", "today")], "[0].value: \"today\" is not an RFC 3339 timestamp such as 2014-10-27T19:32:27Z"),
            (&[("homepage", "ftp://a")], "[0].value: \"ftp://a\" is not an http or https address"),
            (&[("homepage", "example.com")], "[0].value: \"example.com\" is not an http or https address"),
            (&[("documentation", "http://")], "[0].value: \"http://\" is not an http or https address"),
            (&[("documentation", "http://a/\n")], "[0].value: \"http://a/\\n\" is not an http or https address"),
            (&[("homepage", "http://a b/")], "[0].value: \"http://a b/\" is not an http or https address"),
        ] {
            assert_eq!(annotations(pairs), Err(error.to_owned()));
        }
    }

    #[test]
    fn setting_and_overriding() {
        let mut image = annotations(&[("a", "1"), ("b", "1")]).unwrap();
        image.set("a".parse().unwrap(), "2").unwrap();
        assert!(image.set("created".parse().unwrap(), "now").is_err());
        let pod = annotations(&[("c", "3"), ("b", "3")]).unwrap();
        assert_eq!(Ok(image.overridden_by(&pod)), annotations(&[("a", "2"), ("c", "3"), ("b", "3")]));
    }
}
