//! From a pod's manifest and root to what isolation and stage 2 need. Nothing is touched here.

use std::path::PathBuf;

use crate::appc::{App, EventName, Isolator, IsolatorValue, RuntimeApp, isolators::DEFAULT_CAPABILITIES};
use crate::isolation::{NetworkView, RootSpec, SandboxSpec};
use crate::network::Attachment;
use crate::stage2::{AppSpec, Program};
use crate::sys::rootfs::RootFs;

/// What a sandbox is made of.
#[derive(Clone, Debug)]
pub struct SandboxRequest<'a> {
    /// The pod's UUID.
    pub id: &'a str,
    /// What the configuration puts before the UUID in the jail's name.
    pub name_prefix: &'a str,
    /// The hostname that was asked for.
    pub hostname: Option<&'a str>,
    /// What the network did.
    pub attachment: Attachment,
    /// The app's root.
    pub root: RootFs,
    /// Whether the app may not write to it.
    pub read_only: bool,
    /// The pod's `/etc/resolv.conf`, if it gets one.
    pub resolv_conf: Option<String>,
    /// Jail parameters of the configuration.
    pub parameters: Vec<(String, String)>,
    /// Where mounts are written down.
    pub record: PathBuf,
}

/// The name of a pod's jail.
pub fn sandbox_name(prefix: &str, id: &str) -> String {
    format!("{prefix}{id}")
}

/// The sandbox of a pod.
pub fn sandbox(request: SandboxRequest<'_>) -> SandboxSpec {
    let resolv_conf = request.resolv_conf.map(|text| (PathBuf::from("/etc/resolv.conf"), text));
    SandboxSpec {
        id: request.id.to_owned(),
        name: sandbox_name(request.name_prefix, request.id),
        hostname: request.hostname.unwrap_or(request.id).to_owned(),
        network: if request.attachment.own { NetworkView::Own } else { NetworkView::Host },
        root: RootSpec {
            filesystem: request.root,
            read_only: request.read_only,
            files: resolv_conf.into_iter().collect(),
        },
        parameters: request.parameters,
        record: request.record,
    }
}

/// What an app asks for, and what of it will not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The app.
    pub app: AppSpec,
    /// The isolators that this host or version ignores (appc, ace.md: the user must be told).
    pub ignored: Vec<String>,
}

/// The app as stage 2 starts it. `terminal` is the kind of terminal it gets, if one; `has_capabilities` says whether the
/// kernel can limit capabilities.
pub fn app(runtime: &RuntimeApp, terminal: Option<String>, has_capabilities: bool) -> Prepared {
    let console = App::new(Vec::new(), "0", "0");
    let app = runtime.app.as_ref().unwrap_or(&console);
    let mut limits = Limits { capabilities: DEFAULT_CAPABILITIES.map(str::to_owned).to_vec(), ..Limits::default() };
    for isolator in &app.isolators {
        limits.apply(isolator, has_capabilities);
    }
    let handler = |name| app.event_handler(name).map(|handler| handler.exec.clone());
    let spec = AppSpec {
        name: runtime.name.to_string(),
        program: if runtime.app.is_some() { Program::Exec(app.exec.clone()) } else { Program::Console("root".into()) },
        user: app.user.clone(),
        group: app.group.clone(),
        supplementary_gids: app.supplementary_gids.clone(),
        working_directory: app.working_directory.clone().unwrap_or_else(|| "/".into()),
        environment: app.environment.iter().map(|v| (v.name.clone(), v.value.clone())).collect(),
        capabilities: if has_capabilities { limits.capabilities } else { Vec::new() },
        no_new_privileges: limits.no_new_privileges,
        pre_start: handler(EventName::PreStart),
        post_stop: handler(EventName::PostStop),
        terminal,
    };
    Prepared { app: spec, ignored: limits.ignored }
}

#[derive(Default)]
struct Limits {
    capabilities: Vec<String>,
    no_new_privileges: bool,
    ignored: Vec<String>,
}

impl Limits {
    fn apply(&mut self, isolator: &Isolator, has_capabilities: bool) {
        match isolator.value() {
            IsolatorValue::CapabilitiesRetain(set) if has_capabilities => self.capabilities = set.clone(),
            IsolatorValue::CapabilitiesRemove(set) if has_capabilities => {
                self.capabilities.retain(|capability| !set.contains(capability));
            }
            IsolatorValue::NoNewPrivileges(wanted) => self.no_new_privileges = *wanted,
            IsolatorValue::CapabilitiesRetain(_) | IsolatorValue::CapabilitiesRemove(_) => {
                self.ignored.push(format!("{} (this kernel has no capabilities)", isolator.name()));
            }
            _ => self.ignored.push(format!("{} (not supported by this version)", isolator.name())),
        }
    }
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
