//! `jetpack run`

use clap::Args;

use super::prepare::{PodArgs, create};
use super::saveid::SaveId;
use super::target::pod_or_image;
use super::{Host, apps, options};
use crate::appc::RuntimeApp;
use crate::error::{Error, Result};
use crate::stage0::pod::Pod;
use crate::stage0::store::Store;
use crate::stage1::lifecycle::{Engine, Exit};

/// Run a pod: one that is here, or a new one of an image
///
/// A word that fits a pod means that pod, which must not be running; else it means an image, of which a pod is made. The
/// pod stays when it has ended, can run again with what it wrote, and is removed by `jetpack destroy`. The exit code is the
/// app's; a signal sent to `jetpack run` is passed on to it.
///
/// An image without an app gives a console: /usr/bin/login or root's shell.
#[derive(Debug, Args)]
#[command(
    after_help = apps::HELP,
    override_usage = "jetpack run [OPTIONS] IMAGE [APP FLAGS] [-- ARGUMENTS]\n       jetpack run [OPTIONS] POD"
)]
pub(super) struct Run {
    /// Give the app a terminal
    #[arg(short = 't')]
    terminal: bool,
    /// Destroy the pod when it has ended
    #[arg(long)]
    destroy: bool,
    #[command(flatten)]
    saveid: SaveId,
    #[command(flatten)]
    pod: PodArgs,
    /// A pod (a UUID or the beginning of one), or an image and flags of the app
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "POD|IMAGE")]
    apps: Vec<String>,
}

impl Run {
    pub(super) fn run(self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let warn = |text: &str| host.warn(text);
        let engine = Engine::new(&store, &host.config, &warn)?;
        engine.reap()?;
        let options = options(self.terminal);
        let (saveid, destroy) = (self.saveid, self.destroy);
        let (pod, made) = choose(self.pod, host, &store, &self.apps)?;
        let mut locked = store.lock_pod(&pod)?;
        if let Err(error) = saveid.save(&pod.id.to_string()) {
            return if made { finish(Err(error), engine.destroy_locked(locked)) } else { Err(error) };
        }
        host.note(|| describe(&pod));
        let ended = engine.run(&mut locked, &options);
        if let Ok(exit) = &ended {
            host.note(|| format!("pod {} has ended: {exit}", pod.id));
        }
        // A pod made only now, whose app could not even start, would be in the way.
        if destroy || (made && ended.is_err()) {
            let destroyed = engine.destroy_locked(locked);
            if destroyed.is_ok() {
                host.note(|| format!("destroyed pod {}", pod.id));
            }
            finish(ended, destroyed)
        } else {
            ended.map(Exit::code)
        }
    }
}

/// What is about to run, for `--verbose`.
fn describe(pod: &Pod) -> String {
    let app = |app: &RuntimeApp| match &app.app {
        Some(program) => {
            let (name, exec) = (&app.name, program.exec.join(" "));
            format!("{name} as user {} and group {}: {exec}", program.user, program.group)
        }
        None => format!("a console in {}", app.name),
    };
    let apps = pod.manifest().map(|manifest| manifest.apps.iter().map(app).collect::<Vec<_>>().join(", "));
    format!("running pod {}: {}", pod.id, apps.unwrap_or_default())
}

fn finish(ended: Result<Exit>, destroyed: Result<()>) -> Result<u8> {
    match (ended, destroyed) {
        (Ok(_), Err(error)) => Err(error),
        (Err(error), Err(undo)) => Err(error.and_undo(undo)),
        (ended, Ok(())) => ended.map(Exit::code),
    }
}

/// The pod that is meant, and whether it was made for this.
fn choose(flags: PodArgs, host: &Host, store: &Store, words: &[String]) -> Result<(Pod, bool)> {
    let apps = apps::parse(words)?;
    let [first, rest @ ..] = apps.as_slice() else { return Err(Error::new("no pod and no image is named")) };
    let word = first.image();
    let pod = if rest.is_empty() { pod_or_image(store, word)? } else { None };
    let Some(pod) = pod else {
        let plan = flags.plan(host, store, apps)?;
        return Ok((create(host, store, &plan)?, true));
    };
    if !first.is_bare() || !flags.is_empty() {
        return Err(Error::new(format!("{word} is a pod: what it runs was settled when it was prepared"))
            .help("prepare another pod of its image, with those flags"));
    }
    Ok((pod, false))
}
