//! Running something else than the app in a pod: beside the app where the pod runs, and in its place where it does not.

use std::time::{Duration, Instant};

use super::control::{Connection, attach};
use super::lifecycle::{Engine, RunOptions, the_app};
use super::prepare::{Wanted, wanted};
use crate::appc::{PodManifest, RuntimeApp};
use crate::error::{Error, Result};
use crate::stage0::pod::{LockedPod, Pod, State};
use crate::sys::process::Exit;

/// How long a pod is waited for that is being started or stopped.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait before looking at a pod again.
const MOMENT: Duration = Duration::from_millis(10);

/// A pod of which something is wanted.
enum Reached {
    /// It runs.
    Running(Connection),
    /// It does not, and nobody else can begin to run it.
    Idle(LockedPod),
}

impl Engine<'_> {
    /// Runs a program in a pod, in the root of its app called `name` if that is given. A pod that does not run is started for
    /// it, without its app and the app's handlers, and has ended when the program has.
    ///
    /// # Errors
    /// The pod has no such app, is half-made or is just being started or stopped, or the program cannot be started.
    pub fn exec(&self, pod: &Pod, name: Option<&str>, what: Wanted, options: &RunOptions) -> Result<Exit> {
        match self.reach(pod)? {
            Reached::Running(connection) => {
                let manifest = self.store.find_pod(&pod.id.to_string())?.manifest()?;
                let prepared = self.prepare_app(app_called(pod, &manifest, name)?, options.terminal, options);
                connection.run(wanted(prepared.app, what), self.warn)
            }
            Reached::Idle(mut locked) => {
                let manifest = locked.pod.manifest()?;
                let prepared = self.prepare_app(app_called(pod, &manifest, name)?, options.terminal, options);
                prepared.notices.iter().for_each(|notice| (self.warn)(notice));
                self.run_app(&mut locked, &manifest, wanted(prepared.app, what))
            }
        }
    }

    /// Connects to the pod's agent, or locks the pod if it does not run.
    fn reach(&self, pod: &Pod) -> Result<Reached> {
        let id = pod.id.to_string();
        let until = Instant::now() + PATIENCE;
        let mut ran = false;
        loop {
            let now = self.store.find_pod(&id)?;
            if now.state == State::Running {
                ran = true;
                if let Some(connection) = attach(&id, &now.control())? {
                    return Ok(Reached::Running(connection));
                }
            } else if let Some(locked) = self.store.try_lock_pod(&now)? {
                // What was meant for a pod that ran is not for one that does not.
                return if ran {
                    Err(Error::new(format!("pod {id} has just ended")))
                } else {
                    Ok(Reached::Idle(locked))
                };
            }
            if Instant::now() > until {
                return Err(Error::new(format!("pod {id} does not answer"))
                    .help("it is being started, stopped or removed: `jetpack list` shows its state"));
            }
            std::thread::sleep(MOMENT);
        }
    }
}

/// The pod's app, which must have this name if one is given.
fn app_called<'a>(pod: &Pod, manifest: &'a PodManifest, name: Option<&str>) -> Result<&'a RuntimeApp> {
    match name {
        Some(name) if !manifest.apps.iter().any(|app| app.name.as_str() == name) => {
            let names: Vec<&str> = manifest.apps.iter().map(|app| app.name.as_str()).collect();
            Err(Error::new(format!("pod {} has no app {name:?}; it has {}", pod.id, names.join(", "))))
        }
        _ => the_app(pod, manifest),
    }
}
