//! Jails, by the `jail` crate: jail_set(2), jail_get(2), jail_attach(2), jail_remove(2).

use std::path::Path;

use jail::param::{Type, Value};
use jail::{RunningJail, StoppedJail};
use nix::errno::Errno;

use super::super::{Error, Result};

/// Makes a persistent jail called `name` at `path`. Values of `parameters` are written as jail(8) writes them; their types
/// are the kernel's own (`security.jail.param`).
///
/// # Errors
/// A parameter is unknown or its value is not of its type, or the kernel refuses; the text is the kernel's own.
pub fn create(name: &str, path: &Path, parameters: &[(String, String)]) -> Result<i32> {
    let mut jail = StoppedJail::new(path).name(name);
    for (key, value) in parameters {
        jail = jail.param(key.clone(), typed(key, value)?);
    }
    let running = jail.start().map_err(|e| failed(format!("jail_set(name={name:?}, path={path:?}): {e}")))?;
    Ok(running.jid)
}

/// Puts this process into the jail called `name`.
///
/// # Errors
/// There is no such jail.
pub fn attach(name: &str) -> Result<()> {
    find(name)?.attach().map_err(|e| failed(format!("jail_attach({name:?}): {e}")))
}

/// Kills everything in the jail called `name` and removes it; one that is not there is no error.
///
/// # Errors
/// The kernel refuses.
pub fn remove(name: &str) -> Result<()> {
    match RunningJail::from_name(name) {
        Ok(jail) => jail.kill().map_err(|e| failed(format!("jail_remove({name:?}): {e}"))),
        Err(_) if Errno::last() == Errno::ENOENT => Ok(()),
        Err(e) => Err(failed(format!("jail_get({name:?}): {e}"))),
    }
}

fn find(name: &str) -> Result<RunningJail> {
    RunningJail::from_name(name).map_err(|e| failed(format!("jail_get({name:?}): {e}")))
}

/// Parameters that choose between nothing, one of the jail's own, and the host's (jail(8)).
const JAILSYS: [&str; 7] = ["host", "ip4", "ip6", "vnet", "sysvmsg", "sysvsem", "sysvshm"];

/// The value of a parameter in the kernel's type. A boolean may be written as jail.conf(5) writes it, and a parameter that
/// chooses between the host's and its own as `disable`, `new` or `inherit`.
fn typed(key: &str, value: &str) -> Result<Value> {
    // The kernel describes these in a way that the crate does not read (`security.jail.param.ip4.`, an empty last part).
    if JAILSYS.contains(&key)
        && let Some(choice) = ["disable", "new", "inherit"].iter().position(|word| *word == value)
    {
        return Ok(Value::Int(libc::c_int::try_from(choice).unwrap_or(0)));
    }
    let kind = Type::of_param(key).map_err(|e| failed(format!("jail parameter {key:?}: {e}")))?;
    let wrong = || Error::new(format!("jail parameter {key}={value:?}, which is of type {kind:?},"), Errno::EINVAL);
    let number = || match value {
        "true" | "on" => Ok(1),
        "false" | "off" => Ok(0),
        digits => digits.parse::<i64>().map_err(|_| wrong()),
    };
    fn fit<T: TryFrom<i64>>(number: i64, wrong: impl Fn() -> Error) -> Result<T> {
        T::try_from(number).map_err(|_| wrong())
    }
    Ok(match kind {
        Type::String => Value::String(value.to_owned()),
        Type::Int => Value::Int(fit(number()?, wrong)?),
        Type::Uint => Value::Uint(fit(number()?, wrong)?),
        Type::Long => Value::Long(fit(number()?, wrong)?),
        Type::Ulong => Value::Ulong(fit(number()?, wrong)?),
        Type::U8 => Value::U8(fit(number()?, wrong)?),
        Type::U16 => Value::U16(fit(number()?, wrong)?),
        Type::U32 => Value::U32(fit(number()?, wrong)?),
        Type::U64 => Value::U64(fit(number()?, wrong)?),
        Type::S8 => Value::S8(fit(number()?, wrong)?),
        Type::S16 => Value::S16(fit(number()?, wrong)?),
        Type::S32 => Value::S32(fit(number()?, wrong)?),
        Type::S64 => Value::S64(number()?),
        Type::Ipv4Addrs | Type::Ipv6Addrs => return Err(wrong()),
    })
}

/// The crate's errors hold the kernel's text; the number is what errno still says.
fn failed(call: String) -> Error {
    Error::new(call, Errno::last())
}
