//! `jetpack cp`

use std::str::FromStr;

use clap::Args;

use super::{Host, progress};
use crate::error::{Context, Error, Result};
use crate::stage1::lifecycle::Engine;
use crate::stage1::transfer::{Copying, Direction};

/// Copy files between a pod and its host
///
/// One of SOURCE and DESTINATION is in a pod: POD:PATH, or POD:APP:PATH. Directories are copied with all that is in them, but
/// not with what is mounted there. If DESTINATION is a directory, the copy goes into it; what is there already becomes one
/// with directories that come, and is replaced by files. A SOURCE that ends in /. means what is in it. Links are copied as
/// links. A pod that does not run is started for the copy, without its app.
///
/// What is copied into a pod belongs to its root, and what is copied out of it to who runs this, without set-user-ID and
/// set-group-ID bits, capabilities and devices.
#[derive(Debug, Args)]
pub(super) struct Cp {
    /// Keep owners, by number, and the rights that go with them
    #[arg(short = 'a', long)]
    archive: bool,
    /// Copy what SOURCE leads to if it is a link
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// What is copied
    #[arg(value_name = "SOURCE")]
    source: Place,
    /// Where it goes
    #[arg(value_name = "DESTINATION")]
    destination: Place,
}

/// A path on one side or the other.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Host(String),
    Pod { pod: String, app: Option<String>, path: String },
}

impl FromStr for Place {
    type Err = String;

    /// A colon before the first slash is what names a pod: for a file of the host with such a name write `./`.
    fn from_str(text: &str) -> std::result::Result<Place, String> {
        let pod = match text.split_once(':') {
            Some((pod, rest)) if !pod.is_empty() && !pod.contains('/') => Some((pod, rest)),
            _ => None,
        };
        let Some((pod, rest)) = pod else {
            return if text.is_empty() { Err("no path is named".to_owned()) } else { Ok(Place::Host(text.to_owned())) };
        };
        let (app, path) = match rest.split_once(':') {
            Some((app, path)) if !app.contains('/') => (Some(app).filter(|app| !app.is_empty()), path),
            _ => (None, rest),
        };
        if path.is_empty() {
            return Err("no path is named after the colon".to_owned());
        }
        Ok(Place::Pod { pod: pod.to_owned(), app: app.map(str::to_owned), path: path.to_owned() })
    }
}

impl Cp {
    pub(super) fn run(self, host: &Host) -> Result<u8> {
        let (pod, app, direction, inside, outside) = match (self.source, self.destination) {
            (Place::Pod { pod, app, path }, Place::Host(outside)) => (pod, app, Direction::Out, path, outside),
            (Place::Host(outside), Place::Pod { pod, app, path }) => (pod, app, Direction::In, path, outside),
            (Place::Host(_), Place::Host(_)) => {
                return Err(
                    Error::new("neither SOURCE nor DESTINATION is in a pod").help("write POD:PATH for one of them")
                );
            }
            (Place::Pod { .. }, Place::Pod { .. }) => {
                return Err(Error::new("SOURCE and DESTINATION are both in pods")
                    .help("copy to the host first, and from there into the other pod"));
            }
        };
        let store = host.store()?;
        let warn = |text: &str| host.warn(text);
        let engine = Engine::new(&store, &host.config, &warn)?;
        engine.reap()?;
        let pod = store.find_pod(&pod)?;
        let copying = Copying { direction, inside, outside, follow: self.follow_link, keep: self.archive };
        let what = || match direction {
            Direction::Out => format!("cannot copy from pod {}", pod.id),
            Direction::In => format!("cannot copy into pod {}", pod.id),
        };
        engine.copy(&pod, app.as_deref(), &copying, &*progress::shown(!host.global.quiet)).context(what)?;
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let pod = |pod: &str, app: Option<&str>, path: &str| {
            Ok(Place::Pod { pod: pod.to_owned(), app: app.map(str::to_owned), path: path.to_owned() })
        };
        let host = |path: &str| Ok(Place::Host(path.to_owned()));
        let table = [
            ("4f:/etc/passwd", pod("4f", None, "/etc/passwd")),
            ("4f::/etc", pod("4f", None, "/etc")),
            ("4f:web:/etc", pod("4f", Some("web"), "/etc")),
            ("4f:etc/a:b", pod("4f", None, "etc/a:b")),
            ("4f:/a:b", pod("4f", None, "/a:b")),
            ("file", host("file")),
            ("./a:b", host("./a:b")),
            ("/x/a:b", host("/x/a:b")),
            (":x", host(":x")),
            ("4f:", Err("no path is named after the colon".to_owned())),
            ("4f:web:", Err("no path is named after the colon".to_owned())),
            ("", Err("no path is named".to_owned())),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Place>(), expected, "{text}");
        }
    }
}
