//! `jetpack untrust`

use clap::Args;

use super::{Host, output};
use crate::appc::AcIdentifier;
use crate::error::Result;
use crate::stage0::keystore::{Fingerprint, Scope};

/// Trust keys no longer
///
/// Their files are removed. A key that came with a package stays in its place, and an empty file takes it away. Images that were
/// imported stay.
#[derive(Debug, Args)]
pub(super) struct Untrust {
    /// Only as a key for images of every name
    #[arg(long, conflicts_with = "prefix")]
    root: bool,
    /// Only as a key for this prefix of names
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<AcIdentifier>,
    /// The keys
    #[arg(required = true, value_name = "FINGERPRINT")]
    fingerprints: Vec<Fingerprint>,
}

impl Untrust {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        host.need_root()?;
        let scope = match &self.prefix {
            Some(prefix) => Some(Scope::Prefix(prefix.clone())),
            None => self.root.then_some(Scope::Root),
        };
        let mut changed = Vec::new();
        for fingerprint in &self.fingerprints {
            for (scope, file) in host.keystore().untrust(fingerprint, scope.as_ref())? {
                host.note(|| match file.exists() {
                    true => format!("key {fingerprint} is the vendor's: {} is empty and takes it away", file.display()),
                    false => format!("removed {}", file.display()),
                });
                changed.push(serde_json::json!({ "fingerprint": fingerprint, "prefix": scope.prefix(), "file": file }));
            }
        }
        if host.json() {
            output::json(&changed)?;
        }
        Ok(0)
    }
}
