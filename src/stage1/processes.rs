//! The processes of a pod that runs, as its host sees them: nothing that the pod says of itself is believed.

use std::os::fd::AsFd;
use std::time::Instant;

use super::control::Watch;
use super::lifecycle::Engine;
use super::prepare::sandbox_name;
use crate::error::{Error, Result};

/// A process of a pod.
pub use crate::sys::processes::Process;

/// The fewest bytes of a program's name that a kernel keeps: Linux's 15, where FreeBSD keeps 19. A name of fewer is whole.
const KEPT: usize = 15;

impl Engine<'_> {
    /// The pod's processes, by number; `None` when it has ended.
    ///
    /// # Errors
    /// The kernel refuses to show them.
    pub fn processes(&self, watch: &mut Watch) -> Result<Option<Vec<Process>>> {
        let found = self.isolation.processes(&self.sandbox_of(watch), watch.identity().map(AsFd::as_fd));
        if watch.ends_before(Instant::now())? {
            return Ok(None);
        }
        found.map(Some)
    }

    /// Sends a signal to those of the pod's processes that are called by one of these names, the agent excepted. Gives the
    /// names that no process has.
    ///
    /// # Errors
    /// The pod has ended, or the kernel refuses.
    pub fn signal_called<'n>(&self, watch: &mut Watch, names: &'n [String], signal: i32) -> Result<Vec<&'n str>> {
        let processes = self.processes(watch)?.ok_or_else(|| just_ended(watch))?;
        let sandbox = self.sandbox_of(watch);
        let others: Vec<Process> = processes.into_iter().filter(|process| !watch.is_agent(process)).collect();
        let missing = names.iter().filter(|name| !others.iter().any(|process| is_called(process, name)));
        let missing = missing.map(String::as_str).collect();
        let is_meant = |process: &Process| names.iter().any(|name| is_called(process, name));
        let meant: Vec<Process> = others.into_iter().filter(is_meant).collect();
        self.isolation.signal(&sandbox, watch.identity().map(AsFd::as_fd), &meant, signal)?;
        Ok(missing)
    }

    fn sandbox_of(&self, watch: &Watch) -> String {
        sandbox_name(self.config.get("jail.namePrefix").unwrap_or(""), watch.pod())
    }
}

/// What is said of a pod that ran a moment ago.
pub fn just_ended(watch: &Watch) -> Error {
    Error::new(format!("pod {} has just ended", watch.pod()))
}

/// Whether a process runs a program of this name. Of a name that is too long for the kernel the beginning must be the one
/// that it keeps, and the whole must be the last part of the program's path, or of its script's, among the arguments.
fn is_called(process: &Process, name: &str) -> bool {
    let mut words = process.command.split(' ').take(2);
    process.name == name
        || (process.name.len() >= KEPT
            && name.starts_with(&process.name)
            && words.any(|word| word.rsplit('/').next() == Some(name)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn names_are_whole_and_long_ones_are_looked_up_in_the_arguments() {
        let table = [
            ("sleep", "sleep 100", "sleep", true),
            ("sleep", "sleep 100", "slee", false),
            ("sleep", "sleep 100", "sleeper", false),
            ("sleep", "other", "sleep", true),
            ("a b", "a b c", "a b", true),
            ("averyverylongna", "/bin/averyverylongname 1", "averyverylongname", true),
            ("averyverylongna", "/bin/sh /bin/averyverylongname 1", "averyverylongname", true),
            ("averyverylongna", "/bin/averyverylongnamesake 1", "averyverylongname", false),
            ("averyverylongna", "sh -c averyverylongname", "averyverylongname", false),
            ("averyverylongna", "/bin/averyverylongname 1", "averyverylongna", true),
            ("short", "/bin/shorter", "shorter", false),
        ];
        for (kept, command, name, expected) in table {
            let process = Process {
                pid: 1,
                inside: None,
                uid: 0,
                state: "S".to_owned(),
                cpu: Duration::ZERO,
                started: String::new(),
                resident: 0,
                name: kept.to_owned(),
                command: command.to_owned(),
            };
            assert_eq!(is_called(&process, name), expected, "{kept}, {command}, {name}");
        }
    }
}
