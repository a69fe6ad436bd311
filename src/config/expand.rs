//! `${other.key}` in values.
//!
//! A reference to a key that nobody knows, and to one that has no value, is an error: half a path is worse than none. One to
//! a key that was set to nothing expands to nothing. There is no way to write a literal `${`, and the environment is not
//! consulted.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::Error;
use super::keys;
use super::{Origin, Raw, Value};

/// How deep references may nest, and how long a value may become.
const DEPTH: usize = 64;
const LENGTH: usize = 64 * 1024;

/// Expands all values. A value that contains a secret one is secret too.
pub(super) fn expand(file: &Path, raw: &BTreeMap<String, Raw>) -> Result<BTreeMap<String, Value>, Error> {
    let mut expander = Expander { file, raw, done: BTreeMap::new(), active: Vec::new() };
    for (key, raw) in raw {
        expander.key(key, raw)?;
    }
    Ok(expander.done)
}

struct Expander<'a> {
    file: &'a Path,
    raw: &'a BTreeMap<String, Raw>,
    done: BTreeMap<String, Value>,
    /// The keys being expanded, outermost first.
    active: Vec<&'a str>,
}

impl<'a> Expander<'a> {
    /// Makes sure that `key` is in `done`.
    fn key(&mut self, key: &'a str, raw: &'a Raw) -> Result<(), Error> {
        if self.done.contains_key(key) {
            return Ok(());
        }
        self.active.push(key);
        let mut value = Value { text: String::new(), origin: raw.origin, secret: keys::is_secret(key) };
        let mut rest = raw.text.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').ok_or_else(|| self.wrong("a ${ is not closed"))?;
            value.text.push_str(before);
            let referred = self.reference(name)?;
            value.text.push_str(&referred.text);
            value.secret |= referred.secret;
            if value.text.len() > LENGTH {
                return Err(self.wrong(format!("{key} is too long when expanded")));
            }
            rest = after;
        }
        value.text.push_str(rest);
        self.done.insert(key.to_owned(), value);
        self.active.pop();
        Ok(())
    }

    /// The value that `${name}` stands for inside the innermost active key.
    fn reference(&mut self, name: &str) -> Result<&Value, Error> {
        if let Some(start) = self.active.iter().position(|k| *k == name) {
            let cycle = &self.active[start..];
            let what = format!("these keys refer to each other in a circle: {} -> {name}", cycle.join(" -> "));
            // Defaults alone make no circle: name the part that somebody wrote.
            let key = cycle.iter().find(|k| self.raw[**k].origin != Origin::Default).copied().unwrap_or(name);
            return Err(Error::in_setting(self.file, key, self.raw[key].origin, what));
        }
        if self.active.len() >= DEPTH {
            return Err(self.wrong(format!("references nest deeper than {DEPTH}")));
        }
        let Some((key, raw)) = self.raw.get_key_value(name) else {
            let known = if keys::find(name).is_some() { "has no value" } else { "is not a known key" };
            return Err(self.wrong(format!("${{{name}}}: {name} {known}")));
        };
        self.key(key, raw)?;
        Ok(&self.done[name])
    }

    /// An error at the place of the innermost active key.
    fn wrong(&self, what: impl Into<String>) -> Error {
        let key = self.active.last().copied().unwrap_or_default();
        Error::in_setting(self.file, key, self.raw[key].origin, what)
    }
}
