//! FreeBSD: a jail, with its own devfs.
//!
//! The jail and the mounts below its root outlive the process that made them. So each mount is written down in the pod's
//! record before it is made, and [`Isolation::remove`] takes away whatever the record and the kernel know of. Where the kernel
//! has jail descriptors (FreeBSD 15), the jail itself lives as long as the runner, which owns it.

use std::fs;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::parameters::{own, value};
use super::{AgentProcess, Inside, Isolation, Launched, Parameter, SandboxSpec};
use crate::command;
use crate::error::{Context, Error, Result};
use crate::steps::Steps;
use crate::sys;
use crate::sys::abi::{Abi, how_to_load};
use crate::sys::os::AgentExe;
use crate::sys::parameter::Value;
use crate::sys::processes::Process;
use crate::sys::rootfs::RootFs;

mod mounts;

use mounts::{mount_all, unmount_recorded};

/// The directory, beside that of a pod's files, at which these are shown read-only.
const READ_ONLY: &str = "read-only";

/// The backend.
#[derive(Debug, Default)]
pub struct Jail;

/// How long a jail is waited for that something in the kernel still holds.
const LINGER: Duration = Duration::from_secs(1);

/// How long to wait before looking again.
const MOMENT: Duration = Duration::from_millis(10);

impl Isolation for Jail {
    fn check(&self, parameters: &[Parameter]) -> Result<()> {
        parameters.iter().try_for_each(|parameter| given(parameter).map(drop))
    }

    fn launch(&self, spec: &SandboxSpec, mut agent: AgentProcess<'_>, warn: &dyn Fn(&str)) -> Result<Launched> {
        let path = &directory(spec)?;
        let what = || format!("cannot make the jail of pod {}", spec.id);
        check_ruleset(spec.ruleset)?;
        check_abi(spec)?;
        let parameters = parameters(spec)?;
        let exe = AgentExe::protected().context(|| "cannot open this program")?;
        agent.arguments.push(std::ffi::CString::new(exe.kind()).unwrap_or_default());
        let mut steps = Steps::new();
        let unmount = || unmount_recorded(&spec.record, false);
        steps.step("mount the pod's filesystems", unmount, || mount_all(path, spec, warn))?;
        let remove = || sys::os::remove(&spec.name).map(drop).context(|| "cannot remove the jail");
        let make = || sys::os::create(&spec.name, path, &parameters).context(what);
        let jid = steps.step("make the jail", remove, make)?;
        let owner = steps.check(|| owner(jid).context(what))?;
        let agent = steps.check(|| sys::os::spawn_agent(&exe, &agent.descriptors, &agent.arguments).context(what))?;
        steps.keep();
        Ok(Launched { agent, owner })
    }

    fn harden(&self, exe: &str, fd: i32) -> Result<()> {
        let what = || "cannot protect the runtime's agent from the pod";
        sys::os::forbid_tracing().context(what)?;
        sys::os::die_with_parent().context(what)?;
        let copy = sys::process::inherited(fd).context(what)?;
        AgentExe::inherited(exe, copy).close_behind().context(what)
    }

    fn enter(&self, spec: &SandboxSpec) -> Result<Inside> {
        // This changes the root to the jail's, which is the app's.
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

    fn remove(&self, name: &str, record: &Path) -> Result<Option<String>> {
        let removed = sys::os::remove(name).context(|| format!("cannot remove the jail {name}"))?;
        // Where there is neither, nothing is left of the jail, but perhaps one that is dying, of which was told before.
        let is_left = removed || record.exists();
        let dying = if is_left { Dying::wait(name, Instant::now() + LINGER)? } else { None };
        unmount_recorded(record, dying.as_ref().is_some_and(|dying| !dying.has_processes))?;
        Ok(dying.map(|dying| dying.tell(name)))
    }

    fn let_go(&self, name: &str, root: &Path) -> Result<()> {
        match Dying::wait(name, Instant::now())? {
            Some(Dying { has_processes: false, .. }) => match fs::canonicalize(root) {
                Ok(root) => {
                    let what = || format!("cannot unmount {}", root.display());
                    let places = [Some(root.as_path()), root.parent()];
                    places.into_iter().flatten().try_for_each(sys::os::unmount_by_force).context(what)
                }
                // The pod was half destroyed before.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
                Err(e) => Err(e).context(|| format!("cannot find {}", root.display())),
            },
            _ => Ok(()),
        }
    }

    fn mounted(&self, abi: Abi) -> &'static [&'static str] {
        if abi.is_linux() { &["dev", "proc", "sys"] } else { &["dev"] }
    }

    fn has_capabilities(&self) -> bool {
        false
    }

    fn has_jails(&self) -> bool {
        true
    }

    fn can_outlive_its_runner(&self) -> bool {
        true
    }
}

/// Refuses to make a jail whose /dev would show everything: a ruleset that was never loaded hides nothing.
fn check_ruleset(number: u16) -> Result<()> {
    match command::devfs_rules(number)? {
        0 => {
            Err(Error::new(format!("the devfs ruleset {number} has no rules, so that the jail would see every device"))
                .help("load the rules of devfs.rules(5): `service devfs restart`"))
        }
        _ => Ok(()),
    }
}

/// What the jail lives as long as, where this kernel has it.
#[cfg(not(feature = "testing"))]
fn owner(jid: i32) -> sys::Result<Option<OwnedFd>> {
    sys::os::own(jid)
}

/// Tests choose an older kernel's way, so that one kernel shows both.
#[cfg(feature = "testing")]
fn owner(jid: i32) -> sys::Result<Option<OwnedFd>> {
    if std::env::var("JETPACK_TEST_JAIL_OWNER").as_deref() == Ok("none") { Ok(None) } else { sys::os::own(jid) }
}

/// Jails of a pod's that were removed and that the kernel has not let go of.
struct Dying {
    jids: Vec<i32>,
    /// Whether processes that were killed have not ended yet.
    has_processes: bool,
}

impl Dying {
    /// Those called `name`, once they have been waited for until `until`; none if there are none.
    fn wait(name: &str, until: Instant) -> Result<Option<Dying>> {
        loop {
            let jids = sys::os::dying(name).context(|| format!("cannot look for the jail {name}"))?;
            if jids.is_empty() {
                return Ok(None);
            }
            if Instant::now() >= until {
                let has_processes = command::jails_with_processes()?.iter().any(|jid| jids.contains(jid));
                return Ok(Some(Dying { jids, has_processes }));
            }
            std::thread::sleep(MOMENT);
        }
    }

    /// What a person is told.
    fn tell(&self, name: &str) -> String {
        let jids: Vec<String> = self.jids.iter().map(i32::to_string).collect();
        let why = match self.has_processes {
            true => "processes of it that were killed have not ended yet",
            false => "nothing runs in it, but the kernel holds it, perhaps until its network connections are closed",
        };
        format!("the jail {name} is dying (jid {}): {why}; it goes by itself", jids.join(", "))
    }
}

/// Refuses to make a jail for programs that the kernel does not run.
fn check_abi(spec: &SandboxSpec) -> Result<()> {
    let abi = spec.root.abi;
    match abi.module() {
        Some(module) if !sys::os::runs(abi) => Err(Error::new(format!(
            "the kernel does not run the programs of pod {}: it has no module {module}",
            spec.id
        ))
        .help(how_to_load(module))),
        _ => Ok(()),
    }
}

/// The directory that becomes the root of the jail.
fn directory(spec: &SandboxSpec) -> Result<PathBuf> {
    match &spec.root.filesystem {
        RootFs::Directory { path } if spec.root.read_only => Ok(path.with_file_name(READ_ONLY)),
        RootFs::Directory { path } => Ok(path.clone()),
        RootFs::Layers { .. } | RootFs::Overlay { .. } => {
            Err(Error::new("overlayfs is Linux's").help("set `storage = dir` in jetpack.conf"))
        }
    }
}

/// The parameters of the jail.
fn parameters(spec: &SandboxSpec) -> Result<Vec<(String, Value)>> {
    let mut all = Vec::new();
    for parameter in own(spec).into_iter().filter(|own| !spec.parameters.iter().any(|given| given.name == own.name)) {
        let what = || format!("cannot set the jail parameter {}={}", parameter.name, parameter.value);
        match sys::os::parameter_kind(parameter.name).context(what)? {
            None if parameter.optional => {}
            kind => {
                let value = kind.and_then(|kind| kind.parse(&parameter.value));
                all.push((parameter.name.to_owned(), value.ok_or_else(|| Error::new(what()))?));
            }
        }
    }
    for parameter in &spec.parameters {
        all.push((parameter.name.clone(), given(parameter)?));
    }
    Ok(all)
}

/// The value of a parameter that a person gives.
fn given(parameter: &Parameter) -> Result<Value> {
    let what = || format!("cannot look up the jail parameter {}", parameter.name);
    value(parameter, sys::os::parameter_kind(&parameter.name).context(what)?)
}
