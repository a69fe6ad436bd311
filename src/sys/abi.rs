//! Whose programs a kernel runs.

use serde::{Deserialize, Serialize};

/// The system that programs are made for, as a kernel tells them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Abi {
    /// The kernel's own.
    #[default]
    Native,
    /// Linux, on FreeBSD (linux(4)).
    Linux,
    /// Linux on the 32-bit ancestor of a 64-bit PC.
    Linux32,
}

impl Abi {
    /// The module that a FreeBSD kernel needs for it, as kldload(8) takes it; none for its own.
    pub fn module(self) -> Option<&'static str> {
        match self {
            Abi::Native => None,
            Abi::Linux => Some("linux64"),
            Abi::Linux32 => Some("linux"),
        }
    }

    /// Whether the programs expect the filesystems of Linux.
    pub fn is_linux(self) -> bool {
        self != Abi::Native
    }
}

/// How the administrator of a FreeBSD gets a module into the kernel.
pub fn how_to_load(module: &str) -> String {
    format!("`kldload {module}` loads it, and `sysrc kld_list+={module}` has it loaded at every boot")
}
