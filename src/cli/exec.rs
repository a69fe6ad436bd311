//! `jetpack exec`

use clap::Args;

use super::target::Target;
use super::{Host, apps, options};
use crate::error::Result;
use crate::stage1::lifecycle::{Engine, Exit};
use crate::stage1::prepare::{Command, Wanted};

/// Run a command in a pod
///
/// The command runs beside the pod's app, in its root and with its user, groups, environment and limits, unless told
/// otherwise. A pod that does not run is started for the command, without its app, and has ended when the command has. The
/// exit code is the command's; a signal sent to `jetpack exec` is passed on to it.
#[derive(Debug, Args)]
pub(super) struct Exec {
    /// Give the command a terminal
    #[arg(short = 't')]
    terminal: bool,
    /// The user: a name or number of the image, or a path whose owner is meant; in that user's groups
    #[arg(long)]
    user: Option<String>,
    /// The group: a name or number of the image, or a path whose group is meant
    #[arg(long)]
    group: Option<String>,
    /// Where the command starts (default: the app's working directory)
    #[arg(long, value_name = "DIRECTORY")]
    cwd: Option<String>,
    /// A variable of the environment
    #[arg(long, value_name = "NAME=VALUE", value_parser = apps::variable)]
    env: Vec<(String, String)>,
    /// The pod, a UUID or the beginning of one, and the app in it
    #[arg(value_name = "POD[:APP]")]
    pod: Target,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Exec {
    pub(super) fn run(self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let warn = |text: &str| host.warn(text);
        let engine = Engine::new(&store, &host.config, &warn)?;
        engine.reap()?;
        let what = Wanted::Command(Command {
            arguments: self.command,
            user: self.user,
            group: self.group,
            directory: self.cwd,
            environment: self.env,
        });
        engine.exec(&self.pod.pod(&store)?, self.pod.app(), what, &options(self.terminal)).map(Exit::code)
    }
}
