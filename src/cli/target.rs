//! `POD[:APP]` on the command line.

use std::str::FromStr;

use crate::error::Result;
use crate::stage0::pod::Pod;
use crate::stage0::store::Store;

/// A pod, and perhaps one of its apps, as a person has named them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pod: String,
    app: Option<String>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Target, String> {
        let (pod, app) = match text.split_once(':') {
            Some((_, "")) => return Err("no app is named after the colon".to_owned()),
            Some((pod, app)) => (pod, Some(app.to_owned())),
            None => (text, None),
        };
        Ok(Target { pod: pod.to_owned(), app })
    }
}

impl Target {
    /// The pod.
    ///
    /// # Errors
    /// There is none, or the reference fits several.
    pub(super) fn pod(&self, store: &Store) -> Result<Pod> {
        store.find_pod(&self.pod)
    }

    /// The name of the app, if one was named.
    pub(super) fn app(&self) -> Option<&str> {
        self.app.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_and_apps() {
        let table = [
            ("4f", Ok(("4f", None))),
            ("4f:web", Ok(("4f", Some("web")))),
            (":web", Ok(("", Some("web")))),
            ("4f:web:x", Ok(("4f", Some("web:x")))),
            ("4f:", Err("no app is named after the colon")),
        ];
        for (text, expected) in table {
            let got = text.parse::<Target>();
            let got = got.as_ref().map(|t| (t.pod.as_str(), t.app())).map_err(String::as_str);
            assert_eq!(got, expected, "{text}");
        }
    }
}
