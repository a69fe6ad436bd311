//! What the host knows of a process of a sandbox.

use std::time::Duration;

/// A process as it was in one moment. Names and arguments are the pod's own choice, and may hold anything but NUL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number on the host.
    pub pid: i32,
    /// Its number in the sandbox, where that has numbers of its own; in a PID namespace below the sandbox's it has none.
    pub inside: Option<i32>,
    /// The user whose rights it has.
    pub uid: u32,
    /// Its state as ps(1) of this kernel writes it.
    pub state: String,
    /// The time that it has had a processor, in user mode and in the kernel.
    pub cpu: Duration,
    /// When it started, in the kernel's own words: together with the number, this is one process and no later one.
    pub started: String,
    /// How much of its memory is present (bytes).
    pub resident: u64,
    /// The name of its program, as much of it as the kernel keeps.
    pub name: String,
    /// Its arguments, separated by spaces; where it has none, its name in brackets.
    pub command: String,
}
