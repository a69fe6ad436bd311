//! What is wrong with a manifest, and where in it.

use std::fmt;

use serde_json::Value;

/// The longest piece of an offending value that an error repeats, in characters.
const SHOWN: usize = 80;

/// A manifest, or a part of one, that is not what the specification allows.
///
/// It prints as `app.workingDirectory: "srv/www" is not an absolute path`: the path of the field in the JSON document, then
/// the offending value (shortened, control characters escaped) and what is wrong with it. Text that is not JSON at all has
/// its line and column in place of the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    path: String,
    problem: String,
}

impl Error {
    /// A problem whose place is not known yet; the readers above add it with [`Error::field`] and [`Error::index`].
    pub(super) fn new(problem: impl Into<String>) -> Self {
        Error { path: String::new(), problem: problem.into() }
    }

    /// `VALUE is not WANTED`, for a string.
    pub(super) fn bad(value: &str, wanted: impl fmt::Display) -> Self {
        Error::new(format!("{} {wanted}", quoted(value)))
    }

    /// `VALUE is not WANTED`, for a JSON value of the wrong type.
    pub(super) fn mistyped(value: &Value, wanted: &str) -> Self {
        let shown = match value {
            Value::Object(_) => "an object".to_owned(),
            Value::Array(_) => "a list".to_owned(),
            Value::String(text) => quoted(text),
            scalar => scalar.to_string(),
        };
        Error::new(format!("{shown} is not {wanted}"))
    }

    /// A required field that is absent, null or empty.
    pub(super) fn missing(name: &str) -> Self {
        Error::new("required but missing").field(name)
    }

    /// The same problem, found inside the field `name`.
    #[must_use]
    pub(super) fn field(self, name: &str) -> Self {
        let path = match self.path.as_str() {
            "" => name.to_owned(),
            inner if inner.starts_with('[') => format!("{name}{inner}"),
            inner => format!("{name}.{inner}"),
        };
        Error { path, ..self }
    }

    /// The same problem, found inside element `index` of a list.
    #[must_use]
    pub(super) fn index(self, index: usize) -> Self {
        self.field(&format!("[{index}]"))
    }

    /// The same problem, found inside entry `key` of a map whose keys are free text.
    #[must_use]
    pub(super) fn key(self, key: &str) -> Self {
        self.field(&format!("[{}]", quoted(key)))
    }

    /// The JSON reader's refusal, with the position taken out of its text and put in front.
    pub(super) fn from_json(error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let said = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
        let problem = if error.is_data() { said.to_owned() } else { format!("not JSON: {said}") };
        Error { path: format!("line {line}, column {column}"), problem }
    }

    /// Where the problem is: a path such as `app.ports[0].name`, `line 3, column 7` for text that is not JSON, or nothing for
    /// a single value that was not part of a document.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong there.
    pub fn problem(&self) -> &str {
        &self.problem
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.problem) } else { write!(f, "{}: {}", self.path, self.problem) }
    }
}

impl std::error::Error for Error {}

/// `text` between quotes with control characters escaped, cut when it is long.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_grow_outwards() {
        let error = Error::bad("x", "is bad").field("name").index(2).field("ports").field("app");
        assert_eq!(error.to_string(), "app.ports[2].name: \"x\" is bad");
        assert_eq!(error.path(), "app.ports[2].name");
        let error = Error::new("odd").key("a b").field("userLabels");
        assert_eq!(error.to_string(), "userLabels[\"a b\"]: odd");
    }

    #[test]
    fn values_are_shortened_and_escaped() {
        assert_eq!(quoted("a\u{1b}[2J\n"), r#""a\u{1b}[2J\n""#);
        assert_eq!(quoted(&"ä".repeat(SHOWN)).chars().count(), SHOWN + 2);
        assert_eq!(quoted(&"ä".repeat(SHOWN + 1)).chars().count(), SHOWN + 3);
    }
}
