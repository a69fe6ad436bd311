//! The filter of system calls that apps run behind (seccomp(2)).
//!
//! [`default`] says which calls and why, [`numbers`] how the kernel numbers them, and [`compile`] makes the kernel's program of
//! both. Names become numbers, and numbers find their rules, while Jetpack itself is compiled. What remains for the start of an
//! app, whose capabilities decide some of the rules, takes about ten microseconds.

mod abi;
mod compile;
mod default;
mod numbers;
#[cfg(test)]
mod tests;

use nix::errno::Errno;

use self::abi::{Abi, HERE};
use self::default::{MISSING, Verdict};
use super::super::{Call, Result};

/// A program that the kernel runs on every system call of a process and its descendants.
#[derive(Clone, Debug)]
pub(super) struct Filter(Vec<libc::sock_filter>);

/// The filter for an app that may have these capabilities, by name.
pub(super) fn default_filter(capabilities: &[String]) -> Filter {
    filter_for(&HERE, capabilities)
}

fn filter_for(abis: &[Abi], capabilities: &[String]) -> Filter {
    let held = |name: &&str| capabilities.iter().any(|held| held == name);
    let exempt: Vec<bool> = default::RULES.iter().map(|rule| rule.exempt.iter().any(held)).collect();
    Filter(compile::compile(abis, |abi, number| match abi.rule(number) {
        None => MISSING,
        Some(index) if exempt[index] => Verdict::Allow,
        Some(index) => default::RULES[index].verdict,
    }))
}

/// Puts this process behind `filter`, for good. All that follows up to the app's own program must get through it.
///
/// # Errors
/// The process has neither CAP_SYS_ADMIN nor no_new_privs, or the kernel knows no filters.
pub(super) fn install(filter: &Filter) -> Result<()> {
    let length = filter.0.len();
    let program =
        libc::sock_fprog { len: u16::try_from(length).unwrap_or(u16::MAX), filter: filter.0.as_ptr().cast_mut() };
    // SAFETY: `program` names as many instructions as it says; the kernel copies them and writes to none.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
    Errno::result(result).map(drop).call(|| format!("seccomp(SECCOMP_SET_MODE_FILTER, 0, {length} instructions)"))
}
