//! `jetpack cp`

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};
use serde::Serialize;

use super::{Host, output, progress};
use crate::error::{Context, Error, Result};
use crate::stage1::lifecycle::{Engine, Exit};
use crate::stage1::transfer::{Copying, Direction};

/// Copy files between a pod and its host
///
/// One of SOURCE and DESTINATION is in a pod: POD:PATH, or POD:APP:PATH. Directories are copied with all that is in them, but
/// not with what is mounted there. If DESTINATION is a directory, the copy goes into it; what is there already becomes one
/// with directories that come, and is replaced by files. A SOURCE that ends in /. means what is in it. Links are copied as
/// links. A pod that does not run is started for the copy, without its app. It may go on working meanwhile: what vanishes is left
/// out, and a file that changes may be cut short or end in zeros, with a warning.
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
    #[arg(value_name = "SOURCE", value_parser = OsStringValueParser::new().try_map(|text| Place::parse(&text)))]
    source: Place,
    /// Where it goes
    #[arg(value_name = "DESTINATION", value_parser = OsStringValueParser::new().try_map(|text| Place::parse(&text)))]
    destination: Place,
}

/// A path on one side or the other.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Host(OsString),
    Pod { pod: String, app: Option<String>, path: OsString },
}

/// What was copied, as JSON.
#[derive(Serialize)]
struct Copied<'a> {
    pod: String,
    direction: &'a str,
    source: String,
    destination: String,
}

impl Place {
    /// A colon before the first slash is what names a pod: for a file of the host with such a name write `./`. Paths are bytes.
    fn parse(text: &OsStr) -> std::result::Result<Place, String> {
        let bytes = text.as_bytes();
        let split =
            |bytes: &'_ [u8]| bytes.iter().position(|byte| matches!(byte, b':' | b'/')).filter(|at| bytes[*at] == b':');
        let Some(colon) = split(bytes).filter(|at| *at > 0) else {
            return if bytes.is_empty() {
                Err("no path is named".to_owned())
            } else {
                Ok(Place::Host(text.to_owned()))
            };
        };
        let name = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let rest = &bytes[colon + 1..];
        let (app, path) = match split(rest) {
            Some(at) => (Some(name(&rest[..at])).filter(|app| !app.is_empty()), &rest[at + 1..]),
            None => (None, rest),
        };
        if path.is_empty() {
            return Err("no path is named after the colon".to_owned());
        }
        Ok(Place::Pod { pod: name(&bytes[..colon]), app, path: OsStr::from_bytes(path).to_owned() })
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
        let (follow, keep, quiet) = (self.follow_link, self.archive, host.global.quiet);
        let copying = Copying { direction, inside, outside, follow, keep, quiet };
        let what = || match direction {
            Direction::Out => format!("cannot copy from pod {}", pod.id),
            Direction::In => format!("cannot copy into pod {}", pod.id),
        };
        let exit = engine.copy(&pod, app.as_deref(), &copying, &*progress::shown(!quiet)).context(what)?;
        if let Exit::Signal(_) = exit {
            output::error(&Error::with_source(what(), exit.to_string()));
        } else if host.json() {
            output::json(&copied(&pod.id.to_string(), &copying))?;
        }
        Ok(exit.code())
    }
}

fn copied<'a>(pod: &str, copying: &Copying) -> Copied<'a> {
    let (inside, outside) = (copying.inside.to_string_lossy(), copying.outside.to_string_lossy());
    let ((source, destination), direction) = match copying.direction {
        Direction::Out => ((inside, outside), "out"),
        Direction::In => ((outside, inside), "in"),
    };
    Copied { pod: pod.to_owned(), direction, source: source.into_owned(), destination: destination.into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_bytes() {
        let path = OsStr::from_bytes(b"/x\xff").to_owned();
        let place = Place::Pod { pod: "4f".to_owned(), app: None, path };
        assert_eq!(Place::parse(OsStr::from_bytes(b"4f:/x\xff")), Ok(place));
        assert_eq!(Place::parse(OsStr::from_bytes(b"\xff")), Ok(Place::Host(OsStr::from_bytes(b"\xff").to_owned())));
    }

    #[test]
    fn places() {
        let pod = |pod: &str, app: Option<&str>, path: &str| {
            Ok(Place::Pod { pod: pod.to_owned(), app: app.map(str::to_owned), path: path.into() })
        };
        let host = |path: &str| Ok(Place::Host(path.into()));
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
            ("::x", host("::x")),
            ("/x", host("/x")),
            ("4f:", Err("no path is named after the colon".to_owned())),
            ("4f:web:", Err("no path is named after the colon".to_owned())),
            ("", Err("no path is named".to_owned())),
        ];
        for (text, expected) in table {
            assert_eq!(Place::parse(OsStr::new(text)), expected, "{text}");
        }
    }
}
