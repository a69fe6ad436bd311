//! The filesystems in the root of a jail: each is written down in the pod's record before it is mounted.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::super::filesystems::{Standard, is_hosts_own, standard};
use super::super::submounts::below;
use super::super::{HostSource, SandboxSpec, VolumeMount, mountpoint, record, volume_mountpoint, write_file};
use crate::command;
use crate::error::{Context, Error, Result};
use crate::sys;
use crate::sys::abi::how_to_load;
use crate::sys::tree::{open_path, stat_entry};

/// How long the processes of a removed jail may hold its filesystems.
const PATIENCE: Duration = Duration::from_secs(10);

/// Does `work` in a child that has chrooted to `root`, so that no link of the image leads out.
fn in_root(root: &Path, work: impl FnOnce() -> Result<String>) -> Result<String> {
    let in_child = || {
        let entered = nix::unistd::chroot(root).and_then(|()| nix::unistd::chdir("/"));
        entered.context(|| "cannot enter it").and_then(|()| work()).map_err(|error| error.one_line())
    };
    let what = || format!("cannot prepare {}", root.display());
    sys::process::in_child(in_child).context(what)?.context(what)
}

/// The filesystems of a jail, while they are being mounted.
struct Mounts<'a> {
    spec: &'a SandboxSpec,
    /// The root of the jail, without links: the kernel knows its mounts by such paths.
    root: PathBuf,
    /// Where a volume of the host's has been mounted.
    of_host: Vec<PathBuf>,
    warn: &'a dyn Fn(&str),
}

/// Mounts what stands below `path`, the root of the jail.
pub(super) fn mount_all(path: &Path, spec: &SandboxSpec, warn: &dyn Fn(&str)) -> Result<()> {
    furnish(spec)?;
    if spec.root.read_only {
        fs::create_dir_all(path).context(|| format!("cannot make {}", path.display()))?;
    }
    let root = fs::canonicalize(path).context(|| format!("cannot find {}", path.display()))?;
    let mut mounts = Mounts { spec, root, of_host: Vec::new(), warn };
    if spec.root.read_only {
        mounts.mount_read_only_root()?;
    }
    mounts.mount_devfs()?;
    standard(spec.root.abi, spec.root.procfs).iter().try_for_each(|standard| mounts.mount_standard(standard))?;
    spec.root.mounts.iter().try_for_each(|mount| mounts.mount_volume(mount))
}

/// Writes the runtime's files into the root and makes its mount points.
fn furnish(spec: &SandboxSpec) -> Result<()> {
    let mut volumes = Vec::new();
    for mount in &spec.root.mounts {
        volumes.push((mount, is_file(mount)?));
    }
    in_root(spec.root.filesystem.path(), || {
        // In /dev there is nothing before it is mounted.
        let own = standard(spec.root.abi, spec.root.procfs);
        let own = own.iter().map(|standard| standard.target).filter(|target| !target.contains('/'));
        own.chain(["dev"]).try_for_each(|name| mountpoint(Path::new("/"), name).map(drop))?;
        spec.root.files.iter().try_for_each(|(path, text)| write_file(path, text))?;
        volumes.iter().try_for_each(|(mount, is_file)| point_of(mount, *is_file).map(drop))?;
        Ok(String::new())
    })
    .map(drop)
}

/// Whether a volume is a single file.
fn is_file(mount: &VolumeMount) -> Result<bool> {
    let found = fs::symlink_metadata(&mount.source);
    let found = found.context(|| format!("cannot find {}, which is a volume", mount.source.display()))?;
    Ok(!found.is_dir())
}

/// In the root: the mount point of a volume, made if it is missing, once links are followed.
fn point_of(mount: &VolumeMount, is_file: bool) -> Result<String> {
    let what = || format!("cannot make the mount point {}", mount.target.display());
    let point = volume_mountpoint(&mount.target, is_file).context(what)?;
    let point = point.into_os_string().into_string().map_err(|_| Error::with_source(what(), "its name is not text"))?;
    Ok(point.trim_start_matches('/').to_owned())
}

impl Mounts<'_> {
    fn mount_read_only_root(&self) -> Result<()> {
        let source = self.spec.root.filesystem.path();
        record::add(&self.spec.record, &self.root, &self.root)?;
        sys::os::mount("nullfs", &self.root, &[("target", source.as_os_str()), ("ro", OsStr::new(""))])
            .context(|| format!("cannot show {} read-only", source.display()))
    }

    fn mount_devfs(&self) -> Result<()> {
        let dev = self.root.join("dev");
        record::add(&self.spec.record, &self.root, &dev)?;
        let ruleset = self.spec.ruleset.to_string();
        sys::os::mount("devfs", &dev, &[("ruleset", OsStr::new(&ruleset))]).context(|| "cannot mount the jail's devfs")
    }

    /// Mounts what every such jail has. The root is at rest yet: no volume that others have too is in it.
    fn mount_standard(&self, standard: &Standard) -> Result<()> {
        let target = self.root.join(standard.target);
        if let Some(name) = standard.target.strip_prefix("dev/")
            && !target.is_dir()
        {
            // The ruleset hides the directory; what is in it stays hidden, by the mount.
            command::devfs_unhide(&self.root.join("dev"), name)?;
        }
        record::add(&self.spec.record, &self.root, &target)?;
        let options: Vec<(&str, &OsStr)> = standard.options.iter().map(|(n, value)| (*n, OsStr::new(*value))).collect();
        match sys::os::mount(standard.kind, &target, &options) {
            Err(e) if e.errno() == Errno::ENODEV => {
                let why = format!("the kernel has no module {}", standard.kind);
                let what = format!("cannot mount {} at /{}: {why}", standard.kind, standard.target);
                match standard.optional {
                    true => (self.warn)(&what),
                    false => return Err(Error::new(what).help(how_to_load(standard.kind))),
                }
                Ok(())
            }
            other => other.context(|| format!("cannot mount {} at /{}", standard.kind, standard.target)),
        }
    }

    /// Mounts a volume. Its mount point may be in a volume that was mounted before.
    fn mount_volume(&mut self, mount: &VolumeMount) -> Result<()> {
        let what = || format!("cannot mount a volume at {}", mount.target.display());
        let is_file = is_file(mount)?;
        let point = PathBuf::from(in_root(&self.root, || point_of(mount, is_file))?);
        let kind = sys::os::filesystem_of(&mount.source).context(what)?.kind;
        if mount.of_host.is_some() && is_hosts_own(&kind) {
            let why =
                format!("{} is in a {kind}, which would show the jail what its rules hide", mount.source.display());
            return Err(Error::with_source(what(), why));
        }
        self.show(mount, &mount.source, &point, is_file).context(what)?;
        if mount.of_host.is_some() {
            self.of_host.push(point.clone());
        }
        if mount.of_host != Some(HostSource::WithMounts) || is_file {
            return Ok(());
        }
        let mounted = sys::os::mounted().context(what)?;
        for (kind, path) in below(&mount.source, mounted.iter().map(|m| (m.kind.as_str(), m.target.as_path()))) {
            let source = mount.source.join(&path);
            if is_hosts_own(kind) {
                let place = mount.target.join(&path);
                (self.warn)(&format!("{} is not shown at {}: it is a {kind}", source.display(), place.display()));
                continue;
            }
            let what =
                || format!("cannot show {}, which is mounted below {}", source.display(), mount.source.display());
            self.show(mount, &source, &point.join(&path), is_file_mount(&source))
                .context(what)
                .map_err(|e| e.help("unmount it, or leave all that is mounted there out: `recursive=false`"))?;
        }
        Ok(())
    }

    /// Shows `source` at `point`, a path without links that is relative to the root.
    ///
    /// Another pod that has the same volume may put links on the way at this moment: so the way is walked once, nothing is
    /// followed, and the directory that was reached is the one that is mounted on.
    fn show(&self, mount: &VolumeMount, source: &Path, point: &Path, is_file: bool) -> Result<()> {
        if is_file && self.of_host.iter().any(|volume| point.starts_with(volume)) {
            return Err(Error::new("its place is in a volume of the host's, where a file's cannot be held on to")
                .help("mount the directory that the file is in"));
        }
        let (directory, name) = match (is_file, point.parent(), point.file_name()) {
            (true, Some(parent), Some(name)) => (parent, name),
            _ => (point, OsStr::new(".")),
        };
        // Neither is a link on the way to the source: somebody who writes there may have put one since it was looked at.
        let wanted = identity(Path::new("/"), source).context(|| "cannot open the source")?;
        let root = File::open(&self.root).context(|| format!("cannot open {}", self.root.display()))?;
        let place = open_path(root.as_fd(), directory).context(|| "cannot open the mount point")?;
        let target = self.root.join(point);
        record::add(&self.spec.record, &self.root, &target)?;
        let mut options = vec![("target", source.as_os_str())];
        options.extend(mount.read_only.then_some(("ro", OsStr::new(""))));
        options.extend(mount.of_host.map(|_| ("nosuid", OsStr::new(""))));
        sys::os::mount_in("nullfs", place.as_fd(), name, &options).context(|| "nullfs")?;
        let found = identity(&self.root, point).context(|| "cannot open what was mounted")?;
        let mounted = sys::os::mounted().context(|| "cannot see what is mounted")?;
        match found == wanted && mounted.iter().any(|mounted| mounted.target == target) {
            true => Ok(()),
            false => Err(Error::new("the source or the mount point was moved meanwhile")),
        }
    }
}

/// What tells a directory or file from others, also through a nullfs: its number, generation and birth. Nothing on the way to it
/// is followed.
fn identity(root: &Path, path: &Path) -> Result<impl PartialEq + use<>> {
    let root = File::open(root).context(|| format!("cannot open {}", root.display()))?;
    let path = path.strip_prefix("/").unwrap_or(path);
    let (parent, name) = (path.parent().unwrap_or(path), path.file_name().unwrap_or(OsStr::new(".")));
    let parent = open_path(root.as_fd(), parent).context(|| path.display().to_string())?;
    let found = stat_entry(parent.as_fd(), name).context(|| path.display().to_string())?;
    Ok((found.st_ino, found.st_gen, found.st_birthtime, found.st_birthtime_nsec))
}

fn is_file_mount(source: &Path) -> bool {
    fs::symlink_metadata(source).is_ok_and(|found| found.is_file())
}

/// Takes off, in reverse order, whatever the record names and whatever else is below its root, and then the record.
pub(super) fn unmount_recorded(record: &Path, by_force: bool) -> Result<()> {
    for target in record::read(record)?.iter().rev() {
        unmount_patiently(target, by_force)?;
    }
    if let Some(root) = record::root(record)? {
        // A mount point that somebody moved while it was mounted on; the newest first, since one may cover another.
        let mounted = sys::os::mounted().context(|| "cannot see what is mounted")?;
        let left = mounted.iter().filter(|mounted| mounted.target.starts_with(&root) && mounted.target != root);
        left.rev().try_for_each(|mounted| unmount_patiently(&mounted.target, by_force))?;
        // Beside the pod's files nothing of the runtime's stays.
        if root.file_name() == Some(OsStr::new(super::READ_ONLY)) {
            let _ = fs::remove_dir(&root);
        }
    }
    match fs::remove_file(record) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.context(|| format!("cannot remove {}", record.display())),
    }
}

/// Unmounts, waiting for processes that have been killed to let go. Where there are none, a jail that is dying still holds its
/// root, which takes force.
fn unmount_patiently(target: &Path, by_force: bool) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    let unmount = if by_force { sys::os::unmount_by_force } else { sys::os::unmount };
    loop {
        match unmount(target) {
            Err(e) if e.errno() == Errno::EBUSY && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other.context(|| format!("cannot unmount {}", target.display())),
        }
    }
}
