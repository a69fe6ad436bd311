//! What is mounted in a jail, as far as that is no question for the kernel.

use crate::sys::abi::Abi;

/// A filesystem that every jail of a kind has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standard {
    /// Its kind, which is also the name of the kernel's module for it.
    pub(super) kind: &'static str,
    /// The directory, relative to the root.
    pub(super) target: &'static str,
    /// Options of mount(8): name and value.
    pub(super) options: &'static [(&'static str, &'static str)],
    /// Whether programs can do without.
    pub(super) optional: bool,
}

const FDESCFS: Standard = Standard { kind: "fdescfs", target: "dev/fd", options: &[], optional: true };
const PROCFS: Standard = Standard { kind: "procfs", target: "proc", options: &[], optional: false };

/// What Linux programs expect (appc, OS-SPEC.md; linux(4)).
const LINUX: [Standard; 4] = [
    Standard { kind: "fdescfs", target: "dev/fd", options: &[("linrdlnk", "")], optional: false },
    Standard {
        kind: "tmpfs",
        target: "dev/shm",
        options: &[("mode", "1777"), ("size", "64m"), ("nosuid", "")],
        optional: false,
    },
    Standard { kind: "linprocfs", target: "proc", options: &[], optional: false },
    Standard { kind: "linsysfs", target: "sys", options: &[], optional: false },
];

/// What a jail has beside devfs(5) on `/dev`, in this order.
pub(super) fn standard(abi: Abi, procfs: bool) -> Vec<Standard> {
    match abi {
        Abi::Linux | Abi::Linux32 => LINUX.to_vec(),
        Abi::Native if procfs => vec![FDESCFS, PROCFS],
        Abi::Native => vec![FDESCFS],
    }
}

/// Filesystems that are about the host's devices and processes, or that mount by themselves. A nullfs of one would show that
/// past the rules of the jail.
const HOSTS_OWN: [&str; 6] = ["autofs", "devfs", "fdescfs", "linprocfs", "linsysfs", "procfs"];

/// Whether a filesystem of this kind is never shown in a jail.
pub(super) fn is_hosts_own(kind: &str) -> bool {
    HOSTS_OWN.contains(&kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jails_have_what_their_programs_expect() {
        let kinds = |abi, procfs| -> Vec<(&str, &str)> {
            standard(abi, procfs).iter().map(|standard| (standard.kind, standard.target)).collect()
        };
        assert_eq!(kinds(Abi::Native, false), [("fdescfs", "dev/fd")]);
        assert_eq!(kinds(Abi::Native, true), [("fdescfs", "dev/fd"), ("procfs", "proc")]);
        let linux = [("fdescfs", "dev/fd"), ("tmpfs", "dev/shm"), ("linprocfs", "proc"), ("linsysfs", "sys")];
        for abi in [Abi::Linux, Abi::Linux32] {
            for procfs in [false, true] {
                assert_eq!(kinds(abi, procfs), linux);
            }
        }
        assert!(standard(Abi::Linux, false).iter().all(|standard| !standard.optional));
    }

    #[test]
    fn what_is_about_the_host_is_known() {
        assert!(is_hosts_own("devfs") && is_hosts_own("fdescfs") && !is_hosts_own("tmpfs") && !is_hosts_own("zfs"));
    }
}
