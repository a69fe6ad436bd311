//! `jetpack prepare`

use clap::Args;

use super::fetch::Pull;
use super::saveid::SaveId;
use super::{Host, apps, output};
use crate::appc::{RuntimeApp, Volume};
use crate::config::NetKind;
use crate::error::{Error, Result};
use crate::stage0::plan::{PodPlan, PodRequest, plan};
use crate::stage0::pod::Pod;
use crate::stage0::store::Store;
use crate::stage1::lifecycle::{Engine, platform};

/// Make a pod without running it
///
/// Prints the pod's UUID, by which `jetpack run` runs it.
#[derive(Debug, Args)]
#[command(after_help = apps::HELP, override_usage = "jetpack prepare [OPTIONS] IMAGE [APP FLAGS] [-- ARGUMENTS]")]
pub(super) struct Prepare {
    /// Make nothing; print the pod manifest that the pod would have
    #[arg(short = 'n')]
    dry_run: bool,
    #[command(flatten)]
    saveid: SaveId,
    #[command(flatten)]
    pod: PodArgs,
    /// An image: a name[:version][,label=value…], a name@tag, an id, or the beginning of one; then flags of the app
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "IMAGE")]
    apps: Vec<String>,
}

/// What may be said of a pod as a whole.
#[derive(Debug, Args)]
pub(super) struct PodArgs {
    /// The pod's hostname (default: its UUID)
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Annotate the pod; `jetpack/jail.conf/PARAMETER` sets a parameter of its jail
    #[arg(short = 'a', value_name = "NAME=VALUE", value_parser = apps::variable)]
    annotations: Vec<(String, String)>,
    /// The pod's network: none, or host for the host's own (default: run.net in jetpack.conf)
    #[arg(long, value_name = "NETWORK")]
    net: Option<String>,
    /// A volume that apps of the pod can have: NAME,kind=host,source=/PATH[,readOnly=true][,recursive=false], or NAME:/PATH;
    /// NAME,kind=empty[,mode=MODE][,uid=UID][,gid=GID], or NAME
    #[arg(short = 'v', value_name = "VOLUME", allow_hyphen_values = true)]
    volume: Vec<Volume>,
    /// When to ask servers for the images
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Pull::New)]
    pull: Pull,
    /// Say on standard error what is being done, as `debug = on` does; --quiet goes over it
    #[arg(long, id = "verbose")]
    verbose: bool,
}

impl PodArgs {
    /// Plans a pod of these apps.
    ///
    /// # Errors
    /// An image is not there, or the pod cannot be made so.
    pub(super) fn plan(self, host: &Host, store: &Store, apps: Vec<apps::AppArgs>) -> Result<PodPlan> {
        let default = match host.config.net_default() {
            NetKind::None => "none",
            NetKind::Host => "host",
        };
        let network = self.net.unwrap_or_else(|| default.to_owned());
        // Checked now, so that no pod is made that cannot run.
        crate::network::by_name(&network)?;
        let apps = apps.into_iter().map(|app| app.request(host, store, self.pull)).collect::<Result<_>>()?;
        let plan = plan(PodRequest {
            apps,
            volumes: self.volume,
            hostname: self.hostname,
            annotations: self.annotations,
            network,
            host: platform(),
        })?;
        store.check_plan(&plan)?;
        Engine::new(store, &host.config, &|text| host.warn(text))?.check(&plan.manifest)?;
        Ok(plan)
    }

    /// Whether nothing is said of the pod.
    pub(super) fn is_empty(&self) -> bool {
        let Self { hostname, annotations, net, volume, pull, verbose: _ } = self;
        hostname.is_none() && annotations.is_empty() && net.is_none() && volume.is_empty() && *pull == Pull::New
    }
}

/// Makes the pod.
pub(super) fn create(host: &Host, store: &Store, plan: &PodPlan) -> Result<Pod> {
    plan.notices.iter().for_each(|notice| host.warn(notice));
    let pod = store.create_pod(plan)?;
    host.note(|| {
        let image =
            |app: &RuntimeApp| app.image.name.as_ref().map_or_else(|| app.image.id.to_string(), ToString::to_string);
        let images = plan.manifest.apps.iter().map(image).collect::<Vec<_>>();
        format!("prepared pod {} of {}", pod.id, images.join(", "))
    });
    Ok(pod)
}

impl Prepare {
    pub(super) fn run(self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let apps = apps::parse(&self.apps)?;
        if apps.is_empty() {
            return Err(Error::new("no image is named"));
        }
        let plan = self.pod.plan(host, &store, apps)?;
        if self.dry_run {
            output::json_text(&plan.manifest.to_json_pretty())?;
            return Ok(0);
        }
        let pod = create(host, &store, &plan)?;
        let id = pod.id.to_string();
        if let Err(error) = self.saveid.save(&id) {
            // Nobody would know of the pod.
            return Err(match store.lock_pod(&pod).and_then(|locked| store.destroy_pod(locked)) {
                Ok(()) => error,
                Err(undo) => error.and_undo(undo),
            });
        }
        if host.json() {
            output::json(&serde_json::json!({ "uuid": id }))?;
        } else {
            output::line(id)?;
        }
        Ok(0)
    }
}
