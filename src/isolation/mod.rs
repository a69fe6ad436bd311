//! Isolation: what stands between a pod and its host. One small trait, and a backend for each kernel.
//!
//! A backend sees mounts, parameters and paths, never manifests. It works in two processes: the *runner* on the host
//! launches, and the *agent*, the first process of the sandbox, goes inside. The agent is this same program, executed again
//! with a clean memory, so that nothing of the host's is in it; everything in the pod is its descendant.

use std::ffi::CString;
use std::net::IpAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::sys::abi::Abi;
use crate::sys::processes::Process;
use crate::sys::rootfs::RootFs;

#[cfg(feature = "testing")]
mod fake;
#[cfg(any(target_os = "freebsd", test))]
mod filesystems;
#[cfg(target_os = "freebsd")]
mod jail;
#[cfg(target_os = "linux")]
mod namespaces;
#[cfg(any(target_os = "freebsd", test))]
mod parameters;
#[cfg(any(target_os = "freebsd", test))]
mod record;
mod submounts;
#[cfg(test)]
mod tests;

#[cfg(feature = "testing")]
pub use fake::Fake;
#[cfg(target_os = "freebsd")]
pub use jail::Jail as Native;
#[cfg(target_os = "linux")]
pub use namespaces::Namespaces as Native;

/// All that a backend has to know to make a sandbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// The pod's UUID.
    pub id: String,
    /// The name that the kernel knows the sandbox by, where it has names: the jail's.
    pub name: String,
    /// What hostname(1) says inside.
    pub hostname: String,
    /// What network the pod sees.
    pub network: NetworkView,
    /// The addresses of the host's that are all of its network that the pod sees; if there are none, `network` decides.
    pub addresses: Vec<IpAddr>,
    /// The root filesystem of the app.
    pub root: RootSpec,
    /// Which devices /dev shows, where devfs(8) has rulesets.
    pub ruleset: u16,
    /// Parameters of the jail beside those that follow from the rest.
    pub parameters: Vec<Parameter>,
    /// Where mounts that can outlive the runner are written down before they are made.
    pub record: PathBuf,
}

/// The root filesystem of an app and what is put into it before the app starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootSpec {
    /// How it comes to stand on a path.
    pub filesystem: RootFs,
    /// Whether the app may not write to it.
    pub read_only: bool,
    /// Whose programs are in it.
    pub abi: Abi,
    /// Whether procfs(5) is asked for, on a kernel where programs do without.
    pub procfs: bool,
    /// Files that the runtime writes: absolute path inside the root, and contents.
    pub files: Vec<(PathBuf, String)>,
    /// Volumes, one below another after it.
    pub mounts: Vec<VolumeMount>,
}

/// A directory, or a file, that an app has in its root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeMount {
    /// Where it is on the host.
    pub source: PathBuf,
    /// The absolute path inside the root; made where it is missing. Links on the way lead where they do inside.
    pub target: PathBuf,
    /// Whether the app may not write to it.
    pub read_only: bool,
    /// What of the host it is; none for a directory of the pod's own.
    pub of_host: Option<HostSource>,
}

/// What of the host a volume is. Devices and set-user-ID bits in it mean nothing in the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostSource {
    /// A directory, or a file, without what is mounted below it.
    Alone,
    /// With what is mounted below it when the pod starts, and not what is mounted later.
    WithMounts,
}

/// A parameter of a jail (jail(8)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its value as jail(8) writes it.
    pub value: String,
    /// Who wants it, for a person.
    pub origin: String,
}

/// What network a pod sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkView {
    /// A network of its own with a loopback interface (in a jail: none at all).
    Own,
    /// The host's.
    Host,
}

/// The agent's process, as the runner starts it.
#[derive(Debug)]
pub struct AgentProcess<'a> {
    /// Its arguments, the zeroth included. The backend adds the word that [`Isolation::enter`] gets as `exe`.
    pub arguments: Vec<CString>,
    /// Its descriptors, from 0 on.
    pub descriptors: Vec<BorrowedFd<'a>>,
}

/// A sandbox in which the agent has been started.
#[derive(Debug)]
pub struct Launched {
    /// The agent.
    pub agent: Pid,
    /// What the sandbox lives as long as, where the kernel has such descriptors and does not end it with the agent anyway. The
    /// runner keeps it, so that even its death by SIGKILL ends the pod.
    pub owner: Option<OwnedFd>,
}

/// How the world looks to the agent once it is inside.
#[derive(Debug)]
pub struct Inside {
    /// The path of the app's root: `/`, except where nothing is isolated.
    pub root: PathBuf,
    /// Whether the agent is root and can become any user.
    pub privileged: bool,
    /// What the host's kernel knows the sandbox by, if that is a descriptor.
    pub identity: Option<OwnedFd>,
}

/// Makes sandboxes.
pub trait Isolation {
    /// On the host: whether a sandbox can be made with these parameters of a jail.
    ///
    /// # Errors
    /// One that the kernel does not have, or with a value that is none of its kind.
    fn check(&self, parameters: &[Parameter]) -> Result<()> {
        let _ = parameters;
        Ok(())
    }

    /// On the host: makes the sandbox as far as that is done from outside, and starts the agent. What the pod does not get of
    /// what it could expect goes to `warn`.
    ///
    /// # Errors
    /// The kernel refuses; whatever was made is gone again.
    fn launch(&self, spec: &SandboxSpec, agent: AgentProcess<'_>, warn: &dyn Fn(&str)) -> Result<Launched>;

    /// In the agent, first of all: makes sure that nobody in the pod can use the program that it runs from. `fd` is the
    /// number of the descriptor that follows [`AgentProcess::descriptors`].
    ///
    /// # Errors
    /// The kernel refuses; the agent must not go on.
    fn harden(&self, exe: &str, fd: i32) -> Result<()>;

    /// In the agent: goes into the sandbox, mounting what has to be mounted from within.
    ///
    /// # Errors
    /// The kernel refuses, or something of the root is missing.
    fn enter(&self, spec: &SandboxSpec) -> Result<Inside>;

    /// In the agent, once inside: makes `terminal` the pod's console, where a pod has one.
    ///
    /// # Errors
    /// The kernel refuses.
    fn connect_console(&self, terminal: &Path) -> Result<()> {
        let _ = terminal;
        Ok(())
    }

    /// On the host: what runs in the sandbox called `name`, of which the agent has given `identity`; the agent too.
    ///
    /// # Errors
    /// The sandbox has gone, or the kernel refuses.
    fn processes(&self, name: &str, identity: Option<BorrowedFd<'_>>) -> Result<Vec<Process>>;

    /// On the host: sends a signal to processes that [`Isolation::processes`] has found; never to one outside of the sandbox,
    /// even if it has got the number of one that has ended. That one has ended is no error.
    ///
    /// # Errors
    /// The kernel refuses.
    fn signal(&self, name: &str, identity: Option<BorrowedFd<'_>>, processes: &[Process], signal: i32) -> Result<()>;

    /// On the host, when the agent has ended, however it did: removes what outlives it. Nothing to remove is no error. What the
    /// kernel keeps for a while, in nobody's way, is told.
    ///
    /// # Errors
    /// Something cannot be removed.
    fn remove(&self, name: &str, record: &Path) -> Result<Option<String>>;

    /// On the host, when a pod is destroyed that is removed already: makes the kernel let go of the pod's root at `root`, if that
    /// is a mount of its own, or stands right in one.
    ///
    /// # Errors
    /// The kernel refuses.
    fn let_go(&self, name: &str, root: &Path) -> Result<()> {
        let _ = (name, root);
        Ok(())
    }

    /// The directories of a root for such programs at which this mounts something in any case, relative to the root. They are
    /// made if they are missing.
    fn mounted(&self, abi: Abi) -> &'static [&'static str];

    /// Whether the kernel has capabilities (capabilities(7)) for an app to be limited to.
    fn has_capabilities(&self) -> bool;

    /// Whether sandboxes are jails, which have parameters, and whose /dev has a ruleset.
    fn has_jails(&self) -> bool;

    /// Whether a sandbox, or parts of it, can outlive its runner and agent, and has then to be removed by somebody else.
    fn can_outlive_its_runner(&self) -> bool;
}

/// The backend called `name`: `native` is the kernel's own.
///
/// # Errors
/// There is none of that name.
pub fn by_name(name: &str) -> Result<Box<dyn Isolation>> {
    match name {
        "native" => Ok(Box::new(Native)),
        #[cfg(feature = "testing")]
        "fake" => Ok(Box::new(Fake)),
        _ => Err(Error::new(format!("there is no isolation {name:?}"))),
    }
}

/// Writes a file of the runtime's into the root that this process has entered. A link in the way is replaced, not followed.
fn write_file(path: &Path, contents: &str) -> Result<()> {
    let what = || format!("cannot write the pod's {}", path.display());
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.len() == contents.len() as u64)
        && std::fs::read_to_string(path).is_ok_and(|old| old == contents)
    {
        return Ok(());
    }
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).context(what)?;
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).context(what),
        _ => {}
    }
    std::fs::write(path, contents).context(what)
}

/// The directory `name` of the root, made if it is missing; a link or a file that the image has there is replaced, never
/// followed.
fn mountpoint(root: &Path, name: &str) -> Result<PathBuf> {
    let target = root.join(name);
    match std::fs::symlink_metadata(&target) {
        Ok(found) if found.is_dir() => return Ok(target),
        Ok(_) => std::fs::remove_file(&target).context(|| format!("/{name}"))?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => return Err(Error::with_source(format!("/{name}"), e)),
    }
    std::fs::create_dir(&target).context(|| format!("/{name}"))?;
    Ok(target)
}

/// In the root, which this process has entered: the directory at which a volume is mounted, or the file where the volume is one,
/// made if it is missing. Links on the way have been followed, so that what comes back holds none.
///
/// # Errors
/// It cannot be made, or the links lead to where no volume goes.
fn volume_mountpoint(target: &Path, is_file: bool) -> Result<PathBuf> {
    let directory = if is_file { target.parent().unwrap_or(target) } else { target };
    std::fs::create_dir_all(directory).context(|| format!("cannot make the directory {}", directory.display()))?;
    if is_file
        && let Err(e) = std::fs::File::options().write(true).create_new(true).open(target)
        && !target.exists()
    {
        return Err(e).context(|| "cannot make the file");
    }
    let found = std::fs::canonicalize(target).context(|| "cannot find it")?;
    check_volume_mountpoint(&found)?;
    Ok(found)
}

/// Where the runtime mounts what every pod has.
const TAKEN: [&str; 3] = ["/dev", "/proc", "/sys"];

/// Refuses what the links on the way to a mount point must not lead to: a volume there would cover what the pod and its agent
/// rely on.
fn check_volume_mountpoint(found: &Path) -> Result<()> {
    let shown = found.to_string_lossy();
    let why = if found == Path::new("/") {
        "which is the whole root filesystem"
    } else if TAKEN.iter().any(|taken| found.starts_with(taken)) {
        "where the runtime mounts its own"
    } else if shown.chars().any(char::is_control) {
        "which holds a control character"
    } else {
        return Ok(());
    };
    Err(Error::new(format!("links lead to {}, {why}", shown.escape_debug()))
        .help("a link in the image, or one that the pod has made, stands in the place of the mount point: remove it"))
}
