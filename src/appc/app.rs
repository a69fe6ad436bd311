//! How an app is executed (aci.md, the `app` of the Image Manifest Schema).

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use serde_json::Value;

use super::error::Error;
use super::isolator::{self, Isolator};
use super::json::{Fields, FromJson, deserialize_checked};
use super::port::Port;
use super::volume::{MountPoint, check_absolute, check_no_nul};

/// The parameters to execute an image's program, as the image gives them or as a pod manifest puts them in their place.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct App {
    /// The program and its arguments; may be empty. A program without `/` is sought in `PATH`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exec: Vec<String>,
    /// A user's name, a number, or the absolute path of a file in the image whose owner is meant; never empty.
    pub user: String,
    /// A group's name, a number, or the absolute path of a file in the image whose group is meant; never empty.
    pub group: String,
    /// Further group ids.
    #[serde(rename = "supplementaryGIDs", skip_serializing_if = "Vec::is_empty")]
    pub supplementary_gids: Vec<u32>,
    /// What is run before and after; at most one for each event.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub event_handlers: Vec<EventHandler>,
    /// The absolute directory that the program starts in; `/` where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<String>,
    /// Environment variables in order, no two with the same name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment: Vec<EnvVar>,
    /// Where data from outside is expected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mount_points: Vec<MountPoint>,
    /// Where the app will listen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<Port>,
    /// Limits and confinement.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub isolators: Vec<Isolator>,
    /// The user's own data; never changes what is done.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user_annotations: BTreeMap<String, String>,
    /// The user's own labels; never change what is done.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user_labels: BTreeMap<String, String>,
}

/// An environment variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnvVar {
    /// A letter or `_`, then letters, digits, `_`, `.` and `-`.
    pub name: String,
    /// Any text without NUL.
    pub value: String,
}

/// A moment in an app's life at which something may be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventName {
    /// Before the program; it has to exit first.
    PreStart,
    /// After the program has been killed or has exited.
    PostStop,
}

/// What is run at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventHandler {
    /// When.
    pub name: EventName,
    /// The program and its arguments; may be empty.
    pub exec: Vec<String>,
}

impl App {
    /// An app that runs `exec` as this user and group, with nothing else set.
    pub fn new(exec: Vec<String>, user: impl Into<String>, group: impl Into<String>) -> Self {
        App {
            exec,
            user: user.into(),
            group: group.into(),
            supplementary_gids: Vec::new(),
            event_handlers: Vec::new(),
            working_directory: None,
            environment: Vec::new(),
            mount_points: Vec::new(),
            ports: Vec::new(),
            isolators: Vec::new(),
            user_annotations: BTreeMap::new(),
            user_labels: BTreeMap::new(),
        }
    }

    /// What is run at this event, if anything.
    pub fn event_handler(&self, name: EventName) -> Option<&EventHandler> {
        self.event_handlers.iter().find(|handler| handler.name == name)
    }

    /// The value of the environment variable called `name`.
    pub fn env(&self, name: &str) -> Option<&str> {
        self.environment.iter().find(|var| var.name == name).map(|var| var.value.as_str())
    }

    /// Checks everything that parsing checks, for an app built or changed in memory.
    ///
    /// # Errors
    /// A program, user or group that is an empty string, a relative path where an absolute one belongs, a NUL character,
    /// a bad or repeated variable, event, port or isolator.
    pub fn validate(&self) -> Result<(), Error> {
        check_exec(&self.exec)?;
        for (name, text) in [("user", &self.user), ("group", &self.group)] {
            if text.is_empty() {
                return Err(Error::missing(name));
            }
            check_no_nul(text).map_err(|e| e.field(name))?;
        }
        if let Some(directory) = &self.working_directory {
            check_absolute(directory).map_err(|e| e.field("workingDirectory"))?;
        }
        self.check_event_handlers().map_err(|e| e.field("eventHandlers"))?;
        self.check_environment().map_err(|e| e.field("environment"))?;
        for (i, point) in self.mount_points.iter().enumerate() {
            point.validate().map_err(|e| e.index(i).field("mountPoints"))?;
        }
        for (i, port) in self.ports.iter().enumerate() {
            port.validate().map_err(|e| e.index(i).field("ports"))?;
        }
        isolator::check_set(&self.isolators).map_err(|e| e.field("isolators"))
    }

    fn check_event_handlers(&self) -> Result<(), Error> {
        let mut seen = HashSet::new();
        for (i, handler) in self.event_handlers.iter().enumerate() {
            if !seen.insert(handler.name) {
                return Err(Error::bad(handler.name.as_str(), "is there already").field("name").index(i));
            }
            check_exec(&handler.exec).map_err(|e| e.index(i))?;
        }
        Ok(())
    }

    fn check_environment(&self) -> Result<(), Error> {
        let mut seen = HashSet::new();
        for (i, var) in self.environment.iter().enumerate() {
            var.validate().map_err(|e| e.index(i))?;
            if !seen.insert(var.name.as_str()) {
                return Err(Error::bad(&var.name, "is there already").field("name").index(i));
            }
        }
        Ok(())
    }
}

/// Checks a program with its arguments; none at all is allowed.
fn check_exec(exec: &[String]) -> Result<(), Error> {
    if exec.first().is_some_and(String::is_empty) {
        return Err(Error::new("the program is empty").index(0).field("exec"));
    }
    for (i, word) in exec.iter().enumerate() {
        check_no_nul(word).map_err(|e| e.index(i).field("exec"))?;
    }
    Ok(())
}

impl EnvVar {
    /// Checks the name and the value.
    ///
    /// # Errors
    /// A name that does not begin with a letter or `_` or has other characters than letters, digits, `_`, `.` and `-`; a NUL
    /// in the value.
    pub fn validate(&self) -> Result<(), Error> {
        let begins = self.name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let is_rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        if !begins || !self.name.bytes().all(is_rest) {
            return Err(Error::bad(&self.name, "is not the name of an environment variable").field("name"));
        }
        check_no_nul(&self.value).map_err(|e| e.field("value"))
    }
}

impl EventName {
    /// The word in the manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            EventName::PreStart => "pre-start",
            EventName::PostStop => "post-stop",
        }
    }
}

impl FromJson for EventName {
    fn from_json(value: &Value) -> Result<Self, Error> {
        match String::from_json(value)?.as_str() {
            "pre-start" => Ok(EventName::PreStart),
            "post-stop" => Ok(EventName::PostStop),
            other => Err(Error::bad(other, "is not an event (pre-start, post-stop)")),
        }
    }
}

impl FromJson for EventHandler {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let fields = Fields::of(value)?;
        Ok(EventHandler { name: fields.required("name")?, exec: fields.or_default("exec")? })
    }
}

impl FromJson for EnvVar {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let fields = Fields::of(value)?;
        Ok(EnvVar { name: fields.required_text("name")?, value: fields.or_default("value")? })
    }
}

impl FromJson for App {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let fields = Fields::of(value)?;
        Ok(App {
            exec: fields.or_default("exec")?,
            user: fields.required_text("user")?,
            group: fields.required_text("group")?,
            supplementary_gids: fields.or_default("supplementaryGIDs")?,
            event_handlers: fields.or_default("eventHandlers")?,
            working_directory: fields.text("workingDirectory")?,
            environment: fields.or_default("environment")?,
            mount_points: fields.or_default("mountPoints")?,
            ports: fields.or_default("ports")?,
            isolators: fields.or_default("isolators")?,
            user_annotations: fields.or_default("userAnnotations")?,
            user_labels: fields.or_default("userLabels")?,
        })
    }
}

deserialize_checked!(App);

#[cfg(test)]
mod tests {
    use super::*;

    fn app(fields: &str) -> Result<App, String> {
        let text = format!(r#"{{"user": "0", "group": "0" {fields}}}"#);
        serde_json::from_str(&text).map_err(|e| e.to_string())
    }

    #[test]
    fn accepted() {
        for fields in [
            "",
            r#", "exec": null"#,
            r#", "exec": []"#,
            r#", "exec": ["app", ""]"#,
            r#", "exec": ["bin/app", "arg"], "workingDirectory": "/tmp""#,
            r#", "workingDirectory": """#,
            r#", "eventHandlers": [{"name": "pre-start"}, {"name": "post-stop", "exec": ["/x"]}]"#,
            r#", "environment": [{"name": "_0", "value": "a=b"}, {"name": "DEBUG.0-x"}]"#,
            r#", "SupplementaryGids": [4294967295], "userLabels": {"one!": "two?"}, "unknown": {"x": 1}"#,
            r#", "mountPoints": [{"name": "a", "path": "/a"}, {"name": "a", "path": "/b"}]"#,
        ] {
            assert!(app(fields).is_ok(), "{fields}: {:?}", app(fields));
        }
    }

    #[test]
    fn refused() {
        for (fields, error) in [
            (r#", "exec": [""]"#, "exec[0]: the program is empty"),
            (r#", "exec": ["a", "\u0000"]"#, r#"exec[1]: "\0" has a NUL character in it"#),
            (r#", "exec": "/bin/sh""#, "exec: \"/bin/sh\" is not a list"),
            (r#", "exec": ["/bin/sh", 5]"#, "exec[1]: 5 is not a string"),
            (r#", "workingDirectory": "srv/www""#, "workingDirectory: \"srv/www\" is not an absolute path"),
            (r#", "workingDirectory": ["/"]"#, "workingDirectory: a list is not a string"),
            (
                r#", "eventHandlers": [{"name": "pre-start"}, {"name": "pre-start"}]"#,
                "eventHandlers[1].name: \"pre-start\" is there already",
            ),
            (
                r#", "eventHandlers": [{"name": "crash"}]"#,
                "eventHandlers[0].name: \"crash\" is not an event (pre-start, post-stop)",
            ),
            (
                r#", "environment": [{"name": "0DEBUG", "value": ""}]"#,
                "environment[0].name: \"0DEBUG\" is not the name of an environment variable",
            ),
            (
                r#", "environment": [{"name": "A|B"}]"#,
                "environment[0].name: \"A|B\" is not the name of an environment variable",
            ),
            (r#", "environment": [{"name": "A"}, {"name": "A"}]"#, "environment[1].name: \"A\" is there already"),
            (r#", "environment": [{"value": "A"}]"#, "environment[0].name: required but missing"),
            (r#", "supplementaryGIDs": [-1]"#, "supplementaryGIDs[0]: -1 is not an integer between 0 and 4294967295"),
            (
                r#", "supplementaryGIDs": [], "supplementaryGids": []"#,
                "supplementaryGIDs: given twice, also as \"supplementaryGids\"",
            ),
            (r#", "mountPoints": [{"name": "a", "path": "b"}]"#, "mountPoints[0].path: \"b\" is not an absolute path"),
            (r#", "userLabels": {"a": 1}"#, "userLabels[\"a\"]: 1 is not a string"),
        ] {
            assert_eq!(app(fields), Err(error.to_owned()));
        }
        let nobody: Result<App, _> = serde_json::from_str(r#"{"user": "", "group": "0"}"#);
        assert_eq!(nobody.unwrap_err().to_string(), "user: required but missing");
    }

    #[test]
    fn lookups() {
        let mut app = App::new(vec!["sh".to_owned()], "root", "wheel");
        app.environment.push(EnvVar { name: "A".to_owned(), value: "1".to_owned() });
        app.event_handlers.push(EventHandler { name: EventName::PostStop, exec: vec![] });
        assert_eq!((app.env("A"), app.env("B")), (Some("1"), None));
        assert!(app.event_handler(EventName::PostStop).is_some() && app.event_handler(EventName::PreStart).is_none());
        assert_eq!(app.validate(), Ok(()));
        app.group.clear();
        assert!(app.validate().is_err());
    }
}
