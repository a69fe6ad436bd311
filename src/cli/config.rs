//! `jetpack config`

use std::collections::BTreeMap;

use clap::Args;

use super::{Host, output};
use crate::error::{Error, Result};
use crate::stage1::lifecycle::is_root;

/// Show the configuration
///
/// Without names, all of it as jetpack.conf(5) would have it, secrets hidden; with names, their values alone. Secrets are
/// shown to root, and only by name.
#[derive(Debug, Args)]
#[command(name = "config")]
pub(super) struct ShowConfig {
    /// Keys to show
    #[arg(value_name = "VAR")]
    keys: Vec<String>,
}

const HIDDEN: &str = "(hidden)";

impl ShowConfig {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let values = if self.keys.is_empty() { all(host) } else { self.named(host)? };
        if host.json() {
            output::json(&values.into_iter().collect::<BTreeMap<_, _>>())?;
        } else if self.keys.is_empty() {
            let text: String = values.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
            output::print(&text)?;
        } else {
            let text: String = values.iter().map(|(_, value)| format!("{value}\n")).collect();
            output::print(&text)?;
        }
        Ok(0)
    }

    fn named(&self, host: &Host) -> Result<Vec<(String, String)>> {
        self.keys.iter().map(|key| Ok((key.clone(), one(host, key)?))).collect()
    }
}

fn all(host: &Host) -> Vec<(String, String)> {
    let entry = |e: &crate::config::Entry<'_>| {
        let value = if e.secret && !e.value.is_empty() { HIDDEN } else { e.value };
        (e.key.to_owned(), value.to_owned())
    };
    host.config.entries().iter().map(entry).collect()
}

fn one(host: &Host, key: &str) -> Result<String> {
    let known = host.config.entries().iter().any(|entry| entry.key == key);
    if !known && host.config.get(key).is_none() {
        return Err(Error::new(format!("there is no configuration key {key:?}")).help("`jetpack config` lists them"));
    }
    if host.config.is_secret(key) && !is_root() {
        return Err(Error::new(format!("{key} is secret")).help("only root may see it"));
    }
    Ok(host.config.get(key).unwrap_or("").to_owned())
}
