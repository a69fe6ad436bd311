//! What is mounted in a jail, as far as that is no question for the kernel.

use std::path::{Path, PathBuf};

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
    Standard { kind: "tmpfs", target: "dev/shm", options: &[("mode", "1777"), ("nosuid", "")], optional: false },
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

/// What is mounted below `source`, a directory after the one that it is in: its kind, and its path relative to the source. Of
/// two at one place the later one is seen. `mounted` has the oldest first.
pub(super) fn below<'a>(
    source: &Path,
    mounted: impl IntoIterator<Item = (&'a str, &'a Path)>,
) -> Vec<(&'a str, PathBuf)> {
    let mut found: Vec<(&str, PathBuf)> = Vec::new();
    for (kind, target) in mounted {
        let Ok(rest) = target.strip_prefix(source) else { continue };
        if rest.as_os_str().is_empty() {
            // It covers all that was mounted there before.
            found.clear();
        } else {
            found.retain(|(_, earlier)| !earlier.starts_with(rest));
            found.push((kind, rest.to_path_buf()));
        }
    }
    found.sort_by(|a, b| a.1.cmp(&b.1));
    found
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
    fn what_is_mounted_below_a_source_is_found_in_order() {
        let found = |source: &str, mounted: &[(&'static str, &'static str)]| -> Vec<String> {
            let mounted = mounted.iter().map(|(kind, target)| (*kind, Path::new(*target)));
            below(Path::new(source), mounted).iter().map(|(kind, path)| format!("{kind} {}", path.display())).collect()
        };
        let host = [
            ("ufs", "/"),
            ("devfs", "/dev"),
            ("zfs", "/srv/b/c"),
            ("tmpfs", "/srv/a"),
            ("zfs", "/srv/b"),
            ("ufs", "/srvx"),
        ];
        // The one on /srv/b came later, and covers what was below it.
        assert_eq!(found("/srv", &host), ["tmpfs a", "zfs b"]);
        assert_eq!(found("/", &host), ["devfs dev", "tmpfs srv/a", "zfs srv/b", "ufs srvx"]);
        assert_eq!(found("/srv/a", &host), [""; 0]);
        assert_eq!(
            found("/srv", &[("ufs", "/srv/b"), ("zfs", "/srv/b/c"), ("zfs", "/srv/b-c")]),
            ["ufs b", "zfs b/c", "zfs b-c"]
        );
        assert_eq!(found("/srv", &[("ufs", "/srv/a"), ("nfs", "/srv/a")]), ["nfs a"]);
        assert_eq!(found("/srv", &[("ufs", "/srv/a"), ("nfs", "/srv")]), [""; 0]);
    }

    #[test]
    fn what_is_about_the_host_is_known() {
        assert!(is_hosts_own("devfs") && is_hosts_own("fdescfs") && !is_hosts_own("tmpfs") && !is_hosts_own("zfs"));
    }
}
