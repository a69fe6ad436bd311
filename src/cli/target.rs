//! `POD[:APP]` on the command line.

use std::str::FromStr;

use crate::error::{Error, Result};
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

/// The pod that a word means which may mean an image, too; none if it means no pod.
///
/// # Errors
/// It fits several things (the error lists them).
pub(super) fn pod_or_image(store: &Store, word: &str) -> Result<Option<Pod>> {
    let pods = store.pods_like(word)?;
    let Some(pod) = pods.first() else { return Ok(None) };
    if pod.id.to_string() != word {
        let images = store.find_images(word).unwrap_or_default();
        if !images.is_empty() || pods.len() > 1 {
            let pods = pods.iter().map(|pod| format!("pod {}", pod.id));
            let images = images.iter().map(|image| format!("image {} ({})", image.id.short(), image.manifest.name));
            let all: Vec<String> = pods.chain(images).collect();
            return Err(Error::new(format!("{word:?} fits several: {}", all.join(", "))).help("give more of it"));
        }
    }
    Ok(Some(pod.clone()))
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
