//! `jetpack list`

use std::time::UNIX_EPOCH;

use clap::Args;
use serde::Serialize;

use super::{Host, output};
use crate::error::Result;
use crate::stage0::pod::Pod;
use crate::stage1::lifecycle::Engine;

/// List pods
#[derive(Debug, Args)]
pub(super) struct List {
    /// Print no head line
    #[arg(short = 'H')]
    bare: bool,
}

/// A pod, for programs.
#[derive(Debug, Serialize)]
struct Shown {
    uuid: String,
    state: &'static str,
    /// Seconds since 1970.
    created: Option<u64>,
    apps: Vec<App>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct App {
    name: String,
    image: String,
    id: String,
}

impl List {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let warn = |text: &str| host.warn(text);
        Engine::new(&store, &host.config, &warn)?.reap()?;
        let pods = store.list_pods()?;
        if host.json() {
            output::json(&pods.iter().map(show).collect::<Vec<_>>())?;
        } else if host.global.quiet {
            let text: String = pods.iter().map(|pod| format!("{}\n", pod.id)).collect();
            output::print(&text)?;
        } else {
            let rows: Vec<Vec<String>> = pods.iter().map(row).collect();
            output::table(&["UUID", "STATE", "PREPARED", "APPS"], &rows, self.bare)?;
        }
        Ok(0)
    }
}

fn show(pod: &Pod) -> Shown {
    let manifest = pod.manifest();
    let created = pod.created().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).map(|d| d.as_secs());
    let app = |app: &crate::appc::RuntimeApp| App {
        name: app.name.to_string(),
        image: app.image.name.as_ref().map(ToString::to_string).unwrap_or_default(),
        id: app.image.id.to_string(),
    };
    Shown {
        uuid: pod.id.to_string(),
        state: if manifest.is_ok() { pod.state.name() } else { BROKEN },
        created,
        apps: manifest.as_ref().map(|m| m.apps.iter().map(app).collect()).unwrap_or_default(),
        error: manifest.err().map(|e| e.one_line()),
    }
}

/// What is said of a pod whose manifest cannot be read; it hides no other.
const BROKEN: &str = "broken";

fn row(pod: &Pod) -> Vec<String> {
    let shown = show(pod);
    let app = |app: &App| format!("{} ({})", app.name, app.image);
    let apps = match shown.error {
        Some(error) => error,
        None => shown.apps.iter().map(app).collect::<Vec<_>>().join(", "),
    };
    vec![shown.uuid, shown.state.to_owned(), output::ago(pod.created()), apps]
}
