//! Why a signature is refused, in words, and what can be done about it.

use super::places::{Keys, Scope, Trusted};
use super::signature::{Fault, Why};
use super::{Fingerprint, Good};
use crate::appc::AcIdentifier;
use crate::error::Error;

/// Of an archive that nobody has signed: `what`, and how it could be imported nevertheless.
pub(in super::super) fn of_none(what: &str) -> Error {
    Error::new(what).help(
        "to import it without a signature, pass `--insecure-options image`, or set `allow.no-signature = on` in jetpack.conf",
    )
}

/// None of the signatures in the file `origin` is good; `name` is what the image is to be called, if that is known.
pub(super) fn of_faults(origin: &str, faults: &[Fault], keys: &Keys, name: Option<&AcIdentifier>) -> Error {
    let mut texts: Vec<String> = Vec::new();
    for fault in faults {
        let text = text_of(fault, keys);
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    let error = Error::new(texts.join("; "));
    // What is wrong with a key that is known is more to the point than that another one is not.
    let known = faults.iter().find(|fault| matches!(fault, Fault::Bad { .. }));
    let help = known.or(faults.first()).and_then(|fault| help_of(fault, keys, name));
    let error = match help {
        Some(help) => error.help(help),
        None => error,
    };
    Error::with_source(format!("cannot verify the signature {origin}"), error)
}

fn text_of(fault: &Fault, keys: &Keys) -> String {
    match fault {
        Fault::Malformed(why) => format!("it cannot be understood: {why}"),
        Fault::Unknown(issuers) if issuers.is_empty() => "it does not say which key made it".to_owned(),
        Fault::Unknown(issuers) => match revoked(issuers, keys) {
            Some((fingerprint, file, _)) => format!("key {fingerprint} was untrusted by {file}"),
            None => format!("key {} is not trusted", issuers[0]),
        },
        Fault::Bad { key, why } => match keys.scopes(key).find_map(|t| t.key.user_ids().into_iter().next()) {
            Some(user_id) => format!("{why}, by key {key} of {user_id}"),
            None => format!("{why}, by key {key}"),
        },
    }
}

/// The key of the vendor's that is meant and was taken away here: its fingerprint, the empty file, and what trusts it again.
fn revoked(issuers: &[String], keys: &Keys) -> Option<(Fingerprint, String, Option<String>)> {
    let is_meant = |fingerprint: &Fingerprint| issuers.iter().any(|issuer| fingerprint.to_string().ends_with(issuer));
    let revoked = keys.revoked.iter().find(|revoked| is_meant(&revoked.fingerprint))?;
    let again = revoked.vendor.as_ref().map(|file| format!("{} {}", revoked.scope.options(), file.display()));
    Some((revoked.fingerprint.clone(), revoked.file.display().to_string(), again))
}

fn help_of(fault: &Fault, keys: &Keys, name: Option<&AcIdentifier>) -> Option<String> {
    match fault {
        Fault::Malformed(_) => None,
        Fault::Unknown(issuers) => Some(match (revoked(issuers, keys), name) {
            (Some((_, _, Some(again))), _) => format!("to trust it after all: `jetpack trust {again}`"),
            (_, Some(name)) => {
                format!("if you trust its owner: `jetpack trust --prefix {name} FILE`, FILE being the key")
            }
            (_, None) => {
                "if you trust its owner: `jetpack trust --prefix NAME FILE`, NAME being the image and FILE the key"
                    .to_owned()
            }
        }),
        Fault::Bad { key, why: Why::KeyExpired(_) } => {
            let options = keys.scopes(key).next().map(|trusted| trusted.scope.options())?;
            Some(format!(
                "if its owner has made it last longer: `jetpack trust {options} FILE`, FILE being the key as it is now"
            ))
        }
        Fault::Bad { why: Why::OtherData, .. } => {
            Some("the file or its signature is damaged, or they do not belong together".to_owned())
        }
        Fault::Bad { .. } => Some("ask who made the image to sign it anew".to_owned()),
    }
}

/// The signers are trusted, but not for images called `name`.
pub(super) fn of_name(signers: &[Good], name: &AcIdentifier) -> Error {
    let wanted = Scope::Prefix(name.clone());
    let error = Error::new(format!("the signature does not count for {name}: {}", who(signers)));
    match signers.iter().find_map(|(_, trusted)| trusted.first()) {
        Some(Trusted { file, .. }) => {
            error.help(format!("if the owner may sign it: `jetpack trust {} {}`", wanted.options(), file.display()))
        }
        None => error,
    }
}

/// The signers are trusted, but not for everything.
pub(super) fn of_everything(signers: &[Good]) -> Error {
    let error = Error::new(format!("the signature does not count for a pod: {}", who(signers)));
    match signers.iter().find_map(|(_, trusted)| trusted.first()) {
        Some(Trusted { file, .. }) => error.help(format!(
            "a pod can be of any image; if the owner may sign all of them: `jetpack trust --root {}`",
            file.display()
        )),
        None => error,
    }
}

fn who(signers: &[Good]) -> String {
    let one = |(signer, trusted): &Good| {
        let scopes: Vec<String> = trusted.iter().map(|trusted| trusted.scope.to_string()).collect();
        format!("{signer} is trusted for {}", scopes.join(" and "))
    };
    signers.iter().map(one).collect::<Vec<_>>().join("; ")
}
