//! nmount(2) and unmount(2).

use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MntFlags, Nmount};

use super::super::{Call, Error, Result};

/// Mounts a filesystem of `kind` on `target` with `options` (name and value, as mount(8) takes them after `-o`).
///
/// # Errors
/// The kernel lacks the filesystem or refuses; the text is the kernel's own where it gives one.
pub fn mount(kind: &str, target: &Path, options: &[(&str, &str)], read_only: bool) -> Result<()> {
    let mut call = Nmount::new();
    call.str_opt_owned("fstype", kind).str_opt_owned("fspath", target);
    for (name, value) in options {
        call.str_opt_owned(*name, *value);
    }
    let flags = if read_only { MntFlags::MNT_RDONLY } else { MntFlags::empty() };
    call.nmount(flags).map_err(|e| {
        let said = e.errmsg().map(|m| format!(": {m}")).unwrap_or_default();
        Error::new(format!("nmount({kind:?}, {target:?}, {options:?}){said}"), e.error())
    })
}

/// Takes the mount at `target` off; that nothing is mounted there is no error.
///
/// # Errors
/// Somebody uses it (EBUSY).
pub fn unmount(target: &Path) -> Result<()> {
    match nix::mount::unmount(target, MntFlags::empty()) {
        Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        other => other.call(|| format!("unmount({target:?})")),
    }
}
