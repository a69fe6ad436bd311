//! `jetpack kill`

use std::time::{Duration, Instant};

use clap::Args;

use super::{FAILED, Host, output};
use crate::error::Result;
use crate::stage0::store::Store;
use crate::stage1::control::Watch;
use crate::stage1::kill::{TERM, signal_number};
use crate::stage1::lifecycle::Engine;

/// How long an app has to end by itself unless told (seconds).
const GRACE: f64 = 10.0;

/// End pods
///
/// Sends SIGTERM to each pod's app, and when the pod has not ended after the time of grace, SIGKILL. With -s, sends that
/// signal and waits for nothing, unless there is a --grace. What gets the signal is the app's first process, or its pre-start
/// or post-stop handler if that is what runs.
#[derive(Debug, Args)]
pub(super) struct Kill {
    /// Send this signal and no other: a name with or without SIG, or a number
    #[arg(short = 's', value_name = "SIGNAL", value_parser = signal)]
    signal: Option<i32>,
    /// How long a pod has to end before it is killed [default: 10; with -s, none is killed]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    grace: Option<Duration>,
    /// The pods: UUIDs or beginnings of UUIDs
    #[arg(required = true, value_name = "POD")]
    pods: Vec<String>,
}

impl Kill {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let warn = |text: &str| host.warn(text);
        let engine = Engine::new(&store, &host.config, &warn)?;
        engine.reap()?;
        // All get the signal before any is waited for.
        let signalled: Vec<Result<Watch>> = self.pods.iter().map(|pod| self.signal(&engine, &store, pod)).collect();
        let default = self.signal.is_none().then(|| Duration::from_secs_f64(GRACE));
        let deadline = self.grace.or(default).map(|grace| Instant::now() + grace);
        let mut code = 0;
        for watch in signalled {
            if let Err(error) = watch.and_then(|watch| end(host, &engine, watch, deadline)) {
                output::error(&error);
                code = FAILED;
            }
        }
        Ok(code)
    }

    fn signal(&self, engine: &Engine<'_>, store: &Store, pod: &str) -> Result<Watch> {
        let mut watch = engine.watch(&store.find_pod(pod)?)?;
        watch.signal(self.signal.unwrap_or(TERM))?;
        Ok(watch)
    }
}

fn end(host: &Host, engine: &Engine<'_>, watch: Watch, deadline: Option<Instant>) -> Result<()> {
    let pod = watch.pod().to_owned();
    if let Some(deadline) = deadline {
        engine.end(watch, deadline)?;
        host.note(|| format!("pod {pod} has ended"));
    }
    Ok(())
}

/// The number of a signal.
pub(super) fn signal(text: &str) -> std::result::Result<i32, String> {
    signal_number(text).ok_or_else(|| "there is no such signal".to_owned())
}

/// The longest time that can be given (seconds): a day.
const LONGEST: f64 = 86_400.0;

/// A time in seconds, which need not be whole.
pub(super) fn seconds(text: &str) -> std::result::Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=LONGEST).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err(format!("not a number of seconds from 0 to {LONGEST}")),
    }
}
