//! From a pod's manifest and root to what isolation and stage 2 need. Nothing is touched here.

use std::path::{Path, PathBuf};

use crate::appc::{
    Annotations, App, EventName, Isolator, IsolatorValue, Mount, PodManifest, RuntimeApp, VolumeKind,
    isolators::DEFAULT_CAPABILITIES,
};
use crate::error::{Error, Result};
use crate::isolation::{HostSource, NetworkView, Parameter, RootSpec, SandboxSpec, VolumeMount};
use crate::network::Attachment;
use crate::stage0::annotations::{JailParameter, jail_parameters};
use crate::stage2::{AppSpec, Program, Transfer};
use crate::sys::abi::Abi;
use crate::sys::process::Seccomp;
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
    /// Whose programs are in it.
    pub abi: Abi,
    /// Whether the pod asks for procfs(5).
    pub procfs: bool,
    /// The app's volumes.
    pub mounts: Vec<VolumeMount>,
    /// The pod's `/etc/resolv.conf`, if it gets one.
    pub resolv_conf: Option<String>,
    /// The ruleset of /dev, where there are rulesets.
    pub ruleset: u16,
    /// The parameters of the jail, if it is one.
    pub parameters: Vec<Parameter>,
    /// Where mounts are written down.
    pub record: PathBuf,
}

/// In a set of system calls: every one. To retain all is to have no filter.
const ALL_SYSTEM_CALLS: &str = "@appc.io/all";

/// The name of a pod's jail.
pub fn sandbox_name(prefix: &str, id: &str) -> String {
    format!("{prefix}{id}")
}

/// The parameters of a pod's jail, of which those in the configuration are `configured`.
///
/// # Errors
/// One that is not for people to set.
pub fn parameters(configured: &[(&str, &str)], annotations: &Annotations) -> Result<Vec<Parameter>> {
    let parameter = |wanted: JailParameter| {
        let JailParameter { name, value, origin } = wanted;
        Parameter { name, value, origin }
    };
    Ok(jail_parameters(configured, annotations)?.into_iter().map(parameter).collect())
}

/// The sandbox of a pod.
pub fn sandbox(request: SandboxRequest<'_>) -> SandboxSpec {
    let resolv_conf = request.resolv_conf.map(|text| (PathBuf::from("/etc/resolv.conf"), text));
    SandboxSpec {
        id: request.id.to_owned(),
        name: sandbox_name(request.name_prefix, request.id),
        hostname: request.hostname.unwrap_or(request.id).to_owned(),
        network: if request.attachment.own { NetworkView::Own } else { NetworkView::Host },
        addresses: request.attachment.addresses,
        root: RootSpec {
            filesystem: request.root,
            read_only: request.read_only,
            abi: request.abi,
            procfs: request.procfs,
            files: resolv_conf.into_iter().collect(),
            mounts: request.mounts,
        },
        ruleset: request.ruleset,
        parameters: request.parameters,
        record: request.record,
    }
}

/// What is mounted into the root of an app. `of_pod` says where a volume of the pod's own is.
///
/// # Errors
/// A volume is not in the pod's manifest, or is of a kind that cannot be had.
pub fn mounts(
    manifest: &PodManifest,
    runtime: &RuntimeApp,
    of_pod: impl Fn(&str) -> PathBuf,
) -> Result<Vec<VolumeMount>> {
    let mount = |mount: &Mount| {
        let what = || format!("cannot mount the volume {} at {}", mount.volume, mount.path);
        let volume = manifest.volumes.iter().find(|volume| volume.name == mount.volume);
        let volume = volume.ok_or_else(|| Error::with_source(what(), "the pod has none of that name"))?;
        if mount.app_volume.is_some() {
            return Err(Error::with_source(what(), "this version mounts volumes of the pod's only"));
        }
        let (source, of_host) = match &volume.kind {
            VolumeKind::Empty { .. } => (of_pod(volume.name.as_str()), None),
            VolumeKind::Host { source, recursive: true } => (PathBuf::from(source), Some(HostSource::WithMounts)),
            VolumeKind::Host { source, recursive: false } => (PathBuf::from(source), Some(HostSource::Alone)),
        };
        let points = runtime.app.iter().flat_map(|app| &app.mount_points);
        let reads_only =
            points.into_iter().any(|point| Path::new(&point.path) == Path::new(&mount.path) && point.read_only);
        let target = PathBuf::from(&mount.path);
        Ok(VolumeMount { source, target, read_only: volume.read_only || reads_only, of_host })
    };
    runtime.mounts.iter().map(mount).collect()
}

/// What an app asks for, and what of it will not be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The app.
    pub app: AppSpec,
    /// The isolators that are ignored or changed, and why (appc, ace.md: the user must be told).
    pub notices: Vec<String>,
}

/// What a host and its administrator let apps have.
#[derive(Clone, Copy, Debug, Default)]
pub struct Allowance<'a> {
    /// Whether the kernel can limit capabilities.
    pub has_capabilities: bool,
    /// Capabilities beyond appc's default that an image may retain.
    pub capabilities: &'a [&'a str],
}

/// The app as stage 2 starts it. `terminal` is the kind of terminal it gets, if one.
pub fn app(runtime: &RuntimeApp, terminal: Option<String>, allowance: Allowance<'_>) -> Prepared {
    let console = App::new(Vec::new(), "0", "0");
    let app = runtime.app.as_ref().unwrap_or(&console);
    let mut limits = Limits { capabilities: DEFAULT_CAPABILITIES.map(str::to_owned).to_vec(), ..Limits::default() };
    for isolator in &app.isolators {
        limits.apply(isolator, allowance);
    }
    let handler = |name| app.event_handler(name).map(|handler| handler.exec.clone());
    let spec = AppSpec {
        name: runtime.name.to_string(),
        program: if runtime.app.is_some() { Program::Exec(app.exec.clone()) } else { Program::Console("root".into()) },
        user: app.user.clone(),
        group: Some(app.group.clone()),
        supplementary_gids: app.supplementary_gids.clone(),
        working_directory: app.working_directory.clone().unwrap_or_else(|| "/".into()),
        environment: app.environment.iter().map(|v| (v.name.clone(), v.value.clone())).collect(),
        capabilities: if allowance.has_capabilities { limits.capabilities } else { Vec::new() },
        no_new_privileges: limits.no_new_privileges,
        seccomp: limits.seccomp,
        pre_start: handler(EventName::PreStart),
        post_stop: handler(EventName::PostStop),
        terminal,
    };
    Prepared { app: spec, notices: limits.notices }
}

/// What a person wants to run in a pod beside its app, or instead of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A program.
    Command(Command),
    /// A login shell of this user.
    Console(String),
    /// No program: files go through standard output or input.
    Transfer(Transfer),
}

/// A program, and what is to be different from the app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// As whom, as in [`AppSpec::user`]. Unless a group is given too, in those groups that this user is in.
    pub user: Option<String>,
    /// In which group, as in [`AppSpec::group`].
    pub group: Option<String>,
    /// Where it starts: an absolute path.
    pub directory: Option<String>,
    /// Variables beside, or instead of, the app's.
    pub environment: Vec<(String, String)>,
}

/// What a person wants to run, with the limits of the app in whose root it runs.
pub fn wanted(app: AppSpec, wanted: Wanted) -> AppSpec {
    let mut spec = AppSpec { pre_start: None, post_stop: None, ..app };
    match wanted {
        Wanted::Console(user) => {
            spec.program = Program::Console(user);
            // A login begins with an environment of its own.
            spec.environment = Vec::new();
        }
        Wanted::Transfer(transfer) => spec.program = Program::Transfer(transfer),
        Wanted::Command(command) => {
            spec.program = Program::Exec(command.arguments);
            if let Some(user) = command.user {
                spec.user = user;
                spec.group = None;
                spec.supplementary_gids = Vec::new();
            }
            spec.group = command.group.or(spec.group);
            spec.working_directory = command.directory.unwrap_or(spec.working_directory);
            for (name, value) in command.environment {
                match spec.environment.iter_mut().find(|(known, _)| *known == name) {
                    Some(known) => known.1 = value,
                    None => spec.environment.push((name, value)),
                }
            }
        }
    }
    spec
}

#[derive(Default)]
struct Limits {
    capabilities: Vec<String>,
    no_new_privileges: bool,
    seccomp: Seccomp,
    notices: Vec<String>,
}

impl Limits {
    fn apply(&mut self, isolator: &Isolator, allowance: Allowance<'_>) {
        let name = isolator.name();
        match isolator.value() {
            IsolatorValue::CapabilitiesRetain(set) if allowance.has_capabilities => {
                // An image must not be able to give itself rights: only the administrator goes beyond the default.
                let may = |wanted: &&String| {
                    DEFAULT_CAPABILITIES.contains(&wanted.as_str()) || allowance.capabilities.contains(&wanted.as_str())
                };
                let (allowed, denied): (Vec<&String>, Vec<&String>) = set.iter().partition(may);
                self.capabilities = allowed.into_iter().cloned().collect();
                let why = "not given, as `allow.capabilities` in jetpack.conf does not name it";
                self.notices
                    .extend(denied.iter().map(|capability| format!("isolator {name} changed: {capability} {why}")));
            }
            IsolatorValue::CapabilitiesRemove(set) if allowance.has_capabilities => {
                self.capabilities.retain(|capability| !set.contains(capability));
            }
            IsolatorValue::NoNewPrivileges(wanted) => self.no_new_privileges = *wanted,
            IsolatorValue::SeccompRetain { set, .. } if set.iter().any(|name| name == ALL_SYSTEM_CALLS) => {
                self.seccomp = Seccomp::Unconfined;
            }
            IsolatorValue::CapabilitiesRetain(_) | IsolatorValue::CapabilitiesRemove(_) => {
                self.notices.push(format!("isolator {name} ignored: this kernel has no capabilities"));
            }
            _ => self.notices.push(format!("isolator {name} ignored: this version does not support it")),
        }
    }
}

#[cfg(test)]
#[path = "prepare_tests.rs"]
mod tests;
