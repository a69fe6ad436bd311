//! `jetpack version`

use clap::Args;

use super::{Format, output};
use crate::appc::AcVersion;
use crate::error::Result;

/// Show the versions of Jetpack and of the specification that it follows
#[derive(Debug, Args)]
pub(super) struct Version {}

impl Version {
    pub(super) fn run(&self, format: Format) -> Result<u8> {
        let (version, appc) = (env!("CARGO_PKG_VERSION"), AcVersion::current());
        match format {
            Format::Json => output::json(&serde_json::json!({ "jetpack": version, "appc": appc.as_str() }))?,
            Format::Text => output::line(format!("jetpack {version}\nappc {}", appc.as_str()))?,
        }
        Ok(0)
    }
}
