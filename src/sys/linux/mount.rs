//! mount(2), umount2(2) and pivot_root(2).

use std::ffi::{CString, OsString};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::super::process::Exit;
use super::super::rootfs::RootFs;
use super::super::{Call, Error, Result};

pub use nix::mount::MsFlags as MountFlags;

const NOTHING: Option<&str> = None;

/// Keeps mounts made in this mount namespace from reaching others, and the others' from arriving here.
///
/// # Errors
/// The process may not mount here.
pub fn make_private() -> Result<()> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(NOTHING, "/", NOTHING, flags, NOTHING).call(|| "mount(\"/\", MS_REC|MS_PRIVATE)")
}

/// Mounts a new filesystem of `kind` on `target`.
///
/// # Errors
/// The kernel lacks the filesystem or refuses it here.
pub fn mount_filesystem(kind: &str, target: &Path, flags: MsFlags, options: &str) -> Result<()> {
    mount(Some(kind), target, Some(kind), flags, Some(options))
        .call(|| format!("mount({kind:?}, {target:?}, {flags:?}, {options:?})"))
}

/// Shows what is at `source` at `target` too, with all that is mounted below it if `recursive`.
///
/// # Errors
/// One of them is missing, or one is a directory and the other is not.
pub fn bind(source: &Path, target: &Path, recursive: bool) -> Result<()> {
    let flags = if recursive { MsFlags::MS_BIND | MsFlags::MS_REC } else { MsFlags::MS_BIND };
    mount(Some(source), target, NOTHING, flags, NOTHING).call(|| format!("mount({source:?}, {target:?}, {flags:?})"))
}

/// Changes the flags of the one mount at `target`.
///
/// # Errors
/// Nothing is mounted there.
pub fn remount_bind(target: &Path, flags: MsFlags) -> Result<()> {
    let flags = flags | MsFlags::MS_BIND | MsFlags::MS_REMOUNT;
    mount(NOTHING, target, NOTHING, flags, NOTHING).call(|| format!("mount({target:?}, {flags:?})"))
}

/// Shows `path` to be what it is, but read-only.
///
/// # Errors
/// It is missing.
pub fn bind_read_only(path: &Path) -> Result<()> {
    bind(path, path, true)?;
    let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    remount_bind(path, flags)
}

/// A mount of its own, attached nowhere yet, of what is at `path` (open_tree(2), Linux 5.2).
///
/// # Errors
/// The path is missing or not in this mount namespace, or the kernel is older.
pub fn clone_mount(path: &Path) -> Result<OwnedFd> {
    let call = || format!("open_tree({path:?}, OPEN_TREE_CLONE)");
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::new(call(), Errno::EINVAL))?;
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: the path is a string that ends in NUL.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, name.as_ptr(), flags) };
    let fd = Errno::result(fd).call(call)?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) })
}

/// Attaches what [`clone_mount`] made at `target`, whose last part is no link (move_mount(2)).
///
/// # Errors
/// The target is missing, or one is a directory and the other is not.
pub fn attach_mount(mount: BorrowedFd<'_>, target: &Path) -> Result<()> {
    let call = || format!("move_mount(volume, {target:?})");
    let name = CString::new(target.as_os_str().as_bytes()).map_err(|_| Error::new(call(), Errno::EINVAL))?;
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH;
    // SAFETY: both paths are strings that end in NUL; the first is empty, so that the descriptor is meant.
    let result = unsafe {
        libc::syscall(libc::SYS_move_mount, mount.as_raw_fd(), c"".as_ptr(), libc::AT_FDCWD, name.as_ptr(), flags)
    };
    Errno::result(result).map(drop).call(call)
}

/// Mounts an overlay. Layer names may hold any byte: what overlayfs would read as its own syntax is escaped.
///
/// # Errors
/// A directory is missing, the filesystem of `upper` cannot hold an upper layer, or the options are longer than a page.
pub fn mount_overlay(lower: &[PathBuf], upper: &Path, work: &Path, target: &Path, flags: MsFlags) -> Result<()> {
    let options = overlay_options(lower, upper, work);
    let call = || format!("mount(\"overlay\", {target:?}, {flags:?}, {options:?})");
    if options.len() >= 4096 {
        return Err(Error::new(call(), Errno::E2BIG));
    }
    mount(Some("overlay"), target, Some("overlay"), flags, Some(options.as_os_str())).call(call)
}

fn overlay_options(lower: &[PathBuf], upper: &Path, work: &Path) -> OsString {
    let mut options = b"lowerdir=".to_vec();
    for (i, layer) in lower.iter().enumerate() {
        if i > 0 {
            options.push(b':');
        }
        escape(layer, b"\\:,", &mut options);
    }
    for (name, path) in [("upperdir", upper), ("workdir", work)] {
        options.extend_from_slice(format!(",{name}=").as_bytes());
        escape(path, b"\\,", &mut options);
    }
    OsString::from_vec(options)
}

fn escape(path: &Path, special: &[u8], into: &mut Vec<u8>) {
    for byte in path.as_os_str().as_bytes() {
        if special.contains(byte) {
            into.push(b'\\');
        }
        into.push(*byte);
    }
}

/// Makes the mount at `root` the root of this mount namespace and lets go of everything else that was mounted in it.
///
/// # Errors
/// `root` is no mount point.
pub fn pivot(root: &Path) -> Result<()> {
    nix::unistd::chdir(root).call(|| format!("chdir({root:?})"))?;
    // Both names are the new root: the old one ends stacked on it and is taken off (pivot_root(2), NOTES).
    nix::unistd::pivot_root(".", ".").call(|| format!("pivot_root({root:?}, {root:?})"))?;
    umount2(".", MntFlags::MNT_DETACH).call(|| "umount2(\".\", MNT_DETACH)")?;
    nix::unistd::chdir("/").call(|| "chdir(\"/\")")
}

/// Tries whether `stack` can be mounted, in a mount namespace of a child process; nothing of it remains.
///
/// # Errors
/// It cannot.
pub fn try_overlay(stack: &RootFs) -> Result<()> {
    let RootFs::Overlay { lower, upper, work, mountpoint } = stack else {
        return Err(Error::new("mount(\"overlay\")", Errno::EINVAL));
    };
    let child = super::super::process::fork(|| {
        let tried = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)
            .call(|| "unshare(CLONE_NEWNS)")
            .and_then(|()| make_private())
            .and_then(|()| mount_overlay(lower, upper, work, mountpoint, MsFlags::MS_NODEV))
            .and_then(|()| std::fs::write(mountpoint.join("probe"), "").call(|| "write(overlay)"));
        tried.map_or_else(|e| e.errno() as i32, |()| 0)
    })?;
    match super::super::process::wait(child)? {
        Exit::Code(0) => Ok(()),
        Exit::Code(errno) => Err(Error::new(format!("mount(\"overlay\", {mountpoint:?})"), Errno::from_raw(errno))),
        Exit::Signal(_) => Err(Error::new("mount(\"overlay\")", Errno::EINTR)),
    }
}

/// Makes a character device at `path`, with exactly this mode.
///
/// # Errors
/// The process may not (CAP_MKNOD), or the name is taken.
pub fn make_character_device(path: &Path, mode: u32, major: u32, minor: u32) -> Result<()> {
    let device = nix::sys::stat::makedev(major.into(), minor.into());
    let mode = nix::sys::stat::Mode::from_bits_truncate(mode);
    nix::sys::stat::mknod(path, nix::sys::stat::SFlag::S_IFCHR, mode, device)
        .call(|| format!("mknod({path:?}, S_IFCHR, {major}:{minor})"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode.bits()))
        .call(|| format!("chmod({path:?}, {:#o})", mode.bits()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlay_options_escape_what_overlayfs_reads() {
        let options = overlay_options(&["/a:b".into(), "/c,d".into()], Path::new("/u,v:w"), Path::new("/k\\l"));
        assert_eq!(options, "lowerdir=/a\\:b:/c\\,d,upperdir=/u\\,v:w,workdir=/k\\\\l");
    }
}
