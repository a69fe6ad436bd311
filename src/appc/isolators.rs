//! The well-known isolators of ace.md, and the two that the Go schema has beside them (`os/linux/oom-score-adj` and
//! `os/linux/cpu-shares`): their names and what their values mean.

use std::collections::BTreeMap;

use serde_json::Value;

use super::error::Error;
use super::json::{Fields, FromJson};
use super::quantity::Quantity;

/// The capabilities of a process in an app without any isolator for capabilities (ace.md, capabilities-remove-set).
pub const DEFAULT_CAPABILITIES: [&str; 14] = [
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_NET_BIND_SERVICE",
    "CAP_SETUID",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETFCAP",
    "CAP_SYS_CHROOT",
];

/// Scope app: the capabilities that are kept.
pub const CAPABILITIES_RETAIN: &str = "os/linux/capabilities-retain-set";
/// Scope app: the capabilities that are taken from the default set.
pub const CAPABILITIES_REMOVE: &str = "os/linux/capabilities-remove-set";
/// Scope app: whether set-id bits have no effect.
pub const NO_NEW_PRIVILEGES: &str = "os/linux/no-new-privileges";
/// Scope app: the system calls that are blocked.
pub const SECCOMP_REMOVE: &str = "os/linux/seccomp-remove-set";
/// Scope app: the system calls that are not blocked.
pub const SECCOMP_RETAIN: &str = "os/linux/seccomp-retain-set";
/// Scope app or pod: the label of the processes.
pub const SELINUX_CONTEXT: &str = "os/linux/selinux-context";
/// Scope app or pod: the confining profile.
pub const APPARMOR_PROFILE: &str = "os/linux/apparmor-profile";
/// Scope app: how soon the kernel kills it for want of memory.
pub const OOM_SCORE_ADJ: &str = "os/linux/oom-score-adj";
/// Scope app: its weight when processors are short.
pub const CPU_SHARES: &str = "os/linux/cpu-shares";
/// Scope app or pod: cores.
pub const CPU: &str = "resource/cpu";
/// Scope app or pod: bytes of memory.
pub const MEMORY: &str = "resource/memory";
/// Scope app or pod: bytes read and written per second on block devices.
pub const BLOCK_BANDWIDTH: &str = "resource/block-bandwidth";
/// Scope app or pod: reads and writes per second on block devices.
pub const BLOCK_IOPS: &str = "resource/block-iops";
/// Scope app or pod: bytes per second on every interface but the loopback.
pub const NETWORK_BANDWIDTH: &str = "resource/network-bandwidth";
/// Scope pod: kernel parameters.
pub const SYSCTL: &str = "os/unix/sysctl";

/// What the value of an isolator means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IsolatorValue {
    /// Names of capabilities that are kept, all others being taken; not empty.
    CapabilitiesRetain(Vec<String>),
    /// Names of capabilities that are taken from [`DEFAULT_CAPABILITIES`]; not empty.
    CapabilitiesRemove(Vec<String>),
    /// Whether no process can gain privileges by executing a file.
    NoNewPrivileges(bool),
    /// System calls that are blocked.
    SeccompRemove {
        /// Their names, and special values that begin with `@`; not empty.
        set: Vec<String>,
        /// The error that a blocked call returns, such as `ENOTSUP`; the process is killed where there is none.
        errno: Option<String>,
    },
    /// System calls that are allowed, all others being blocked.
    SeccompRetain {
        /// Their names, and special values that begin with `@`; not empty.
        set: Vec<String>,
        /// The error that a blocked call returns, such as `ENOTSUP`; the process is killed where there is none.
        errno: Option<String>,
    },
    /// The parts of an SELinux security context, none empty; only `level` may have a `:` in it.
    SelinuxContext {
        /// The user.
        user: String,
        /// The role.
        role: String,
        /// The type or domain.
        kind: String,
        /// The level.
        level: String,
    },
    /// The name of an AppArmor profile that the host has loaded; not empty.
    ApparmorProfile(String),
    /// From -1000 (never killed) to 1000 (killed first).
    OomScoreAdj(i32),
    /// A weight from 2 to 262144; 1024 is the kernel's own.
    CpuShares(u64),
    /// Cores; [`Quantity::milli`] has the precision that is meant.
    Cpu {
        /// What is reserved; the limit where it is not given.
        request: Option<Quantity>,
        /// The most that can be used.
        limit: Option<Quantity>,
    },
    /// Bytes of memory.
    Memory {
        /// What is reserved; the limit where it is not given.
        request: Option<Quantity>,
        /// The most that can be used.
        limit: Option<Quantity>,
    },
    /// Bytes per second, for every block device.
    BlockBandwidth {
        /// The most that can be used.
        limit: Quantity,
    },
    /// Operations per second, for every block device.
    BlockIops {
        /// The most that can be used.
        limit: Quantity,
    },
    /// Bytes per second, for every interface but the loopback.
    NetworkBandwidth {
        /// The most that can be used.
        limit: Quantity,
    },
    /// Kernel parameters with their values.
    Sysctl(BTreeMap<String, String>),
    /// Not one of the specification's; to be reported as ignored, or refused.
    Unknown,
}

/// Reads the value of the isolator called `name`; the path in an error is relative to the value.
pub(super) fn read(name: &str, value: &Value) -> Result<IsolatorValue, Error> {
    Ok(match name {
        CAPABILITIES_RETAIN => IsolatorValue::CapabilitiesRetain(read_set(&Fields::of(value)?)?),
        CAPABILITIES_REMOVE => IsolatorValue::CapabilitiesRemove(read_set(&Fields::of(value)?)?),
        NO_NEW_PRIVILEGES => IsolatorValue::NoNewPrivileges(bool::from_json(value)?),
        SECCOMP_REMOVE => {
            let (set, errno) = read_seccomp(value)?;
            IsolatorValue::SeccompRemove { set, errno }
        }
        SECCOMP_RETAIN => {
            let (set, errno) = read_seccomp(value)?;
            IsolatorValue::SeccompRetain { set, errno }
        }
        SELINUX_CONTEXT => read_selinux(value)?,
        APPARMOR_PROFILE => IsolatorValue::ApparmorProfile(Fields::of(value)?.required_text("profile")?),
        OOM_SCORE_ADJ => IsolatorValue::OomScoreAdj(read_between(value, -1000, 1000)?),
        CPU_SHARES => IsolatorValue::CpuShares(read_between(value, 2, 262_144)?.unsigned_abs().into()),
        CPU => {
            let (request, limit) = read_range(value)?;
            IsolatorValue::Cpu { request, limit }
        }
        MEMORY => {
            let (request, limit) = read_range(value)?;
            IsolatorValue::Memory { request, limit }
        }
        BLOCK_BANDWIDTH => IsolatorValue::BlockBandwidth { limit: read_default_limit(value)? },
        BLOCK_IOPS => IsolatorValue::BlockIops { limit: read_default_limit(value)? },
        NETWORK_BANDWIDTH => IsolatorValue::NetworkBandwidth { limit: read_default_limit(value)? },
        SYSCTL => IsolatorValue::Sysctl(BTreeMap::from_json(value)?),
        _ => IsolatorValue::Unknown,
    })
}

/// The `set` of capabilities or system calls: names, at least one.
fn read_set(fields: &Fields<'_>) -> Result<Vec<String>, Error> {
    let set: Vec<String> = fields.required("set")?;
    if set.is_empty() {
        return Err(Error::new("the set is empty").field("set"));
    }
    match set.iter().position(String::is_empty) {
        Some(i) => Err(Error::new("the name is empty").index(i).field("set")),
        None => Ok(set),
    }
}

fn read_seccomp(value: &Value) -> Result<(Vec<String>, Option<String>), Error> {
    let fields = Fields::of(value)?;
    let errno = fields.text("errno")?;
    if let Some(errno) = &errno {
        let is_code = errno.starts_with('E') && errno.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        if !is_code {
            return Err(Error::bad(errno, "is not the name of an error such as ENOTSUP").field("errno"));
        }
    }
    Ok((read_set(&fields)?, errno))
}

fn read_selinux(value: &Value) -> Result<IsolatorValue, Error> {
    let fields = Fields::of(value)?;
    let part = |name: &str| {
        let text = fields.required_text(name)?;
        if text.contains(':') { Err(Error::bad(&text, "has a : in it").field(name)) } else { Ok(text) }
    };
    let (user, role, kind) = (part("user")?, part("role")?, part("type")?);
    Ok(IsolatorValue::SelinuxContext { user, role, kind, level: fields.required_text("level")? })
}

fn read_between(value: &Value, low: i32, high: i32) -> Result<i32, Error> {
    let number = value.as_i64().and_then(|number| i32::try_from(number).ok());
    let in_range = number.filter(|number| (low..=high).contains(number));
    in_range.ok_or_else(|| Error::mistyped(value, &format!("between {low} and {high}")))
}

/// The value of a resource that has a request and a limit, and no default.
fn read_range(value: &Value) -> Result<(Option<Quantity>, Option<Quantity>), Error> {
    let fields = Fields::of(value)?;
    if fields.or_default("default")? {
        return Err(Error::new("must not be true for this resource").field("default"));
    }
    Ok((fields.optional("request")?, fields.optional("limit")?))
}

/// The value of a resource that has a limit for all devices, and no request.
fn read_default_limit(value: &Value) -> Result<Quantity, Error> {
    let fields = Fields::of(value)?;
    if !fields.or_default("default")? {
        return Err(Error::new("must be true for this resource").field("default"));
    }
    if fields.optional::<Quantity>("request")?.is_some() {
        return Err(Error::new("this resource has no request").field("request"));
    }
    fields.required("limit")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: &str, json: &str) -> Result<IsolatorValue, String> {
        read(name, &serde_json::from_str(json).unwrap()).map_err(|e| e.to_string())
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn values() {
        let quantity = |text: &str| text.parse::<Quantity>().unwrap();
        let some = |text: &str| Some(quantity(text));
        for (name, json, wanted) in [
            (
                CAPABILITIES_RETAIN,
                r#"{"set": ["CAP_KILL"]}"#,
                IsolatorValue::CapabilitiesRetain(strings(&["CAP_KILL"])),
            ),
            (CAPABILITIES_REMOVE, r#"{"Set": ["CAP_X"]}"#, IsolatorValue::CapabilitiesRemove(strings(&["CAP_X"]))),
            (NO_NEW_PRIVILEGES, "true", IsolatorValue::NoNewPrivileges(true)),
            (
                SECCOMP_REMOVE,
                r#"{"set": ["reboot", "@appc.io/empty"], "errno": "E2BIG"}"#,
                IsolatorValue::SeccompRemove {
                    set: strings(&["reboot", "@appc.io/empty"]),
                    errno: Some("E2BIG".to_owned()),
                },
            ),
            (
                SECCOMP_RETAIN,
                r#"{"set": ["read"], "errno": ""}"#,
                IsolatorValue::SeccompRetain { set: strings(&["read"]), errno: None },
            ),
            (
                SELINUX_CONTEXT,
                r#"{"user": "u", "role": "r", "type": "t", "level": "s0-s0:c0"}"#,
                IsolatorValue::SelinuxContext {
                    user: "u".to_owned(),
                    role: "r".to_owned(),
                    kind: "t".to_owned(),
                    level: "s0-s0:c0".to_owned(),
                },
            ),
            (APPARMOR_PROFILE, r#"{"profile": "p"}"#, IsolatorValue::ApparmorProfile("p".to_owned())),
            (OOM_SCORE_ADJ, "-1000", IsolatorValue::OomScoreAdj(-1000)),
            (CPU_SHARES, "262144", IsolatorValue::CpuShares(262_144)),
            (
                CPU,
                r#"{"request": "30m", "limit": "1m", "default": false}"#,
                IsolatorValue::Cpu { request: some("30m"), limit: some("1m") },
            ),
            (MEMORY, r#"{"limit": 1024}"#, IsolatorValue::Memory { request: None, limit: some("1Ki") }),
            (
                BLOCK_BANDWIDTH,
                r#"{"default": true, "limit": "2M", "request": null}"#,
                IsolatorValue::BlockBandwidth { limit: quantity("2M") },
            ),
            (BLOCK_IOPS, r#"{"default": true, "limit": "1k"}"#, IsolatorValue::BlockIops { limit: quantity("1000") }),
            (
                NETWORK_BANDWIDTH,
                r#"{"default": true, "limit": "1G"}"#,
                IsolatorValue::NetworkBandwidth { limit: quantity("1G") },
            ),
            (SYSCTL, r#"{"a": "1"}"#, IsolatorValue::Sysctl(BTreeMap::from([("a".to_owned(), "1".to_owned())]))),
            ("example.com/ponies", "0", IsolatorValue::Unknown),
        ] {
            assert_eq!(value(name, json), Ok(wanted), "{name}");
        }
    }

    #[test]
    fn refused() {
        for (name, json, error) in [
            (CAPABILITIES_RETAIN, r#"{"set": []}"#, "set: the set is empty"),
            (CAPABILITIES_RETAIN, "{}", "set: required but missing"),
            (CAPABILITIES_REMOVE, r#"{"set": "CAP_X"}"#, "set: \"CAP_X\" is not a list"),
            (CAPABILITIES_REMOVE, r#"{"set": [""]}"#, "set[0]: the name is empty"),
            (NO_NEW_PRIVILEGES, r#"{"set": []}"#, "an object is not true or false"),
            (NO_NEW_PRIVILEGES, "123", "123 is not true or false"),
            (SECCOMP_REMOVE, r#"{"set": [], "errno": "EPERM"}"#, "set: the set is empty"),
            (
                SECCOMP_RETAIN,
                r#"{"set": ["a"], "errno": "-EPERM"}"#,
                "errno: \"-EPERM\" is not the name of an error such as ENOTSUP",
            ),
            (
                SECCOMP_RETAIN,
                r#"{"set": ["a"], "errno": "Eperm"}"#,
                "errno: \"Eperm\" is not the name of an error such as ENOTSUP",
            ),
            (
                SELINUX_CONTEXT,
                r#"{"user": "u:v", "role": "r", "type": "t", "level": "s"}"#,
                "user: \"u:v\" has a : in it",
            ),
            (SELINUX_CONTEXT, r#"{"user": "u", "role": "", "type": "t", "level": "s"}"#, "role: required but missing"),
            (APPARMOR_PROFILE, r#"{"profile": ""}"#, "profile: required but missing"),
            (OOM_SCORE_ADJ, "-1001", "-1001 is not between -1000 and 1000"),
            (OOM_SCORE_ADJ, "\"pants\"", "\"pants\" is not between -1000 and 1000"),
            (CPU_SHARES, "1", "1 is not between 2 and 262144"),
            (CPU_SHARES, "99999999999999999999", "1e+20 is not between 2 and 262144"),
            (CPU, r#"{"default": true}"#, "default: must not be true for this resource"),
            (CPU, r#"{"limit": "lots"}"#, "limit: \"lots\" is not a quantity such as 1500, 0.5, 250m, 2G or 512Mi"),
            (MEMORY, r#"{"limit": "-1"}"#, "limit: \"-1\" is a negative quantity"),
            (MEMORY, "[]", "a list is not an object"),
            (BLOCK_IOPS, r#"{"limit": "1"}"#, "default: must be true for this resource"),
            (BLOCK_IOPS, r#"{"default": true}"#, "limit: required but missing"),
            (
                NETWORK_BANDWIDTH,
                r#"{"default": true, "limit": "1", "request": "1"}"#,
                "request: this resource has no request",
            ),
            (SYSCTL, r#"{"a": 1}"#, "[\"a\"]: 1 is not a string"),
            (SYSCTL, r#"["a"]"#, "a list is not an object"),
        ] {
            assert_eq!(value(name, json), Err(error.to_owned()), "{name}");
        }
    }
}
