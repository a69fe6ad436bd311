//! Starting a program as an [`ExecSpec`] says, in a new process of the sandbox.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use super::ExecSpec;
use super::facts::below;
use crate::error::{Blame, Context, Error, Result, Told};
use crate::sys;
use crate::sys::process::Exit;

/// Where a program's input and output go, and whether it owns the terminal.
#[derive(Clone, Copy, Debug)]
pub struct Stdio<'a> {
    /// Descriptors 0, 1 and 2.
    pub descriptors: [BorrowedFd<'a>; 3],
    /// Descriptor 0 becomes the controlling terminal.
    pub controlling_terminal: bool,
}

/// How the root looks to this process.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The path of the app's root: `/` once inside.
    pub root: PathBuf,
    /// Whether to become the user, drop capabilities and the rest; not so only where tests run without root.
    pub privileged: bool,
}

/// A process that is to become a program, or has become it. Nobody waits for that: what it could not do is read when it has
/// ended.
#[derive(Debug)]
pub struct Child {
    /// Its number.
    pub pid: Pid,
    report: OwnedFd,
}

impl Child {
    /// What became of the process, of which somebody has learned how it ended.
    ///
    /// # Errors
    /// It did not become the program: the working directory or the program is not there ([`Blame::NotFound`] for the program),
    /// it cannot be executed ([`Blame::CannotExecute`]), or the process cannot become what it should.
    pub fn ended(self, exit: Exit) -> Result<Exit> {
        let mut report = Vec::new();
        File::from(self.report).read_to_end(&mut report).context(|| "cannot hear from the app's process")?;
        if report.is_empty() {
            return Ok(exit);
        }
        let told: Told = serde_json::from_slice(&report).context(|| "cannot understand the app's process")?;
        Err(told.into())
    }
}

/// Starts a process that does `work`, which ends with [`become_program`] or with what went wrong before it. By the descriptor
/// that `work` gets, that is told.
///
/// # Errors
/// No process can be made.
pub fn start(work: impl FnOnce(BorrowedFd<'_>) -> Error) -> Result<Child> {
    let (read, write) = sys::process::pipe().context(|| "cannot start the app")?;
    let child = || {
        // Above the descriptors that the app will have, so that arranging those leaves it alone.
        let Ok(report) = sys::process::duplicate_above(write.as_fd(), 2) else {
            return i32::from(Blame::Runtime.exit_code());
        };
        let error = work(report.as_fd());
        fail(report.as_fd(), &error)
    };
    let pid = sys::process::fork(child).context(|| "cannot start the app")?;
    Ok(Child { pid, report: read })
}

/// In a new process: ends it, with a report of what went wrong.
pub fn fail(report: BorrowedFd<'_>, error: &Error) -> ! {
    if let Ok(report) = report.try_clone_to_owned() {
        // Without the report the exit code remains; there is nothing better to do here.
        let _ = serde_json::to_writer(File::from(report), &Told::from(error));
    }
    sys::process::exit_now(i32::from(error.exit_code()))
}

/// In a new process: everything up to execve(2). Returns only when it fails.
pub fn become_program(spec: &ExecSpec, stdio: Stdio<'_>, around: &Surroundings) -> Error {
    match prepare_process(spec, stdio, around) {
        Ok(()) => execute(spec, &around.root),
        Err(error) => error,
    }
}

fn prepare_process(spec: &ExecSpec, stdio: Stdio<'_>, around: &Surroundings) -> Result<()> {
    sys::signal::reset_all();
    nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
    let terminal = stdio.controlling_terminal.then_some(stdio.descriptors[0]);
    sys::terminal::new_session(terminal).context(|| "cannot begin a session for the app")?;
    if let Some(terminal) = terminal {
        // So that the app, whoever it is, can open its terminal by name. tty(1) and mesg(1) look at the mode.
        let _ = nix::unistd::fchown(terminal, Some(spec.uid.into()), None);
    }
    change_directory(spec, &around.root)?;
    if around.privileged {
        if spec.login {
            sys::os::forget_login();
        }
        let ExecSpec { uid, gid, groups, capabilities, no_new_privileges, seccomp, .. } = spec;
        sys::os::become_app(*uid, *gid, groups, capabilities, *no_new_privileges, *seccomp)
            .context(|| format!("cannot become user {} and group {}", spec.uid, spec.gid))?;
    }
    sys::process::arrange_descriptors(&stdio.descriptors).context(|| "cannot arrange the app's descriptors")
}

fn change_directory(spec: &ExecSpec, root: &Path) -> Result<()> {
    let mut last = Error::new("the app has no working directory");
    for directory in &spec.directories {
        match nix::unistd::chdir(&below(root, directory)) {
            Ok(()) => return Ok(()),
            Err(e) => {
                last = Error::with_source(format!("cannot change to the working directory {directory}"), e.desc())
                    .help("`workingDirectory` (or --workdir) must name a directory of the image or of a volume");
            }
        }
    }
    Err(last)
}

/// Tries the candidates as execvp(3) does: one that is not there is passed over, one that may not be executed is
/// remembered, a file of no known format is given to the shell.
fn execute(spec: &ExecSpec, root: &Path) -> Error {
    let mut denied = None;
    for candidate in &spec.candidates {
        let (Ok(arguments), Ok(environment)) =
            (c_strings(&arguments_of(spec, candidate)), c_strings(&spec.environment))
        else {
            return Error::new("an argument or a variable of the app holds a NUL byte").blame(Blame::CannotExecute);
        };
        let program = if Path::new(candidate).is_absolute() {
            below(root, &candidate.to_string_lossy()).into_os_string()
        } else {
            candidate.clone()
        };
        let error = sys::process::exec(&program, &arguments, &environment);
        match error.errno() {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => denied = denied.or(Some((candidate, error))),
            Errno::ENOEXEC => return by_shell(&program, &spec.arguments, &environment, root),
            _ => return cannot(candidate, error),
        }
    }
    match denied {
        Some((candidate, error)) => cannot(candidate, error),
        None => not_found(spec, root),
    }
}

/// The arguments for `candidate`. A login shell has its own name after a dash as the zeroth (sh(1)); where another shell has to
/// stand in for it, that has its own name too: busybox knows by it what it is.
fn arguments_of(spec: &ExecSpec, candidate: &OsStr) -> Vec<String> {
    let login_name = |path: &OsStr| Path::new(path).file_name().map(|base| format!("-{}", base.to_string_lossy()));
    let mut arguments = spec.arguments.clone();
    if let (Some(zeroth), Some(first)) = (arguments.first_mut(), spec.candidates.first())
        && login_name(first).as_deref() == Some(zeroth.as_str())
    {
        *zeroth = login_name(candidate).unwrap_or_default();
    }
    arguments
}

fn cannot(program: &OsStr, error: sys::Error) -> Error {
    Error::with_source(format!("cannot execute {}", program.to_string_lossy()), error.errno().desc())
        .blame(Blame::CannotExecute)
}

/// What execvp(3) does with a file that has no `#!` line: the shell reads it.
fn by_shell(program: &OsStr, arguments: &[String], environment: &[CString], root: &Path) -> Error {
    let script = program.to_string_lossy().into_owned();
    let with_shell: Vec<String> =
        ["sh".to_owned(), script].into_iter().chain(arguments.iter().skip(1).cloned()).collect();
    match c_strings(&with_shell) {
        Ok(arguments) => {
            cannot(program, sys::process::exec(below(root, "/bin/sh").as_os_str(), &arguments, environment))
        }
        Err(error) => error,
    }
}

fn not_found(spec: &ExecSpec, root: &Path) -> Error {
    let name = spec.arguments.first().map_or("", String::as_str);
    let there = spec.candidates.iter().find(|c| below(root, &c.to_string_lossy()).exists());
    let error = match there {
        Some(found) => Error::new(format!("cannot execute {}", found.to_string_lossy()))
            .help("the file is there, but not the interpreter or dynamic loader that it names"),
        None if name.contains('/') => Error::new(format!("there is no {name} in the image")),
        None => {
            let path = spec.environment.iter().find(|v| v.starts_with("PATH=")).map_or("PATH", String::as_str);
            Error::new(format!("there is no {name} in the image's {path}"))
        }
    };
    error.blame(Blame::NotFound)
}

fn c_strings(strings: &[String]) -> Result<Vec<CString>> {
    strings.iter().map(|s| CString::new(s.as_str()).context(|| "a NUL byte")).collect()
}
