//! `jetpack trust`

use std::cell::RefCell;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use url::Url;

use super::images::or_dash;
use super::question::confirm;
use super::{Host, import, output};
use crate::appc::{AcIdentifier, timestamp};
use crate::error::{Context, Error, Result};
use crate::stage0::fetch::{Authority, offer_published_keys};
use crate::stage0::keystore::{Fingerprint, Key, Keys, MAX_KEYS, Owner, Scope, Signature, Trusted, Validity};

/// Trust a key, or list the keys that are trusted
///
/// Images that are signed by a key which is trusted for their names can be imported. The key is shown, and is trusted when the
/// person says so, or --fingerprint does. Without arguments, the keys are listed.
#[derive(Debug, Args)]
pub(super) struct Trust {
    /// Trust the key for images of every name
    #[arg(long, requires = "key", conflicts_with = "prefix")]
    root: bool,
    /// Trust the key for the image of this name, and those below it
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<AcIdentifier>,
    /// Trust the key of this fingerprint without asking, and no other
    #[arg(long, value_name = "FINGERPRINT")]
    fingerprint: Option<Fingerprint>,
    /// Print no head line
    #[arg(short = 'H', conflicts_with_all = ["root", "prefix", "fingerprint", "key"])]
    bare: bool,
    /// A file with the key, armored or not, or - for standard input
    #[arg(value_name = "KEY")]
    key: Option<String>,
}

/// A key, for programs. Times are in seconds since 1970.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    fingerprint: Fingerprint,
    /// For which images; nothing means all.
    prefix: Option<&'a AcIdentifier>,
    /// `good`, `expired`, `revoked`, `unusable`, or `untrusted` where an empty file takes the vendor's key away.
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    owner: Owner,
    file: &'a Path,
    user_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<u64>,
}

impl Trust {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let scope = match &self.prefix {
            Some(prefix) => Some(Scope::Prefix(prefix.clone())),
            None => self.root.then_some(Scope::Root),
        };
        match (scope, self.key.as_deref()) {
            (None, None) if self.fingerprint.is_some() => return Err(Error::new("no key is given").help(WHICH)),
            (None, None) => self.list(host)?,
            (Some(scope), Some(location)) => self.add(host, &scope, location)?,
            (None, Some(name)) if Path::new(name).exists() || name.contains("://") => {
                return Err(
                    Error::new(format!("cannot tell for which images the key in {name} is to be trusted")).help(WHICH)
                );
            }
            (None, Some(name)) => {
                let what = || format!("cannot trust a key for {name}");
                self.discover(host, &name.parse().context(what)?)?;
            }
            (Some(Scope::Prefix(name)), None) => self.discover(host, &name)?,
            (Some(Scope::Root), None) => {
                return Err(Error::new("no key is given").help("`jetpack trust --root FILE` takes it from a file"));
            }
        }
        Ok(0)
    }

    fn list(&self, host: &Host) -> Result<()> {
        let keys = host.keys()?;
        let all = shown(&keys);
        if host.json() {
            output::json(&all)
        } else if host.global.quiet {
            output::print(&all.iter().map(|key| format!("{}\n", key.fingerprint)).collect::<String>())
        } else {
            let rows: Vec<Vec<String>> = all.iter().map(row).collect();
            output::table(&["FINGERPRINT", "PREFIX", "STATE", "EXPIRES", "OF", "USER"], &rows, self.bare)
        }
    }

    fn add(&self, host: &Host, scope: &Scope, location: &str) -> Result<()> {
        host.need_root()?;
        let (source, origin) = import::open(&host.web()?, &location.parse()?)?;
        let mut bytes = Vec::new();
        source.take(MAX_KEYS + 1).read_to_end(&mut bytes).context(|| format!("cannot read {origin}"))?;
        tell(host, &review(host, scope, (&bytes, &origin), self.answer())?)
    }

    /// Trusts a key that is published for images called `name`.
    fn discover(&self, host: &Host, name: &AcIdentifier) -> Result<()> {
        host.need_root()?;
        let asking = Asking { host, answer: self.answer(), added: RefCell::default() };
        offer_published_keys(&host.web()?, &asking, name, None)?;
        tell(host, &asking.added.into_inner())
    }

    fn answer(&self) -> Answer<'_> {
        self.fingerprint
            .as_ref()
            .map_or(Answer::Ask(&|key| format!("pass --fingerprint {}", key.fingerprint())), Answer::Only)
    }
}

fn tell(host: &Host, added: &[Added]) -> Result<()> {
    if host.json() { output::json(&added) } else { added.iter().try_for_each(|key| output::line(&key.fingerprint)) }
}

/// How it is known whether a key is to be trusted.
#[derive(Clone, Copy)]
pub(super) enum Answer<'a> {
    /// The person is asked; what else could be done is said where nobody is there.
    Ask(&'a dyn Fn(&Key) -> String),
    /// The same of keys that can have made the signature.
    AskFor(&'a Signature, &'a dyn Fn(&Key) -> String),
    /// This one is, and no other.
    Only(&'a Fingerprint),
}

impl Answer<'_> {
    fn is_about(&self, key: &Key) -> bool {
        match self {
            Answer::Ask(_) => true,
            Answer::AskFor(signature, _) => signature.may_be_by(key),
            Answer::Only(fingerprint) => **fingerprint == key.fingerprint(),
        }
    }

    /// What the person can do where nobody is there to be asked, if it is a matter of asking.
    fn otherwise(&self, key: &Key) -> Option<String> {
        match self {
            Answer::Ask(otherwise) | Answer::AskFor(_, otherwise) => Some(otherwise(key)),
            Answer::Only(_) => None,
        }
    }

    /// The key that it is about, in words.
    fn wanted(&self) -> String {
        match self {
            Answer::Ask(_) => "any".to_owned(),
            Answer::AskFor(..) => "the one that made the signature".to_owned(),
            Answer::Only(fingerprint) => fingerprint.to_string(),
        }
    }
}

/// Who is asked about keys that `jetpack trust` has found.
struct Asking<'a> {
    host: &'a Host,
    answer: Answer<'a>,
    added: RefCell<Vec<Added>>,
}

impl Authority for Asking<'_> {
    fn keys(&self) -> Result<Keys> {
        self.host.keys()
    }

    fn offer(&self, name: &AcIdentifier, keys: &[u8], origin: &Url, _: Option<&Signature>) -> Result<()> {
        let scope = Scope::Prefix(name.clone());
        self.added.borrow_mut().extend(review(self.host, &scope, (keys, origin.as_str()), self.answer)?);
        Ok(())
    }

    fn warn(&self, text: &str) {
        self.host.warn(text);
    }
}

/// Who is asked about keys that are found when an image is fetched.
impl Authority for Host {
    fn keys(&self) -> Result<Keys> {
        Host::keys(self)
    }

    fn offer(&self, name: &AcIdentifier, keys: &[u8], origin: &Url, signature: Option<&Signature>) -> Result<()> {
        let otherwise =
            |key: &Key| format!("trust it first, with `jetpack trust --fingerprint {} {name}`", key.fingerprint());
        let scope = Scope::Prefix(name.clone());
        let answer = signature.map_or(Answer::Ask(&otherwise), |signature| Answer::AskFor(signature, &otherwise));
        review(self, &scope, (keys, origin.as_str()), answer).map(drop)
    }

    fn warn(&self, text: &str) {
        Host::warn(self, text);
    }
}

const WHICH: &str =
    "`jetpack trust --prefix NAME FILE` takes a key from a file, and --root in its place means all images";

/// A key that is trusted from now on, for programs.
#[derive(Debug, Serialize)]
pub(super) struct Added {
    fingerprint: Fingerprint,
    file: PathBuf,
}

/// Shows the keys that a file holds, and trusts those that `answer` is about. `origin` is the file's name for people.
///
/// # Errors
/// It holds no key, or none is trusted in the end.
pub(super) fn review(
    host: &Host,
    scope: &Scope,
    (bytes, origin): (&[u8], &str),
    answer: Answer<'_>,
) -> Result<Vec<Added>> {
    let keys = Key::read(bytes, origin)?;
    let meant: Vec<&Key> = keys.iter().filter(|key| answer.is_about(key)).collect();
    if meant.is_empty() {
        let all: Vec<String> = keys.iter().map(|key| key.fingerprint().to_string()).collect();
        return Err(Error::new(format!("{origin} holds key {}, not {}", all.join(" and key "), answer.wanted())));
    }
    let known = host.keystore().load().context(|| "cannot read the trusted keys")?;
    let mut added = Vec::new();
    for key in &meant {
        let otherwise = answer.otherwise(key);
        if !host.global.quiet || otherwise.is_some() {
            output::fields_aside(&describe(key, scope, origin, &known));
        }
        match check(key) {
            // Old keys stay in such files beside those that have taken their place.
            Err(error) if meant.len() > 1 => {
                host.warn(&error.one_line());
                continue;
            }
            checked => checked?,
        }
        if key.had_secret() {
            host.warn(&format!("{origin} holds the secret key, too; only the public one is kept"));
        }
        let question = format!("trust key {} for {scope}?", key.fingerprint());
        if let Some(otherwise) = otherwise
            && !confirm(&question, &format!("to say yes, {otherwise}"))?
        {
            continue;
        }
        let file = host.keystore().trust(scope, key)?;
        host.note(|| format!("wrote {}", file.display()));
        added.push(Added { fingerprint: key.fingerprint(), file });
    }
    if added.is_empty() { Err(Error::new("no key was trusted")) } else { Ok(added) }
}

/// No signature of a key that is not valid would be good.
fn check(key: &Key) -> Result<()> {
    let what = format!("key {} cannot be trusted", key.fingerprint());
    match key.validity() {
        Validity::Good => Ok(()),
        Validity::Expired(end) => Err(Error::with_source(
            what,
            Error::new(format!("it expired on {}", timestamp(end)))
                .help("ask its owner for the key as it is now: one that lasts longer has the same fingerprint"),
        )),
        Validity::Revoked(why) => Err(Error::with_source(what, format!("it was revoked ({why})"))),
        Validity::Unusable(why) => Err(Error::with_source(what, why)),
    }
}

fn describe(key: &Key, scope: &Scope, origin: &str, known: &Keys) -> Vec<(&'static str, String)> {
    let expires = key.expires().map_or("never".to_owned(), timestamp);
    let scope = match scope {
        Scope::Root => scope.to_string(),
        Scope::Prefix(prefix) => format!("{prefix}, and images whose names begin with {prefix}/"),
    };
    let fields = vec![
        ("key", key.fingerprint().to_string()),
        ("from", origin.to_owned()),
        ("algorithm", key.algorithm()),
        ("made", timestamp(key.created())),
        ("expires", expires),
        ("for", scope),
    ];
    let users = key.user_ids().into_iter().map(|user| ("user", user));
    // Somebody here did not want it.
    let revoked = known.revoked.iter().filter(|revoked| revoked.fingerprint == key.fingerprint());
    let untrusted = revoked.map(|revoked| ("untrusted", format!("by {}", revoked.file.display())));
    fields.into_iter().chain(users).chain(untrusted).collect()
}

fn shown(keys: &Keys) -> Vec<Shown<'_>> {
    let trusted = keys.trusted.iter().map(|Trusted { key, scope, owner, file }| {
        let (state, reason) = match key.validity() {
            Validity::Good => ("good", None),
            Validity::Expired(_) => ("expired", None),
            Validity::Revoked(why) => ("revoked", Some(why)),
            Validity::Unusable(why) => ("unusable", Some(why)),
        };
        Shown {
            fingerprint: key.fingerprint(),
            prefix: scope.prefix(),
            state,
            reason,
            owner: *owner,
            file,
            user_ids: key.user_ids(),
            created: Some(key.created()),
            expires: key.expires(),
        }
    });
    let taken_away = keys.revoked.iter().map(|revoked| Shown {
        fingerprint: revoked.fingerprint.clone(),
        prefix: revoked.scope.prefix(),
        state: "untrusted",
        reason: None,
        owner: Owner::Local,
        file: &revoked.file,
        user_ids: Vec::new(),
        created: None,
        expires: None,
    });
    trusted.chain(taken_away).collect()
}

fn row(key: &Shown<'_>) -> Vec<String> {
    let owner = match key.owner {
        Owner::Local => "local",
        Owner::Vendor => "vendor",
    };
    vec![
        key.fingerprint.to_string(),
        key.prefix.map_or("(all)".to_owned(), AcIdentifier::to_string),
        key.state.to_owned(),
        key.expires.map_or("-".to_owned(), |end| timestamp(end)[..10].to_owned()),
        owner.to_owned(),
        or_dash(key.user_ids.first().map_or("", String::as_str)),
    ]
}
