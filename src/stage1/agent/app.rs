//! The pod's own app: pre-start, the program, post-stop (appc, aci.md), one after the other.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use nix::unistd::Pid;

use super::super::transfer::perform;
use crate::error::{Context, Error, Result};
use crate::stage2::exec::{Child, Stdio, Surroundings, become_program, start};
use crate::stage2::facts::Facts;
use crate::stage2::resolve::{resolve, resolve_handler};
use crate::stage2::{AppSpec, Program, Work};
use crate::sys;
use crate::sys::process::Exit;

/// The app and how far it is.
pub(super) struct Main {
    app: AppSpec,
    facts: Facts,
    terminal: Option<PathBuf>,
    standard: [OwnedFd; 3],
    stage: Stage,
    /// The process of this stage.
    child: Option<Child>,
    warnings: Vec<String>,
}

enum Stage {
    /// The pre-start handler runs; this program comes after it.
    PreStart(Work),
    Program,
    /// The post-stop handler runs; the program ended so.
    PostStop(Result<Exit>),
}

/// How far an app is, for others.
#[derive(Clone, Copy, Default)]
pub(super) struct Now {
    /// The process that runs now.
    pub(super) process: Option<Pid>,
    /// Whether the program has ended.
    pub(super) is_stopping: bool,
}

/// How the app ended, when all of it has.
type Outcome = Option<Result<Exit>>;

impl Main {
    /// An app that has not begun. `standard` are its descriptors if it has no terminal.
    pub(super) fn new(app: AppSpec, facts: Facts, terminal: Option<PathBuf>, standard: [OwnedFd; 3]) -> Main {
        Main { app, facts, terminal, standard, stage: Stage::Program, child: None, warnings: Vec::new() }
    }

    /// Whether it moves files, in place of running a program.
    pub(super) fn moves_files(&self) -> bool {
        matches!(self.app.program, Program::Transfer(_))
    }

    /// Starts what comes first.
    ///
    /// # Errors
    /// There is nothing to run, or no process can be made.
    pub(super) fn begin(&mut self, around: &Surroundings) -> Result<()> {
        let program = resolve(&self.app, &self.facts)?;
        match self.app.pre_start.clone() {
            Some(handler) => {
                self.child = Some(self.start_handler(&handler, around)?);
                self.stage = Stage::PreStart(program);
            }
            None => self.child = Some(self.start_program(&program, around)?),
        }
        Ok(())
    }

    /// The process that runs now.
    pub(super) fn pid(&self) -> Option<Pid> {
        self.child.as_ref().map(|child| child.pid)
    }

    /// How far it is.
    pub(super) fn now(&self) -> Now {
        Now { process: self.pid(), is_stopping: matches!(self.stage, Stage::PostStop(_)) }
    }

    /// What the person should know, once.
    pub(super) fn warnings(&mut self) -> impl Iterator<Item = String> {
        std::mem::take(&mut self.warnings).into_iter()
    }

    /// Goes on when the process of this stage has ended.
    pub(super) fn ended(&mut self, exit: Exit, around: &Surroundings) -> Outcome {
        let ended = self.child.take().map_or(Ok(exit), |child| child.ended(exit));
        match std::mem::replace(&mut self.stage, Stage::Program) {
            Stage::PreStart(program) => match ended {
                Ok(exit) if exit.success() => match self.start_program(&program, around) {
                    Ok(child) => {
                        self.child = Some(child);
                        None
                    }
                    Err(error) => self.stop(Err(error), around),
                },
                Ok(exit) => {
                    let name = &self.app.name;
                    Some(Err(Error::new(format!("the pre-start handler of {name} failed: {exit}"))))
                }
                Err(error) => Some(Err(error)),
            },
            Stage::Program => self.stop(ended, around),
            Stage::PostStop(outcome) => {
                match ended {
                    Ok(exit) if exit.success() => {}
                    Ok(exit) => self.warn(&exit.to_string()),
                    Err(error) => self.warn(&error.one_line()),
                }
                Some(outcome)
            }
        }
    }

    /// The post-stop handler runs however the program ended, and also when it could not be started, since pre-start has been
    /// through by then.
    fn stop(&mut self, outcome: Result<Exit>, around: &Surroundings) -> Outcome {
        let Some(handler) = self.app.post_stop.clone() else { return Some(outcome) };
        match self.start_handler(&handler, around) {
            Ok(child) => {
                self.child = Some(child);
                self.stage = Stage::PostStop(outcome);
                None
            }
            Err(error) => {
                self.warn(&error.one_line());
                Some(outcome)
            }
        }
    }

    fn warn(&mut self, reason: &str) {
        self.warnings.push(format!("the post-stop handler of {} failed: {reason}", self.app.name));
    }

    fn start_handler(&self, arguments: &[String], around: &Surroundings) -> Result<Child> {
        let spec = resolve_handler(&self.app, &self.facts, arguments)?;
        let null = File::open(around.root.join("dev/null")).or_else(|_| File::open("/dev/null"));
        let null = null.context(|| "cannot open /dev/null for a handler")?;
        let slave = self.open_slave()?;
        let output = |i: usize| slave.as_ref().map_or(self.standard[i].as_fd(), AsFd::as_fd);
        let stdio = Stdio { descriptors: [null.as_fd(), output(1), output(2)], controlling_terminal: false };
        start(|_| become_program(&spec, stdio, around))
    }

    fn start_program(&self, work: &Work, around: &Surroundings) -> Result<Child> {
        let slave = self.open_slave()?;
        let of = |i: usize| slave.as_ref().map_or(self.standard[i].as_fd(), AsFd::as_fd);
        let stdio = Stdio { descriptors: [of(0), of(1), of(2)], controlling_terminal: slave.is_some() };
        start(|report| perform(work, stdio, around, report))
    }

    fn open_slave(&self) -> Result<Option<File>> {
        let open = |path: &PathBuf| sys::terminal::open_slave(path).context(|| "cannot open the app's terminal");
        self.terminal.as_ref().map(open).transpose()
    }
}
