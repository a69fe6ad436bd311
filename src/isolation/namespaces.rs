//! Linux: PID, mount, UTS, IPC, network and cgroup namespaces; all mounts are in the pod's own mount namespace, so that the
//! kernel takes everything away when the agent, which is the pod's PID 1, dies.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use nix::sys::stat::{SFlag, fstat};

use super::submounts::below;
use super::{
    AgentProcess, HostSource, Inside, Isolation, Launched, NetworkView, RootSpec, SandboxSpec, VolumeMount, mountpoint,
};
use crate::error::{Context, Error, Result};
use crate::sys;
use crate::sys::abi::Abi;
use crate::sys::os::{AgentExe, MountFlags};
use crate::sys::processes::Process;
use crate::sys::tree::file_type;

/// The backend.
#[derive(Debug, Default)]
pub struct Namespaces;

/// The devices of appc's Linux environment (OS-SPEC.md): name, major, minor.
const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// Files of /proc and /sys that tell about the host or reach into it, and have no place in a pod.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// Directories and files of /proc by which the host could be changed.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// Filesystems that are about the host's kernel, processes and devices. Elsewhere than at /proc and /sys nothing of them is
/// covered or read-only.
const HOSTS_OWN: [&str; 15] = [
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "proc",
    "pstore",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tracefs",
];

impl Isolation for Namespaces {
    fn launch(&self, spec: &SandboxSpec, mut agent: AgentProcess<'_>, _warn: &dyn Fn(&str)) -> Result<Launched> {
        spec.root.mounts.iter().try_for_each(check_source)?;
        let exe = protected_program().context(|| "cannot make a protected copy of this program")?;
        agent.arguments.push(std::ffi::CString::new(exe.kind()).unwrap_or_default());
        let namespaces = sys::os::Namespaces { network: spec.network == NetworkView::Own };
        sys::os::spawn_agent(&exe, namespaces, &agent.descriptors, &agent.arguments)
            .map(|agent| Launched { agent, owner: None })
            .context(|| format!("cannot make the namespaces of pod {}", spec.id))
    }

    fn harden(&self, exe: &str, fd: i32) -> Result<()> {
        let what = || "cannot protect the runtime's program from the pod";
        sys::os::forbid_tracing().context(what)?;
        sys::os::die_with_parent().context(what)?;
        let copy = sys::process::inherited(fd).context(what)?;
        AgentExe::inherited(exe, copy).close_behind().context(what)
    }

    fn enter(&self, spec: &SandboxSpec) -> Result<Inside> {
        // While /proc is still the host's: nothing of the pod can be in the way.
        let identity = sys::os::own_pid_namespace().context(|| "cannot open the pod's PID namespace")?;
        nix::unistd::sethostname(&spec.hostname).context(|| format!("cannot set the hostname {:?}", spec.hostname))?;
        sys::os::new_session_keyring().context(|| "cannot separate the pod's keys from the host's")?;
        if spec.network == NetworkView::Own {
            sys::os::loopback_up().context(|| "cannot switch the loopback interface on")?;
        }
        sys::os::make_private().context(|| "cannot separate the pod's mounts from the host's")?;
        // Devices come from the pod's own /dev.
        sys::os::mount_root(&spec.root.filesystem, MountFlags::MS_NODEV)
            .context(|| "cannot mount the root filesystem")?;
        let root = spec.root.filesystem.path();
        populate(root, spec.network).context(|| "cannot mount the pod's filesystems")?;
        let volumes = clone_volumes(&spec.root.mounts)?;
        sys::os::pivot(root).context(|| "cannot make the root filesystem the pod's")?;
        // Before anything of the host's can be in the way: what the runtime writes is the pod's.
        spec.root.files.iter().try_for_each(|(path, contents)| super::write_file(path, contents))?;
        mount_volumes(&spec.root.mounts, &volumes)?;
        protect_proc().context(|| "cannot protect /proc and /sys")?;
        finish_root(&spec.root)?;
        Ok(Inside { root: PathBuf::from("/"), privileged: true, identity: Some(identity) })
    }

    fn connect_console(&self, terminal: &Path) -> Result<()> {
        sys::os::bind(terminal, Path::new("/dev/console"), false)
            .context(|| "cannot mount the terminal on /dev/console")
    }

    fn processes(&self, _name: &str, identity: Option<BorrowedFd<'_>>) -> Result<Vec<Process>> {
        let what = || "cannot list the processes of the pod";
        let processes = sys::os::processes(needed(identity)?).context(what)?;
        // The agent hides itself from those who may not look at all; where it can be seen, so can the others.
        if !processes.iter().any(|process| process.inside == Some(1)) {
            return Err(Error::with_source(what(), "its first process cannot be seen")
                .help("it takes CAP_SYS_PTRACE, which root has unless it was taken away"));
        }
        Ok(processes)
    }

    fn signal(&self, _name: &str, identity: Option<BorrowedFd<'_>>, processes: &[Process], signal: i32) -> Result<()> {
        let namespace = needed(identity)?;
        let send = |process: &Process| {
            let sent = sys::os::signal_process(namespace, process, signal).map(drop);
            sent.context(|| format!("cannot send process {} of the pod a signal", process.pid))
        };
        // One that may not be signalled keeps the signal from no other.
        let sent: Vec<Result<()>> = processes.iter().map(send).collect();
        sent.into_iter().collect()
    }

    fn remove(&self, _name: &str, _record: &Path) -> Result<Option<String>> {
        Ok(None)
    }

    fn mounted(&self, _abi: Abi) -> &'static [&'static str] {
        &["dev", "proc", "sys"]
    }

    fn has_capabilities(&self) -> bool {
        true
    }

    fn has_jails(&self) -> bool {
        false
    }

    fn can_outlive_its_runner(&self) -> bool {
        false
    }
}

/// The pod's PID namespace.
fn needed(identity: Option<BorrowedFd<'_>>) -> Result<BorrowedFd<'_>> {
    identity.ok_or_else(|| Error::new("the pod's agent does not say which PID namespace is the pod's"))
}

#[cfg(not(feature = "testing"))]
fn protected_program() -> sys::Result<AgentExe> {
    AgentExe::protected()
}

/// Tests choose the way, so that one kernel shows both.
#[cfg(feature = "testing")]
fn protected_program() -> sys::Result<AgentExe> {
    match std::env::var("JETPACK_TEST_AGENT_EXE").as_deref() {
        Ok("mount") => AgentExe::in_mount(),
        Ok("memory") => AgentExe::in_memory(),
        _ => AgentExe::protected(),
    }
}

/// Mounts what appc's Linux environment asks for (OS-SPEC.md), below the root that is not yet this process's.
fn populate(root: &Path, network: NetworkView) -> Result<()> {
    let secure = MountFlags::MS_NOSUID | MountFlags::MS_NODEV | MountFlags::MS_NOEXEC;
    mount(root, "proc", "proc", secure, "")?;
    match network {
        // A sysfs belongs to a network namespace; in the host's one cannot be made anew, but the host's own can be shown.
        NetworkView::Host => {
            let target = mountpoint(root, "sys")?;
            sys::os::bind(Path::new("/sys"), &target, false).context(|| "/sys")?;
            sys::os::remount_bind(&target, secure | MountFlags::MS_RDONLY).context(|| "/sys")?;
        }
        NetworkView::Own => mount(root, "sysfs", "sys", secure | MountFlags::MS_RDONLY, "")?,
    }
    make_dev(root)?;
    mount(
        root,
        "devpts",
        "dev/pts",
        MountFlags::MS_NOSUID | MountFlags::MS_NOEXEC,
        "newinstance,ptmxmode=0666,mode=0620,gid=5",
    )?;
    mount(root, "tmpfs", "dev/shm", MountFlags::MS_NOSUID | MountFlags::MS_NODEV, "mode=1777")?;
    mount(root, "mqueue", "dev/mqueue", secure, "")
}

/// A /dev with the few devices that every program may expect.
///
/// The directory itself is mounted without devices, so that a program that may make device nodes (CAP_MKNOD is among
/// appc's default capabilities) gains nothing by it; each node is mounted on itself before, and keeps working.
fn make_dev(root: &Path) -> Result<()> {
    let flags = MountFlags::MS_NOSUID | MountFlags::MS_NOEXEC;
    mount(root, "tmpfs", "dev", flags, "mode=0755,size=64k")?;
    let dev = root.join("dev");
    for (name, major, minor) in DEVICES {
        let node = dev.join(name);
        sys::os::make_character_device(&node, 0o666, major, minor).context(|| format!("/dev/{name}"))?;
        sys::os::bind(&node, &node, false).context(|| format!("/dev/{name}"))?;
    }
    // Without a terminal the console is a bottomless pit; with one, it is mounted over this.
    let console = dev.join("console");
    fs::File::create(&console).context(|| "/dev/console")?;
    sys::os::bind(&dev.join("null"), &console, false).context(|| "/dev/console")?;
    for (name, target) in [
        ("ptmx", "pts/ptmx"),
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(target, dev.join(name)).context(|| format!("/dev/{name}"))?;
    }
    for name in ["pts", "shm", "mqueue"] {
        fs::DirBuilder::new().mode(0o755).create(dev.join(name)).context(|| format!("/dev/{name}"))?;
    }
    sys::os::remount_bind(&dev, flags | MountFlags::MS_NODEV).context(|| "/dev")
}

fn mount(root: &Path, kind: &str, name: &str, flags: MountFlags, options: &str) -> Result<()> {
    let target = mountpoint(root, name)?;
    sys::os::mount_filesystem(kind, &target, flags, options).context(|| format!("/{name}"))
}

/// Covers what tells about the host and makes read-only what changes it. Paths that this kernel does not have are no loss.
fn protect_proc() -> Result<()> {
    for path in READ_ONLY.map(Path::new) {
        if path.exists() {
            sys::os::bind_read_only(path).context(|| path.display().to_string())?;
        }
    }
    for path in MASKED.map(Path::new) {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => {
                let flags =
                    MountFlags::MS_RDONLY | MountFlags::MS_NOSUID | MountFlags::MS_NODEV | MountFlags::MS_NOEXEC;
                sys::os::mount_filesystem("tmpfs", path, flags, "size=0,mode=0555")
                    .context(|| path.display().to_string())?;
            }
            Ok(_) => sys::os::bind(Path::new("/dev/null"), path, false).context(|| path.display().to_string())?,
            Err(_) => {}
        }
    }
    Ok(())
}

/// On the host: refuses a volume that would show the pod what is covered in its own /proc and /sys.
fn check_source(mount: &VolumeMount) -> Result<()> {
    let Some(source) = mount.of_host else { return Ok(()) };
    let what = || format!("cannot mount a volume at {}", mount.target.display());
    let place = sys::os::open_without_links(&mount.source).context(what)?;
    let kind = sys::os::filesystem_of(place.as_fd()).context(what)?.kind;
    if HOSTS_OWN.contains(&kind.as_str()) {
        let why = format!("{} is in a {kind}, which would show the pod the host's", mount.source.display());
        return Err(Error::with_source(what(), why));
    }
    if source == HostSource::Alone {
        return Ok(());
    }
    let mounted = sys::os::mounted().context(what)?;
    let below = below(&mount.source, mounted.iter().map(|m| (m.kind.as_str(), m.target.as_path())));
    match below.iter().find(|(kind, _)| HOSTS_OWN.contains(kind)) {
        None => Ok(()),
        Some((kind, path)) => {
            let why = format!("{} is a {kind}, which would show the pod the host's", mount.source.join(path).display());
            Err(Error::with_source(what(), why).help("leave out all that is mounted there: `recursive=false`"))
        }
    }
}

/// The volumes as mounts that are nowhere yet: their directories are out of sight once the pod has its own root.
fn clone_volumes(mounts: &[VolumeMount]) -> Result<Vec<OwnedFd>> {
    let clone = |mount: &VolumeMount| {
        let what = || format!("cannot mount a volume at {}", mount.target.display());
        let Some(source) = mount.of_host else { return sys::os::clone_mount(&mount.source).context(what) };
        let recursive = source == HostSource::WithMounts;
        let place = sys::os::open_without_links(&mount.source).context(what)?;
        let volume = sys::os::clone_tree(place.as_fd(), recursive).context(what)?;
        sys::os::restrict_mount(volume.as_fd(), mount.read_only, recursive).context(what)?;
        Ok(volume)
    };
    mounts.iter().map(clone).collect()
}

/// In the new root, so that a link of the image's leads nowhere else: mounts the volumes.
fn mount_volumes(mounts: &[VolumeMount], volumes: &[OwnedFd]) -> Result<()> {
    for (mount, volume) in mounts.iter().zip(volumes) {
        let what = || format!("cannot mount a volume at {}", mount.target.display());
        let is_file = file_type(&fstat(volume).context(what)?) != SFlag::S_IFDIR;
        let target = super::volume_mountpoint(&mount.target, is_file).context(what)?;
        // Another pod that has a volume of this one's may put a link on the way at this moment.
        let place = sys::os::open_without_links(&target).context(what)?;
        sys::os::attach_mount(volume.as_fd(), place.as_fd()).context(what)?;
        if mount.of_host.is_none() {
            let read_only = if mount.read_only { MountFlags::MS_RDONLY } else { MountFlags::empty() };
            // By its descriptor: the path may lead elsewhere by now, as above.
            let held = PathBuf::from(format!("/proc/self/fd/{}", volume.as_raw_fd()));
            sys::os::remount_bind(&held, MountFlags::MS_NODEV | read_only).context(what)?;
        }
    }
    Ok(())
}

/// In the new root: takes the right to write away if that was asked for.
fn finish_root(spec: &RootSpec) -> Result<()> {
    if spec.read_only {
        let flags = MountFlags::MS_RDONLY | MountFlags::MS_NODEV;
        sys::os::remount_bind(Path::new("/"), flags).context(|| "cannot make the root filesystem read-only")?;
    }
    Ok(())
}
