//! The annotations of a pod manifest that change what is done, and the parameters of jails among them. An image's annotations
//! never do. Nothing is touched here.

use std::net::IpAddr;

use super::build::BUILD;
use crate::appc::{AcIdentifier, Annotations};
use crate::error::{Context, Error, Result};

/// The pod's hostname, as in the parent.
pub const HOSTNAME: &str = "hostname";

/// The IP addresses that are all of the pod's network, separated by commas. The parent had one.
pub const ADDRESSES: &str = "ip-address";

/// The name of the pod's network.
pub const NETWORK: &str = "jetpack/net";

/// The number of the devfs ruleset of the pod's /dev, as in the parent.
pub const RULESET: &str = "jetpack/devfs-ruleset";

/// Whether a pod gets procfs(5) on /proc, where programs do without it: `true`.
pub const PROCFS: &str = "jetpack/procfs";

/// What the names of those begin with that hold parameters of the pod's jail, as in the parent. They go over those of the
/// configuration. A dash stands for an underline, too.
pub const JAIL_PARAMETER: &str = "jetpack/jail.conf/";

/// What the names of those begin with that are the runtime's.
const OURS: &str = "jetpack/";

/// The ruleset where none is named (devfs.rules(5), `devfsrules_jail`).
const DEFAULT_RULESET: u16 = 4;

/// What keys of the configuration begin with that hold parameters of every pod's jail.
pub const CONFIGURED: &str = "ace.jailConf.";

/// A parameter of a jail that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JailParameter {
    /// Its name, as jail(8) has it.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where it was given, for a person.
    pub origin: String,
}

/// Annotates a pod as a person wants.
///
/// # Errors
/// A name that is no identifier, that is given twice, or that is set otherwise.
pub(super) fn add(annotations: &mut Annotations, wanted: &[(String, String)]) -> Result<()> {
    for (name, value) in wanted {
        let what = || format!("cannot annotate the pod with {name}");
        let identifier: AcIdentifier = name.parse().context(what)?;
        match name.as_str() {
            NETWORK => return Err(Error::new(what()).help("`--net` chooses the pod's network")),
            BUILD => return Err(Error::with_source(what(), "it tells a build pod from others")),
            _ if annotations.get(name).is_some() => return Err(Error::with_source(what(), "it is given twice")),
            _ => annotations.set(identifier, value.as_str()).context(what)?,
        }
    }
    Ok(())
}

/// Checks what a pod's annotations ask for, for a host of this kernel, as appc writes its name.
///
/// # Errors
/// A value that is none; something that a kernel cannot do, or that nobody may ask for; a name that looks like the runtime's
/// and is not.
pub(super) fn check(annotations: &Annotations, os: &str) -> Result<()> {
    if let Some(hostname) = annotations.get(HOSTNAME) {
        check_hostname(hostname)?;
    }
    let known = |name: &str| [NETWORK, BUILD, RULESET, PROCFS].contains(&name) || name.starts_with(JAIL_PARAMETER);
    for name in annotations.iter().map(|annotation| annotation.name.as_str()) {
        if name.starts_with(OURS) && !known(name) {
            return Err(Error::new(format!("there is no annotation {name}")).help(format!(
                "those that begin with {OURS} are {RULESET}, {PROCFS} and {JAIL_PARAMETER}PARAMETER; choose another name for your own"
            )));
        }
    }
    jail_parameters(&[], annotations)?;
    ruleset(annotations)?;
    procfs(annotations)?;
    let addresses = addresses(annotations)?;
    if os == "freebsd" {
        return Ok(());
    }
    if let Some(name) = for_jails(annotations).next() {
        return Err(Error::new(format!("the annotation {name} is for a jail, and this host has none"))
            .help("leave it out: jails are FreeBSD's"));
    }
    if !addresses.is_empty() {
        return Err(Error::new(format!(
            "no network of this host gives a pod the addresses of the annotation {ADDRESSES}"
        ))
        .help("leave it out: only jails (FreeBSD) can have addresses of the host"));
    }
    Ok(())
}

/// The names of a pod's annotations that only jails heed.
pub fn for_jails(annotations: &Annotations) -> impl Iterator<Item = &str> {
    let names = annotations.iter().map(|annotation| annotation.name.as_str());
    names.filter(|name| [RULESET, PROCFS].contains(name) || name.starts_with(JAIL_PARAMETER))
}

/// The addresses that a pod is to have.
///
/// # Errors
/// The annotation holds something else.
pub fn addresses(annotations: &Annotations) -> Result<Vec<IpAddr>> {
    let Some(text) = annotations.get(ADDRESSES) else { return Ok(Vec::new()) };
    let wrong = || {
        Error::new(format!("the annotation {ADDRESSES} is {text:?}"))
            .help("it holds IP addresses, separated by commas, and none of them twice")
    };
    let addresses: Vec<IpAddr> =
        text.split(',').map(|address| address.trim().parse().map_err(|_| wrong())).collect::<Result<_>>()?;
    let is_new = |(at, address): (usize, &IpAddr)| !addresses[..at].contains(address);
    if addresses.iter().enumerate().all(is_new) { Ok(addresses) } else { Err(wrong()) }
}

/// The devfs ruleset of a pod.
///
/// # Errors
/// The annotation holds no number of a ruleset. Ruleset 0 is no ruleset at all: everything would be seen.
pub fn ruleset(annotations: &Annotations) -> Result<u16> {
    let Some(text) = annotations.get(RULESET) else { return Ok(DEFAULT_RULESET) };
    text.parse().ok().filter(|number| *number != 0).ok_or_else(|| {
        Error::new(format!("the annotation {RULESET} is {text:?}"))
            .help("it holds the number of a ruleset of devfs.rules(5), from 1 to 65535")
    })
}

/// Whether a pod gets procfs(5).
///
/// # Errors
/// The annotation says neither `true` nor `false`.
pub fn procfs(annotations: &Annotations) -> Result<bool> {
    match annotations.get(PROCFS) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(Error::new(format!("the annotation {PROCFS} is {other:?}"))
            .help("it is true, or false, which is the same as none")),
    }
}

/// The parameters of a pod's jail: those of the configuration, over which those of the pod's annotations go.
///
/// # Errors
/// One that is not for people to set, or that two annotations set.
pub fn jail_parameters(configured: &[(&str, &str)], annotations: &Annotations) -> Result<Vec<JailParameter>> {
    let annotated = annotations.iter().filter_map(|annotation| {
        let name = annotation.name.as_str().strip_prefix(JAIL_PARAMETER)?.replace('-', "_");
        let origin = format!("the annotation {}", annotation.name);
        Some(JailParameter { name, value: annotation.value.clone(), origin })
    });
    let configured = configured.iter().map(|(name, value)| JailParameter {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
        origin: format!("{CONFIGURED}{name} in the configuration"),
    });
    let mut wanted: Vec<JailParameter> = Vec::new();
    for parameter in annotated {
        check_name(&parameter)?;
        if let Some(other) = wanted.iter().find(|other| other.name == parameter.name) {
            return Err(Error::new(format!("{} and {} are the same", other.origin, parameter.origin))
                .help("leave one of them out"));
        }
        wanted.push(parameter);
    }
    let mut all: Vec<JailParameter> =
        configured.filter(|own| wanted.iter().all(|over| over.name != own.name)).collect();
    all.iter().try_for_each(check_name)?;
    all.append(&mut wanted);
    Ok(all)
}

/// Parameters that the runtime sets itself, or that jail(8) and not the kernel carries out: the name, where `.*` stands for all
/// that follow, what it is, and what to do instead.
const REFUSED: &[(&str, &str, &str)] = &[
    ("exec.*", COMMANDS, "a pod runs its app and the app's event handlers"),
    ("command", COMMANDS, "a pod runs its app and the app's event handlers"),
    ("mount", MOUNTS, "a pod has its volumes"),
    ("mount.*", MOUNTS, "a pod has its volumes"),
    ("path", "where the jail stands", "a pod's jail stands on the root filesystem of its app"),
    ("persist", "how long the jail lives", "a pod's jail lives as long as the pod"),
    ("name", NAME, "`jail.namePrefix` in jetpack.conf is what it begins with"),
    ("jid", NAME, "`jail.namePrefix` in jetpack.conf is what the jail's name begins with"),
    ("host", "whose hostname the jail has", "a pod always has one of its own; `--hostname` chooses it"),
    ("host.hostname", "the pod's hostname", "`--hostname` chooses it"),
    ("host.hostuuid", "the pod's UUID", "leave it out"),
    ("devfs_ruleset", "what the pod's /dev shows", "the annotation jetpack/devfs-ruleset chooses it"),
    ("ip4", NET, "`--net` chooses it"),
    ("ip6", NET, "`--net` chooses it"),
    ("vnet", NET, "`--net` chooses it"),
    ("vnet.interface", NET, "`--net` chooses it"),
    ("ip4.addr", "the pod's addresses", "the annotation ip-address chooses them"),
    ("ip6.addr", "the pod's addresses", "the annotation ip-address chooses them"),
    ("interface", "where jail(8) adds addresses", "the annotation ip-address chooses those that the host has"),
    ("ip_hostname", "where jail(8) looks addresses up", "the annotation ip-address chooses them"),
    ("allow.dying", OTHER, "leave it out"),
    ("depend", OTHER, "leave it out"),
    ("stop.timeout", OTHER, "`jetpack kill --grace` says how long a pod may take to end"),
    ("zfs.dataset", OTHER, "leave it out"),
];

const COMMANDS: &str = "a command of jail(8)'s";
const MOUNTS: &str = "a mount of jail(8)'s";
const NAME: &str = "how the jail is known";
const NET: &str = "the pod's network";
const OTHER: &str = "for jail(8) alone, which has no part in pods";

/// Refuses what is not for people to set.
fn check_name(parameter: &JailParameter) -> Result<()> {
    let is = |(pattern, ..): &&(&str, _, _)| match pattern.strip_suffix('*') {
        Some(group) => parameter.name.starts_with(group),
        None => parameter.name == *pattern,
    };
    match REFUSED.iter().find(is) {
        None => Ok(()),
        Some((_, what, instead)) => {
            let JailParameter { name, origin, .. } = parameter;
            Err(Error::new(format!("{origin} cannot be had: the jail parameter {name} is {what}")).help(*instead))
        }
    }
}

/// A hostname as sethostname(2) and other people's programs take it.
fn check_hostname(name: &str) -> Result<()> {
    let label = |l: &str| {
        !l.is_empty()
            && l.len() <= 63
            && !l.starts_with('-')
            && !l.ends_with('-')
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if name.len() <= 64 && name.split('.').all(label) {
        return Ok(());
    }
    Err(Error::new(format!("{name:?} is no hostname"))
        .help("a hostname has letters, digits and dashes, in parts joined by dots, and at most 64 characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> Annotations {
        let mut annotations = Annotations::default();
        for (name, value) in pairs {
            annotations.set(name.parse().unwrap(), *value).unwrap();
        }
        annotations
    }

    fn checked(name: &str, value: &str, os: &str) -> std::result::Result<(), String> {
        check(&annotations(&[(name, value)]), os).map_err(|error| {
            assert!(error.help_line().is_some(), "{error}");
            error.to_string()
        })
    }

    #[test]
    fn a_person_annotates_a_pod() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut pod = annotations(&[(NETWORK, "none")]);
        add(&mut pod, &[pair("hostname", "box"), pair("example.com/note", "")]).unwrap();
        assert_eq!((pod.get("hostname"), pod.get("example.com/note")), (Some("box"), Some("")));
        for (name, expected) in [
            ("hostname", "it is given twice"),
            (NETWORK, "cannot annotate the pod with jetpack/net"),
            (BUILD, "it tells a build pod from others"),
            ("created", "is not an RFC 3339 timestamp"),
            ("No", "cannot annotate the pod with No: "),
        ] {
            let error = add(&mut pod, &[pair(name, "x")]).unwrap_err().one_line();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn annotations_are_checked_on_every_kernel() {
        for (name, value) in [("hostname", "box.example.com"), ("example.com/anything", "at all"), (NETWORK, "host")] {
            assert_eq!(checked(name, value, "linux"), Ok(()), "{name}");
            assert_eq!(checked(name, value, "freebsd"), Ok(()), "{name}");
        }
        for (name, value, expected) in [
            ("hostname", "-", "\"-\" is no hostname"),
            ("ip-address", "", "the annotation ip-address is \"\""),
            ("ip-address", "192.0.2.1/24", "the annotation ip-address is \"192.0.2.1/24\""),
            ("ip-address", "::1, ::1", "the annotation ip-address is \"::1, ::1\""),
            (RULESET, "0", "the annotation jetpack/devfs-ruleset is \"0\""),
            (RULESET, "65536", "the annotation jetpack/devfs-ruleset is \"65536\""),
            (RULESET, "devfsrules_jail", "the annotation jetpack/devfs-ruleset is \"devfsrules_jail\""),
            (PROCFS, "on", "the annotation jetpack/procfs is \"on\""),
            ("jetpack/devfs-rules", "4", "there is no annotation jetpack/devfs-rules"),
            (
                "jetpack/jail.conf/persist",
                "true",
                "the annotation jetpack/jail.conf/persist cannot be had: the jail parameter persist is how long the jail lives",
            ),
        ] {
            assert_eq!(checked(name, value, "linux"), Err(expected.to_owned()));
            assert_eq!(checked(name, value, "freebsd"), Err(expected.to_owned()));
        }
    }

    #[test]
    fn what_only_jails_have_is_refused_elsewhere() {
        for (name, value, expected) in [
            (RULESET, "5", "the annotation jetpack/devfs-ruleset is for a jail, and this host has none"),
            (PROCFS, "true", "the annotation jetpack/procfs is for a jail, and this host has none"),
            (
                "jetpack/jail.conf/allow.raw-sockets",
                "true",
                "the annotation jetpack/jail.conf/allow.raw-sockets is for a jail, and this host has none",
            ),
            (
                "ip-address",
                "192.0.2.1, 2001:db8::1",
                "no network of this host gives a pod the addresses of the annotation ip-address",
            ),
        ] {
            assert_eq!(checked(name, value, "linux"), Err(expected.to_owned()));
            assert_eq!(checked(name, value, "freebsd"), Ok(()));
        }
    }

    #[test]
    fn parameters_of_a_pod_go_over_those_of_the_configuration() {
        let pod = annotations(&[
            (NETWORK, "none"),
            ("jetpack/jail.conf/securelevel", "0"),
            ("jetpack/jail.conf/allow.raw-sockets", "true"),
        ]);
        let parameter = |name: &str, value: &str, origin: &str| JailParameter {
            name: name.to_owned(),
            value: value.to_owned(),
            origin: origin.to_owned(),
        };
        let expected = [
            parameter("allow.mount", "false", "ace.jailConf.allow.mount in the configuration"),
            parameter("securelevel", "0", "the annotation jetpack/jail.conf/securelevel"),
            parameter("allow.raw_sockets", "true", "the annotation jetpack/jail.conf/allow.raw-sockets"),
        ];
        assert_eq!(jail_parameters(&[("allow.mount", "false"), ("securelevel", "2")], &pod).unwrap(), expected);
        assert_eq!(jail_parameters(&[], &Annotations::default()).unwrap(), []);
        let twice = annotations(&[("jetpack/jail.conf/allow.mlock", "1"), ("jetpack/jail.conf/children.max", "1")]);
        assert!(jail_parameters(&[("allow.mlock", "0")], &twice).is_ok());
        let twice = annotations(&[("jetpack/jail.conf/a-b", "1"), ("jetpack/jail.conf/a_b", "1")]);
        let expected = "the annotation jetpack/jail.conf/a-b and the annotation jetpack/jail.conf/a_b are the same";
        assert_eq!(jail_parameters(&[], &twice).unwrap_err().to_string(), expected);
    }

    #[test]
    fn what_is_the_runtimes_is_nobodys_to_set() {
        let refused = [
            "exec.start",
            "exec.clean",
            "exec.jail_user",
            "command",
            "mount",
            "mount.fstab",
            "mount.devfs",
            "path",
            "persist",
            "name",
            "jid",
            "host",
            "host.hostname",
            "host.hostuuid",
            "devfs_ruleset",
            "ip4",
            "ip6",
            "vnet",
            "vnet.interface",
            "ip4.addr",
            "ip6.addr",
            "interface",
            "ip_hostname",
            "allow.dying",
            "depend",
            "stop.timeout",
            "zfs.dataset",
        ];
        for name in refused {
            let error = jail_parameters(&[(name, "1")], &Annotations::default()).unwrap_err();
            let begin =
                format!("ace.jailConf.{name} in the configuration cannot be had: the jail parameter {name} is ");
            assert!(error.to_string().starts_with(&begin) && error.help_line().is_some(), "{error}");
            let annotation = format!("{JAIL_PARAMETER}{}", name.replace('_', "-"));
            assert!(jail_parameters(&[], &annotations(&[(&annotation, "1")])).is_err(), "{annotation}");
        }
        let free = [
            "allow.mount",
            "allow.mount.tmpfs",
            "children.max",
            "enforce_statfs",
            "host.domainname",
            "host.hostid",
            "ip4.saddrsel",
            "linux.osname",
            "osrelease",
            "securelevel",
            "sysvshm",
            "zfs.mount_snapshot",
            "executive",
        ];
        for name in free {
            jail_parameters(&[(name, "1")], &Annotations::default()).unwrap();
        }
    }

    #[test]
    fn what_is_not_said_is_as_ever() {
        let none = Annotations::default();
        assert_eq!((addresses(&none).unwrap(), ruleset(&none).unwrap(), procfs(&none).unwrap()), (vec![], 4, false));
        assert!(procfs(&annotations(&[(PROCFS, "true")])).unwrap());
        assert_eq!(ruleset(&annotations(&[(RULESET, "77")])).unwrap(), 77);
    }

    #[test]
    fn hostnames() {
        let long = "a".repeat(63);
        for good in ["a", "box", "web-1.example.com", "9", &long] {
            check_hostname(good).unwrap();
        }
        for bad in ["", "-a", "a-", "a..b", ".a", "a.", "a b", "a_b", "ä", &"a".repeat(64), &format!("{long}.a")] {
            assert!(check_hostname(bad).is_err(), "{bad}");
        }
    }
}
