//! Signals to a pod's app, and the pod's end.

use std::time::{Duration, Instant};

use super::control::{Watch, attach};
use super::lifecycle::Engine;
use crate::error::{Error, Result};
use crate::stage0::pod::{Pod, State};

/// Signals as people write them.
pub use crate::sys::signal::{KILL, TERM, number as signal_number};

/// How long a pod is waited for that is being started, or that ends after its app was killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long what was killed may take before what runs then is killed as well.
const AGAIN: Duration = Duration::from_secs(1);

/// How long to wait before looking at a pod again.
const MOMENT: Duration = Duration::from_millis(10);

impl Engine<'_> {
    /// Watches a pod that runs.
    ///
    /// # Errors
    /// It does not run; the error says what it does. Or its agent does not answer.
    pub fn watch(&self, pod: &Pod) -> Result<Watch> {
        let id = pod.id.to_string();
        let until = Instant::now() + PATIENCE;
        loop {
            let now = self.store.find_pod(&id)?;
            if now.state != State::Running {
                return Err(Error::new(format!("pod {id} does not run: it is {}", now.state.name())));
            }
            if let Some(connection) = attach(&id, &now.control())? {
                return connection.watch();
            }
            if Instant::now() > until {
                return Err(Error::new(format!("pod {id} does not answer"))
                    .help("it is being started or stopped: `jetpack list` shows its state"));
            }
            std::thread::sleep(MOMENT);
        }
    }

    /// Waits until a pod has ended. If it has not by `deadline`, its app is killed, and whatever else runs in the app's place
    /// a moment later, such as its post-stop handler.
    ///
    /// # Errors
    /// The pod does not end.
    pub fn end(&self, mut watch: Watch, deadline: Instant) -> Result<()> {
        if !watch.ends_before(deadline)? {
            kill(&mut watch)?;
        }
        let until = Instant::now() + PATIENCE;
        while !self.has_ended(watch.pod())? {
            if Instant::now() > until {
                return Err(does_not_end(watch.pod()));
            }
            std::thread::sleep(MOMENT);
        }
        Ok(())
    }

    /// Whether the runner, too, is through with a pod whose agent has gone.
    fn has_ended(&self, id: &str) -> Result<bool> {
        match self.store.pods_like(id)?.first() {
            // Somebody who answers is the agent of another run; this one may still listen, but it closes without an answer.
            Some(now) if now.state == State::Running => {
                Ok(attach(id, &now.control())?.is_some_and(|connection| connection.watch().is_ok()))
            }
            _ => Ok(true),
        }
    }
}

/// Kills what runs in place of the app, again and again, until the agent has gone.
fn kill(watch: &mut Watch) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        watch.signal(KILL)?;
        if watch.ends_before(Instant::now() + AGAIN)? {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(does_not_end(watch.pod()));
        }
    }
}

fn does_not_end(id: &str) -> Error {
    Error::new(format!("pod {id} does not end")).help(
        "something of it waits in the kernel, perhaps for a disk or a server; killing its `jetpack run` with SIGKILL is \
         all that is left",
    )
}
