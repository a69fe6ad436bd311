//! From what a person asks for, and the images, to a pod: the reified pod manifest of appc (pods.md), and the layers that
//! its apps stand on. Nothing is touched here.

use super::annotations::{self, HOSTNAME, NETWORK};
use super::image::Image;
use super::volumes::{self, MountRequest};
use crate::appc::{AcIdentifier, AcName, App, EnvVar, Label, Labels, PodManifest, RuntimeApp, RuntimeImage, Volume};
use crate::error::{Context, Error, Result};
use crate::sys::abi::{Abi, how_to_load};

/// The annotation of an app in a pod manifest that holds the most bytes that its root may hold.
pub const DISK: &str = "jetpack/disk";

/// What a person asks for.
#[derive(Clone, Debug)]
pub struct PodRequest {
    /// The apps, in order.
    pub apps: Vec<AppRequest>,
    /// The volumes that they can have.
    pub volumes: Vec<Volume>,
    /// What hostname(1) says in the pod; its UUID if not given.
    pub hostname: Option<String>,
    /// What the pod is annotated with beside that: names and values.
    pub annotations: Vec<(String, String)>,
    /// The network, by name.
    pub network: String,
    /// What the host runs.
    pub host: Platform,
}

/// What programs a host runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Its operating system, as appc writes it.
    pub os: &'static str,
    /// Its processor.
    pub arch: &'static str,
    /// The programs of other systems that its kernel runs as it is now.
    pub foreign: Vec<Abi>,
}

impl Platform {
    /// How a host of this kind sees programs that are made for `os` on `arch` (each may be empty: any); none if it cannot run
    /// them, whatever its kernel has loaded. A 64-bit PC also runs what was made for its 32-bit ancestor.
    pub fn abi(&self, os: &str, arch: &str) -> Option<Abi> {
        let ancestor = arch == "i386" && self.arch == "amd64";
        if !(arch.is_empty() || arch == self.arch || ancestor) {
            return None;
        }
        match (os, self.os) {
            ("", _) => Some(Abi::Native),
            (os, host) if os == host => Some(Abi::Native),
            ("linux", "freebsd") if ancestor || self.arch == "i386" => Some(Abi::Linux32),
            ("linux", "freebsd") => Some(Abi::Linux),
            _ => None,
        }
    }

    /// The same for what an image's labels say.
    pub fn abi_of(&self, labels: &Labels) -> Option<Abi> {
        self.abi(labels.get("os").unwrap_or(""), labels.get("arch").unwrap_or(""))
    }
}

/// An app that a person asks for, and what is to be different from its image's manifest.
#[derive(Clone, Debug)]
pub struct AppRequest {
    /// The image.
    pub image: Image,
    /// Its name in the pod; the last part of the image's name if not given.
    pub name: Option<AcName>,
    /// The program instead of the manifest's, whose arguments are dropped too.
    pub exec: Option<String>,
    /// More arguments.
    pub arguments: Vec<String>,
    /// The user instead of the manifest's.
    pub user: Option<String>,
    /// The group instead of the manifest's.
    pub group: Option<String>,
    /// Variables beside, or instead of, the manifest's.
    pub environment: Vec<(String, String)>,
    /// The working directory instead of the manifest's.
    pub working_directory: Option<String>,
    /// Whether the root filesystem is read-only.
    pub read_only: bool,
    /// The most bytes that its root may hold, the image's included.
    pub disk: Option<u64>,
    /// The volumes that it is to have, beside those that its mount points name.
    pub mounts: Vec<MountRequest>,
}

impl AppRequest {
    /// The app exactly as its image has it.
    pub fn of(image: Image) -> AppRequest {
        AppRequest {
            image,
            name: None,
            exec: None,
            arguments: Vec::new(),
            user: None,
            group: None,
            environment: Vec::new(),
            working_directory: None,
            read_only: false,
            disk: None,
            mounts: Vec::new(),
        }
    }
}

/// A pod as it is to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct PodPlan {
    /// The reified manifest.
    pub manifest: PodManifest,
    /// The apps' roots.
    pub apps: Vec<AppPlan>,
    /// What the person should know.
    pub notices: Vec<String>,
}

/// The root of an app as it is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppPlan {
    /// The app's name.
    pub name: String,
    /// The layers, the lowest first.
    pub layers: Vec<String>,
    /// The most bytes that it may hold.
    pub disk: Option<u64>,
}

/// Plans a pod.
///
/// # Errors
/// Something that was asked for, or that an image asks for, cannot be had.
pub fn plan(request: PodRequest) -> Result<PodPlan> {
    if request.apps.len() != 1 {
        return Err(Error::new(format!("a pod of {} apps cannot be made", request.apps.len()))
            .help("this version runs pods of one app"));
    }
    let mut manifest = PodManifest::new();
    let mut annotate = |name: &str, value: &str| -> Result<()> {
        let name: AcIdentifier = name.parse().context(|| "cannot annotate the pod")?;
        manifest.annotations.set(name, value).context(|| "cannot annotate the pod")
    };
    annotate(NETWORK, &request.network)?;
    if let Some(hostname) = &request.hostname {
        annotate(HOSTNAME, hostname)?;
    }
    annotations::add(&mut manifest.annotations, &request.annotations)?;
    annotations::check(&manifest.annotations, request.host.os)?;
    check_names(&request.volumes)?;
    manifest.volumes = request.volumes.clone();
    let (mut apps, mut notices) = (Vec::new(), Vec::new());
    for app in request.apps {
        check_platform(&app.image, &request.host)?;
        let (layers, disk, wanted) = (app.image.record.layers.clone(), app.disk, app.mounts.clone());
        let mut planned = plan_app(app)?;
        let filled = volumes::fill(planned.name.as_str(), planned.app.as_ref(), &wanted, &manifest.volumes)?;
        manifest.volumes.extend(filled.volumes);
        planned.mounts = filled.mounts;
        notices.extend(filled.notices);
        apps.push(AppPlan { name: planned.name.to_string(), layers, disk });
        manifest.apps.push(planned);
    }
    manifest.validate().context(|| "the pod breaks the specification")?;
    let is_mounted = |volume: &&Volume| manifest.apps.iter().flat_map(|a| &a.mounts).any(|m| m.volume == volume.name);
    let unused = request.volumes.iter().filter(|volume| !is_mounted(volume));
    notices.extend(unused.map(|volume| {
        format!("nothing has the volume {}: no mount point is called so, and no -m names it", volume.name)
    }));
    Ok(PodPlan { manifest, apps, notices })
}

/// Refuses volumes of one name: nobody could tell which one is meant.
fn check_names(volumes: &[Volume]) -> Result<()> {
    for (i, volume) in volumes.iter().enumerate() {
        if volumes[..i].iter().any(|earlier| earlier.name == volume.name) {
            return Err(Error::new(format!("two volumes are called {}", volume.name)));
        }
    }
    Ok(())
}

/// Refuses an image that is made for what the host does not run (appc, aci.md, labels `os` and `arch`).
fn check_platform(image: &Image, host: &Platform) -> Result<()> {
    let labels = &image.manifest.labels;
    let made_for = [labels.get("os"), labels.get("arch")].into_iter().flatten().collect::<Vec<_>>().join("/");
    let what = || {
        format!("the image {} is made for {made_for}, and this host is {}/{}", image.manifest.name, host.os, host.arch)
    };
    match host.abi_of(labels) {
        Some(Abi::Native) => Ok(()),
        Some(foreign) if host.foreign.contains(&foreign) => Ok(()),
        Some(foreign) => {
            let module = foreign.module().unwrap_or_default();
            Err(Error::new(format!("{}, whose kernel has no module {module}", what())).help(how_to_load(module)))
        }
        None => {
            Err(Error::new(what())
                .help("import one that is made for this host; `jetpack images` says what each is for"))
        }
    }
}

fn plan_app(request: AppRequest) -> Result<RuntimeApp> {
    let manifest = &request.image.manifest;
    let name = match &request.name {
        Some(name) => name.clone(),
        None => AcName::sanitize(manifest.name.last_component()).ok_or_else(|| {
            Error::new(format!("no app name can be made of {}", manifest.name)).help("give one with --name")
        })?,
    };
    let app = overridden(&request)?;
    if let Some(app) = &app {
        app.validate().context(|| format!("the app {name} breaks the specification"))?;
    }
    let image = RuntimeImage {
        id: request.image.id.clone(),
        name: Some(manifest.name.clone()),
        labels: Labels::new(manifest.labels.iter().cloned().collect::<Vec<Label>>()).context(|| "labels")?,
    };
    let mut planned = RuntimeApp::new(name, image);
    planned.app = app;
    planned.read_only_root_fs = request.read_only;
    if let Some(bytes) = request.disk {
        let name = DISK.parse().context(|| "cannot annotate the app")?;
        planned.annotations.set(name, bytes.to_string()).context(|| "cannot annotate the app")?;
    }
    Ok(planned)
}

/// The image's app with what the person wants otherwise; none if the image has none and nothing was asked for, which means a
/// console.
fn overridden(request: &AppRequest) -> Result<Option<App>> {
    let mut words = request.exec.iter().cloned().chain(request.arguments.iter().cloned()).collect::<Vec<_>>();
    let mut app = match &request.image.manifest.app {
        Some(app) => {
            let mut app = app.clone();
            if request.exec.is_some() {
                app.exec = std::mem::take(&mut words);
            } else {
                app.exec.append(&mut words);
            }
            app
        }
        // An image without an app has no program for the arguments to follow: they are the command.
        None if !words.is_empty() => App::new(words, "0", "0"),
        None if is_plain(request) => return Ok(None),
        None => {
            return Err(Error::new(format!("the image {} has no app to change", request.image.manifest.name))
                .help("name a program with --exec, or after `--`"));
        }
    };
    if let Some(user) = &request.user {
        app.user.clone_from(user);
    }
    if let Some(group) = &request.group {
        app.group.clone_from(group);
    }
    if let Some(directory) = &request.working_directory {
        app.working_directory = Some(directory.clone());
    }
    for (name, value) in &request.environment {
        match app.environment.iter_mut().find(|known| known.name == *name) {
            Some(known) => known.value.clone_from(value),
            None => app.environment.push(EnvVar { name: name.clone(), value: value.clone() }),
        }
    }
    Ok(Some(app))
}

fn is_plain(request: &AppRequest) -> bool {
    request.user.is_none()
        && request.group.is_none()
        && request.environment.is_empty()
        && request.working_directory.is_none()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
pub(super) mod tests;
