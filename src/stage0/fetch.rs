//! Getting images from elsewhere: by name, by discovery, or by URL.
//!
//! A download goes into the cache first, where it stays when it breaks off, and is gone on with the next time if the server
//! says by an ETag that it is still the same file. When it is whole it moves into a private place of the store, is verified
//! there, and imported. What it depends on comes in the same way before it is whole. What came last from a URL is kept in mind, so that an image that is asked for again costs one question.

mod cache;
mod download;
mod web;

use std::cell::Cell;
use std::fs;

use url::Url;

use super::dependencies::{self, Link, Provide};
use super::discovery::{self, ImageLocation, ImageRef, Pages};
use super::image::{ARCHIVE, Image};
use super::import::{Expected, Imported};
use super::keystore::{Check, Keys, MAX_KEYS, MAX_SIGNATURE, Policy, Signature, Verified, refusal};
use super::location::signature_of;
use super::package::Arrived;
use super::store::Store;
use crate::appc::{AcIdentifier, Dependency, ImageId, ImageManifest};
use crate::error::{Context, Error, Result};
use crate::progress::Step;
use crate::storage::Staging;
use crate::sys::signal::go_on;
use cache::{Entry, Known, Validators};
use download::{Download, Outcome};

pub use web::{Settings, Web};

/// When to ask a server, as rkt's `--pull-policy` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// For what is not here.
    New,
    /// Whatever is here; what has not changed on the server is not fetched again.
    Always,
    /// Never.
    Never,
}

/// An image that is asked for by name.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Its name and labels.
    pub reference: ImageRef,
    /// The id that it must have.
    pub id: Option<ImageId>,
    /// The most that its archive may have, in bytes.
    pub most: Option<u64>,
}

/// Somebody who decides about keys, and hears what a person should know.
pub trait Authority {
    /// The keys that are trusted.
    ///
    /// # Errors
    /// They cannot be read.
    fn keys(&self) -> Result<Keys>;

    /// Offers `keys`, a file that is published at `origin` for images called `name`, to be trusted for them; where it is about a
    /// signature, only those that can have made it.
    ///
    /// # Errors
    /// It holds no such key, or none is trusted in the end.
    fn offer(&self, name: &AcIdentifier, keys: &[u8], origin: &Url, signature: Option<&Signature>) -> Result<()>;

    /// Says something to the person.
    fn warn(&self, text: &str);
}

/// Fetches images into a store.
#[derive(Clone, Copy)]
pub struct Fetcher<'a> {
    store: &'a Store,
    web: &'a Web,
    authority: &'a dyn Authority,
    policy: Policy,
    pull: Pull,
    /// The image for which this fetches what it depends on.
    link: Option<&'a Link<'a>>,
}

/// How an archive is to be fetched.
struct Terms<'a> {
    expected: Expected<'a>,
    /// The most that it may have, in bytes.
    most: Option<u64>,
    pull: Pull,
    /// Its signature, where that does not stand beside it.
    signature: Option<Signature>,
}

/// What a server had.
enum Got {
    /// What is here already.
    Known(Box<Image>),
    /// An archive.
    Fetched(Box<Fetched>),
}

/// An archive that has come, and what is to be kept in mind of it when it is imported.
struct Fetched {
    staging: Staging,
    signature: Option<Signature>,
    url: Url,
    entry: Entry,
    validators: Validators,
}

/// Who brings in what an image depends on.
struct Dependencies<'a> {
    fetcher: &'a Fetcher<'a>,
    /// What keeps others from fetching the image meanwhile.
    entry: Cell<Option<Entry>>,
}

impl<'a> Fetcher<'a> {
    /// Fetches from `web` into `store`, as far as the policy and the authority let it.
    pub fn new(
        store: &'a Store,
        web: &'a Web,
        authority: &'a dyn Authority,
        policy: Policy,
        pull: Pull,
    ) -> Fetcher<'a> {
        Fetcher { store, web, authority, policy, pull, link: None }
    }

    /// The image that is wished for, which `text` names for people: one of the store, or one that is fetched.
    ///
    /// # Errors
    /// It is not here and may not be fetched, cannot be found or fetched, or is not what was asked for; the store is as it was then.
    pub fn by_name(&self, wish: &Wish, text: &str) -> Result<Imported> {
        let fits = |image: &Image| {
            wish.reference.check(&image.manifest).is_ok() && wish.id.as_ref().is_none_or(|id| *id == image.id)
        };
        if self.pull != Pull::Always
            && let Some(image) = self.store.find_images(text)?.into_iter().find(fits)
        {
            return self.known(image);
        }
        if self.pull == Pull::Never {
            return Err(not_here(text));
        }
        let found = discovery::find_image(self.web, &wish.reference)?;
        let expected = Expected { reference: Some(&wish.reference), id: wish.id.as_ref(), ..Expected::default() };
        let mut failed = Vec::new();
        for place in &found.images {
            let terms = Terms { expected, most: wish.most, pull: Pull::Always, signature: None };
            match self.acquire(place, terms) {
                Ok(got) => return image(self.take(got, expected)?),
                Err(error) => failed.push(error),
            }
            go_on().context(|| format!("cannot fetch {text}"))?;
        }
        Err(all_of(failed, text))
    }

    /// What is at `url`, which must be called `name`, if that is given; `signature` is its signature, unless that is beside it.
    ///
    /// # Errors
    /// It cannot be fetched or is not what was asked for; the store is as it was then.
    pub fn by_url(&self, url: &Url, name: Option<&AcIdentifier>, signature: Option<Signature>) -> Result<Arrived> {
        let expected = Expected { name, ..Expected::default() };
        let place = ImageLocation { aci: url.clone(), asc: signature_of(url) };
        let terms = Terms { expected, most: None, pull: self.pull, signature };
        self.take(self.acquire(&place, terms)?, expected)
    }

    /// Fetches an archive and its signature.
    fn acquire(&self, place: &ImageLocation, terms: Terms<'_>) -> Result<Got> {
        let url = &place.aci;
        self.web.check(url)?;
        let entry = Entry::open(self.store, url)?;
        let known = entry.known().and_then(|known| self.still_here(known, terms.expected));
        match (known, terms.pull) {
            (Some((_, image)), Pull::New | Pull::Never) => Ok(Got::Known(Box::new(image))),
            (None, Pull::Never) => Err(not_here(url.as_str())),
            // What was let in before may have to be signed now. Then it has to come again, to be verified.
            (Some((_, image)), _) if terms.signature.is_some() || !self.would_let_in(&image)? => {
                self.download(place, entry, None, terms).context(|| format!("cannot fetch {url}"))
            }
            (known, _) => self.download(place, entry, known, terms).context(|| format!("cannot fetch {url}")),
        }
    }

    fn download(
        &self,
        place: &ImageLocation,
        entry: Entry,
        known: Option<(Validators, Image)>,
        terms: Terms<'_>,
    ) -> Result<Got> {
        let allowed = self.web.settings().max_size;
        let download = Download {
            store: self.store,
            web: self.web,
            url: &place.aci,
            entry: &entry,
            known: known.as_ref().map(|(validators, _)| validators),
            most: terms.most.into_iter().chain(allowed).min(),
        };
        let mut signature = terms.signature;
        // Before a long download: without a good signature it would be in vain.
        let mut may_begin = || {
            if signature.is_none() {
                signature = self.signature(place)?;
            }
            signature.as_ref().map_or(Ok(()), |signature| self.introduce(signature, terms.expected))
        };
        let outcome = download.run(&mut may_begin)?;
        let validators = match (outcome, known) {
            (Outcome::NotModified, Some((_, image))) => return Ok(Got::Known(Box::new(image))),
            (Outcome::NotModified, None) => return Err(Error::new("the server says that nothing has changed")),
            (Outcome::Whole(validators), _) => validators,
        };
        let staging = self.store.begin_image()?;
        let archive = staging.path().join(ARCHIVE);
        fs::rename(entry.part(), &archive).context(|| "cannot move it into the store")?;
        Ok(Got::Fetched(Box::new(Fetched { staging, signature, url: place.aci.clone(), entry, validators })))
    }

    /// The signature that is published beside the archive; none where unsigned images are allowed and there is none.
    fn signature(&self, place: &ImageLocation) -> Result<Option<Signature>> {
        let bytes = match self.web.document(&place.asc, MAX_SIGNATURE) {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(_)) if self.policy.allow_unsigned => return Ok(None),
            Ok(Err(why)) => {
                return Err(Error::with_source(format!("cannot fetch {}", place.asc), refusal::of_none(&why)));
            }
            // There may be one.
            Err(error) if self.policy.allow_bad => {
                self.authority.warn(&format!("{}; that is ignored", error.one_line()));
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        match Signature::read(&*bytes, place.asc.as_str()) {
            Err(error) if self.policy.allow_bad => {
                self.authority.warn(&format!("{}; that is ignored", error.one_line()));
                Ok(None)
            }
            read => read.map(Some),
        }
    }

    /// Offers the keys that are published for an image, where no key that is trusted can have made its signature.
    fn introduce(&self, signature: &Signature, expected: Expected<'_>) -> Result<()> {
        let name = expected.reference.map(ImageRef::name).or(expected.name);
        let (Some(name), false) = (name, self.policy.allow_bad) else { return Ok(()) };
        if !signature.is_by_nobody_of(&self.authority.keys()?, name) {
            return Ok(());
        }
        let what = || format!("the signature {} is by a key that is not trusted", signature.origin());
        offer_published_keys(self.web, self.authority, name, Some(signature)).context(what)
    }

    /// The image that is known to come from a URL, if the store still has it and it is what is expected.
    fn still_here(&self, known: Known, expected: Expected<'_>) -> Option<(Validators, Image)> {
        let image = self.store.whole_image(&known.id).ok()??;
        expected.check(&image.id, &image.manifest).ok()?;
        Some((known.validators, image))
    }

    /// Whether an image of the store could be imported today, if it came as it did.
    fn would_let_in(&self, image: &Image) -> Result<bool> {
        Ok(image.record.trust.still_holds(&image.manifest.name, &self.authority.keys()?, self.policy))
    }

    /// An image that is here, and wanted.
    fn known(&self, image: Image) -> Result<Imported> {
        self.store.begin_use(&image)?;
        Ok(Imported { image, known: true, warnings: Vec::new() })
    }

    /// Imports what was got.
    fn take(&self, got: Got, expected: Expected<'_>) -> Result<Arrived> {
        let Fetched { staging, signature, url, entry, validators } = match got {
            Got::Known(image) => return self.known(*image).map(|image| Arrived::Image(Box::new(image))),
            Got::Fetched(fetched) => *fetched,
        };
        let what = || format!("cannot import {url}");
        let check = Check {
            name: expected.reference.map(ImageRef::name).or(expected.name),
            signature: signature.as_ref(),
            keys: &self.authority.keys()?,
            policy: self.policy,
            warn: &|text| self.authority.warn(text),
        };
        let verifying = Step::begin(self.store.progress(), &format!("verifying {url}"), None);
        let verified = Verified::fetched(&staging.path().join(ARCHIVE), url.as_str(), &check).context(what)?;
        drop(verifying);
        let dependencies = Dependencies { fetcher: self, entry: Cell::new(Some(entry)) };
        let expected = Expected { provider: Some(&dependencies), ..expected };
        let arrived = self.store.import_checked(verified, staging, expected, &check).context(what)?;
        if let Arrived::Image(imported) = &arrived {
            let entry = dependencies.entry.take().map_or_else(|| Entry::open(self.store, &url), Ok)?;
            entry.finish(&validators, &imported.image.id)?;
        }
        Ok(arrived)
    }

    /// Fetches what an image depends on.
    fn dependency(&self, link: &Link<'_>, dependency: &Dependency) -> Result<()> {
        link.check(dependency)?;
        let reference = ImageRef::of_dependency(dependency, &link.manifest.labels)?;
        let text = reference.to_string();
        let wish = Wish { reference, id: dependency.image_id.clone(), most: dependency.size };
        // What the store has was looked at.
        let fetcher = Fetcher { pull: Pull::Always, link: Some(link), ..*self };
        fetcher.by_name(&wish, &text).map(|imported| {
            imported.warnings.iter().for_each(|warning| self.authority.warn(warning));
        })
    }
}

impl Provide for Fetcher<'_> {
    fn provide(&self, id: &ImageId, manifest: &ImageManifest) -> Result<()> {
        Dependencies { fetcher: self, entry: Cell::new(None) }.provide(id, manifest)
    }
}

impl Provide for Dependencies<'_> {
    fn provide(&self, id: &ImageId, manifest: &ImageManifest) -> Result<()> {
        let link = Link { id, manifest, above: self.fetcher.link };
        for dependency in &manifest.dependencies {
            let Dependency { image_name: name, .. } = dependency;
            let is_here = dependencies::is_among(dependency, &self.fetcher.store.list_images()?.whole)?;
            // What cannot be found is told when it is missed.
            if is_here || self.fetcher.pull == Pull::Never || !discovery::begins_with_host(name) {
                continue;
            }
            // Whoever fetches this one for another image must not wait for those who wait for that one.
            self.entry.take();
            let what = || format!("cannot bring in {name}, which {} depends on", manifest.name);
            self.fetcher.dependency(&link, dependency).context(what)?;
        }
        Ok(())
    }
}

/// Offers the keys that are published for images called `name`; where it is about a signature, those that can have made it.
///
/// # Errors
/// None are published, they cannot be fetched, or none is trusted in the end.
pub fn offer_published_keys(
    web: &Web,
    authority: &dyn Authority,
    name: &AcIdentifier,
    signature: Option<&Signature>,
) -> Result<()> {
    let found = discovery::find_keys(web, &ImageRef::new(name.clone(), Vec::new())?)?;
    let mut failed = Vec::new();
    for url in &found.keys {
        let keys = web
            .document(url, MAX_KEYS)
            .and_then(|found| found.map_err(|why| Error::with_source(format!("cannot fetch {url}"), why)));
        match keys {
            Ok(keys) => return authority.offer(name, &keys, url, signature),
            Err(error) => failed.push(error),
        }
    }
    Err(all_of(failed, &format!("the keys of {name}")))
}

fn image(arrived: Arrived) -> Result<Imported> {
    match arrived {
        Arrived::Image(imported) => Ok(*imported),
        Arrived::Pod(id) => Err(Error::new(format!("it is the pod {id}, and no image"))),
    }
}

fn not_here(text: &str) -> Error {
    Error::new(format!("{text} is not in the store")).help("without `--pull never` it would be fetched")
}

/// The one error, or all of them in one.
fn all_of(mut errors: Vec<Error>, text: &str) -> Error {
    if errors.len() == 1 {
        return errors.remove(0);
    }
    let all: Vec<String> = errors.iter().map(Error::one_line).collect();
    Error::with_source(format!("cannot fetch {text} from any of {} places", all.len()), all.join("; "))
}
