//! An image manifest as its author writes it for a build: without what follows from the image that it is built on.

use serde_json::{Map, Value, json};

use super::error::Error;
use super::image::ImageManifest;
use super::json::{FromJson, Tree};
use super::labels::Labels;
use super::version::AcVersion;

/// The labels that an image has from the one below it unless its author says otherwise.
const INHERITED: [&str; 2] = ["os", "arch"];

/// What was read of an author's manifest.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// The manifest with what was missing.
    pub manifest: ImageManifest,
    /// The paths of the fields that say something and that no manifest has, such as `app.exce`. They are not in the manifest.
    pub unknown: Vec<String>,
}

impl Draft {
    /// Reads a manifest in which `acKind` and `acVersion` may be missing. So may the labels `os` and `arch`: they are taken of
    /// `inherited` then, and a label of these that is empty is removed, `arch` together with `os`.
    ///
    /// # Errors
    /// As [`ImageManifest::parse`].
    pub fn parse(text: &[u8], inherited: &Labels) -> Result<Draft, Error> {
        let Tree(mut value) = serde_json::from_slice(text).map_err(|e| Error::from_json(&e))?;
        let Some(object) = value.as_object_mut() else { return Err(Error::mistyped(&value, "an object")) };
        object.retain(|_, value| !value.is_null());
        for (name, missing) in [("acKind", "ImageManifest"), ("acVersion", AcVersion::current().as_str())] {
            if field(object, name).is_none() {
                object.insert(name.to_owned(), Value::from(missing));
            }
        }
        if field(object, "labels").is_none() {
            object.insert("labels".to_owned(), json!([]));
        }
        if let Some(Value::Array(labels)) = field(object, "labels") {
            inherit(labels, inherited);
        }
        let manifest = ImageManifest::from_json(&value)?;
        manifest.validate()?;
        let written = serde_json::to_value(&manifest).map_err(|e| Error::from_json(&e))?;
        let mut unknown = Vec::new();
        find_unknown(&value, &written, "", &mut unknown);
        Ok(Draft { manifest, unknown })
    }
}

/// The field `name` of an object, found in any letter case.
fn field<'a>(object: &'a mut Map<String, Value>, name: &str) -> Option<&'a mut Value> {
    object.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// Completes the labels. What is no label is left for the reader to find.
fn inherit(labels: &mut Vec<Value>, inherited: &Labels) {
    let part = |label: &Value, wanted: &str| {
        let found = label.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.clone())
    };
    let is = |label: &Value, name: &str| part(label, "name") == Some(Value::from(name));
    let is_empty = |label: &Value| part(label, "value").is_none_or(|value| value.is_null() || value == "");
    for name in INHERITED {
        let given = labels.iter().any(|label| is(label, name));
        labels.retain(|label| !(is(label, name) && is_empty(label)));
        // An arch means nothing without an os.
        let has_meaning = name == "os" || labels.iter().any(|label| is(label, "os"));
        if let Some(value) = inherited.get(name).filter(|_| !given && has_meaning) {
            labels.push(json!({ "name": name, "value": value }));
        }
    }
}

/// The fields of `read` that are not in `written`.
fn find_unknown(read: &Value, written: &Value, path: &str, found: &mut Vec<String>) {
    match (read, written) {
        (Value::Object(read), Value::Object(written)) => {
            for (key, value) in read {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match written.iter().find(|(known, _)| known.eq_ignore_ascii_case(key)) {
                    Some((_, written)) => find_unknown(value, written, &path, found),
                    None if says_something(value) => found.push(path),
                    None => {}
                }
            }
        }
        (Value::Array(read), Value::Array(written)) if read.len() == written.len() => {
            for (i, (read, written)) in read.iter().zip(written).enumerate() {
                find_unknown(read, written, &format!("{path}[{i}]"), found);
            }
        }
        _ => {}
    }
}

/// Whether a field with this value is another than one without a value.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::appc::Label;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        let label = |(name, value): &(&str, &str)| Label { name: name.parse().unwrap(), value: (*value).to_owned() };
        Labels::new(pairs.iter().map(label).collect()).unwrap()
    }

    #[test]
    fn what_is_missing_follows_from_the_image_below() {
        let below = labels(&[("version", "7"), ("os", "linux"), ("arch", "amd64")]);
        for (given, expected) in [
            ("", &[("os", "linux"), ("arch", "amd64")][..]),
            (r#", "labels": null"#, &[("os", "linux"), ("arch", "amd64")]),
            (
                r#", "labels": [{"name": "version", "value": "1"}]"#,
                &[("version", "1"), ("os", "linux"), ("arch", "amd64")],
            ),
            (r#", "Labels": [{"Name": "arch", "Value": ""}]"#, &[("os", "linux")]),
            (r#", "labels": [{"name": "os"}]"#, &[]),
            (r#", "labels": [{"name": "os", "value": ""}, {"name": "version", "value": ""}]"#, &[("version", "")]),
            (r#", "labels": [{"name": "arch", "value": "i386"}]"#, &[("arch", "i386"), ("os", "linux")]),
            (r#", "labels": [{"name": "os", "value": "freebsd"}]"#, &[("os", "freebsd"), ("arch", "amd64")]),
        ] {
            let draft = Draft::parse(format!(r#"{{"name": "a"{given}}}"#).as_bytes(), &below).unwrap();
            let mut manifest = ImageManifest::new("a".parse().unwrap());
            manifest.labels = labels(expected);
            assert_eq!(draft, Draft { manifest, unknown: Vec::new() }, "{given}");
        }
        let own = Draft::parse(br#"{"acKind": "ImageManifest", "acVersion": "0.7.1", "name": "a"}"#, &labels(&[]));
        assert_eq!(own.unwrap().manifest.ac_version.as_str(), "0.7.1");
    }

    #[test]
    fn what_is_wrong_is_found() {
        for (text, error) in [
            ("", "line 1, column 0: not JSON: EOF while parsing a value"),
            ("[]", "a list is not an object"),
            ("{\n\"name\": \"a\",\n}", "line 3, column 1: not JSON: trailing comma"),
            ("{}", "name: required but missing"),
            (r#"{"name": "a", "acKind": "PodManifest"}"#, "acKind: \"PodManifest\" is not \"ImageManifest\""),
            (r#"{"name": "a", "labels": {}}"#, "labels: an object is not a list"),
            (r#"{"name": "a", "labels": [{"name": "os", "value": 5}]}"#, "labels[0].value: 5 is not a string"),
            (
                r#"{"name": "a", "labels": [{"name": "arch", "value": "vax"}]}"#,
                "labels[0].value: \"vax\" is an arch without an os beside it",
            ),
        ] {
            assert_eq!(Draft::parse(text.as_bytes(), &labels(&[])).unwrap_err().to_string(), error, "{text}");
        }
    }

    #[test]
    fn fields_that_no_manifest_has_are_named() {
        let text = br#"{"name": "a", "NAMES": ["b"], "ports": [], "app": {"exec": ["/x"], "user": "0", "group": "0",
            "supplementaryGids": [5], "Environment": [{"name": "A", "value": "", "velue": "b"}], "enviroment": [1]}}"#;
        let unknown = Draft::parse(text, &labels(&[])).unwrap().unknown;
        assert_eq!(unknown, ["NAMES", "app.Environment[0].velue", "app.enviroment"]);
    }
}
