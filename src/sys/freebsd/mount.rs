//! nmount(2) and unmount(2).

use std::os::unix::ffi::OsStrExt;
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

/// Mounts a dataset of ZFS on `target`, which should be its mount point.
///
/// # Errors
/// As [`mount`].
pub fn mount_dataset(dataset: &str, target: &Path) -> Result<()> {
    mount("zfs", target, &[("from", dataset)], false)
}

/// Whether the kernel has filesystems of `kind`, or loads what it needs when one is mounted.
pub fn has_filesystem(_kind: &str) -> bool {
    true
}

/// Takes off what was mounted by the path `target`, which is absolute and holds no links; that nothing was is no error.
///
/// The kernel's list of mounts is asked, and not the path: whoever can rename directories on the way, as the root of a jail can
/// in its own root, may have made it lead to another mount since.
///
/// # Errors
/// Somebody uses it (EBUSY).
pub fn unmount(target: &Path) -> Result<()> {
    for id in mounted_at(target)?.iter().rev() {
        match nix::mount::unmount(id.as_str(), MntFlags::MNT_BYFSID) {
            Err(Errno::EINVAL | Errno::ENOENT) => {}
            other => other.call(|| format!("unmount({target:?}, {id})"))?,
        }
    }
    Ok(())
}

/// The filesystems that were mounted by this path, the oldest first, as unmount(2) takes them with `MNT_BYFSID`.
fn mounted_at(target: &Path) -> Result<Vec<String>> {
    let is_there = |mount: &libc::statfs| {
        let name = mount.f_mntonname.iter().map(|c| c.cast_unsigned()).take_while(|byte| *byte != 0);
        name.eq(target.as_os_str().as_bytes().iter().copied())
    };
    let id = |mount: &libc::statfs| {
        // SAFETY: fsid_t is two ints (sys/_types.h), whose names the binding hides.
        let [first, second] = unsafe { std::mem::transmute::<libc::fsid_t, [libc::c_int; 2]>(mount.f_fsid) };
        format!("FSID:{first}:{second}")
    };
    Ok(mounts()?.iter().filter(|mount| is_there(mount)).map(id).collect())
}

/// What is mounted on this host.
fn mounts() -> Result<Vec<libc::statfs>> {
    let call = || "getfsstat(MNT_NOWAIT)";
    loop {
        // SAFETY: without a buffer the call only counts.
        let count = Errno::result(unsafe { libc::getfsstat(std::ptr::null_mut(), 0, libc::MNT_NOWAIT) }).call(call)?;
        // More may be mounted meanwhile: only a buffer with room left is known to hold all.
        let room = usize::try_from(count).unwrap_or_default() + 8;
        let mut mounts: Vec<libc::statfs> = Vec::with_capacity(room);
        let size = libc::c_long::try_from(room * size_of::<libc::statfs>()).unwrap_or(libc::c_long::MAX);
        // SAFETY: the buffer has room for `size` bytes.
        let count =
            Errno::result(unsafe { libc::getfsstat(mounts.as_mut_ptr(), size, libc::MNT_NOWAIT) }).call(call)?;
        let count = usize::try_from(count).unwrap_or_default();
        if count < room {
            // SAFETY: the kernel has filled in the first `count`.
            unsafe { mounts.set_len(count) };
            return Ok(mounts);
        }
    }
}
