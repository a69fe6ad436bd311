//! Running, destroying and reaping pods of the store.

use std::fs;
use std::os::fd::AsFd;

use uuid::Uuid;

use super::prepare::{Allowance, Prepared, SandboxRequest, app, mounts, parameters, sandbox, sandbox_name};
use super::resolv::{self, HostFiles, Reach, UPSTREAM, choose};
use super::run::Runner;
use crate::appc::{PodManifest, RuntimeApp, host_os_arch};
use crate::config::{Config, IsolationKind};
use crate::error::{Error, Result};
use crate::isolation::{self, Isolation, Parameter, SandboxSpec};
use crate::network::{self, Attachment};
use crate::stage0::annotations::{CONFIGURED, HOSTNAME, NETWORK, addresses, for_jails, procfs, ruleset};
use crate::stage0::plan::Platform;
use crate::stage0::pod::{LockedPod, Pod, State};
use crate::stage0::store::Store;
use crate::stage2::AppSpec;
use crate::sys;
use crate::sys::abi::Abi;

/// Facts about processes that the command line needs too.
pub use crate::sys::{is_root, kernel, process::Exit};

/// What this host runs, with what its kernel has loaded now.
pub fn platform() -> Platform {
    let (os, arch) = host_os_arch();
    let foreign = [Abi::Linux, Abi::Linux32].into_iter().filter(|abi| sys::os::runs(*abi)).collect();
    Platform { os, arch, foreign }
}

/// What a terminal is taken for when the person's has no `TERM`.
const PLAIN_TERMINAL: &str = "vt100";

/// The store together with the means to run its pods.
pub struct Engine<'a> {
    pub(super) store: &'a Store,
    pub(super) config: &'a Config,
    pub(super) isolation: Box<dyn Isolation>,
    backend: &'static str,
    pub(super) warn: &'a dyn Fn(&str),
}

/// How to run a pod.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// The app gets a terminal of the pod's.
    pub terminal: bool,
    /// Standard input is a terminal, so a console gets one in any case.
    pub on_terminal: bool,
    /// The kind of terminal that the person has (`TERM`).
    pub term: Option<String>,
}

impl<'a> Engine<'a> {
    /// The engine that the configuration asks for. Warnings go to `warn`.
    ///
    /// # Errors
    /// There is no such isolation.
    pub fn new(store: &'a Store, config: &'a Config, warn: &'a dyn Fn(&str)) -> Result<Engine<'a>> {
        let backend = match config.isolation() {
            IsolationKind::Native => "native",
            #[cfg(feature = "testing")]
            IsolationKind::Fake => "fake",
        };
        Ok(Engine { store, config, isolation: isolation::by_name(backend)?, backend, warn })
    }

    /// Runs a pod, and returns when it has ended.
    ///
    /// # Errors
    /// The pod is half-made, its sandbox cannot be made, or its app cannot be started.
    pub fn run(&self, locked: &mut LockedPod, options: &RunOptions) -> Result<Exit> {
        let manifest = locked.pod.manifest()?;
        let runtime = the_app(&locked.pod, &manifest)?;
        let wants_terminal = options.terminal || (runtime.app.is_none() && options.on_terminal);
        let prepared = self.prepare_app(runtime, wants_terminal, options);
        prepared.notices.iter().for_each(|notice| (self.warn)(notice));
        self.run_app(locked, &manifest, prepared.app)
    }

    /// The app as the pod's manifest has it.
    pub(super) fn prepare_app(&self, runtime: &RuntimeApp, terminal: bool, options: &RunOptions) -> Prepared {
        let term = options.term.clone().unwrap_or_else(|| PLAIN_TERMINAL.to_owned());
        let capabilities: Vec<&str> = self.config.get("allow.capabilities").unwrap_or("").split_whitespace().collect();
        let allowance = Allowance { has_capabilities: self.isolation.has_capabilities(), capabilities: &capabilities };
        app(runtime, terminal.then_some(term), allowance)
    }

    /// Runs the pod with this for its app.
    pub(super) fn run_app(&self, locked: &mut LockedPod, manifest: &PodManifest, app: AppSpec) -> Result<Exit> {
        let network = network::by_name(manifest.annotations.get(NETWORK).unwrap_or("none"))?;
        self.store.begin_run(locked)?;
        let id = locked.pod.id.to_string();
        let attached = addresses(&manifest.annotations).and_then(|addresses| network.attach(&id, &addresses));
        let ended = attached.and_then(|attachment| {
            let ended = self.run_attached(locked, manifest, attachment, app);
            match (ended, network.detach(&id)) {
                (Ok(_), Err(error)) => Err(error),
                (Err(error), Err(undo)) => Err(error.and_undo(undo)),
                (ended, Ok(())) => ended,
            }
        });
        if let Err(error) = self.store.close_pod(&locked.pod) {
            (self.warn)(&error.one_line());
        }
        ended
    }

    fn run_attached(
        &self,
        locked: &LockedPod,
        manifest: &PodManifest,
        attachment: Attachment,
        app: AppSpec,
    ) -> Result<Exit> {
        let sandbox = self.sandbox(&locked.pod, manifest, attachment)?;
        let runner = Runner {
            isolation: &*self.isolation,
            backend: self.backend,
            lock: locked.lock.as_fd(),
            control: &locked.pod.control(),
            warn: self.warn,
        };
        runner.run(sandbox, app)
    }

    fn sandbox(&self, pod: &Pod, manifest: &PodManifest, attachment: Attachment) -> Result<SandboxSpec> {
        let runtime = the_app(pod, manifest)?;
        self.store.check_sources(manifest)?;
        let image = self.store.read_image(&runtime.image.id)?;
        Ok(sandbox(SandboxRequest {
            id: &pod.id.to_string(),
            name_prefix: self.config.get("jail.namePrefix").unwrap_or(""),
            hostname: manifest.annotations.get(HOSTNAME),
            root: self.store.app_root(pod, runtime.name.as_str(), &image.record.layers),
            read_only: runtime.read_only_root_fs,
            abi: platform().abi_of(&image.manifest.labels).unwrap_or_default(),
            procfs: procfs(&manifest.annotations)?,
            mounts: mounts(manifest, runtime, |name| self.store.pod_volume(pod, name))?,
            resolv_conf: self.resolv_conf(reach(manifest, &attachment)),
            ruleset: ruleset(&manifest.annotations)?,
            parameters: self.parameters(manifest)?,
            attachment,
            record: pod.record(),
        }))
    }

    /// Whether this host can make the jail that a pod's annotations and the configuration ask for, if pods are jails here.
    ///
    /// # Errors
    /// A parameter that is not for people to set, that the kernel does not have, or with a value that is none of its kind.
    pub fn check(&self, manifest: &PodManifest) -> Result<()> {
        self.isolation.check(&self.parameters(manifest)?)
    }

    /// The parameters of a pod's jail. Those of the configuration are for hosts that have jails.
    fn parameters(&self, manifest: &PodManifest) -> Result<Vec<Parameter>> {
        if self.isolation.has_jails() {
            return parameters(&self.config.with_prefix(CONFIGURED), &manifest.annotations);
        }
        let ignored = |name| format!("the annotation {name} is ignored: this host has no jails");
        for_jails(&manifest.annotations).for_each(|name| (self.warn)(&ignored(name)));
        Ok(Vec::new())
    }

    fn resolv_conf(&self, reach: Reach) -> Option<String> {
        let configured: Vec<&str> = self.config.get("ace.dns-servers").unwrap_or("").split_whitespace().collect();
        let read = |path| {
            // With servers configured, nobody asks for the host's.
            let (text, warning) = if configured.is_empty() { resolv::text(path, fs::read(path)) } else { (None, None) };
            warning.iter().for_each(|warning| (self.warn)(warning));
            text
        };
        let (resolv_conf, upstream) = (read("/etc/resolv.conf"), read(UPSTREAM));
        let host = HostFiles { resolv_conf: resolv_conf.as_deref(), upstream: upstream.as_deref() };
        let choice = choose(host, &configured, reach);
        if let Some(warning) = &choice.warning {
            (self.warn)(warning);
        }
        choice.contents
    }

    /// Removes a pod that does not run, with what a killed runner left of its sandbox.
    ///
    /// # Errors
    /// It runs, or something of it cannot be removed.
    pub fn destroy(&self, pod: &Pod) -> Result<()> {
        let locked = self.store.lock_pod(pod).map_err(|e| match pod.state {
            State::Running => e.help(format!("end it first: `jetpack kill {}`", pod.id)),
            _ => e,
        })?;
        self.destroy_locked(locked)
    }

    /// The same for a pod whose lock is held already.
    ///
    /// # Errors
    /// Something of it cannot be removed.
    pub fn destroy_locked(&self, locked: LockedPod) -> Result<()> {
        self.remove_sandbox(&locked.pod)?;
        self.let_go(&locked.pod)?;
        self.store.destroy_pod(locked)
    }

    /// Takes away the sandboxes of pods whose runner was killed. Where the kernel does that by itself, there are none.
    ///
    /// # Errors
    /// The store cannot be read, or a sandbox cannot be removed.
    pub fn reap(&self) -> Result<()> {
        if !self.isolation.can_outlive_its_runner() {
            return Ok(());
        }
        for pod in self.store.list_pods()? {
            if pod.state == State::Exited && pod.record().exists() {
                // Somebody may have begun to run it in this moment; then it is theirs to reap.
                if let Ok(locked) = self.store.lock_pod(&pod) {
                    self.remove_sandbox(&locked.pod)?;
                    self.store.close_pod(&locked.pod)?;
                }
            }
        }
        Ok(())
    }

    /// Removes what crashes left: sandboxes, half-made pods and images. Gives the pods of which there was something left.
    ///
    /// # Errors
    /// The store cannot be read, or something cannot be removed.
    pub fn collect_garbage(&self) -> Result<Vec<Uuid>> {
        self.reap()?;
        let mut removed = Vec::new();
        for pod in self.store.list_pods()?.iter().filter(|pod| pod.state == State::Deleting) {
            // Somebody may be removing it in this moment.
            if let Ok(Some(locked)) = self.store.try_lock_pod(pod) {
                self.destroy_locked(locked)?;
                removed.push(pod.id);
            }
        }
        self.store.collect_garbage()?;
        Ok(removed)
    }

    /// Has the kernel let go of the roots of a pod without a sandbox. What is half-made, or has no manifest, never had one.
    fn let_go(&self, pod: &Pod) -> Result<()> {
        let Ok(manifest) = pod.manifest() else { return Ok(()) };
        let mut roots = manifest.apps.iter().map(|app| self.store.app_root(pod, app.name.as_str(), &[]));
        roots.try_for_each(|root| self.isolation.let_go(&self.sandbox_name(pod), root.path()))
    }

    fn sandbox_name(&self, pod: &Pod) -> String {
        sandbox_name(self.config.get("jail.namePrefix").unwrap_or(""), &pod.id.to_string())
    }

    fn remove_sandbox(&self, pod: &Pod) -> Result<()> {
        let lingering = self.isolation.remove(&self.sandbox_name(pod), &pod.record())?;
        lingering.iter().for_each(|lingering| (self.warn)(lingering));
        Ok(())
    }
}

/// The only app of a pod.
pub(super) fn the_app<'a>(pod: &Pod, manifest: &'a PodManifest) -> Result<&'a RuntimeApp> {
    match manifest.apps.as_slice() {
        [only] => Ok(only),
        apps => {
            Err(Error::new(format!("pod {} has {} apps", pod.id, apps.len())).help("this version runs pods of one app"))
        }
    }
}

/// Where the network of a pod leads, for its resolver.
fn reach(manifest: &PodManifest, attachment: &Attachment) -> Reach {
    match manifest.annotations.get(NETWORK) {
        // The loopback address of a jail with addresses is one of these.
        _ if !attachment.addresses.is_empty() => Reach::Own,
        _ if !attachment.own => Reach::Host,
        None | Some("none") => Reach::Nowhere,
        Some(_) => Reach::Own,
    }
}
