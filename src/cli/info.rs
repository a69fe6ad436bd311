//! `jetpack info`

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use super::{Host, output};
use crate::appc::{AcVersion, host_os_arch};
use crate::config::NetKind;
use crate::error::Result;
use crate::stage0::pod::State;
use crate::stage0::store::{FORMAT, Space, Store};
use crate::stage1::lifecycle::kernel;

/// Show what Jetpack is on this host: versions, and the store with what is in it
///
/// Without a store, or without the right to read it, the rest is shown and the store's error with it.
#[derive(Debug, Args)]
pub(super) struct Info {}

/// All of it, for programs.
#[derive(Debug, Serialize)]
struct Facts {
    version: &'static str,
    appc: String,
    os: &'static str,
    arch: &'static str,
    kernel: String,
    configuration: Option<String>,
    network: &'static str,
    unsigned_images: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<StoreFacts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    store_error: Option<String>,
}

/// The store, for programs. Sizes are in bytes.
#[derive(Debug, Serialize)]
struct StoreFacts {
    root: String,
    storage: &'static str,
    format: u32,
    #[serde(flatten)]
    space: Space,
    images: usize,
    broken_images: usize,
    /// How many pods are in each state.
    pods: BTreeMap<&'static str, usize>,
}

impl Info {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let facts = gather(host)?;
        if host.json() {
            output::json(&facts)?;
        } else {
            output::fields(&describe(&facts))?;
        }
        Ok(0)
    }
}

fn gather(host: &Host) -> Result<Facts> {
    let (os, arch) = host_os_arch();
    let (store, store_error) = match host.store().and_then(|store| look_at(&store)) {
        Ok(store) => (Some(store), None),
        Err(error) => (None, Some(error.one_line())),
    };
    Ok(Facts {
        version: env!("CARGO_PKG_VERSION"),
        appc: AcVersion::current().as_str().to_owned(),
        os,
        arch,
        kernel: kernel(),
        configuration: Some(host.config.file()).filter(|file| file.exists()).map(|file| file.display().to_string()),
        network: match host.config.net_default() {
            NetKind::None => "none",
            NetKind::Host => "host",
        },
        unsigned_images: host.policy()?.allow_unsigned,
        store,
        store_error,
    })
}

fn look_at(store: &Store) -> Result<StoreFacts> {
    let images = store.list_images()?;
    let mut pods: BTreeMap<&'static str, usize> = BTreeMap::new();
    for pod in store.list_pods()? {
        *pods.entry(pod.state.name()).or_default() += 1;
    }
    Ok(StoreFacts {
        root: store.root().display().to_string(),
        storage: store.storage().name(),
        format: FORMAT,
        space: store.space()?,
        images: images.whole.len(),
        broken_images: images.broken.len(),
        pods,
    })
}

fn describe(facts: &Facts) -> Vec<(&'static str, String)> {
    let configuration = facts.configuration.clone().unwrap_or_else(|| "(none: defaults)".to_owned());
    let mut fields = vec![
        ("version", format!("jetpack {}, appc {}", facts.version, facts.appc)),
        ("host", format!("{}/{}, {}", facts.os, facts.arch, facts.kernel)),
        ("configuration", configuration),
        ("network", facts.network.to_owned()),
        ("unsigned images", if facts.unsigned_images { "allowed" } else { "refused" }.to_owned()),
    ];
    if let Some(store) = &facts.store {
        let broken = if store.broken_images > 0 { format!(", {} broken", store.broken_images) } else { String::new() };
        let (free, total) = (output::bytes(store.space.free), output::bytes(store.space.total));
        fields.extend([
            ("store", format!("{} (storage {}, format {})", store.root, store.storage, store.format)),
            ("space", format!("{free} free of {total}")),
            ("images", format!("{}{broken}", store.images)),
            ("pods", pods(&store.pods)),
        ]);
    }
    fields.extend(facts.store_error.clone().map(|error| ("store", error)));
    fields
}

/// How many pods there are, and how many of each state.
fn pods(states: &BTreeMap<&'static str, usize>) -> String {
    let order = [State::Running, State::Exited, State::Prepared, State::Preparing, State::Deleting];
    let one = |state: State| states.get(state.name()).map(|count| format!("{count} {}", state.name()));
    let each: Vec<String> = order.into_iter().filter_map(one).collect();
    let total = states.values().sum::<usize>().to_string();
    if each.is_empty() { total } else { format!("{total} ({})", each.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_by_state() {
        assert_eq!(pods(&BTreeMap::new()), "0");
        assert_eq!(pods(&BTreeMap::from([("prepared", 2), ("running", 1)])), "3 (1 running, 2 prepared)");
    }
}
