//! mount(2), umount2(2) and pivot_root(2).

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;

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

/// Mounts a dataset of ZFS on `target`, which should be its mount point.
///
/// # Errors
/// The kernel has no ZFS or refuses.
pub fn mount_dataset(dataset: &str, target: &Path) -> Result<()> {
    // mount.zfs(8) says so of datasets whose mount point is a property of theirs.
    let options = "zfsutil";
    mount(Some(dataset), target, Some("zfs"), MsFlags::empty(), Some(options))
        .call(|| format!("mount({dataset:?}, {target:?}, \"zfs\", {options:?})"))
}

/// Takes off what is mounted on `target`, which is no link; that nothing is mounted is no error.
///
/// # Errors
/// Somebody uses it (EBUSY).
pub fn unmount(target: &Path) -> Result<()> {
    match umount2(target, MntFlags::UMOUNT_NOFOLLOW) {
        Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        other => other.call(|| format!("umount2({target:?}, UMOUNT_NOFOLLOW)")),
    }
}

/// Whether the kernel has filesystems of `kind` now.
pub fn has_filesystem(kind: &str) -> bool {
    let known = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    known.lines().any(|line| line.rsplit('\t').next() == Some(kind))
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

/// The same of a place that was opened, with all that is mounted below it if `recursive`.
///
/// # Errors
/// The place is not in this mount namespace, or the kernel is older.
pub fn clone_tree(place: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd> {
    let recursively = if recursive { libc::AT_RECURSIVE } else { 0 };
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    let at = libc::AT_EMPTY_PATH | recursively;
    // SAFETY: the path is empty, so that the descriptor is meant.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, place.as_raw_fd(), c"".as_ptr(), flags | at.cast_unsigned()) };
    let fd = Errno::result(fd).call(|| format!("open_tree({}, OPEN_TREE_CLONE, {at:#x})", place.as_raw_fd()))?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).unwrap_or(-1)) })
}

/// Sets `MOUNT_ATTR_*` flags of a mount, and of all below it if `recursive` (mount_setattr(2), Linux 5.12).
///
/// # Errors
/// The kernel is older.
pub(super) fn set_mount_attributes(mount: BorrowedFd<'_>, flags: u64, recursive: bool) -> Result<()> {
    let attributes = libc::mount_attr { attr_set: flags, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let at = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is empty, so the descriptor is meant; the size is that of the structure that the pointer names.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            at,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    };
    Errno::result(result).map(drop).call(|| format!("mount_setattr({}, {at:#x}, {flags:#x})", mount.as_raw_fd()))
}

/// Takes devices and set-user-ID bits away from a mount, and the right to write to it if `read_only`; from all below it too, if
/// `recursive`.
///
/// # Errors
/// The kernel is older than Linux 5.12.
pub fn restrict_mount(mount: BorrowedFd<'_>, read_only: bool, recursive: bool) -> Result<()> {
    let flags = libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOSUID;
    set_mount_attributes(mount, if read_only { flags | libc::MOUNT_ATTR_RDONLY } else { flags }, recursive)
}

/// Opens a place by an absolute path on which there are no symlinks, whoever makes some at this moment (openat2(2), Linux 5.6).
///
/// # Errors
/// It is missing, or one of its names is a link's (`ELOOP`).
pub fn open_without_links(path: &Path) -> Result<OwnedFd> {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(AT_FDCWD, path, how).call(|| format!("openat2({path:?}, O_PATH, RESOLVE_NO_SYMLINKS)"))
}

/// Attaches a mount that is attached nowhere at a place that was opened (move_mount(2)).
///
/// # Errors
/// One is a directory and the other is not.
pub fn attach_mount(mount: BorrowedFd<'_>, place: BorrowedFd<'_>) -> Result<()> {
    let (from, to) = (mount.as_raw_fd(), place.as_raw_fd());
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are empty, so that the descriptors are meant.
    let result = unsafe { libc::syscall(libc::SYS_move_mount, from, c"".as_ptr(), to, c"".as_ptr(), flags) };
    Errno::result(result).map(drop).call(|| format!("move_mount({from}, {to})"))
}

/// Mounts the root where it is to stand: a directory on itself, a stack on its mount point.
///
/// The working directory changes for a moment, so this is for processes of one thread.
///
/// # Errors
/// A directory is missing, /proc is not mounted, there are more than 500 layers, or the filesystem of the upper directory
/// cannot hold one.
pub fn mount_root(root: &RootFs, flags: MsFlags) -> Result<()> {
    match root {
        RootFs::Directory { path } => {
            bind(path, path, false)?;
            remount_bind(path, flags)
        }
        RootFs::Layers { lower, mountpoint } => match lower.as_slice() {
            // overlayfs wants two layers where nothing is written.
            [only] => {
                bind(only, mountpoint, false)?;
                remount_bind(mountpoint, flags | MsFlags::MS_RDONLY)
            }
            _ => mount_overlay(lower, None, mountpoint, flags | MsFlags::MS_RDONLY),
        },
        RootFs::Overlay { lower, upper, work, mountpoint } => {
            mount_overlay(lower, Some((upper, work)), mountpoint, flags)
        }
    }
}

/// Where the directories that this process has open can be named in a few bytes each.
const OPEN_FILES: &str = "/proc/self/fd";

/// What an upper layer shall not hold, whatever the kernel's defaults: hard links that join files of other layers, files
/// without content, and directories under new names. It holds all that was written, and nothing of it depends on a lower layer.
const PLAIN: &str = "index=off,metacopy=off,redirect_dir=off";

/// Mounts an overlay of `lower`, the uppermost first, and a writable layer with its working directory.
///
/// The kernel takes up to 500 layers, but only a page of options, into which thirty of their names would go. So each is
/// opened, and the options have the numbers of the descriptors, as names in the directory where the kernel shows them. Then
/// no name can be read as syntax either.
fn mount_overlay(lower: &[PathBuf], upper: Option<(&PathBuf, &PathBuf)>, target: &Path, flags: MsFlags) -> Result<()> {
    let open = |path: &PathBuf| {
        let how = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        nix::fcntl::open(path, how, Mode::empty()).call(|| format!("open({path:?}, O_PATH|O_DIRECTORY)"))
    };
    let lower: Vec<OwnedFd> = lower.iter().map(open).collect::<Result<_>>()?;
    let upper = upper.map(|(upper, work)| Ok((open(upper)?, open(work)?))).transpose()?;
    let target = open(&target.to_path_buf())?;
    let mut options = format!("lowerdir={}", lower.iter().map(number).collect::<Vec<_>>().join(":"));
    if let Some((upper, work)) = &upper {
        options.push_str(&format!(",upperdir={},workdir={}", number(upper), number(work)));
    }
    let before = open(&PathBuf::from("."))?;
    nix::unistd::chdir(OPEN_FILES).call(|| format!("chdir({OPEN_FILES:?})"))?;
    let target = number(&target);
    let mount_with = |options: &str| {
        mount(Some("overlay"), target.as_str(), Some("overlay"), flags, Some(options))
            .call(|| format!("mount(\"overlay\", {target:?}, {flags:?}, {options:?})"))
    };
    let mounted = match mount_with(&format!("{options},{PLAIN}")) {
        // A kernel that does not know one of them does not do it either.
        Err(e) if e.errno() == Errno::EINVAL => mount_with(&options),
        other => other,
    };
    nix::unistd::fchdir(&before).call(|| "fchdir(\".\")")?;
    mounted
}

fn number(fd: &OwnedFd) -> String {
    fd.as_raw_fd().to_string()
}

/// Gives this process a mount namespace of its own and mounts `roots` in it, without devices: they go with the process.
///
/// # Errors
/// The process may not mount, or as [`mount_root`].
pub fn mount_privately(roots: &[RootFs]) -> Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).call(|| "unshare(CLONE_NEWNS)")?;
    make_private()?;
    roots.iter().try_for_each(|root| mount_root(root, MsFlags::MS_NODEV))
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

/// Makes a character device at `path`, with exactly this mode.
///
/// # Errors
/// The process may not (CAP_MKNOD), or the name is taken.
pub fn make_character_device(path: &Path, mode: u32, major: u32, minor: u32) -> Result<()> {
    let device = nix::sys::stat::makedev(major.into(), minor.into());
    let mode = Mode::from_bits_truncate(mode);
    nix::sys::stat::mknod(path, nix::sys::stat::SFlag::S_IFCHR, mode, device)
        .call(|| format!("mknod({path:?}, S_IFCHR, {major}:{minor})"))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode.bits()))
        .call(|| format!("chmod({path:?}, {:#o})", mode.bits()))
}
