//! What building an image means: the pod in which its command runs, and the manifest of what comes of it. Nothing is touched
//! here.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::annotations::JAIL_PARAMETER;
use super::diff::Difference;
use super::image::Image;
use super::plan::{AppRequest, Platform, PodPlan, PodRequest, plan};
use crate::appc::{AcIdentifier, App, Dependency, Draft, ImageManifest, timestamp};
use crate::error::{Context, Error, Result};

/// The annotation of a pod manifest that tells a build pod from others. Its value is the working directory.
pub const BUILD: &str = "jetpack/build";

/// The file of the working directory that becomes the image's manifest.
pub const MANIFEST: &str = "manifest.json";

/// Parameters of the jail of a build pod: freebsd-update(8) and others change file flags.
const PARAMETERS: [(&str, &str); 2] = [("allow.chflags", "true"), ("securelevel", "0")];

/// The files in the directory of [`ETC`] that are the pod's and never the image's.
const OF_THE_POD: [&str; 2] = ["resolv.conf", "hosts"];

/// The directory of the root in which the runtime writes files. It may be a link to another one.
pub const ETC: &str = "etc";

/// What a person asks for.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The image to build on.
    pub image: Image,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// The network, by name.
    pub network: String,
    /// The name of the working directory, at the root of the pod's root.
    pub directory: String,
    /// What the host runs.
    pub host: Platform,
}

/// Plans the pod. The command takes the place of the image's app, of which nothing but the environment is left, and is root's.
///
/// # Errors
/// As [`plan`].
pub fn plan_build(request: BuildRequest) -> Result<PodPlan> {
    let BuildRequest { mut image, command, network, directory, host } = request;
    let mut app = App::new(command, "0", "0");
    app.environment = image.manifest.app.take().map(|app| app.environment).unwrap_or_default();
    app.working_directory = Some(format!("/{directory}"));
    image.manifest.app = Some(app);
    let name = Some("build".parse().context(|| "cannot name the app")?);
    let apps = vec![AppRequest { name, ..AppRequest::of(image) }];
    let parameters = if host.os == "freebsd" { &PARAMETERS[..] } else { &[] };
    let annotations =
        parameters.iter().map(|(name, value)| (format!("{JAIL_PARAMETER}{name}"), (*value).to_owned())).collect();
    let mut planned = plan(PodRequest { apps, volumes: Vec::new(), hostname: None, annotations, network, host })?;
    let name: AcIdentifier = BUILD.parse().context(|| "cannot annotate the pod")?;
    planned.manifest.annotations.set(name, directory).context(|| "cannot annotate the pod")?;
    Ok(planned)
}

/// The manifest of the image, but for the `pathWhitelist`, and what the person should know of it. `text` is what the author
/// wrote; `now` is in seconds since 1970.
///
/// # Errors
/// It breaks the specification, or says what a build decides.
pub fn complete(text: &[u8], parent: &Image, now: u64) -> Result<(ImageManifest, Vec<String>)> {
    let Draft { mut manifest, unknown } = Draft::parse(text, &parent.manifest.labels)
        .context(|| format!("the {MANIFEST} that the command left breaks the specification"))?;
    if let Some(first) = manifest.dependencies.first() {
        let what = format!("the {MANIFEST} that the command left depends on {}", first.image_name);
        return Err(Error::new(what)
            .help("the image depends on the one that it is built on, and on no other: leave `dependencies` out"));
    }
    if !manifest.path_whitelist.is_empty() {
        return Err(Error::new(format!("the {MANIFEST} that the command left has a pathWhitelist"))
            .help("what the command removes is not in the image: leave `pathWhitelist` out"));
    }
    manifest.dependencies.push(Dependency {
        image_name: parent.manifest.name.clone(),
        image_id: Some(parent.id.clone()),
        labels: parent.manifest.labels.clone(),
        size: None,
    });
    if manifest.annotations.get("timestamp").is_none() {
        let what = || "cannot annotate the image";
        manifest.annotations.set("timestamp".parse().context(what)?, timestamp(now)).context(what)?;
    }
    let ignored = |field: String| format!("the specification has no field {field}, which is left out of the manifest");
    Ok((manifest, unknown.into_iter().map(ignored).collect()))
}

/// What of a build pod's root is not the image's. Paths are relative to the root.
#[derive(Clone, Debug)]
pub struct Foreign<'a> {
    /// The name of the working directory.
    pub directory: &'a str,
    /// The directories at which the sandbox mounts something.
    pub mounted: &'a [&'a str],
    /// The directories that [`ETC`] leads to, in the parent and after the command. The runtime wrote where it led before the
    /// command began, and a command may have moved that.
    pub etc: Vec<PathBuf>,
    /// Whether [`ETC`] itself is there for the pod's files alone.
    pub made: bool,
}

impl Foreign<'_> {
    /// Whether the entry at this path is not the image's, with all that is in it.
    pub fn has(&self, path: &Path) -> bool {
        let is = |other: &&str| path == Path::new(other);
        let in_etc = path.parent().is_some_and(|directory| self.etc.iter().any(|etc| etc == directory));
        is(&self.directory)
            || self.mounted.iter().any(is)
            || (in_etc && path.file_name().is_some_and(is_of_the_pod))
            || (self.made && is(&ETC))
    }

    /// Whether a directory with these entries holds nothing but what is the pod's.
    pub fn is_all<'n>(mut names: impl Iterator<Item = &'n OsStr>) -> bool {
        names.all(is_of_the_pod)
    }

    /// Takes the directories out of a difference in which only what is not the image's was made or removed, whether or not it is
    /// there still.
    pub fn overlook(&self, difference: &mut Difference) {
        std::iter::once(Path::new(""))
            .chain(self.etc.iter().map(PathBuf::as_path))
            .for_each(|path| difference.overlook(path));
    }

    /// The directories in which something was made or removed that is not the image's. Those that the difference does not have
    /// differ from the parent's in their time at most.
    pub fn disturbed(&self, difference: &Difference) -> Vec<&Path> {
        let unchanged = |path: &&Path| {
            let is = |other: &PathBuf| other == path;
            !difference.changed.iter().any(is) && !difference.added.iter().any(is)
        };
        std::iter::once(Path::new("")).chain(self.etc.iter().map(PathBuf::as_path)).filter(unchanged).collect()
    }
}

fn is_of_the_pod(name: &OsStr) -> bool {
    OF_THE_POD.iter().any(|other| name == *other)
}

#[cfg(test)]
#[path = "build_tests.rs"]
mod tests;
