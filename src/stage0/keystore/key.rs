//! Public keys: what a file of them holds, and what people are shown of each.

use std::time::{SystemTime, UNIX_EPOCH};

use sequoia_openpgp as openpgp;

use openpgp::cert::prelude::*;
use openpgp::parse::Parse;
use openpgp::policy::StandardPolicy;
use openpgp::serialize::SerializeInto;
use openpgp::types::RevocationStatus;
use serde::Serialize;

use super::armor::dearmor;
use super::fingerprint::Fingerprint;
use crate::appc::timestamp;
use crate::error::{Context, Error, Result};

/// The longest file of keys that is read, in bytes: keys with many certifications are long.
pub const MAX_KEYS: u64 = 4 << 20;

/// The most keys that are taken of one file.
const MOST: usize = 64;

/// A public key with its user ids and subkeys: what OpenPGP calls a certificate.
#[derive(Clone, Debug)]
pub struct Key {
    cert: Cert,
    had_secret: bool,
}

/// Whether signatures of a key can be good today.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Validity {
    /// They can.
    Good,
    /// Its time has ended, at this moment in seconds since 1970.
    Expired(u64),
    /// Its owner, or somebody whom the owner has named, has revoked it, and maybe said why.
    Revoked(String),
    /// It can make no signatures, or is of a kind that is no longer secure: why.
    Unusable(String),
}

impl Key {
    /// The keys that a file holds, armored or not. What of secret keys is in it is left out.
    ///
    /// # Errors
    /// It holds none, or something else beside them.
    pub fn read(bytes: &[u8], origin: &str) -> Result<Vec<Key>> {
        let what = || format!("cannot read the keys in {origin}");
        if bytes.len() as u64 > MAX_KEYS {
            return Err(Error::with_source(what(), format!("there are more than {MAX_KEYS} bytes")));
        }
        if bytes.is_empty() {
            return Err(Error::with_source(what(), "there is nothing in it"));
        }
        let packets = dearmor(bytes, &["PUBLIC KEY BLOCK", "PRIVATE KEY BLOCK"]).context(what)?;
        let parser = CertParser::from_bytes(&packets).context(what)?;
        let certs = parser.take(MOST + 1).collect::<openpgp::Result<Vec<Cert>>>().context(what)?;
        match certs.len() {
            0 => Err(Error::with_source(what(), "there is no key in it")),
            count if count > MOST => Err(Error::with_source(what(), format!("there are more than {MOST}"))),
            _ => Ok(certs.into_iter().map(Key::of).collect()),
        }
    }

    fn of(cert: Cert) -> Key {
        Key { had_secret: cert.is_tsk(), cert: cert.strip_secret_key_material() }
    }

    /// The fingerprint of its primary key.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.cert.fingerprint())
    }

    /// Whom it says that it belongs to, the one whom it names first at the beginning. Nobody has checked that.
    pub fn user_ids(&self) -> Vec<String> {
        let first = primary_user_id(&self.cert);
        let all = self.cert.userids().map(|id| String::from_utf8_lossy(id.userid().value()).into_owned());
        let others = all.filter(|id| Some(id) != first.as_ref()).collect::<Vec<_>>();
        first.clone().into_iter().chain(others).collect()
    }

    /// When it was made, in seconds since 1970.
    pub fn created(&self) -> u64 {
        seconds(self.cert.primary_key().key().creation_time())
    }

    /// When its time ends or has ended, in seconds since 1970, if ever.
    pub fn expires(&self) -> Option<u64> {
        let policy = StandardPolicy::new();
        let valid = self.cert.with_policy(&policy, None).ok()?;
        valid.primary_key().key_expiration_time().map(seconds)
    }

    /// The kind of its primary key: `RSA (Encrypt or Sign)`, `EdDSA Edwards-curve Digital Signature Algorithm`.
    pub fn algorithm(&self) -> String {
        self.cert.primary_key().key().pk_algo().to_string()
    }

    /// Whether the file had the secret key, too.
    pub fn had_secret(&self) -> bool {
        self.had_secret
    }

    /// Whether signatures of it can be good today.
    pub fn validity(&self) -> Validity {
        let policy = StandardPolicy::new();
        if let RevocationStatus::Revoked(revocations) = self.cert.revocation_status(&policy, None) {
            return Validity::Revoked(reason(&revocations));
        }
        let valid = match self.cert.with_policy(&policy, None) {
            Ok(valid) => valid,
            Err(error) => return Validity::Unusable(plain(&error)),
        };
        match valid.primary_key().key_expiration_time() {
            Some(end) if end <= SystemTime::now() => return Validity::Expired(seconds(end)),
            _ => {}
        }
        match valid.keys().alive().revoked(false).for_signing().next() {
            Some(_) => Validity::Good,
            None => Validity::Unusable("it has no key in force that makes signatures".to_owned()),
        }
    }

    /// The same key with everything that is known of it from either copy, revocations not the least.
    pub(super) fn merged(self, other: Key) -> Result<Key> {
        let had_secret = self.had_secret || other.had_secret;
        let cert = self.cert.merge_public(other.cert).context(|| "cannot join two copies of a key")?;
        Ok(Key { cert, had_secret })
    }

    pub(super) fn cert(&self) -> &Cert {
        &self.cert
    }

    /// The key as text.
    pub(super) fn armored(&self) -> Result<Vec<u8>> {
        self.cert.armored().to_vec().context(|| "cannot write the key")
    }
}

/// The user id that a key names first; if none is in force, just the first.
pub(super) fn primary_user_id(cert: &Cert) -> Option<String> {
    let policy = StandardPolicy::new();
    let valid = cert.with_policy(&policy, None).ok();
    let primary = valid.as_ref().and_then(|valid| valid.primary_userid().ok());
    let id = primary.map(|id| id.userid().clone()).or_else(|| cert.userids().next().map(|id| id.userid().clone()));
    id.map(|id| String::from_utf8_lossy(id.value()).into_owned())
}

/// What the owner says of a revocation.
pub(super) fn reason(revocations: &[&openpgp::packet::Signature]) -> String {
    let given = revocations.iter().find_map(|revocation| revocation.reason_for_revocation());
    match given {
        Some((code, [])) => code.to_string(),
        Some((code, text)) => format!("{code}: {}", String::from_utf8_lossy(text)),
        None => "no reason is given".to_owned(),
    }
}

/// What the library says of an error, all of it on one line and in the way of this program's texts.
pub(super) fn plain(error: &(impl AsRef<dyn std::error::Error + Send + Sync> + ?Sized)) -> String {
    let error: &(dyn std::error::Error + Send + Sync) = error.as_ref();
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// A moment in seconds since 1970.
pub(super) fn seconds(moment: SystemTime) -> u64 {
    moment.duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_secs())
}

/// A moment for people: `2027-03-01T12:00:00Z`.
pub(super) fn shown(moment: SystemTime) -> String {
    timestamp(seconds(moment))
}
