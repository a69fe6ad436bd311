//! nmount(2) and unmount(2).

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, Nmount};

use super::super::{Call, Error, Result};

/// Mounts a filesystem of `kind` on `target` with `options` (name and value, as mount(8) takes them after `-o`; no value where that
/// is empty).
///
/// # Errors
/// The kernel lacks the filesystem (`ENODEV`) or refuses; the text is the kernel's own where it gives one.
pub fn mount(kind: &str, target: &Path, options: &[(&str, &OsStr)]) -> Result<()> {
    let mut call = Nmount::new();
    call.str_opt_owned("fstype", kind).str_opt_owned("fspath", target);
    for (name, value) in options {
        if value.is_empty() {
            call.null_opt_owned(*name)
        } else {
            call.str_opt_owned(*name, *value)
        };
    }
    call.nmount(MntFlags::empty()).map_err(|e| {
        let said = e.errmsg().map(|m| format!(": {m}")).unwrap_or_default();
        let is_known = CString::new(kind).is_ok_and(|kind| super::has_module(&kind));
        // The kernel has tried to load what it lacks, and says of that no more than of a wrong option.
        let errno = if e.error() == Errno::EINVAL && !is_known { Errno::ENODEV } else { e.error() };
        Error::new(format!("nmount({kind:?}, {target:?}, {options:?}){said}"), errno)
    })
}

/// The same at `name` in an open directory, `.` for the directory itself: whoever moves directories or puts links on the way
/// meanwhile does not make it another place.
///
/// The working directory changes for a moment, so this is for processes of one thread.
///
/// # Errors
/// As [`mount`].
pub fn mount_in(kind: &str, directory: BorrowedFd<'_>, name: &OsStr, options: &[(&str, &OsStr)]) -> Result<()> {
    let before = File::open(".").call(|| "open(\".\")")?;
    nix::unistd::fchdir(directory).call(|| "fchdir(mount point)")?;
    let mounted = mount(kind, Path::new(name), options);
    nix::unistd::fchdir(&before).call(|| "fchdir(\".\")")?;
    mounted
}

/// Mounts a dataset of ZFS on `target`, which should be its mount point.
///
/// # Errors
/// As [`mount`].
pub fn mount_dataset(dataset: &str, target: &Path) -> Result<()> {
    mount("zfs", target, &[("from", OsStr::new(dataset))])
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
    unmount_with(target, MntFlags::MNT_BYFSID)
}

/// The same by force: whoever uses it finds its files gone.
///
/// # Errors
/// The kernel refuses.
pub fn unmount_by_force(target: &Path) -> Result<()> {
    unmount_with(target, MntFlags::MNT_BYFSID | MntFlags::MNT_FORCE)
}

fn unmount_with(target: &Path, flags: MntFlags) -> Result<()> {
    for id in mounted_at(target)?.iter().rev() {
        match nix::mount::unmount(id.as_str(), flags) {
            Err(Errno::EINVAL | Errno::ENOENT) => {}
            other => other.call(|| format!("unmount({target:?}, {id})"))?,
        }
    }
    Ok(())
}

/// The filesystems that were mounted by this path, the oldest first, as unmount(2) takes them with `MNT_BYFSID`.
fn mounted_at(target: &Path) -> Result<Vec<String>> {
    let id = |mount: &libc::statfs| {
        // SAFETY: fsid_t is two ints (sys/_types.h), whose names the binding hides.
        let [first, second] = unsafe { std::mem::transmute::<libc::fsid_t, [libc::c_int; 2]>(mount.f_fsid) };
        format!("FSID:{first}:{second}")
    };
    Ok(mounts()?.iter().filter(|mount| text(&mount.f_mntonname) == target.as_os_str()).map(id).collect())
}

/// A filesystem that is mounted on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Its kind: `ufs`, `nullfs`.
    pub kind: String,
    /// Where: absolute, without links.
    pub target: PathBuf,
}

impl Mounted {
    fn of(mount: &libc::statfs) -> Mounted {
        let kind = text(&mount.f_fstypename).to_string_lossy().into_owned();
        Mounted { kind, target: PathBuf::from(text(&mount.f_mntonname)) }
    }
}

/// What is mounted on this host, the oldest first.
///
/// # Errors
/// Never: the kernel tells everybody.
pub fn mounted() -> Result<Vec<Mounted>> {
    Ok(mounts()?.iter().map(Mounted::of).collect())
}

/// The filesystem in which `path` is.
///
/// # Errors
/// It is missing.
pub fn filesystem_of(path: &Path) -> Result<Mounted> {
    let call = || format!("statfs({path:?})");
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::new(call(), Errno::EINVAL))?;
    let mut found = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the path is a string that ends in NUL, and the buffer is a structure's.
    Errno::result(unsafe { libc::statfs(name.as_ptr(), found.as_mut_ptr()) }).call(call)?;
    // SAFETY: the kernel has filled it in.
    Ok(Mounted::of(&unsafe { found.assume_init() }))
}

/// The text in an array that a NUL ends.
fn text(array: &[libc::c_char]) -> &OsStr {
    let end = array.iter().position(|c| *c == 0).unwrap_or(array.len());
    // SAFETY: c_char and u8 are of one size, and every value of the one is a value of the other.
    OsStr::from_bytes(unsafe { std::slice::from_raw_parts(array.as_ptr().cast::<u8>(), end) })
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
