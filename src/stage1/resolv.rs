//! Which resolv.conf(5) a pod gets. Nothing is read here.

use std::io;
use std::net::IpAddr;

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The pod's `/etc/resolv.conf`; none if the host has none.
    pub contents: Option<String>,
    /// What the person should know.
    pub warning: Option<String>,
}

/// Where a pod's network leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Nowhere: no resolver can be asked, and there is nothing to advise.
    Nowhere,
    /// Somewhere, from a network of the pod's own, whose loopback interface is not the host's.
    Own,
    /// Wherever the host's does, its loopback interface included.
    Host,
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

/// The text of one of the host's files, and what the person should know if there is one that cannot be used.
pub fn text(path: &str, read: io::Result<Vec<u8>>) -> (Option<String>, Option<String>) {
    let unusable = |why: &dyn std::fmt::Display| Some(format!("cannot use the host's {path} for the pod: {why}"));
    match read.map(String::from_utf8) {
        Ok(Ok(text)) => (Some(text), None),
        Ok(Err(_)) => (None, unusable(&"it is not UTF-8 text")),
        Err(e) if e.kind() == io::ErrorKind::NotFound => (None, None),
        Err(e) => (None, unusable(&e)),
    }
}

/// Chooses: the configured servers if there are any; else the host's file, unless it points at a resolver on the host's
/// loopback interface and the pod has a network of its own, from which that cannot be reached. Then it is the resolver's
/// upstream file. There is a warning if the network leads somewhere and no name can be looked up all the same.
pub fn choose(host: HostFiles<'_>, configured: &[&str], reach: Reach) -> Choice {
    if !configured.is_empty() {
        let lines: String = configured.iter().map(|server| format!("nameserver {server}\n")).collect();
        return Choice { contents: Some(lines), warning: None };
    }
    let Some(text) = host.resolv_conf else { return Choice { contents: None, warning: None } };
    if reach == Reach::Host || !only_loopback(text) {
        return Choice { contents: Some(text.to_owned()), warning: None };
    }
    match host.upstream {
        Some(upstream) if !only_loopback(upstream) => Choice { contents: Some(upstream.to_owned()), warning: None },
        _ => Choice {
            contents: Some(text.to_owned()),
            warning: (reach == Reach::Own).then(|| {
                "the host's /etc/resolv.conf names a resolver on the loopback interface, which the pod cannot reach: \
                 set `ace.dns-servers` in jetpack.conf, or pass -o ace.dns-servers=ADDRESS"
                    .to_owned()
            }),
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
        type Case<'a> = (HostFiles<'a>, &'a [&'a str], Reach, Option<&'a str>, bool);
        let table: [Case<'_>; 11] = [
            (host(far, None), &[], Reach::Own, Some(far), false),
            (host(far, Some(stub)), &[], Reach::Own, Some(far), false),
            (host(stub, Some(far)), &[], Reach::Own, Some(far), false),
            (host(stub, Some(far)), &[], Reach::Host, Some(stub), false),
            (host(stub, Some(stub)), &[], Reach::Own, Some(stub), true),
            (host(stub, Some(stub)), &[], Reach::Nowhere, Some(stub), false),
            (host(stub, Some(far)), &[], Reach::Nowhere, Some(far), false),
            (host("nameserver ::1\n", None), &[], Reach::Own, Some("nameserver ::1\n"), true),
            (host("", None), &[], Reach::Own, Some(""), true),
            (
                host(stub, None),
                &["192.0.2.7", "2001:db8::1"],
                Reach::Own,
                Some("nameserver 192.0.2.7\nnameserver 2001:db8::1\n"),
                false,
            ),
            (HostFiles::default(), &[], Reach::Own, None, false),
        ];
        for (host, configured, reach, contents, warned) in table {
            let choice = choose(host, configured, reach);
            assert_eq!(choice.contents.as_deref(), contents, "{host:?} {reach:?}");
            assert_eq!(choice.warning.is_some(), warned, "{host:?} {reach:?}");
        }
    }

    #[test]
    fn a_file_that_is_there_but_cannot_be_used_is_told_of() {
        assert_eq!(text("/f", Ok(b"nameserver ::1\n".to_vec())), (Some("nameserver ::1\n".to_owned()), None));
        assert_eq!(text("/f", Err(io::ErrorKind::NotFound.into())), (None, None));
        let table = [
            (Ok(b"search caf\xe9\n".to_vec()), "it is not UTF-8 text"),
            (Err(io::ErrorKind::PermissionDenied.into()), "permission denied"),
            (Err(io::ErrorKind::IsADirectory.into()), "is a directory"),
        ];
        for (read, why) in table {
            let warning = format!("cannot use the host's /f for the pod: {why}");
            assert_eq!(text("/f", read), (None, Some(warning)));
        }
    }

    #[test]
    fn one_server_elsewhere_is_enough() {
        assert!(!only_loopback("nameserver 127.0.0.1\nnameserver 192.0.2.1"));
        assert!(only_loopback("nameserver 127.0.0.1\n# nameserver 192.0.2.1"));
        assert!(!only_loopback("nameserver fe80::1%eth0"));
    }
}
