//! Which resolv.conf(5) a pod gets. Nothing is read here.

use std::net::IpAddr;

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The pod's `/etc/resolv.conf`; none if the host has none.
    pub contents: Option<String>,
    /// What the person should know.
    pub warning: Option<String>,
}

/// The host's files, as far as they are there.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostFiles<'a> {
    /// `/etc/resolv.conf`.
    pub resolv_conf: Option<&'a str>,
    /// The file in which a local resolver keeps the servers that it asks itself ([`UPSTREAM`]).
    pub upstream: Option<&'a str>,
}

/// Where systemd-resolved keeps the servers that it asks.
pub const UPSTREAM: &str = "/run/systemd/resolve/resolv.conf";

/// Chooses: the configured servers if there are any; else the host's file, unless it points at a resolver on the host's
/// loopback interface and the pod has a network of its own, from which that cannot be reached. Then it is the resolver's
/// upstream file.
pub fn choose(host: HostFiles<'_>, configured: &[&str], own_network: bool) -> Choice {
    if !configured.is_empty() {
        let lines: String = configured.iter().map(|server| format!("nameserver {server}\n")).collect();
        return Choice { contents: Some(lines), warning: None };
    }
    let Some(text) = host.resolv_conf else { return Choice { contents: None, warning: None } };
    if !own_network || !only_loopback(text) {
        return Choice { contents: Some(text.to_owned()), warning: None };
    }
    match host.upstream {
        Some(upstream) if !only_loopback(upstream) => Choice { contents: Some(upstream.to_owned()), warning: None },
        _ => Choice {
            contents: Some(text.to_owned()),
            warning: Some(
                "the host's /etc/resolv.conf names a resolver on the loopback interface, which the pod cannot reach: \
                 set `ace.dns-servers` in jetpack.conf, or pass -o ace.dns-servers=ADDRESS"
                    .to_owned(),
            ),
        },
    }
}

/// Whether every name server is on the loopback interface. With no name server at all resolver(5) asks the local one.
fn only_loopback(text: &str) -> bool {
    let mut servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next().unwrap_or(""))
    });
    servers.all(|server| {
        let address = server.split('%').next().unwrap_or(server);
        address.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host<'a>(resolv_conf: &'a str, upstream: Option<&'a str>) -> HostFiles<'a> {
        HostFiles { resolv_conf: Some(resolv_conf), upstream }
    }

    #[test]
    fn the_hosts_file_or_its_upstream_or_the_configured_servers() {
        let far = "search example.com\nnameserver 192.0.2.1\n";
        let stub = "nameserver 127.0.0.53\noptions edns0\n";
        type Case<'a> = (HostFiles<'a>, &'a [&'a str], bool, Option<&'a str>, bool);
        let table: [Case<'_>; 9] = [
            (host(far, None), &[], true, Some(far), false),
            (host(far, Some(stub)), &[], true, Some(far), false),
            (host(stub, Some(far)), &[], true, Some(far), false),
            (host(stub, Some(far)), &[], false, Some(stub), false),
            (host(stub, Some(stub)), &[], true, Some(stub), true),
            (host("nameserver ::1\n", None), &[], true, Some("nameserver ::1\n"), true),
            (host("", None), &[], true, Some(""), true),
            (
                host(stub, None),
                &["192.0.2.7", "2001:db8::1"],
                true,
                Some("nameserver 192.0.2.7\nnameserver 2001:db8::1\n"),
                false,
            ),
            (HostFiles::default(), &[], true, None, false),
        ];
        for (host, configured, own, contents, warned) in table {
            let choice = choose(host, configured, own);
            assert_eq!(choice.contents.as_deref(), contents, "{host:?}");
            assert_eq!(choice.warning.is_some(), warned, "{host:?}");
        }
    }

    #[test]
    fn one_server_elsewhere_is_enough() {
        assert!(!only_loopback("nameserver 127.0.0.1\nnameserver 192.0.2.1"));
        assert!(only_loopback("nameserver 127.0.0.1\n# nameserver 192.0.2.1"));
        assert!(!only_loopback("nameserver fe80::1%eth0"));
    }
}
