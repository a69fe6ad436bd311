//! Finding images by their names (discovery.md): a name is the URL of a page without its scheme, and tags in the head of the page say
//! where images and keys are.
//!
//! The page of `example.com/a/b` is asked first, then those of its parents `example.com/a` and `example.com`, as long as
//! they are not there or have no tag that helps. Where the specification leaves a choice or says nothing:
//!
//! * A tag is about the names that its prefix is the beginning of, in whole parts: `example.com/a` says nothing of
//!   `example.com/ab`.
//! * Templates are tried in the order of the page. One that cannot be filled or fetched is passed over: it may be there for
//!   another program.
//! * A host that cannot be reached, or fails, ends the search: its other pages would tell no more.
//! * Without a version, `{version}` is `latest`; `os` and `arch` are the host's.

mod page;
mod reference;
mod template;

use std::io::Read;

use url::Url;

use crate::appc::AcIdentifier;
use crate::error::{Context, Error, Result};
use page::{Kind, Meta};

pub use reference::ImageRef;

/// Where an image and its signature are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageLocation {
    /// The archive.
    pub aci: Url,
    /// Its signature.
    pub asc: Url,
}

/// What a page has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where the image may be, in the order in which the places are to be tried.
    pub images: Vec<ImageLocation>,
    /// Where the keys are that sign images of this name.
    pub keys: Vec<Url>,
    /// The page.
    pub at: Url,
}

/// What is at a URL, or why the server does not give it (4xx).
pub type Answer<T> = std::result::Result<T, String>;

/// The URL where a page is, after all redirects, and its text.
pub type Page<'a> = (Url, Box<dyn Read + 'a>);

/// Somebody who can be asked for pages.
pub trait Pages {
    /// The page at `url`.
    ///
    /// # Errors
    /// The server cannot be reached, or does not answer as it should.
    fn page(&self, url: &Url) -> Result<Answer<Page<'_>>>;

    /// The schemes to ask with, in that order: `https`, and maybe `http`.
    fn schemes(&self) -> &[&'static str];

    /// Whether something may be fetched from there.
    ///
    /// # Errors
    /// It may not.
    fn check(&self, url: &Url) -> Result<()>;
}

/// Whether discovery is of use for a name: its first part is a host's.
pub(super) fn begins_with_host(name: &AcIdentifier) -> bool {
    template::page("https", name.as_str()).is_ok()
}

/// Finds out where the image may be.
///
/// # Errors
/// The name begins with no host's name, or no page says it; the error tells of each.
pub fn find_image(pages: &impl Pages, reference: &ImageRef) -> Result<Found> {
    find(pages, reference, |found| !found.images.is_empty()).context(|| format!("cannot find out where {reference} is"))
}

/// Finds out where the keys are that sign the image.
///
/// # Errors
/// As [`find_image`].
pub fn find_keys(pages: &impl Pages, reference: &ImageRef) -> Result<Found> {
    find(pages, reference, |found| !found.keys.is_empty())
        .context(|| format!("cannot find out where the keys of {reference} are"))
}

/// The first page, from the name upwards, that tells enough.
fn find(pages: &impl Pages, reference: &ImageRef, is_enough: impl Fn(&Found) -> bool) -> Result<Found> {
    let mut tried = Vec::new();
    let mut part = reference.name().as_str();
    loop {
        for scheme in pages.schemes() {
            let url = template::page(scheme, part)?;
            match ask(pages, &url, reference) {
                Ok((found, _)) if is_enough(&found) => return Ok(found),
                Ok((_, why)) => tried.push(format!("{url}: {why}")),
                // Without TLS it may be there.
                Err(error) if pages.schemes().last() != Some(scheme) => tried.push(error.one_line()),
                Err(error) => return Err(and_tried(error, &tried)),
            }
        }
        match part.rsplit_once('/') {
            Some((parent, _)) => part = parent,
            None => return Err(Error::new(tried.join("; "))),
        }
    }
}

/// An error that ends the search, after what was tried before.
fn and_tried(error: Error, tried: &[String]) -> Error {
    if tried.is_empty() { error } else { Error::with_source(tried.join("; "), error) }
}

/// What one page tells, and why that may not be enough.
fn ask(pages: &impl Pages, url: &Url, reference: &ImageRef) -> Result<(Found, String)> {
    let mut found = Found { images: Vec::new(), keys: Vec::new(), at: url.clone() };
    let (at, body) = match pages.page(url)? {
        Ok(page) => page,
        Err(why) => return Ok((found, why)),
    };
    let tags = page::tags(body).context(|| format!("cannot read {url}"))?;
    found.at = at;
    let mut passed_over = Vec::new();
    for tag in &tags {
        if !is_below(reference.name().as_str(), &tag.prefix) {
            passed_over.push(format!("a tag is about {} only", tag.prefix));
        } else if let Err(error) = take(pages, &mut found, tag, reference) {
            passed_over.push(format!("{}: {}", tag.url, error.one_line()));
        }
    }
    let why = if passed_over.is_empty() { "it has no such tags".to_owned() } else { passed_over.join(", ") };
    Ok((found, why))
}

/// Adds what a tag says.
fn take(pages: &impl Pages, found: &mut Found, tag: &Meta, reference: &ImageRef) -> Result<()> {
    match tag.kind {
        Kind::Template => {
            let location = template::render(&tag.url, reference)?;
            pages.check(&location.aci)?;
            found.images.push(location);
        }
        Kind::Keys => {
            let url = super::location::web_url(&tag.url)?;
            pages.check(&url)?;
            found.keys.push(url);
        }
    }
    Ok(())
}

/// Whether `name` is `prefix` or below it.
fn is_below(name: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    name.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests;
