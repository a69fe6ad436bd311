//! FreeBSD: a jail, with its own devfs.
//!
//! The jail and the mounts below its root outlive the process that made them. So each mount is written down in the pod's
//! record before it is made, and [`Isolation::remove`] takes away whatever the record and the kernel know of.

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{AgentProcess, Inside, Isolation, NetworkView, SandboxSpec, VolumeMount, record};
use crate::command;
use crate::error::{Context, Error, Result};
use crate::steps::Steps;
use crate::sys;
use crate::sys::os::AgentExe;
use crate::sys::processes::Process;
use crate::sys::rootfs::RootFs;

/// The backend.
#[derive(Debug, Default)]
pub struct Jail;

/// How long the processes of a removed jail may hold its filesystems.
const PATIENCE: Duration = Duration::from_secs(10);

/// The ruleset of /dev in a jail (devfs.rules(5), `devfsrules_jail`).
const RULESET: &str = "4";

impl Isolation for Jail {
    fn launch(&self, spec: &SandboxSpec, mut agent: AgentProcess<'_>) -> Result<Pid> {
        let path = &directory(spec)?;
        let what = || format!("cannot make the jail of pod {}", spec.id);
        check_ruleset()?;
        let exe = AgentExe::protected().context(|| "cannot open this program")?;
        agent.arguments.push(std::ffi::CString::new(exe.kind()).unwrap_or_default());
        let mut steps = Steps::new();
        let unmount = || unmount_recorded(&spec.record);
        steps.step("mount the pod's filesystems", unmount, || mount_all(path, spec))?;
        let remove = || sys::os::remove(&spec.name).context(|| "jail_remove");
        let parameters = parameters(spec);
        steps
            .step("make the jail", remove, || sys::os::create(&spec.name, path, &parameters).map(drop).context(what))?;
        let pid = steps.check(|| sys::os::spawn_agent(&exe, &agent.descriptors, &agent.arguments).context(what))?;
        steps.keep();
        Ok(pid)
    }

    fn harden(&self, exe: &str, fd: i32) -> Result<()> {
        let what = || "cannot protect the runtime's agent from the pod";
        sys::os::forbid_tracing().context(what)?;
        sys::os::die_with_parent().context(what)?;
        let copy = sys::process::inherited(fd).context(what)?;
        AgentExe::inherited(exe, copy).close_behind().context(what)
    }

    fn enter(&self, spec: &SandboxSpec) -> Result<Inside> {
        sys::os::attach(&spec.name).context(|| "cannot enter the jail")?;
        nix::unistd::chdir("/").context(|| "cannot change to the root of the jail")?;
        Ok(Inside { root: PathBuf::from("/"), privileged: true, identity: None })
    }

    fn processes(&self, name: &str, _identity: Option<BorrowedFd<'_>>) -> Result<Vec<Process>> {
        command::jail_processes(name)
    }

    /// From inside the jail: there no number means a process of the host's.
    fn signal(&self, name: &str, _: Option<BorrowedFd<'_>>, processes: &[Process], signal: i32) -> Result<()> {
        let what = || format!("cannot send a signal in the jail {name}");
        let signal = Signal::try_from(signal).context(what)?;
        // A number may have become another's since.
        let now = self.processes(name, None)?;
        let is_there = |process: &&Process| now.iter().any(|n| (n.pid, &n.started) == (process.pid, &process.started));
        let send = || {
            sys::os::attach(name).map_err(|error| error.to_string())?;
            let mut failed = None;
            for process in processes.iter().filter(is_there) {
                match kill(Pid::from_raw(process.pid), signal) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(errno) => failed = Some(format!("kill({}, {signal}): {}", process.pid, errno.desc())),
                }
            }
            failed.map_or(Ok(String::new()), Err)
        };
        sys::process::in_child(send).context(what)?.context(what).map(drop)
    }

    fn remove(&self, name: &str, record: &Path) -> Result<()> {
        sys::os::remove(name).context(|| format!("cannot remove the jail {name}"))?;
        unmount_recorded(record)
    }

    fn mounted(&self) -> &'static [&'static str] {
        &["dev"]
    }

    fn has_capabilities(&self) -> bool {
        false
    }

    fn can_outlive_its_runner(&self) -> bool {
        true
    }
}

/// Refuses to make a jail whose /dev would show everything: a ruleset that was never loaded hides nothing.
fn check_ruleset() -> Result<()> {
    match command::devfs_rules(RULESET)? {
        0 => Err(Error::new(format!(
            "the devfs ruleset {RULESET} has no rules, so that the jail would see every device"
        ))
        .help("load the rules of devfs.rules(5): `service devfs restart`")),
        _ => Ok(()),
    }
}

/// The directory that becomes the root of the jail.
fn directory(spec: &SandboxSpec) -> Result<PathBuf> {
    match &spec.root.filesystem {
        RootFs::Directory { path } if spec.root.read_only => Ok(path.with_file_name("read-only")),
        RootFs::Directory { path } => Ok(path.clone()),
        RootFs::Layers { .. } | RootFs::Overlay { .. } => {
            Err(Error::new("overlayfs is Linux's").help("set `storage = dir` in jetpack.conf"))
        }
    }
}

/// The parameters that follow from the pod, then those that the configuration adds.
fn parameters(spec: &SandboxSpec) -> Vec<(String, String)> {
    let network = match spec.network {
        NetworkView::Own => "disable",
        NetworkView::Host => "inherit",
    };
    let own = [
        ("host.hostname", spec.hostname.as_str()),
        ("host.hostuuid", spec.id.as_str()),
        ("ip4", network),
        ("ip6", network),
        ("enforce_statfs", "2"),
        ("devfs_ruleset", RULESET),
        ("sysvmsg", "new"),
        ("sysvsem", "new"),
        ("sysvshm", "new"),
    ];
    own.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).chain(spec.parameters.iter().cloned()).collect()
}

/// Does `work` in a child that has chrooted to `root`, so that no link of the image leads out.
fn in_root(root: &Path, work: impl FnOnce() -> Result<String>) -> Result<String> {
    let in_child = || {
        let entered = nix::unistd::chroot(root).and_then(|()| nix::unistd::chdir("/"));
        entered.context(|| "cannot enter it").and_then(|()| work()).map_err(|error| error.one_line())
    };
    let what = || format!("cannot prepare {}", root.display());
    sys::process::in_child(in_child).context(what)?.context(what)
}

/// Writes the runtime's files into the root and makes its mount points.
fn furnish(root: &Path, spec: &SandboxSpec) -> Result<()> {
    in_root(root, || {
        super::mountpoint(Path::new("/"), "dev")?;
        spec.root.files.iter().try_for_each(|(path, text)| super::write_file(path, text))?;
        spec.root.mounts.iter().try_for_each(|mount| volume_mountpoint(mount).map(drop))?;
        Ok(String::new())
    })
    .map(drop)
}

/// In the root: the mount point of a volume, made if it is missing, once links are followed.
fn volume_mountpoint(mount: &VolumeMount) -> Result<String> {
    let what = || format!("cannot make the mount point {}", mount.target.display());
    let point = super::volume_mountpoint(&mount.target).context(what)?;
    let point = point.into_os_string().into_string().map_err(|_| Error::with_source(what(), "its name is not text"))?;
    Ok(point.trim_start_matches('/').to_owned())
}

/// Mounts what stands below the root of the jail, each mount written down first.
fn mount_all(path: &Path, spec: &SandboxSpec) -> Result<()> {
    let root = spec.root.filesystem.path();
    furnish(root, spec)?;
    if spec.root.read_only {
        fs::create_dir_all(path).context(|| format!("cannot make {}", path.display()))?;
    }
    // The kernel knows its mounts by paths without links.
    let path = &fs::canonicalize(path).context(|| format!("cannot find {}", path.display()))?;
    if spec.root.read_only {
        record::add(&spec.record, path, path)?;
        let source = root.to_string_lossy();
        sys::os::mount("nullfs", path, &[("target", &source)], true)
            .context(|| format!("cannot show {} read-only", root.display()))?;
    }
    let dev = path.join("dev");
    record::add(&spec.record, path, &dev)?;
    sys::os::mount("devfs", &dev, &[("ruleset", RULESET)], false).context(|| "cannot mount the jail's devfs")?;
    spec.root.mounts.iter().try_for_each(|mount| mount_volume(path, spec, mount))
}

/// Mounts a volume. Its mount point may be in a volume that was mounted before.
fn mount_volume(path: &Path, spec: &SandboxSpec, mount: &VolumeMount) -> Result<()> {
    let target = path.join(in_root(path, || volume_mountpoint(mount))?);
    record::add(&spec.record, path, &target)?;
    let source = mount.source.to_string_lossy();
    sys::os::mount("nullfs", &target, &[("target", &source)], mount.read_only)
        .context(|| format!("cannot mount a volume at {}", mount.target.display()))
}

/// Takes off, in reverse order, whatever the record names, and then the record.
fn unmount_recorded(record: &Path) -> Result<()> {
    for target in record::read(record)?.iter().rev() {
        unmount_patiently(target)?;
    }
    match fs::remove_file(record) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.context(|| format!("cannot remove {}", record.display())),
    }
}

/// Unmounts, waiting for processes that have been killed to let go.
fn unmount_patiently(target: &Path) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    loop {
        match sys::os::unmount(target) {
            Err(e) if e.errno() == Errno::EBUSY && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other.context(|| format!("cannot unmount {}", target.display())),
        }
    }
}
