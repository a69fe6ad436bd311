//! Copying files between a pod and its host.
//!
//! One side gives, the other takes, and an image archive goes between them, whose manifest is a [`Header`]. The side in the pod
//! is a process of the agent's, whose root is the pod's: a path of the pod, with whatever links are on the way, means a file
//! of the pod. The side on the host takes what comes as it takes an image: nothing in it leads out of the destination.
//!
//! What is taken is unpacked beside its destination first, where nobody looks, and then moved there: a copy that fails leaves
//! what was there before.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, mkdirat};
use nix::unistd::{Uid, getegid, geteuid};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::stage0::pack::{Selection, pack};
use crate::stage0::unpack::{Options, unpack};
use crate::sys::tree::{Walk, copy_tree_for, file_type, move_protected, open_directory, remove_tree, stat_entry};

/// What the archive holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Header {
    /// The root is a directory; that has this name, or is to become one with the directory that takes it.
    Directory(Option<PathBuf>),
    /// The root holds one file of this name.
    File(PathBuf),
}

/// Writes the file or directory `source` to `out`. A link at its end is copied as one, unless `follow`; a directory that is named
/// with `/.` at its end is meant for what is in it. What is mounted in it stays where it is, and others may go on
/// working in it. Gives what was left out or may have changed.
///
/// # Errors
/// It is not there or cannot be read.
pub fn give(source: &Path, follow: bool, out: impl Write) -> Result<Vec<String>> {
    let what = || format!("cannot read {}", source.display());
    let text = source.as_os_str().as_bytes();
    let contents = text.ends_with(b"/.") || source.file_name().is_none();
    let resolved =
        if follow || contents || text.ends_with(b"/") { fs::canonicalize(source) } else { Ok(source.into()) };
    let resolved = resolved.context(what)?;
    let is_directory = fs::symlink_metadata(&resolved).context(what)?.is_dir();
    let name = || source.file_name().map(PathBuf::from);
    let (root, header, selection) = match resolved.file_name() {
        Some(file) if !is_directory => {
            let parent = resolved.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let name = name().unwrap_or_else(|| file.into());
            let only = Selection::InUse(Some(file.to_owned()));
            (parent.to_owned(), Header::File(name), only)
        }
        _ => (resolved.clone(), Header::Directory(name().filter(|_| !contents)), Selection::InUse(None)),
    };
    // What has taken the place of the directory since is not opened: a fifo would wait for somebody who writes.
    let root = open(&root).context(what)?;
    let header = serde_json::to_vec(&header).context(what)?;
    Ok(pack(&header, root.as_fd(), &selection, out).context(what)?.warnings)
}

/// Takes what [`give`] wrote: into `destination` if that is a directory, else as `destination`. Directories that are there become
/// one with those that come, other files are replaced. What comes belongs to the user of this process and has lost the rights
/// that went with its owner, unless `keep`. Gives what could not be kept.
///
/// # Errors
/// The archive is broken, the destination's directory is missing, a directory would replace something else or be replaced,
/// or the disk is full.
pub fn take(input: impl Read + Send, destination: &Path, keep: bool) -> Result<Vec<String>> {
    let what = || format!("cannot write {}", destination.display());
    let target = Target::find(destination).context(what)?;
    let place = Place::make(target.directory.as_fd()).context(what)?;
    let privileged = geteuid() == Uid::from_raw(0);
    let tree = place.directory("given").context(what)?;
    let unpacked = unpack(input, tree.as_fd(), &Options { owners: privileged, ..Options::default() }).context(what)?;
    let header: Header = serde_json::from_slice(&unpacked.manifest).context(what)?;
    let (tree, name) = if keep || !privileged {
        (tree, "given")
    } else {
        let own = place.directory("own").context(what)?;
        copy_tree_for((geteuid(), getegid()), tree.as_fd(), own.as_fd(), &mut |_, _| true).context(what)?;
        (own, "own")
    };
    match header {
        Header::Directory(None) if target.name.is_none() => merge(tree.as_fd(), target.directory.as_fd()),
        Header::Directory(None) => place_entry(place.0.as_fd(), OsStr::new(name), &target, None),
        Header::Directory(Some(own)) => place_entry(place.0.as_fd(), OsStr::new(name), &target, Some(&own)),
        Header::File(own) => match only_entry(tree.as_fd())? {
            Some(entry) => place_entry(tree.as_fd(), &entry, &target, Some(&own)),
            None => Err(Error::new("it is a socket, or a device, which only an archive copy keeps")),
        },
    }
    .context(what)?;
    Ok(unpacked.warnings)
}

/// Where something goes.
struct Target {
    directory: OwnedFd,
    /// What it is called there; its own name if none.
    name: Option<OsString>,
}

impl Target {
    fn find(destination: &Path) -> Result<Target> {
        if let Ok(found) = fs::metadata(destination)
            && found.is_dir()
        {
            return Ok(Target { directory: open(destination)?, name: None });
        }
        let text = destination.as_os_str().as_bytes();
        let name = destination.file_name().filter(|_| !text.ends_with(b"/") && !text.ends_with(b"/."));
        let Some(name) = name else { return Err(Error::new("it is not a directory")) };
        let parent = destination.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let directory = open(parent).context(|| format!("cannot open the directory {}", parent.display()))?;
        Ok(Target { directory, name: Some(name.to_owned()) })
    }
}

/// Opens a directory, by way of links if need be.
fn open(path: &Path) -> Result<OwnedFd> {
    let flags = nix::fcntl::OFlag::O_DIRECTORY | nix::fcntl::OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty()).map_err(|errno| Error::new(errno.desc()))
}

/// A private directory for what is not yet where it belongs; it goes when dropped.
struct Place<'a>(OwnedFd, BorrowedFd<'a>, OsString);

impl<'a> Place<'a> {
    fn make(beside: BorrowedFd<'a>) -> Result<Place<'a>> {
        let name = OsString::from(format!(".jetpack-cp-{}", uuid::Uuid::new_v4()));
        mkdirat(beside, name.as_os_str(), Mode::S_IRWXU).context(|| "cannot make a directory there")?;
        let opened = open_directory(beside, &name);
        match opened {
            Ok(fd) => Ok(Place(fd, beside, name)),
            Err(error) => Err(error).context(|| "cannot open the directory that was made there"),
        }
    }

    /// A new directory in it.
    fn directory(&self, name: &str) -> Result<OwnedFd> {
        mkdirat(&self.0, name, Mode::S_IRWXU).context(|| "cannot make a directory there")?;
        open_directory(self.0.as_fd(), OsStr::new(name)).context(|| "cannot open the directory that was made there")
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // What cannot be removed has a name that says where it came from.
        let _ = remove_tree(self.1, &self.2);
    }
}

/// The one entry of a directory.
fn only_entry(directory: BorrowedFd<'_>) -> Result<Option<OsString>> {
    Ok(names(directory)?.pop())
}

/// The names in a directory.
fn names(directory: BorrowedFd<'_>) -> Result<Vec<OsString>> {
    let mut walk = Walk::new(directory).context(|| "cannot read what came")?;
    let mut names = Vec::new();
    while walk.advance().context(|| "cannot read what came")?.is_some() {
        if let Some(name) = walk.path().file_name() {
            names.push(name.to_owned());
            walk.skip();
        }
    }
    Ok(names)
}

/// Moves an entry to its target; `own` is its own name.
fn place_entry(from: BorrowedFd<'_>, entry: &OsStr, target: &Target, own: Option<&Path>) -> Result<()> {
    let own = own.filter(|name| matches!(name.components().collect::<Vec<_>>().as_slice(), [Component::Normal(_)]));
    let name = target.name.as_deref().or(own.map(Path::as_os_str));
    let name = name.ok_or_else(|| Error::new("what came has no name"))?;
    move_entry((from, entry), (target.directory.as_fd(), name))
}

/// Moves all that is in the directory `from` into the directory `to`.
fn merge(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<()> {
    names(from)?.iter().try_for_each(|name| move_entry((from, name), (to, name)))
}

fn move_entry(from: (BorrowedFd<'_>, &OsStr), to: (BorrowedFd<'_>, &OsStr)) -> Result<()> {
    let shown = to.1.display();
    let is_directory = |(dir, name)| stat_entry(dir, name).map(|stat| file_type(&stat) == SFlag::S_IFDIR);
    let comes = is_directory(from).context(|| "cannot look at what came")?;
    match (comes, is_directory(to)) {
        (true, Ok(true)) => {
            let open = |(dir, name)| open_directory(dir, name).context(|| format!("cannot open {shown}"));
            merge(open(from)?.as_fd(), open(to)?.as_fd())
        }
        (true, Ok(false)) => Err(Error::new(format!("{shown} is there and no directory"))),
        (false, Ok(true)) => Err(Error::new(format!("{shown} is there and a directory"))),
        _ => move_protected(from, to).map_err(|error| match error.errno() {
            Errno::EXDEV => Error::new(format!("{shown} would be on another filesystem than the rest"))
                .help("copy what goes to a volume by itself"),
            errno => Error::with_source(format!("cannot put {shown} there"), errno),
        }),
    }
}

#[cfg(test)]
#[path = "copy_tests.rs"]
mod tests;
