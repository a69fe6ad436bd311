//! The processes of a PID namespace, as the host's /proc shows them (proc(5)).
//!
//! A number may mean another process a moment later. So a process's directory is opened once, and everything is read below
//! that descriptor, which stays with the one process; it is also what a signal is sent by.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};
use nix::unistd::{SysconfVar, sysconf};

use super::super::processes::Process;
use super::super::{Call, Error, Result};

/// No file of a process is read further than this (bytes): arguments may be megabytes long.
const LONGEST: u64 = 64 << 10;

/// PID namespaces are not nested deeper than this (pid_namespaces(7)).
const DEEPEST: usize = 32;

/// This process's PID namespace, as a descriptor that can be given away. As long as it is open, the kernel gives the
/// namespace's identity to no other.
///
/// # Errors
/// /proc is not mounted.
pub fn own_pid_namespace() -> Result<OwnedFd> {
    let path = "/proc/self/ns/pid";
    open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).call(|| format!("open({path:?})"))
}

/// The processes of `namespace` and of those below it, by number. One that ends meanwhile is left out, and so is one that this
/// process may not look at (ptrace(2), access mode checks).
///
/// # Errors
/// /proc is not mounted.
pub fn processes(namespace: BorrowedFd<'_>) -> Result<Vec<Process>> {
    let mut family = Family::of(namespace)?;
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").call(|| "open(\"/proc\")")? {
        let name = entry.call(|| "getdents(\"/proc\")")?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
        found.extend(unless_ended(look_at(pid, &mut family))?.flatten().map(|(_, process)| process));
    }
    found.sort_by_key(|process| process.pid);
    Ok(found)
}

/// Sends a signal to a process that [`processes`] of the same `namespace` has found; false if it has ended since.
///
/// # Errors
/// `EINVAL`: there is no such signal.
pub fn signal_process(namespace: BorrowedFd<'_>, process: &Process, signal: i32) -> Result<bool> {
    let mut family = Family::of(namespace)?;
    let Some((directory, now)) = unless_ended(look_at(process.pid, &mut family))?.flatten() else { return Ok(false) };
    if now.started != process.started {
        return Ok(false);
    }
    // SAFETY: no siginfo is given; a directory of /proc is as good a process descriptor as one of pidfd_open(2).
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            directory.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    let sent = Errno::result(sent).map(drop).call(|| format!("pidfd_send_signal({}, {signal})", process.pid));
    unless_ended(sent).map(|sent| sent.is_some())
}

/// `None` if the process that was asked about has ended.
fn unless_ended<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if matches!(e.errno(), Errno::ENOENT | Errno::ESRCH) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The process with this number and its directory, if it is of the family.
fn look_at(pid: i32, family: &mut Family) -> Result<Option<(OwnedFd, Process)>> {
    let path = format!("/proc/{pid}");
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let directory = open(path.as_str(), flags, Mode::empty()).call(|| format!("open({path:?})"))?;
    let own = match family.has(&directory) {
        Ok(Some(own)) => own,
        Ok(None) => return Ok(None),
        // Some hosts hide a few of their own processes even from root.
        Err(e) if e.errno() == Errno::EACCES => return Ok(None),
        Err(e) => return Err(e),
    };
    let stat = read(&directory, "stat")?;
    let status = read(&directory, "status")?;
    let arguments = read(&directory, "cmdline")?;
    let broken = || Error::new(format!("read(\"{path}/stat\")"), Errno::EPROTO);
    let mut process = parse(&stat, &status, &arguments, Units::of_kernel()).ok_or_else(broken)?;
    if !own {
        process.inside = None;
    }
    Ok(Some((directory, process)))
}

fn read(directory: &OwnedFd, name: &str) -> Result<Vec<u8>> {
    let call = || format!("read(\"/proc/…/{name}\")");
    let file = openat(directory, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).call(call)?;
    let mut bytes = Vec::new();
    File::from(file).take(LONGEST).read_to_end(&mut bytes).call(call)?;
    Ok(bytes)
}

/// A namespace with those below it.
struct Family {
    root: Identity,
    /// What is known of others.
    known: HashMap<Identity, bool>,
}

/// What tells one namespace from another: device and inode (namespaces(7)).
type Identity = (libc::dev_t, libc::ino_t);

impl Family {
    fn of(namespace: BorrowedFd<'_>) -> Result<Family> {
        Ok(Family { root: identity(&fstat(namespace).call(|| "fstat(namespace)")?), known: HashMap::new() })
    }

    /// Whether the process is of the family, and if so, whether it is of the namespace at its top.
    fn has(&mut self, process: &OwnedFd) -> Result<Option<bool>> {
        let call = || "fstatat(\"/proc/…/ns/pid\")";
        let namespace = identity(&fstatat(process, "ns/pid", AtFlags::empty()).call(call)?);
        if namespace == self.root {
            return Ok(Some(true));
        }
        let below = match self.known.get(&namespace) {
            Some(known) => *known,
            None => {
                let below = self.is_above(process)?;
                self.known.insert(namespace, below);
                below
            }
        };
        Ok(below.then_some(false))
    }

    /// Whether the process's namespace has the family's among its ancestors.
    fn is_above(&self, process: &OwnedFd) -> Result<bool> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let mut namespace = openat(process, "ns/pid", flags, Mode::empty()).call(|| "open(\"/proc/…/ns/pid\")")?;
        for _ in 0..DEEPEST {
            let Some(parent) = parent(namespace.as_fd())? else { return Ok(false) };
            if identity(&fstat(&parent).call(|| "fstat(namespace)")?) == self.root {
                return Ok(true);
            }
            namespace = parent;
        }
        Ok(false)
    }
}

fn identity(stat: &FileStat) -> Identity {
    (stat.st_dev, stat.st_ino)
}

/// The namespace above (ioctl_nsfs(2)); `None` above this process's own.
fn parent(namespace: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    /// `_IO(0xb7, 0x2)` of linux/nsfs.h.
    const NS_GET_PARENT: u32 = 0xb702;
    // SAFETY: NS_GET_PARENT takes no argument and makes a new descriptor.
    match Errno::result(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_PARENT as _) }) {
        // SAFETY: the kernel has just made this descriptor for us.
        Ok(fd) => Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) })),
        Err(Errno::EPERM) => Ok(None),
        Err(errno) => Err(Error::new("ioctl(NS_GET_PARENT)", errno)),
    }
}

/// In what the kernel counts.
#[derive(Clone, Copy)]
struct Units {
    ticks_per_second: u64,
    page: u64,
}

impl Units {
    fn of_kernel() -> Units {
        let ask = |what, usual| match sysconf(what) {
            Ok(Some(value)) => u64::try_from(value).unwrap_or(usual),
            _ => usual,
        };
        Units { ticks_per_second: ask(SysconfVar::CLK_TCK, 100).max(1), page: ask(SysconfVar::PAGE_SIZE, 4096) }
    }
}

/// A process from its files. In `stat` the name stands in parentheses and may hold any byte, parentheses too; what follows the
/// last one is the kernel's. In `status` the kernel writes a line feed in a name as `\n`.
fn parse(stat: &[u8], status: &[u8], arguments: &[u8], units: Units) -> Option<Process> {
    let (open, close) = (stat.iter().position(|b| *b == b'(')?, stat.iter().rposition(|b| *b == b')')?);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pid = std::str::from_utf8(stat.get(..open)?).ok()?.trim().parse().ok()?;
    let name = text(stat.get(open + 1..close)?);
    let fields: Vec<&str> = std::str::from_utf8(stat.get(close + 1..)?).ok()?.split_whitespace().collect();
    // Numbered as in proc(5), where the state is the third.
    let field = |number: usize| fields.get(number - 3).copied();
    let number = |at: usize| field(at)?.parse::<u64>().ok();
    let ticks = number(14)? + number(15)?;
    let nanoseconds = u128::from(ticks) * 1_000_000_000 / u128::from(units.ticks_per_second);
    let status = text(status);
    let value = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t"));
    let arguments: Vec<String> = arguments.trim_ascii_end_nul().split(|b| *b == 0).map(text).collect();
    let command = arguments.join(" ");
    Some(Process {
        pid,
        inside: value("NSpid").and_then(|pids| pids.split_whitespace().last()?.parse().ok()),
        uid: value("Uid")?.split_whitespace().nth(1)?.parse().ok()?,
        state: field(3)?.to_owned(),
        cpu: Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX)),
        started: field(22)?.to_owned(),
        resident: number(24)? * units.page,
        command: if command.is_empty() { format!("[{name}]") } else { command },
        name,
    })
}

/// Bytes without the NULs at their end.
trait TrimNul {
    fn trim_ascii_end_nul(&self) -> &[u8];
}

impl TrimNul for [u8] {
    fn trim_ascii_end_nul(&self) -> &[u8] {
        &self[..self.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNITS: Units = Units { ticks_per_second: 100, page: 4096 };
    const REST: &str = " S 1 42 42 0 -1 4194304 100 0 0 0 150 25 0 0 20 0 1 0 777 1000 3 18446744073709551615 0 0";
    const STATUS: &str = "Name:\tx\\nUid:\t0\nState:\tS (sleeping)\nUid:\t1000\t1001\t1000\t1000\nNSpid:\t42\t7\n";

    #[test]
    fn a_process_is_read_from_its_files() {
        let stat = format!("42 (sleep){REST}");
        let process = parse(stat.as_bytes(), STATUS.as_bytes(), b"sleep\x0010\0", UNITS).unwrap();
        let expected = Process {
            pid: 42,
            inside: Some(7),
            uid: 1001,
            state: "S".to_owned(),
            cpu: Duration::from_millis(1750),
            started: "777".to_owned(),
            resident: 12288,
            name: "sleep".to_owned(),
            command: "sleep 10".to_owned(),
        };
        assert_eq!(process, expected);
    }

    #[test]
    fn names_can_hold_anything() {
        for name in ["a b", "(x", "x)", ") R 1 1", "(sd-pam)", "a\nb", "\u{1b}[2J", "", ")))((("] {
            let stat = format!("42 ({name}){REST}");
            let process = parse(stat.as_bytes(), STATUS.as_bytes(), b"", UNITS).unwrap();
            assert_eq!((process.name.as_str(), process.state.as_str()), (name, "S"));
            assert_eq!(process.command, format!("[{name}]"));
        }
        let process =
            parse(format!("42 (x){REST}").as_bytes(), STATUS.as_bytes(), b"a\0\xff\0\0c\0\0\0", UNITS).unwrap();
        assert_eq!(process.command, "a \u{fffd}  c");
    }

    #[test]
    fn what_is_no_process_is_refused() {
        for stat in ["", "42", "42 (", "42 )(", "42 (x) S", "x (x) S 1 2 3", "42 (x) S 1 42 42 0 -1 0 0 0 0 0 a b"] {
            assert_eq!(parse(stat.as_bytes(), STATUS.as_bytes(), b"", UNITS), None, "{stat}");
        }
        assert_eq!(parse(format!("42 (x){REST}").as_bytes(), b"", b"", UNITS), None);
    }

    #[test]
    fn the_own_namespace_has_this_process_and_every_child() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let namespace = own_pid_namespace().unwrap();
        let found = processes(namespace.as_fd()).unwrap();
        let of = |pid: i32| found.iter().find(|process| process.pid == pid);
        assert!(of(i32::try_from(std::process::id()).unwrap()).is_some());
        let sleep = of(pid).expect("the child").clone();
        assert!(
            signal_process(namespace.as_fd(), &Process { started: "0".to_owned(), ..sleep.clone() }, 9)
                .is_ok_and(|sent| !sent)
        );
        assert!(child.try_wait().unwrap().is_none());
        assert!(signal_process(namespace.as_fd(), &sleep, 9).unwrap());
        child.wait().unwrap();
        assert!(!signal_process(namespace.as_fd(), &sleep, 9).unwrap());
        let none = File::open("/dev/null").unwrap();
        assert!(processes(none.as_fd()).unwrap().is_empty());
    }
}
