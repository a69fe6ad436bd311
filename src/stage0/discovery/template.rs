//! Templates of URLs.

use url::Url;

use super::super::location::web_url;
use super::ImageLocation;
use super::reference::ImageRef;
use crate::error::{Error, Result};

/// What stands for `{ext}` in the URL of an image and in that of its signature.
const EXTENSIONS: [&str; 2] = ["aci", "aci.asc"];

/// The URLs that `template` has for an image and its signature. `{name}`, `{ext}` and labels are filled in, each once: a value
/// with braces in it is no template.
///
/// # Errors
/// A place in it cannot be filled, it has none for `{ext}`, or the URLs cannot be fetched over HTTP.
pub(super) fn render(template: &str, reference: &ImageRef) -> Result<ImageLocation> {
    if !template.contains("{ext}") {
        return Err(Error::new("it has no {ext}, by which the signature's URL would differ from the image's"));
    }
    let url = |extension| web_url(&fill(template, reference, extension)?);
    let [aci, asc] = EXTENSIONS.map(url);
    Ok(ImageLocation { aci: aci?, asc: asc? })
}

/// The template with all its places filled.
fn fill(template: &str, reference: &ImageRef, extension: &str) -> Result<String> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (label, after) = after.split_once('}').ok_or_else(|| Error::new("it has a { without a }"))?;
        filled.push_str(before);
        match label {
            // An identifier holds nothing that means anything in a URL but its slashes, which are meant.
            "name" => filled.push_str(reference.name().as_str()),
            "ext" => filled.push_str(extension),
            _ => {
                let value =
                    reference.value(label).ok_or_else(|| Error::new(format!("nothing was asked for {{{label}}}")))?;
                encode(value, &mut filled);
            }
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Appends a label's value as RFC 6570 expands a variable: whatever could mean something in a URL, a slash included, is written
/// as `%` and two digits, so that no label leads to another host or directory.
fn encode(value: &str, filled: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            filled.push(char::from(byte));
        } else {
            filled.push_str(&format!("%{byte:02X}"));
        }
    }
}

/// The URL where discovery begins: that of the page about `part`, which is a name or a parent of one.
///
/// # Errors
/// Its first part is no name of a host.
pub(super) fn page(scheme: &str, part: &str) -> Result<Url> {
    let host = part.split('/').next().unwrap_or_default();
    let wrong = || {
        Error::new(format!("{host:?} is no name of a host, where one would have to ask for {part}"))
            .help("only images whose names begin with a host's name, such as example.com/app, can be found by name")
    };
    if !is_host_name(host) {
        return Err(wrong());
    }
    let url = Url::parse(&format!("{scheme}://{part}?ac-discovery=1")).map_err(|_| wrong())?;
    // What is asked must be what is written, in every letter.
    if url.host_str() == Some(host) { Ok(url) } else { Err(wrong()) }
}

/// Whether `text` is the name of a host in a domain (RFC 1123). An address is none: it ends in a number.
fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let edges = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        label.len() <= 63
            && edges(label.bytes().next())
            && edges(label.bytes().next_back())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    text.len() <= 253 && text.contains('.') && text.split('.').all(is_label) && !is_number
}

#[cfg(test)]
mod tests {
    use super::super::reference::testing::on;
    use super::*;

    fn rendered(template: &str, reference: &str) -> std::result::Result<[String; 2], String> {
        let reference = on(("linux", "amd64"), reference).unwrap();
        let urls = render(template, &reference).map_err(|e| e.one_line())?;
        Ok([urls.aci.to_string(), urls.asc.to_string()])
    }

    #[test]
    fn templates_are_filled() {
        let table = [
            (
                "https://storage.example.com/{os}/{arch}/{name}-{version}.{ext}",
                "example.com/reduce-worker:1.0.0",
                "https://storage.example.com/linux/amd64/example.com/reduce-worker-1.0.0.",
            ),
            ("https://x.org/{name}-{version}.{ext}", "example.com/a", "https://x.org/example.com/a-latest."),
            ("https://x.org/{channel}/a.{ext}", "example.com/a,channel=beta", "https://x.org/beta/a."),
            // What a label says stays within its place.
            (
                "https://x.org/{version}/a.{ext}",
                "example.com/a:../../b?c#d@e:f g%2f{ext}",
                "https://x.org/..%2F..%2Fb%3Fc%23d%40e%3Af%20g%252f%7Bext%7D/a.",
            ),
            ("HTTPS://x.org/{version}/{version}.{ext}", "example.com/a:1", "https://x.org/1/1."),
        ];
        for (template, reference, expected) in table {
            let expected = EXTENSIONS.map(|extension| format!("{expected}{extension}"));
            assert_eq!(rendered(template, reference), Ok(expected), "{template}");
        }
    }

    #[test]
    fn templates_that_cannot_be_filled_or_fetched_are_told() {
        let table = [
            ("https://x.org/{channel}/a.{ext}", "nothing was asked for {channel}"),
            ("https://x.org/a.aci", "it has no {ext}, by which the signature's URL would differ from the image's"),
            ("https://x.org/{ext}/{name", "it has a { without a }"),
            ("https://x.org/{Name}.{ext}", "nothing was asked for {Name}"),
            ("hdfs://x.org/a.{ext}", "cannot fetch hdfs: URLs, only https: and http:"),
            ("https://me:pw@x.org/a.{ext}", "cannot use a URL with a user's name or password in it"),
            ("x.org/a.{ext}", "\"x.org/a.aci\" is no URL: relative URL without a base"),
        ];
        for (template, expected) in table {
            assert_eq!(rendered(template, "example.com/a"), Err(expected.to_owned()), "{template}");
        }
        // A label chooses no host.
        assert!(rendered("https://{x}.org/a.{ext}", "example.com/a,x=evil.com/").is_err());
        assert!(rendered("https://{x}@x.org/a.{ext}", "example.com/a,x=me").is_err());
    }

    #[test]
    fn names_lead_to_their_hosts() {
        let url = |part: &str| page("https", part).map(|url| url.to_string()).map_err(|e| e.to_string());
        assert_eq!(url("example.com/a/b"), Ok("https://example.com/a/b?ac-discovery=1".to_owned()));
        assert_eq!(url("example.com"), Ok("https://example.com/?ac-discovery=1".to_owned()));
        assert_eq!(url("example.com/~me/a_b"), Ok("https://example.com/~me/a_b?ac-discovery=1".to_owned()));
        let long = format!("{}.com", "a".repeat(64));
        for host in
            ["app", "127.0.0.1", "127.1", "0x7f.1", "a.0x1", "a..b", "a.-b", "a_b.com", "a~b.com", &long, "xn--a.com"]
        {
            let expected = format!("{host:?} is no name of a host, where one would have to ask for {host}/x");
            assert_eq!(url(&format!("{host}/x")), Err(expected));
        }
    }
}
