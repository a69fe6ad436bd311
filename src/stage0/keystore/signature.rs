//! Detached signatures: reading them, and verifying data by them while it is read.
//!
//! The library says of each signature whether a key made it, and judges the key as it was when the signature was made. Whoever has
//! stolen a key can date signatures as he likes, so that what has expired or was revoked since counts here, too.

use std::fmt;
use std::io::{self, Read};
use std::time::SystemTime;

use sequoia_openpgp as openpgp;

use openpgp::cert::amalgamation::ValidAmalgamation;
use openpgp::cert::amalgamation::key::ValidErasedKeyAmalgamation;
use openpgp::packet::key::PublicParts;
use openpgp::parse::stream::{
    DetachedVerifierBuilder, GoodChecksum, MessageLayer, MessageStructure, VerificationError, VerificationHelper,
};
use openpgp::parse::{PacketParser, PacketParserResult, Parse};
use openpgp::policy::StandardPolicy;
use openpgp::types::{RevocationStatus, SignatureType};
use openpgp::{Cert, KeyHandle, Packet};

use super::armor::dearmor;
use super::fingerprint::Fingerprint;
use super::key::{Key, plain, primary_user_id, reason, seconds, shown};
use super::places::Keys;
use super::signer::Signer;
use crate::appc::AcIdentifier;
use crate::error::{Context, Error, Result};

/// The longest file of signatures that is read, in bytes.
pub const MAX_SIGNATURE: u64 = 256 << 10;

/// The most signatures of one file: each may need a hash of its own of all the data.
const MOST: usize = 8;

/// Signatures of one file, as they came. None of them has been verified.
#[derive(Clone, Debug)]
pub struct Signature {
    bytes: Vec<u8>,
    packets: Vec<u8>,
    issuers: Vec<KeyHandle>,
    origin: String,
}

impl Signature {
    /// Reads signatures, armored or not. `origin` is the name of `source` for people.
    ///
    /// # Errors
    /// `source` cannot be read, or holds something else.
    pub fn read(source: impl Read, origin: &str) -> Result<Signature> {
        let what = || format!("cannot read the signature {origin}");
        let mut bytes = Vec::new();
        source.take(MAX_SIGNATURE + 1).read_to_end(&mut bytes).context(what)?;
        if bytes.len() as u64 > MAX_SIGNATURE {
            return Err(Error::with_source(what(), format!("there are more than {MAX_SIGNATURE} bytes")));
        }
        if bytes.is_empty() {
            return Err(Error::with_source(what(), "there is nothing in it"));
        }
        let packets = dearmor(&bytes, &["SIGNATURE"]).context(what)?;
        let issuers = issuers(&packets).context(what)?;
        Ok(Signature { bytes, packets, issuers, origin: origin.to_owned() })
    }

    /// The file, byte for byte.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The name of the file, for people.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Whether one of the signatures says that this key made it.
    pub fn may_be_by(&self, key: &Key) -> bool {
        key.cert().keys().any(|key| self.issuers.iter().any(|issuer| issuer.aliases(key.key().key_handle())))
    }

    /// Whether none of the keys that are trusted for images called `name` can have made any of the signatures, so that it is
    /// of no use to look at what is signed.
    pub fn is_by_nobody_of(&self, keys: &Keys, name: &AcIdentifier) -> bool {
        !keys.trusted.iter().any(|trusted| trusted.scope.covers(name) && self.may_be_by(&trusted.key))
    }

    /// Reads `data` to its end and says of each signature whether it is a good one of it by one of `keys`.
    ///
    /// # Errors
    /// `data` cannot be read.
    pub(super) fn verify(&self, mut data: impl Read + Send + Sync, keys: &Keys) -> Result<Vec<Verdict>> {
        let certs: Vec<Cert> = keys.merged()?.iter().map(|key| key.cert().clone()).collect();
        let verdicts =
            self.verdicts(&mut data, certs).unwrap_or_else(|error| vec![Err(Fault::Malformed(plain(&error)))]);
        // Where no signature needs a hash, not all was read.
        io::copy(&mut data, &mut io::sink()).context(|| format!("cannot verify the signature {}", self.origin))?;
        Ok(verdicts)
    }

    fn verdicts(&self, data: impl Read + Send + Sync, certs: Vec<Cert>) -> openpgp::Result<Vec<Verdict>> {
        let policy = StandardPolicy::new();
        let builder = DetachedVerifierBuilder::from_bytes(&self.packets)?;
        let mut verifier = builder.with_policy(&policy, None, Helper { certs, verdicts: Vec::new() })?;
        verifier.verify_reader(data)?;
        Ok(verifier.into_helper().verdicts)
    }
}

/// Who says to have made the signatures in `packets`.
fn issuers(packets: &[u8]) -> Result<Vec<KeyHandle>> {
    let what = || "it is no signature";
    let (mut issuers, mut count) = (Vec::new(), 0);
    let mut parsed = PacketParser::from_bytes(packets).context(what)?;
    while let PacketParserResult::Some(parser) = parsed {
        let (packet, next) = parser.next().context(what)?;
        parsed = next;
        match packet {
            Packet::Signature(signature) => issuers.extend(signature.get_issuers()),
            Packet::Unknown(unknown) if unknown.tag() == openpgp::packet::Tag::Signature => {}
            Packet::Marker(_) => continue,
            other => return Err(Error::new(format!("it holds a packet of another kind: {}", other.tag()))),
        }
        count += 1;
        if count > MOST {
            return Err(Error::new(format!("it holds more than {MOST} signatures")));
        }
    }
    if count == 0 { Err(Error::new("there is no signature in it")) } else { Ok(issuers) }
}

/// What is to be said of one signature: who made it, or why it is not good.
pub(super) type Verdict = std::result::Result<Signer, Fault>;

/// Why a signature is not good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nobody knows the key that is said to have made it.
    Unknown(Vec<String>),
    /// A key that is known is said to have made it.
    Bad {
        /// The primary key.
        key: Fingerprint,
        /// What is wrong.
        why: Why,
    },
    /// It cannot be read.
    Malformed(String),
}

/// What is wrong with a signature or its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It is one of other data.
    OtherData,
    /// The key has expired, at this moment.
    KeyExpired(String),
    /// The key, or the subkey that made the signature, was revoked.
    KeyRevoked(String),
    /// It was made at a time at which the key was not in force.
    OutsideKey(String),
    /// It is too old, or from the future.
    NotAlive(String),
    /// Something in it, or in the key, is no longer secure.
    Insecure(String),
    /// It is of the wrong kind.
    Kind(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::OtherData => f.write_str("the signature is of other data"),
            Why::KeyExpired(when) => write!(f, "the key expired on {when}"),
            Why::KeyRevoked(why) => write!(f, "the key was revoked ({why})"),
            Why::OutsideKey(why) | Why::NotAlive(why) | Why::Insecure(why) | Why::Kind(why) => f.write_str(why),
        }
    }
}

/// Gives the verifier the keys, and takes its verdicts.
struct Helper {
    certs: Vec<Cert>,
    verdicts: Vec<Verdict>,
}

impl VerificationHelper for Helper {
    fn get_certs(&mut self, _ids: &[KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        Ok(std::mem::take(&mut self.certs))
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> openpgp::Result<()> {
        for layer in structure {
            if let MessageLayer::SignatureGroup { results } = layer {
                self.verdicts.extend(results.into_iter().map(verdict));
            }
        }
        Ok(())
    }
}

fn verdict(result: std::result::Result<GoodChecksum<'_>, VerificationError<'_>>) -> Verdict {
    let bad = |cert: &Cert, why| Err(Fault::Bad { key: Fingerprint::of(&cert.fingerprint()), why });
    match result {
        Ok(GoodChecksum { sig, ka, .. }) => match since(&ka).or_else(|| wrong_kind(sig)) {
            Some(why) => bad(ka.cert(), why),
            None => Ok(Signer {
                fingerprint: Fingerprint::of(&ka.cert().fingerprint()),
                user_id: primary_user_id(ka.cert()).unwrap_or_default(),
                signed: sig.signature_creation_time().map_or(0, seconds),
            }),
        },
        Err(VerificationError::MissingKey { sig }) => {
            Err(Fault::Unknown(sig.get_issuers().iter().map(KeyHandle::to_hex).collect()))
        }
        Err(VerificationError::UnboundKey { sig, cert, error }) => {
            bad(cert, unbound(cert, sig.signature_creation_time(), &error))
        }
        Err(VerificationError::BadKey { sig, ka, error }) => {
            let why = since(&ka).unwrap_or_else(|| outside(sig.signature_creation_time(), &error));
            bad(ka.cert(), why)
        }
        Err(VerificationError::BadSignature { sig, ka, error }) => bad(ka.cert(), not_good(sig, &error)),
        Err(VerificationError::MalformedSignature { error, .. }) => Err(Fault::Malformed(plain(&error))),
        Err(VerificationError::UnknownSignature { sig }) => Err(Fault::Malformed(plain(sig.error()))),
        Err(other) => Err(Fault::Malformed(other.to_string())),
    }
}

/// What is wrong with a key today.
fn since(key: &ValidErasedKeyAmalgamation<'_, PublicParts>) -> Option<Why> {
    let policy = StandardPolicy::new();
    let cert = key.cert();
    if let RevocationStatus::Revoked(revocations) = cert.revocation_status(&policy, None) {
        return Some(Why::KeyRevoked(reason(&revocations)));
    }
    let valid = match cert.with_policy(&policy, None) {
        Ok(valid) => valid,
        Err(error) => return Some(Why::Insecure(format!("the key cannot be used: {}", plain(&error)))),
    };
    let ended = |end: Option<SystemTime>| end.filter(|end| *end <= SystemTime::now()).map(shown);
    if let Some(when) = ended(valid.primary_key().key_expiration_time()) {
        return Some(Why::KeyExpired(when));
    }
    let Some(today) = valid.keys().find(|other| other.key().fingerprint() == key.key().fingerprint()) else {
        return Some(Why::Insecure("the subkey that made the signature is no longer in force".to_owned()));
    };
    if let RevocationStatus::Revoked(revocations) = today.revocation_status() {
        let subkey = Fingerprint::of(&key.key().fingerprint());
        return Some(Why::KeyRevoked(format!("its subkey {subkey}: {}", reason(&revocations))));
    }
    ended(today.key_expiration_time()).map(Why::KeyExpired)
}

/// A signature of text says nothing of how lines end, and so not which bytes were signed.
fn wrong_kind(signature: &openpgp::packet::Signature) -> Option<Why> {
    match signature.typ() {
        SignatureType::Binary => None,
        other => Some(Why::Kind(format!("it is no signature of a file, but a {}", other.to_string().to_lowercase()))),
    }
}

/// Why a key counted for nothing when the signature was made.
fn unbound(cert: &Cert, made: Option<SystemTime>, error: &openpgp::anyhow::Error) -> Why {
    let created = cert.primary_key().key().creation_time();
    match made {
        Some(made) if made < created => {
            Why::OutsideKey(format!("the signature says {}, before the key was made ({})", shown(made), shown(created)))
        }
        _ => Why::Insecure(format!("the key cannot be used: {}", plain(error))),
    }
}

fn outside(made: Option<SystemTime>, error: &openpgp::anyhow::Error) -> Why {
    let made = made.map_or("no time".to_owned(), shown);
    match error.downcast_ref::<openpgp::Error>() {
        Some(openpgp::Error::Expired(end)) => {
            Why::OutsideKey(format!("the signature says {made}, after the key had expired ({})", shown(*end)))
        }
        Some(openpgp::Error::NotYetLive(begin)) => {
            Why::OutsideKey(format!("the signature says {made}, before the key was made ({})", shown(*begin)))
        }
        _ => Why::Kind(format!("the key cannot sign: {}", plain(error))),
    }
}

fn not_good(signature: &openpgp::packet::Signature, error: &openpgp::anyhow::Error) -> Why {
    match error.downcast_ref::<openpgp::Error>() {
        Some(openpgp::Error::Expired(end)) => Why::NotAlive(format!("the signature expired on {}", shown(*end))),
        Some(openpgp::Error::NotYetLive(begin)) => {
            Why::NotAlive(format!("the signature is of the future ({})", shown(*begin)))
        }
        Some(openpgp::Error::PolicyViolation(what, _)) => {
            Why::Insecure(format!("the signature uses {what}, which is no longer secure"))
        }
        Some(
            openpgp::Error::UnsupportedPublicKeyAlgorithm(_)
            | openpgp::Error::UnsupportedEllipticCurve(_)
            | openpgp::Error::UnsupportedHashAlgorithm(_),
        ) => Why::Kind(format!("the signature cannot be verified here: {}", plain(error))),
        _ => wrong_kind(signature).unwrap_or(Why::OtherData),
    }
}
