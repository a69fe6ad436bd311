//! Jails: by the `jail` crate jail_set(2), jail_attach(2) and jail_remove(2), and here what it lacks of jail_get(2): owning
//! descriptors, jails that are dying, and the types of parameters that are not just numbers.

use std::ffi::{CStr, c_int};
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::Path;

use jail::{JailError, RunningJail, StoppedJail, param};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use sysctl::{Ctl, CtlFlags, CtlInfo, CtlType, Sysctl};

use super::super::parameter::{Kind, Value};
use super::super::{Call, Error, Result};

/// Also jails that are dying (sys/jail.h).
const DYING: c_int = 0x08;

/// Give a descriptor whose last closing removes the jail (sys/jail.h, since FreeBSD 15).
const OWN_DESCRIPTOR: c_int = 0x80;

/// The longest name of a jail with its NUL (`MAXHOSTNAMELEN`).
const LONGEST_NAME: usize = 256;

/// Makes a persistent jail called `name` at `path`, and gives its number.
///
/// # Errors
/// The kernel refuses; the text is its own where it gives one.
pub fn create(name: &str, path: &Path, parameters: &[(String, Value)]) -> Result<i32> {
    let mut jail = StoppedJail::new(path).name(name);
    for (key, value) in parameters {
        jail = match value {
            // What such a parameter is set to is in its name; whatever follows is not looked at.
            Value::Boolean(on) => jail.param(if *on { key.clone() } else { negated(key) }, param::Value::Int(1)),
            value => jail.param(key.clone(), converted(value)),
        };
    }
    let call = || format!("jail_set(name={name:?}, path={path:?}, {parameters:?})");
    jail.start().map(|running| running.jid).map_err(|error| failed(call(), &error))
}

/// A descriptor that the jail lives as long as; none where the kernel has no such descriptors.
///
/// # Errors
/// There is no such jail, or the kernel refuses.
pub fn own(jid: i32) -> Result<Option<OwnedFd>> {
    let (mut number, mut descriptor) = (jid.to_ne_bytes(), (-1_i32).to_ne_bytes());
    let call = || format!("jail_get(jid={jid}, desc, JAIL_OWN_DESC)");
    match get(&mut [(c"jid", &mut number), (c"desc", &mut descriptor)], OWN_DESCRIPTOR) {
        Ok(_) => {
            // SAFETY: the kernel has just made this descriptor for us.
            let owner = unsafe { OwnedFd::from_raw_fd(i32::from_ne_bytes(descriptor)) };
            fcntl(&owner, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).call(|| "fcntl(F_SETFD)")?;
            Ok(Some(owner))
        }
        // An older kernel does not know the flag.
        Err(Errno::EINVAL) => Ok(None),
        Err(errno) => Err(Error::new(call(), errno)),
    }
}

/// Puts this process into the jail called `name`; its root and current directories are the jail's then.
///
/// # Errors
/// There is no such jail.
pub fn attach(name: &str) -> Result<()> {
    let jail = RunningJail::from_name(name).map_err(|error| failed(format!("jail_get({name:?})"), &error))?;
    jail.attach().map_err(|error| failed(format!("jail_attach({name:?})"), &error))
}

/// Kills everything in the jail called `name` and removes it. Says whether there was one.
///
/// # Errors
/// The kernel refuses.
pub fn remove(name: &str) -> Result<bool> {
    let removed = match RunningJail::from_name(name) {
        Ok(jail) => jail.kill().map_err(|error| failed(format!("jail_remove({name:?})"), &error)),
        Err(error) => Err(failed(format!("jail_get({name:?})"), &error)),
    };
    match removed {
        Ok(()) => Ok(true),
        // Its owner may have gone in this moment, too.
        Err(error) if matches!(error.errno(), Errno::ENOENT | Errno::EINVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The numbers of jails called `name` that were removed and that something in the kernel still holds.
///
/// # Errors
/// The kernel refuses.
pub fn dying(name: &str) -> Result<Vec<i32>> {
    let (mut last, mut found) = (0_i32, Vec::new());
    loop {
        let (mut previous, mut text, mut dying) = (last.to_ne_bytes(), [0; LONGEST_NAME], [0; size_of::<c_int>()]);
        let parameters = &mut [(c"lastjid", &mut previous[..]), (c"name", &mut text), (c"dying", &mut dying)];
        match get(parameters, DYING) {
            Ok(jid) => {
                let is_it = CStr::from_bytes_until_nul(&text).is_ok_and(|text| text.to_bytes() == name.as_bytes());
                found.extend((is_it && i32::from_ne_bytes(dying) != 0).then_some(jid));
                last = jid;
            }
            Err(Errno::ENOENT) => return Ok(found),
            Err(errno) => return Err(Error::new(format!("jail_get(lastjid={last}, JAIL_DYING)"), errno)),
        }
    }
}

/// jail_get(2): reads the jail that one of the parameters names, into the others. Gives its number.
fn get(parameters: &mut [(&CStr, &mut [u8])], flags: c_int) -> nix::Result<i32> {
    let vector = |start: *mut u8, length| libc::iovec { iov_base: start.cast(), iov_len: length };
    let pair = |(name, value): &mut (&CStr, &mut [u8])| {
        let name = name.to_bytes_with_nul();
        [vector(name.as_ptr().cast_mut(), name.len()), vector(value.as_mut_ptr(), value.len())]
    };
    let mut vectors: Vec<libc::iovec> = parameters.iter_mut().flat_map(pair).collect();
    let count = libc::c_uint::try_from(vectors.len()).unwrap_or(0);
    // SAFETY: names are only read; values can be written to, for the length that stands beside each.
    Errno::result(unsafe { libc::jail_get(vectors.as_mut_ptr(), count, flags) })
}

/// What values the parameter of jails called `name` takes (`security.jail.param`, as libjail reads it); none if this kernel
/// has no such parameter.
///
/// # Errors
/// The kernel describes it in a way that means nothing.
pub fn parameter_kind(name: &str) -> Result<Option<Kind>> {
    let Some((info, control)) = described(name) else { return Ok(None) };
    if !info.flags().intersects(CtlFlags::WR | CtlFlags::TUN) {
        return Ok(Some(Kind::Unsettable));
    }
    let number = |bits, signed| Kind::Number { bits, signed };
    Ok(Some(match (info.ctl_type, info.fmt.as_str()) {
        (CtlType::Int, "B") => Kind::Boolean,
        (CtlType::Int, "E,jailsys") => Kind::Choice,
        (CtlType::String, _) => {
            let size = control.value_string().ok().and_then(|size| size.parse::<usize>().ok());
            let size = size.ok_or_else(|| Error::new(format!("sysctl(security.jail.param.{name})"), Errno::EINVAL))?;
            Kind::Text(size.saturating_sub(1))
        }
        (CtlType::Struct, "S,in_addr,a") => Kind::Ipv4,
        (CtlType::Struct, "S,in6_addr,a") => Kind::Ipv6,
        (CtlType::Int | CtlType::S32, _) => number(32, true),
        (CtlType::Uint | CtlType::U32, _) => number(32, false),
        (CtlType::Long, _) => number(libc::c_long::BITS, true),
        (CtlType::Ulong, _) => number(libc::c_ulong::BITS, false),
        (CtlType::S64, _) => number(64, true),
        (CtlType::U64, _) => number(64, false),
        (CtlType::S16, _) => number(16, true),
        (CtlType::U16, _) => number(16, false),
        (CtlType::S8, _) => number(8, true),
        (CtlType::U8, _) => number(8, false),
        _ => Kind::Unsettable,
    }))
}

/// How the kernel describes the parameter called `name`. One that chooses for a group of parameters is described by a member of the
/// group without a name, whose number is next to the group's own.
fn described(name: &str) -> Option<(CtlInfo, Ctl)> {
    let full = format!("security.jail.param.{name}");
    let control = Ctl::new(&full).ok()?;
    let info = control.info().ok()?;
    if info.ctl_type != CtlType::Node {
        return Some((info, control));
    }
    let group = control.oid()?;
    let number = group.last()?;
    let members = [number - 1, number + 1].map(|member| Ctl::Oid([group, &[member][..]].concat()));
    let nameless = format!("{full}.");
    let control = members.into_iter().find(|member| member.name().is_ok_and(|name| name == nameless))?;
    Some((control.info().ok()?, control))
}

/// The name that switches off what `name` switches on: `allow.mount` and `allow.nomount`.
fn negated(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((group, last)) => format!("{group}.no{last}"),
        None => format!("no{name}"),
    }
}

/// The value as the crate has it. Of a number the kernel looks at the size and the bits.
fn converted(value: &Value) -> param::Value {
    let bytes = |value: &i128| -> [u8; 16] { value.to_le_bytes() };
    match value {
        Value::Boolean(on) => param::Value::Int((*on).into()),
        Value::Text(text) => param::Value::String(text.clone()),
        Value::Ipv4(addresses) => param::Value::Ipv4Addrs(addresses.clone()),
        Value::Ipv6(addresses) => param::Value::Ipv6Addrs(addresses.clone()),
        Value::Number { value, bits, .. } => {
            let [a, b, c, d, e, f, g, h, ..] = bytes(value);
            match bits {
                8 => param::Value::U8(a),
                16 => param::Value::U16(u16::from_le_bytes([a, b])),
                32 => param::Value::U32(u32::from_le_bytes([a, b, c, d])),
                _ => param::Value::U64(u64::from_le_bytes([a, b, c, d, e, f, g, h])),
            }
        }
    }
}

/// The crate's errors hold the kernel's text if it gave one; the number is what errno still says.
fn failed(call: String, error: &JailError) -> Error {
    let errno = Errno::last();
    match error {
        JailError::JailSetError(text) | JailError::JailGetError(text) => Error::new(format!("{call}: {text}"), errno),
        JailError::IoError(error) | JailError::JailAttachError(error) => {
            Error::new(call, error.raw_os_error().map_or(errno, Errno::from_raw))
        }
        other => Error::new(format!("{call}: {other}"), errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_what_its_parameters_are() {
        let int = Kind::Number { bits: 32, signed: true };
        let table = [
            ("securelevel", Some(int)),
            ("children.max", Some(int)),
            ("osrelease", Some(Kind::Text(31))),
            ("host", Some(Kind::Choice)),
            ("ip4", Some(Kind::Choice)),
            ("host.hostname", Some(Kind::Text(255))),
            ("host.hostid", Some(Kind::Number { bits: libc::c_ulong::BITS, signed: false })),
            ("ip4.addr", Some(Kind::Ipv4)),
            ("ip6.addr", Some(Kind::Ipv6)),
            ("allow.chflags", Some(Kind::Boolean)),
            ("allow.mount", Some(Kind::Boolean)),
            ("ip4.saddrsel", Some(Kind::Boolean)),
            ("dying", Some(Kind::Unsettable)),
            ("children.cur", Some(Kind::Unsettable)),
            ("allow", None),
            ("children", None),
            ("allow.nochflags", None),
            ("nosuch", None),
            ("", None),
            ("a\0b", None),
        ];
        for (name, kind) in table {
            assert_eq!(parameter_kind(name).unwrap(), kind, "{name}");
        }
    }

    #[test]
    fn switches_have_a_name_for_off() {
        assert_eq!(negated("persist"), "nopersist");
        assert_eq!(negated("allow.mount.zfs"), "allow.mount.nozfs");
    }

    #[test]
    fn no_jail_is_not_dying() {
        assert_eq!(dying("jetpack/none").unwrap(), [0; 0]);
        assert!(own(i32::MAX).is_err());
    }
}
