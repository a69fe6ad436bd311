//! `jetpack killall`

use clap::Args;

use super::{Host, kill};
use crate::error::{Error, Result};
use crate::stage1::kill::TERM;
use crate::stage1::lifecycle::Engine;

/// Send a signal to processes of a pod by name
///
/// A process is meant if its program is called NAME, as killall(1) compares names. No process of the host or of another pod
/// is ever meant, nor Jetpack's own in the pod.
#[derive(Debug, Args)]
pub(super) struct Killall {
    /// The signal: a name with or without SIG, or a number [default: TERM]
    #[arg(short = 's', value_name = "SIGNAL", value_parser = kill::signal)]
    signal: Option<i32>,
    /// The pod: a UUID or the beginning of one
    #[arg(value_name = "POD")]
    pod: String,
    /// The names of the programs
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

impl Killall {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let warn = |text: &str| host.warn(text);
        let engine = Engine::new(&store, &host.config, &warn)?;
        engine.reap()?;
        let mut watch = engine.watch(&store.find_pod(&self.pod)?)?;
        let missing = engine.signal_called(&mut watch, &self.names, self.signal.unwrap_or(TERM))?;
        if missing.is_empty() {
            return Ok(0);
        }
        Err(Error::new(format!("pod {} has no process called {}", watch.pod(), missing.join(", "))))
    }
}
