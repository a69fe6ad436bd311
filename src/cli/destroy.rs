//! `jetpack destroy`

use clap::Args;

use super::Host;
use crate::error::Result;
use crate::stage1::lifecycle::Engine;

/// Remove pods with everything that they wrote
#[derive(Debug, Args)]
pub(super) struct Destroy {
    /// The pods: UUIDs or beginnings of UUIDs
    #[arg(required = true, value_name = "POD")]
    pods: Vec<String>,
}

impl Destroy {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let warn = |text: &str| host.warn(text);
        let engine = Engine::new(&store, &host.config, &warn)?;
        for reference in &self.pods {
            let pod = store.find_pod(reference)?;
            engine.destroy(&pod)?;
            host.note(|| format!("destroyed pod {}", pod.id));
        }
        Ok(0)
    }
}
