//! `jetpack build`

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use super::fetch::{self, Pull};
use super::import::tell;
use super::saveid::SaveId;
use super::{Host, output};
use crate::error::{Context, Error, Result};
use crate::stage1::build::{self, Outcome};
use crate::stage1::lifecycle::{Engine, RunOptions};

/// Build an image by a command that runs in a pod of another
///
/// A pod is made of IMAGE, the build directory is copied into a new directory inside, and COMMAND runs there as root. What it
/// changes is the new image, and the file manifest.json that it leaves, or that was in the build directory, is the new image's
/// manifest. `acKind`, `acVersion`, the labels `os` and `arch`, and an annotation `timestamp` ($SOURCE_DATE_EPOCH, or now) are
/// added where they are missing; a label `os` or `arch` that is empty is removed. With $SOURCE_DATE_EPOCH set, no file of the image
/// has a later time of modification. The new image depends on IMAGE, and what
/// COMMAND removed of that is not in it. Its id is printed.
///
/// /etc/resolv.conf, /etc/hosts, what the runtime mounts, the directory in which COMMAND runs, and sockets are never part of an
/// image. When COMMAND fails, nothing is left, and its exit code is the exit code.
#[derive(Debug, Args)]
pub(super) struct Build {
    /// Give the command a terminal
    #[arg(short = 't')]
    terminal: bool,
    /// The build directory. What is copied of it belongs to root; sockets and devices are left out
    #[arg(long, value_name = "DIRECTORY", default_value = ".")]
    dir: PathBuf,
    /// Copy this file or directory, too
    #[arg(long, value_name = "FILE")]
    cp: Vec<PathBuf>,
    /// The command's network: none, or host for the host's own
    #[arg(long, value_name = "NETWORK", default_value = "none")]
    net: String,
    /// Do not destroy the pod, so that it can be looked into
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    saveid: SaveId,
    /// The image to build on: a name[:version][,label=value…], a name@tag, an id, or the beginning of one
    image: String,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Build {
    pub(super) fn run(self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let warn = |text: &str| host.warn(text);
        let engine = Engine::new(&store, &host.config, &warn)?;
        engine.reap()?;
        let latest = source_date()?;
        // Checked now, so that no pod is made that cannot run.
        crate::network::by_name(&self.net)?;
        let image = fetch::find(host, &store, &self.image, Pull::New)?;
        host.note(|| format!("building on {} ({})", image.manifest.name, image.id));
        let built = engine.build(build::Build {
            image,
            directory: &self.dir,
            files: &self.cp,
            command: self.command,
            network: self.net,
            run: RunOptions {
                terminal: self.terminal,
                on_terminal: std::io::stdin().is_terminal(),
                term: std::env::var("TERM").ok().filter(|term| !term.is_empty()),
            },
            keep: self.keep,
            now: latest.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())),
            latest,
        })?;
        if let Some(pod) = built.kept
            && !host.global.quiet
        {
            output::note(&format!("the build pod {pod} is kept; `jetpack destroy {pod}` removes it"));
        }
        let (what, code) = match built.outcome? {
            Outcome::Image(imported) => return tell(host, &store, &self.saveid, &imported).map(|()| 0),
            Outcome::Failed(exit) => (format!("the build command failed: {exit}"), exit.code()),
            Outcome::Interrupted(signal) => (format!("the build was {signal}"), signal.code()),
        };
        output::error(&Error::new(what));
        Ok(code)
    }
}

/// `SOURCE_DATE_EPOCH` in seconds since 1970: whoever sets it and builds again gets the same image.
fn source_date() -> Result<Option<u64>> {
    let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") else { return Ok(None) };
    let what = || format!("SOURCE_DATE_EPOCH is {text:?}, which is no number of seconds since 1970");
    (!text.is_empty()).then(|| text.parse().context(what)).transpose()
}
