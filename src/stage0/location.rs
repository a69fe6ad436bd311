//! Where a file comes from, as people write it: a path, standard input, or a URL.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use crate::error::{Context, Error, Result};

/// The place of an archive, a signature or a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A file of this host: what is no URL, and what a `file:` URL names.
    Path(PathBuf),
    /// `-`.
    StandardInput,
    /// `https:` or `http:`. Whether plain HTTP is allowed is decided when it is fetched.
    Web(Url),
}

impl Location {
    /// The place of the signature that is published beside what is here: the same with `.asc` behind its path. Nothing
    /// stands beside standard input.
    pub fn signature(&self) -> Option<Location> {
        match self {
            Location::StandardInput => None,
            Location::Path(path) => {
                let mut name = path.clone().into_os_string();
                name.push(".asc");
                Some(Location::Path(name.into()))
            }
            Location::Web(url) => Some(Location::Web(signature_of(url))),
        }
    }
}

/// The URL of the signature that is published beside a file: the same with `.asc` behind its path.
pub fn signature_of(url: &Url) -> Url {
    let mut signature = url.clone();
    signature.set_path(&format!("{}.asc", url.path()));
    signature
}

impl FromStr for Location {
    type Err = Error;

    fn from_str(text: &str) -> Result<Location> {
        let is_scheme = |text: &&str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let scheme = text.split_once(':').map(|(scheme, _)| scheme).filter(is_scheme);
        match scheme.map(str::to_ascii_lowercase).as_deref() {
            _ if text == "-" => Ok(Location::StandardInput),
            Some("file") => file(text).map(Location::Path),
            Some("http" | "https") => web_url(text).map(Location::Web),
            Some(scheme) if text[scheme.len()..].starts_with("://") => {
                Err(Error::new(format!("cannot read from {scheme}: URLs"))
                    .help(format!("write a path, -, or a file: or https: URL; a file of that name is ./{text}")))
            }
            _ => Ok(Location::Path(PathBuf::from(text))),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Location::Path(path) => path.display().fmt(f),
            Location::StandardInput => f.write_str("standard input"),
            Location::Web(url) => url.fmt(f),
        }
    }
}

/// The path that a `file:` URL names: absolute, `%` and two digits standing for a byte (RFC 8089).
fn file(text: &str) -> Result<PathBuf> {
    let wrong = || Error::new(format!("{text} names no file of this host")).help("write file:///the/whole/path");
    let url = Url::parse(text).map_err(|_| wrong())?;
    // Without a slash of its own the path would be taken from the top.
    let is_absolute = text["file:".len()..].starts_with('/');
    url.to_file_path().ok().filter(|_| is_absolute).ok_or_else(wrong)
}

/// Reads an `https:` or `http:` URL that can be fetched. What stands behind `#` is for readers of pages and is left out.
///
/// # Errors
/// It is no such URL, or has a user's name or password in it, which would end up in records and messages.
pub fn web_url(text: &str) -> Result<Url> {
    let mut url = Url::parse(text).context(|| format!("{text:?} is no URL"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::new(format!("cannot fetch {}: URLs, only https: and http:", url.scheme())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::new("cannot use a URL with a user's name or password in it"));
    }
    url.set_fragment(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_a_path_a_url_or_standard_input() {
        let path = |text: &str| Location::Path(text.into());
        let web = |text: &str| Location::Web(text.parse().unwrap());
        let table = [
            ("a.aci", path("a.aci")),
            ("./https://x", path("./https://x")),
            ("a:b", path("a:b")),
            ("/tmp/a b", path("/tmp/a b")),
            ("-", Location::StandardInput),
            ("file:///tmp/a%20b", path("/tmp/a b")),
            ("FILE:/tmp/a", path("/tmp/a")),
            ("file://localhost/tmp/a", path("/tmp/a")),
            ("https://example.com/a.aci", web("https://example.com/a.aci")),
            ("HTTPS://Example.com/a.aci?x=1#top", web("https://example.com/a.aci?x=1")),
            ("http://[::1]:8080/", web("http://[::1]:8080/")),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Location>().unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_fetched_is_refused() {
        let table = [
            ("docker://busybox", "cannot read from docker: URLs"),
            ("file://example.com/a", "file://example.com/a names no file of this host"),
            ("file://a.aci", "file://a.aci names no file of this host"),
            ("file:a.aci", "file:a.aci names no file of this host"),
            ("https://", "\"https://\" is no URL"),
            ("https://me:secret@example.com/", "cannot use a URL with a user's name or password in it"),
            ("http://me@example.com/", "cannot use a URL with a user's name or password in it"),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Location>().unwrap_err().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn a_signature_stands_beside_what_it_signs() {
        let table = [
            ("dir/a.aci", Some("dir/a.aci.asc")),
            ("-", None),
            ("https://example.com/a.aci?x=1", Some("https://example.com/a.aci.asc?x=1")),
        ];
        for (text, expected) in table {
            let signature = text.parse::<Location>().unwrap().signature();
            assert_eq!(signature.map(|location| location.to_string()).as_deref(), expected, "{text}");
        }
    }
}
