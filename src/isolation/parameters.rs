//! The parameters of a pod's jail, and what a person is told of one that cannot be.

use std::net::IpAddr;

use super::{NetworkView, Parameter, SandboxSpec};
use crate::error::{Error, Result};
use crate::sys::parameter::{Kind, Value, of_family};

/// A parameter that follows from the pod.
pub(super) struct Own {
    pub(super) name: &'static str,
    pub(super) value: String,
    /// A kernel that lacks it has nothing that it would keep the pod from.
    pub(super) optional: bool,
}

/// The parameters that follow from the pod. Those that a person gives go over them.
pub(super) fn own(spec: &SandboxSpec) -> Vec<Own> {
    let needed = |name, value: &str| Own { name, value: value.to_owned(), optional: false };
    let optional = |name, value: &str| Own { name, value: value.to_owned(), optional: true };
    let mut own = vec![
        needed("host.hostname", &spec.hostname),
        needed("host.hostuuid", &spec.id),
        needed("enforce_statfs", "2"),
        needed("devfs_ruleset", &spec.ruleset.to_string()),
        optional("sysvmsg", "new"),
        optional("sysvsem", "new"),
        optional("sysvshm", "new"),
    ];
    type Family = (&'static str, &'static str, fn(&IpAddr) -> bool);
    let families: [Family; 2] = [("ip4", "ip4.addr", IpAddr::is_ipv4), ("ip6", "ip6.addr", IpAddr::is_ipv6)];
    for (family, addresses, is_of_it) in families {
        own.push(match (of_family(&spec.addresses, is_of_it), spec.network) {
            (Some(list), _) => needed(addresses, &list),
            (None, NetworkView::Host) if spec.addresses.is_empty() => optional(family, "inherit"),
            (None, _) => optional(family, "disable"),
        });
    }
    own
}

/// The value that a person gives a parameter of this kind.
///
/// # Errors
/// The kernel has no such parameter, or it is no value of this kind.
pub(super) fn value(parameter: &Parameter, kind: Option<Kind>) -> Result<Value> {
    let Parameter { value, origin, .. } = parameter;
    let Some(kind) = kind else {
        return Err(Error::new(format!("{origin} is for no parameter that jails have on this kernel")).help(
            "`sysctl -d security.jail.param` lists those there are; some come with a kernel module (kldload(8))",
        ));
    };
    kind.parse(value).ok_or_else(|| {
        Error::new(format!("{origin} is {value:?} and must be {}", kind.wanted()))
            .help("jail(8) tells what the parameters of jails are for")
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::RootSpec;
    use super::*;
    use crate::sys::abi::Abi;
    use crate::sys::rootfs::RootFs;

    fn spec(network: NetworkView, addresses: &str) -> SandboxSpec {
        SandboxSpec {
            id: "1-2".to_owned(),
            name: "jetpack/1-2".to_owned(),
            hostname: "box".to_owned(),
            network,
            addresses: addresses.split_whitespace().map(|address| address.parse().unwrap()).collect(),
            root: RootSpec {
                filesystem: RootFs::Directory { path: "/r".into() },
                read_only: false,
                abi: Abi::Native,
                procfs: false,
                files: Vec::new(),
                mounts: Vec::new(),
            },
            ruleset: 4,
            parameters: Vec::new(),
            record: PathBuf::from("/record"),
        }
    }

    fn shown(spec: &SandboxSpec) -> Vec<String> {
        own(spec).iter().map(|own| format!("{}={}", own.name, own.value)).collect()
    }

    #[test]
    fn a_jail_has_a_name_a_uuid_and_nothing_of_the_hosts() {
        let expected = [
            "host.hostname=box",
            "host.hostuuid=1-2",
            "enforce_statfs=2",
            "devfs_ruleset=4",
            "sysvmsg=new",
            "sysvsem=new",
            "sysvshm=new",
            "ip4=disable",
            "ip6=disable",
        ];
        assert_eq!(shown(&spec(NetworkView::Own, "")), expected);
        let optional: Vec<&str> =
            own(&spec(NetworkView::Own, "")).iter().filter(|own| own.optional).map(|own| own.name).collect();
        assert_eq!(optional, ["sysvmsg", "sysvsem", "sysvshm", "ip4", "ip6"]);
    }

    #[test]
    fn networks_and_addresses() {
        let table = [
            (NetworkView::Host, "", ["ip4=inherit", "ip6=inherit"]),
            (NetworkView::Host, "192.0.2.1", ["ip4.addr=192.0.2.1", "ip6=disable"]),
            (NetworkView::Own, "::1", ["ip4=disable", "ip6.addr=::1"]),
            (NetworkView::Own, "192.0.2.1 ::1 127.0.0.1", ["ip4.addr=192.0.2.1,127.0.0.1", "ip6.addr=::1"]),
        ];
        for (network, addresses, expected) in table {
            assert_eq!(shown(&spec(network, addresses))[7..], expected, "{network:?} {addresses}");
        }
    }

    #[test]
    fn a_person_is_told_what_is_wrong_and_where() {
        let parameter = |value: &str| Parameter {
            name: "securelevel".to_owned(),
            value: value.to_owned(),
            origin: "ace.jailConf.securelevel".to_owned(),
        };
        let kind = Some(Kind::Number { bits: 8, signed: true });
        assert_eq!(value(&parameter("-1"), kind).unwrap(), Value::Number { value: -1, bits: 8, signed: true });
        let error = value(&parameter("high"), kind).unwrap_err();
        let expected = "ace.jailConf.securelevel is \"high\" and must be a whole number from -128 to 127";
        assert_eq!((error.to_string().as_str(), error.help_line().is_some()), (expected, true));
        let error = value(&parameter("1"), None).unwrap_err();
        let expected = "ace.jailConf.securelevel is for no parameter that jails have on this kernel";
        assert_eq!((error.to_string().as_str(), error.help_line().is_some()), (expected, true));
    }
}
