//! `jetpack console`

use std::io::IsTerminal;

use clap::Args;

use super::target::Target;
use super::{Host, options};
use crate::error::Result;
use crate::stage1::lifecycle::{Engine, Exit};
use crate::stage1::prepare::Wanted;

/// Log in to a pod
///
/// Gives /usr/bin/login where the image has it, standard input is a terminal and the app may change users, else the user's login
/// shell, or /bin/sh. It has the limits of the pod's app. A pod that does not run is started for it, without its app.
#[derive(Debug, Args)]
pub(super) struct Console {
    /// As whom: a user of the image's passwd
    #[arg(short = 'u', value_name = "USER", default_value = "root")]
    user: String,
    /// The pod, a UUID or the beginning of one, and the app in it
    #[arg(value_name = "POD[:APP]")]
    pod: Target,
}

impl Console {
    pub(super) fn run(self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let warn = |text: &str| host.warn(text);
        let engine = Engine::new(&store, &host.config, &warn)?;
        engine.reap()?;
        let options = options(std::io::stdin().is_terminal());
        let pod = self.pod.pod(&store)?;
        engine.exec(&pod, self.pod.app(), Wanted::Console(self.user), &options).map(Exit::code)
    }
}
