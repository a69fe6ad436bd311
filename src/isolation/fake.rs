//! No isolation at all, for tests of the command line without root: the agent is an ordinary child process, and programs of
//! the pod's root run as the user who runs the test.

use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;

use super::{AgentProcess, Inside, Isolation, Launched, SandboxSpec};
use crate::error::{Context, Error, Result};
use crate::sys;
use crate::sys::abi::Abi;
use crate::sys::processes::Process;

/// The backend.
#[derive(Debug, Default)]
pub struct Fake;

impl Isolation for Fake {
    fn launch(&self, spec: &SandboxSpec, agent: AgentProcess<'_>, _warn: &dyn Fn(&str)) -> Result<Launched> {
        let what = || format!("cannot start the agent of pod {}", spec.id);
        let program = std::env::current_exe().context(what)?;
        sys::process::fork(|| {
            if sys::process::arrange_descriptors(&agent.descriptors).is_err() {
                return 125;
            }
            let arguments = agent.arguments.iter().skip(1).map(|a| a.to_string_lossy().into_owned());
            let _ = std::process::Command::new(program).args(arguments).arg("none").env_clear().exec();
            125
        })
        .map(|agent| Launched { agent, owner: None })
        .context(what)
    }

    fn harden(&self, _exe: &str, _fd: i32) -> Result<()> {
        Ok(())
    }

    fn enter(&self, spec: &SandboxSpec) -> Result<Inside> {
        Ok(Inside { root: spec.root.filesystem.path().to_path_buf(), privileged: false, identity: None })
    }

    fn processes(&self, _name: &str, _identity: Option<BorrowedFd<'_>>) -> Result<Vec<Process>> {
        Err(Error::new("nothing tells the processes of the pod from others"))
    }

    fn signal(&self, _: &str, _: Option<BorrowedFd<'_>>, processes: &[Process], _: i32) -> Result<()> {
        processes.first().map_or(Ok(()), |_| Err(Error::new("nothing tells the processes of the pod from others")))
    }

    fn remove(&self, _name: &str, _record: &Path) -> Result<Option<String>> {
        Ok(None)
    }

    fn mounted(&self, _abi: Abi) -> &'static [&'static str] {
        &[]
    }

    fn has_capabilities(&self) -> bool {
        false
    }

    fn has_jails(&self) -> bool {
        false
    }

    fn can_outlive_its_runner(&self) -> bool {
        false
    }
}
