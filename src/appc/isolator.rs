//! The Isolator type (types.md) and the rules for sets of them (ace.md).

use std::collections::HashSet;

use serde::Serialize;
use serde_json::Value;

use super::error::Error;
use super::isolators::{self, IsolatorValue};
use super::json::{Fields, FromJson, deserialize_checked};
use super::name::AcIdentifier;

/// A limit or confinement: a name and a value whose meaning depends on it.
///
/// The value stays as it was in the manifest and is written so again (the order of keys in an object and the spelling of a
/// fraction may change). What it means is worked out, and checked, when the isolator is made.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Isolator {
    name: AcIdentifier,
    #[serde(rename = "value")]
    raw: Value,
    #[serde(skip)]
    value: IsolatorValue,
}

impl Isolator {
    /// Checks the value of a well-known isolator and takes it; the value of any other name is taken as it is.
    ///
    /// # Errors
    /// A value that is not one of this isolator's, with its path below `value`.
    pub fn new(name: AcIdentifier, raw: Value) -> Result<Self, Error> {
        let value = isolators::read(name.as_str(), &raw).map_err(|e| e.field("value"))?;
        Ok(Isolator { name, raw, value })
    }

    /// The name, such as `resource/memory`.
    pub fn name(&self) -> &AcIdentifier {
        &self.name
    }

    /// The value as it is in the manifest.
    pub fn raw(&self) -> &Value {
        &self.raw
    }

    /// What the value means; [`IsolatorValue::Unknown`] where the name is not one of the specification's.
    pub fn value(&self) -> &IsolatorValue {
        &self.value
    }

    /// Nothing between fields is left to check once there is one.
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the shape that the other types have")]
    fn validate(&self) -> Result<(), Error> {
        Ok(())
    }
}

impl FromJson for Isolator {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let fields = Fields::of(value)?;
        let name = fields.required("name")?;
        // Null is a value like any other here.
        let raw = fields.raw("value")?.ok_or_else(|| Error::missing("value"))?;
        Isolator::new(name, raw.clone())
    }
}

deserialize_checked!(Isolator);

/// Isolators of which a set may have one at most.
const SINGLE: [&str; 7] = [
    isolators::SECCOMP_REMOVE,
    isolators::SECCOMP_RETAIN,
    isolators::SELINUX_CONTEXT,
    isolators::APPARMOR_PROFILE,
    isolators::OOM_SCORE_ADJ,
    isolators::CPU_SHARES,
    isolators::SYSCTL,
];

/// Isolators that cannot stand in one set.
const CONFLICTS: [(&str, &str); 2] = [
    (isolators::SECCOMP_REMOVE, isolators::SECCOMP_RETAIN),
    (isolators::CAPABILITIES_REMOVE, isolators::CAPABILITIES_RETAIN),
];

/// Checks the isolators of one app or one pod against each other.
///
/// The Go schema lets both sets of capabilities stand together, which ace.md forbids, and refuses isolators that it does not
/// know, which ace.md allows; the text is followed in both.
pub(super) fn check_set(set: &[Isolator]) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for (i, isolator) in set.iter().enumerate() {
        let name = isolator.name.as_str();
        let problem = |text: String| Err(Error::bad(name, text).field("name").index(i));
        if !seen.insert(name) && SINGLE.contains(&name) {
            return problem("is there already, and only one is allowed".to_owned());
        }
        for (one, other) in CONFLICTS.iter().flat_map(|(a, b)| [(a, b), (b, a)]) {
            if name == *one && seen.contains(other) {
                return problem(format!("cannot be used with {other:?}"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isolators_keep_their_value() {
        for text in [
            r#"{"name":"resource/memory","value":{"limit":"2G","request":"1G"}}"#,
            r#"{"name":"example.com/ponies","value":{"a":[1,-2.5,null,{"b":18446744073709551615}]}}"#,
            r#"{"name":"x","value":null}"#,
        ] {
            let isolator: Isolator = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&isolator).unwrap(), text);
        }
    }

    #[test]
    fn isolators_need_name_and_value() {
        for (text, error) in [
            (r#"{"name":"x"}"#, "value: required but missing"),
            (r#"{"value":1}"#, "name: required but missing"),
            (
                r#"{"name":"X","value":1}"#,
                "name: \"X\" is not an AC identifier (a-z 0-9 - . _ ~ / with a letter or digit at both ends)",
            ),
            (r#"{"name":"os/linux/cpu-shares","value":1}"#, "value: 1 is not between 2 and 262144"),
            (r#"{"name":"os/unix/sysctl","value":{"a":"1","a":"2"}}"#, "duplicate key \"a\" at line 1 column 45"),
        ] {
            assert_eq!(serde_json::from_str::<Isolator>(text).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn sets() {
        let seccomp = |name: &str| format!(r#"{{"name":"os/linux/seccomp-{name}-set","value":{{"set":["read"]}}}}"#);
        let caps =
            |name: &str| format!(r#"{{"name":"os/linux/capabilities-{name}-set","value":{{"set":["CAP_KILL"]}}}}"#);
        let memory = || r#"{"name":"resource/memory","value":{"limit":"1G"}}"#.to_owned();
        let sysctl = || r#"{"name":"os/unix/sysctl","value":{}}"#.to_owned();
        for (set, wanted) in [
            (vec![], None),
            (vec![memory(), memory(), caps("retain"), caps("retain"), seccomp("remove"), sysctl()], None),
            (
                vec![sysctl(), memory(), sysctl()],
                Some("[2].name: \"os/unix/sysctl\" is there already, and only one is allowed"),
            ),
            (
                vec![seccomp("remove"), seccomp("retain")],
                Some("[1].name: \"os/linux/seccomp-retain-set\" cannot be used with \"os/linux/seccomp-remove-set\""),
            ),
            (
                vec![caps("retain"), caps("remove")],
                Some(
                    "[1].name: \"os/linux/capabilities-remove-set\" cannot be used with \
                     \"os/linux/capabilities-retain-set\"",
                ),
            ),
        ] {
            let set: Vec<Isolator> = serde_json::from_str(&format!("[{}]", set.join(","))).unwrap();
            assert_eq!(check_set(&set).err().map(|e| e.to_string()).as_deref(), wanted);
        }
    }
}
