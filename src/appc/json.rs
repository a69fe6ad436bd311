//! From JSON text to checked types.
//!
//! The reading is done in two steps. The text becomes a tree in which no object has a key twice; then each type takes its
//! fields from the tree through [`Fields`], which finds names in any letter case (the specification writes both
//! `supplementaryGIDs` and `supplementaryGids`, and the first implementations never minded the case of a name), takes null
//! for absent, and puts the path of the field into every error. Derived deserialisation offers none of the three.
//!
//! Reading checks shapes; the rules between fields are in each type's `validate`, so that values built in memory are held to
//! the same ones.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::error::{Error, quoted};

/// A type that can be read from a JSON value. Shape and single values are checked, rules between fields are not.
pub(super) trait FromJson: Sized {
    /// Reads one; the path in the error is relative to `value`.
    fn from_json(value: &Value) -> Result<Self, Error>;
}

/// Reads a whole document; its depth is bounded by the JSON reader (128).
pub(super) fn parse<T: FromJson>(text: &[u8]) -> Result<T, Error> {
    let Tree(value) = serde_json::from_slice(text).map_err(|e| Error::from_json(&e))?;
    T::from_json(&value)
}

/// A JSON value in which no object has the same key twice.
pub(super) struct Tree(pub(super) Value);

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor).map(Tree)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Tree(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("duplicate key {}", quoted(&key))));
            }
            let Tree(value) = entries.next_value()?;
            map.insert(key, value);
        }
        Ok(Value::Object(map))
    }
}

/// The fields of one object, found by name in any letter case. What nobody asks for is ignored.
pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// The fields of `value`, which must be an object.
    pub(super) fn of(value: &'a Value) -> Result<Self, Error> {
        value.as_object().map(Fields).ok_or_else(|| Error::mistyped(value, "an object"))
    }

    /// The raw value of `name`, null included.
    pub(super) fn raw(&self, name: &str) -> Result<Option<&'a Value>, Error> {
        let mut found = self.0.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name));
        let first = found.next();
        match found.next() {
            Some((again, _)) => Err(Error::new(format!("given twice, also as {}", quoted(again))).field(name)),
            None => Ok(first.map(|(_, value)| value)),
        }
    }

    /// The value of `name`, or none where it is absent or null.
    pub(super) fn optional<T: FromJson>(&self, name: &str) -> Result<Option<T>, Error> {
        match self.raw(name)? {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::from_json(value).map(Some).map_err(|e| e.field(name)),
        }
    }

    /// The value of `name`, which must be there.
    pub(super) fn required<T: FromJson>(&self, name: &str) -> Result<T, Error> {
        self.optional(name)?.ok_or_else(|| Error::missing(name))
    }

    /// The value of `name`, or the type's empty one.
    pub(super) fn or_default<T: FromJson + Default>(&self, name: &str) -> Result<T, Error> {
        Ok(self.optional(name)?.unwrap_or_default())
    }

    /// The text of `name`, or none where it is absent, null or empty.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Error> {
        Ok(self.optional::<String>(name)?.filter(|text| !text.is_empty()))
    }

    /// The text of `name`, which must be there and not empty.
    pub(super) fn required_text(&self, name: &str) -> Result<String, Error> {
        self.text(name)?.ok_or_else(|| Error::missing(name))
    }
}

impl FromJson for bool {
    fn from_json(value: &Value) -> Result<Self, Error> {
        value.as_bool().ok_or_else(|| Error::mistyped(value, "true or false"))
    }
}

impl FromJson for String {
    fn from_json(value: &Value) -> Result<Self, Error> {
        value.as_str().map(str::to_owned).ok_or_else(|| Error::mistyped(value, "a string"))
    }
}

/// Implements [`FromJson`] for unsigned integers, which must fit.
macro_rules! unsigned_from_json {
    ($($integer:ty)+) => {$(
        impl FromJson for $integer {
            fn from_json(value: &Value) -> Result<Self, Error> {
                value.as_u64().and_then(|number| <$integer>::try_from(number).ok()).ok_or_else(|| {
                    Error::mistyped(value, &format!("an integer between 0 and {}", <$integer>::MAX))
                })
            }
        }
    )+};
}
unsigned_from_json!(u16 u32 u64);

impl<T: FromJson> FromJson for Vec<T> {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let items = value.as_array().ok_or_else(|| Error::mistyped(value, "a list"))?;
        items.iter().enumerate().map(|(i, item)| T::from_json(item).map_err(|e| e.index(i))).collect()
    }
}

impl<T: FromJson> FromJson for BTreeMap<String, T> {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let entries = value.as_object().ok_or_else(|| Error::mistyped(value, "an object"))?;
        entries.iter().map(|(key, entry)| Ok((key.clone(), T::from_json(entry).map_err(|e| e.key(key))?))).collect()
    }
}

/// Implements `Deserialize` through [`FromJson`] and `validate`, for types that are also read outside a manifest.
macro_rules! deserialize_checked {
    ($($name:ty)+) => {$(
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let tree = $crate::appc::json::Tree::deserialize(deserializer)?;
                let read = <$name as $crate::appc::json::FromJson>::from_json(&tree.0);
                read.and_then(|value| value.validate().map(|()| value)).map_err(serde::de::Error::custom)
            }
        }
    )+};
}
pub(super) use deserialize_checked;

#[cfg(test)]
mod tests {
    use super::*;

    fn fields_of<T>(text: &str, read: impl Fn(&Fields<'_>) -> Result<T, Error>) -> Result<T, String> {
        let tree: Tree = serde_json::from_str(text).map_err(|e| Error::from_json(&e).to_string())?;
        Fields::of(&tree.0).and_then(|fields| read(&fields)).map_err(|e| e.to_string())
    }

    #[test]
    fn names_are_found_in_any_case_once() {
        let read = |fields: &Fields<'_>| fields.required::<u16>("someID");
        for (text, wanted) in [
            (r#"{"someID": 1}"#, Ok(1)),
            (r#"{"SOMEid": 1, "other": {}}"#, Ok(1)),
            (r#"{"someId": 1, "someID": 1}"#, Err("someID: given twice, also as \"someId\"")),
            (r#"{"someID": null}"#, Err("someID: required but missing")),
            (r#"{}"#, Err("someID: required but missing")),
            (r#"{"someID": 65536}"#, Err("someID: 65536 is not an integer between 0 and 65535")),
            (r#"{"someID": -1}"#, Err("someID: -1 is not an integer between 0 and 65535")),
            (r#"{"someID": 1.5}"#, Err("someID: 1.5 is not an integer between 0 and 65535")),
            (r#"{"someID": "1"}"#, Err("someID: \"1\" is not an integer between 0 and 65535")),
            (r#"[1]"#, Err("a list is not an object")),
        ] {
            assert_eq!(fields_of(text, read), wanted.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn duplicates_and_bad_text_have_a_position() {
        for (text, wanted) in [
            ("{\"a\": 1,\n \"a\": 2}", "line 2, column 4: duplicate key \"a\""),
            ("{\"a\": [{\"b\": 1, \"b\": 1}]}", "line 1, column 19: duplicate key \"b\""),
            ("", "line 1, column 0: not JSON: EOF while parsing a value"),
            ("{\n  \"a\" 1}", "line 2, column 7: not JSON: expected `:`"),
            ("{} x", "line 1, column 4: not JSON: trailing characters"),
        ] {
            let error = serde_json::from_str::<Tree>(text).map_err(|e| Error::from_json(&e).to_string());
            assert_eq!(error.err().as_deref(), Some(wanted), "{text}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(100_000);
        let error = serde_json::from_str::<Tree>(&deep).map_err(|e| Error::from_json(&e).to_string()).err();
        assert_eq!(error.as_deref(), Some("line 1, column 128: not JSON: recursion limit exceeded"));
    }

    #[test]
    fn errors_inside_lists_and_maps_have_paths() {
        let list = |fields: &Fields<'_>| fields.or_default::<Vec<String>>("l");
        assert_eq!(fields_of(r#"{"l": ["a", null]}"#, list), Err("l[1]: null is not a string".to_owned()));
        assert_eq!(fields_of(r#"{"l": "a"}"#, list), Err("l: \"a\" is not a list".to_owned()));
        assert_eq!(fields_of(r#"{"l": null}"#, list), Ok(vec![]));
        let map = |fields: &Fields<'_>| fields.or_default::<BTreeMap<String, String>>("m");
        assert_eq!(fields_of(r#"{"m": {"k": 1}}"#, map), Err("m[\"k\"]: 1 is not a string".to_owned()));
        let text = |fields: &Fields<'_>| fields.required_text("t");
        assert_eq!(fields_of(r#"{"t": ""}"#, text), Err("t: required but missing".to_owned()));
    }
}
