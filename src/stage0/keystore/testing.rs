//! Keys and signatures made on the spot.

use std::time::{Duration, SystemTime};

use sequoia_openpgp as openpgp;

use openpgp::armor::Kind;
use openpgp::cert::prelude::*;
use openpgp::packet::signature::SignatureBuilder;
use openpgp::serialize::SerializeInto;
use openpgp::serialize::stream::{Armorer, Message, Signer};
use openpgp::types::{HashAlgorithm, KeyFlags, ReasonForRevocation, SignatureType};
use openpgp::{Cert, Profile};

use super::Key;

pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// So many days ago.
pub(super) fn ago(days: u32) -> SystemTime {
    // Keys know no parts of seconds.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    SystemTime::UNIX_EPOCH + Duration::from_secs(now) - DAY * days
}

/// A key whose primary key signs, made 10 days ago, with its secret.
pub(super) fn key(user: &str, change: impl FnOnce(CertBuilder) -> CertBuilder<'_>) -> Cert {
    let flags = KeyFlags::empty().set_certification().set_signing();
    let builder = CertBuilder::new().add_userid(user).set_primary_key_flags(flags).set_creation_time(ago(10));
    change(builder).generate().unwrap().0
}

pub(super) fn plain_key(user: &str) -> Cert {
    key(user, |builder| builder)
}

pub(super) fn key_of(user: &str, suite: CipherSuite) -> Cert {
    key(user, |builder| builder.set_cipher_suite(suite))
}

pub(super) fn v6_key(user: &str) -> Cert {
    key(user, |builder| builder.set_profile(Profile::RFC9580).unwrap())
}

/// A key whose subkey signs, and not the primary key.
pub(super) fn key_with_subkey(user: &str) -> Cert {
    let flags = KeyFlags::empty().set_certification();
    key(user, |builder| builder.set_primary_key_flags(flags).add_signing_subkey())
}

pub(super) fn revoked(cert: &Cert, why: ReasonForRevocation) -> Cert {
    let mut signer = cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let revocation = cert.revoke(&mut signer, why, b"a test").unwrap();
    cert.clone().insert_packets(revocation).unwrap().0
}

/// The key as its owner gives it away.
pub(super) fn public(cert: &Cert) -> Vec<u8> {
    cert.armored().to_vec().unwrap()
}

pub(super) fn as_key(cert: &Cert) -> Key {
    Key::read(&public(cert), "a test").unwrap().pop().unwrap()
}

/// How a signature is made.
pub(super) struct How {
    pub(super) kind: SignatureType,
    pub(super) hash: HashAlgorithm,
    pub(super) made: SystemTime,
    pub(super) lasts: Option<Duration>,
    pub(super) armored: bool,
}

impl Default for How {
    fn default() -> How {
        let (kind, hash) = (SignatureType::Binary, HashAlgorithm::SHA512);
        How { kind, hash, made: ago(1), lasts: None, armored: true }
    }
}

/// A detached signature by the first subkey, or by the primary key where there is none.
pub(super) fn sign(cert: &Cert, data: &[u8], how: &How) -> Vec<u8> {
    let key = cert.keys().subkeys().next().map_or_else(|| cert.keys().next().unwrap(), |subkey| subkey.into());
    let signer = key.key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let template =
        SignatureBuilder::new(how.kind).set_signature_validity_period(how.lasts.unwrap_or_default()).unwrap();
    let mut bytes = Vec::new();
    let message = Message::new(&mut bytes);
    let message = if how.armored { Armorer::new(message).kind(Kind::Signature).build().unwrap() } else { message };
    let signer = Signer::with_template(message, signer, template).unwrap();
    let signer = signer.hash_algo(how.hash).unwrap().creation_time(how.made).detached();
    let mut message = signer.build().unwrap();
    std::io::Write::write_all(&mut message, data).unwrap();
    message.finalize().unwrap();
    bytes
}

pub(super) fn plainly(cert: &Cert, data: &[u8]) -> Vec<u8> {
    sign(cert, data, &How::default())
}
