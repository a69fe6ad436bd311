//! What the command of a build left: the manifest, and what differs from the parent, as an archive.

use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::io::{BufWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::error::{Context, Error, Result};
use crate::progress::{Progress, Step};
use crate::stage0::build::{ETC, Foreign, MANIFEST, complete};
use crate::stage0::compression::{Compression, encoder, processors};
use crate::stage0::diff::{Difference, Known, diff_knowing};
use crate::stage0::image::Image;
use crate::stage0::interruptible::Interruptible;
use crate::stage0::pack::{check_name, pack_as_of};
use crate::stage0::unpack::MAX_MANIFEST;
use crate::storage::{Knowledge, Note};
use crate::sys::rootfs::RootFs;
use crate::sys::tree::{open_directory, open_path, open_regular, resolve_directory, stat_entry};

/// The longest manifest that an author may write, in bytes.
const LONGEST: u64 = 1 << 20;

/// What has to be known.
pub(super) struct Collect<'a> {
    /// The image that was built on.
    pub(super) parent: &'a Image,
    /// The name of the working directory.
    pub(super) directory: &'a str,
    /// The directories at which the sandbox mounts something, relative to the root.
    pub(super) mounted: &'a [&'a str],
    /// The pod's root.
    pub(super) root: &'a RootFs,
    /// Notes what has changed in it.
    pub(super) changes: &'a dyn Fn(Note<'_>) -> Result<Knowledge>,
    /// The time that the image is made at, in seconds since 1970.
    pub(super) now: u64,
    /// The latest time that a file of the image may have, likewise.
    pub(super) latest: Option<u64>,
    /// How the archive is compressed.
    pub(super) compression: Compression,
    /// Where the archive goes.
    pub(super) archive: &'a Path,
    /// Who hears how far the packing has come.
    pub(super) progress: &'a dyn Progress,
}

impl Collect<'_> {
    /// Makes the archive of the parent's tree and the pod's, and gives what the person should know.
    ///
    /// # Errors
    /// The manifest is missing, or wrong and kept elsewhere, a tree cannot be read or holds what no image may, the disk is
    /// full, or a signal has arrived.
    pub(super) fn work(&self, trees: &[PathBuf]) -> Result<Vec<String>> {
        let [parent, pod] = trees else { return Err(Error::new("a build compares two trees")) };
        let open = |path: &PathBuf| File::open(path).context(|| format!("cannot open {}", path.display()));
        let (parent, pod) = (open(parent)?, open(pod)?);
        let text = self.manifest(pod.as_fd())?;
        let (mut manifest, mut warnings) =
            complete(&text, self.parent, self.now).map_err(|error| keep(&text, error))?;
        let what = || "cannot find what the command changed";
        let foreign = self.foreign(parent.as_fd(), pod.as_fd()).context(what)?;
        let difference = self.difference(&foreign, parent.as_fd(), pod.as_fd()).context(what)?;
        manifest.path_whitelist = difference.whitelist()?;
        Self::settle(&foreign.disturbed(&difference), parent.as_fd(), pod.as_fd())
            .context(|| "cannot put the time of a directory back")?;
        let what = || "cannot pack what the command changed";
        let file = File::options().write(true).create_new(true).open(self.archive).context(what)?;
        let mut out = encoder(self.compression, BufWriter::new(file), processors()).context(what)?;
        let json = manifest.to_json_pretty() + "\n";
        if !manifest.path_whitelist.is_empty() && json.len() as u64 > MAX_MANIFEST {
            return Err(Error::new(format!("the manifest has {} bytes, more than {MAX_MANIFEST}", json.len())).help(
                "where files of the parent were removed, the manifest lists every path that is left: leave them there",
            ));
        }
        let packing = Step::begin(self.progress, "packing what the command changed", None);
        let packed = pack_as_of(
            self.latest,
            json.as_bytes(),
            pod.as_fd(),
            &difference.selection(),
            packing.count(Interruptible(&mut out)),
        )
        .context(what)?;
        out.finish().context(what)?;
        drop(packing);
        if !difference.sockets.is_empty() {
            warnings.push(format!("{} sockets are left out of the image", difference.sockets.len()));
        }
        warnings.extend(packed.warnings);
        Ok(warnings)
    }

    /// What the author wrote. Nothing but a regular file is opened: the command may have put anything there.
    fn manifest(&self, root: BorrowedFd<'_>) -> Result<Vec<u8>> {
        let missing = || format!("the command left no {MANIFEST} in its working directory");
        let help =
            "the image's manifest is read from there: let the command write one, or put one into the build directory";
        let directory = open_directory(root, OsStr::new(self.directory))
            .map_err(|e| Error::with_source(missing(), e).help("the command removed or replaced that directory"))?;
        let what = || format!("cannot read the {MANIFEST} that the command left");
        let file = match open_regular(directory.as_fd(), OsStr::new(MANIFEST)) {
            Err(e) if e.errno() == Errno::ENOENT => return Err(Error::new(missing()).help(help)),
            other => other.context(what)?,
        };
        let length = |file: &File| file.metadata().map(|found| found.len());
        let Some(file) = file.filter(|file| length(file).is_ok_and(|length| length <= LONGEST)) else {
            return Err(Error::with_source(what(), format!("it is no regular file of {LONGEST} bytes at most")));
        };
        let mut text = Vec::new();
        file.take(LONGEST).read_to_end(&mut text).context(what)?;
        Ok(text)
    }

    fn difference(&self, foreign: &Foreign<'_>, parent: BorrowedFd<'_>, pod: BorrowedFd<'_>) -> Result<Difference> {
        let mut noted = Vec::new();
        let knowledge = (self.changes)(&mut |path| {
            let is_foreign = foreign.has(path);
            if !is_foreign {
                // Names that no archive holds are refused before there are more of them.
                check_name(path)?;
                noted.push(path.to_owned());
            }
            Ok(!is_foreign)
        })?;
        let known = Known::new(knowledge, noted);
        let mut difference = diff_knowing(parent, pod, &|path| foreign.has(path), &known)?;
        foreign.overlook(&mut difference);
        Ok(difference)
    }

    /// What of the pod's root is not the image's.
    fn foreign(&self, parent: BorrowedFd<'_>, pod: BorrowedFd<'_>) -> Result<Foreign<'_>> {
        let missing = stat_entry(parent, OsStr::new(ETC)).is_err_and(|e| e.errno() == Errno::ENOENT);
        let made = missing
            && self.names_in_etc().is_some_and(|names| Foreign::is_all(names.iter().map(|name| name.as_os_str())));
        let mut etc = Vec::new();
        for root in [parent, pod] {
            let found = resolve_directory(root, Path::new(ETC)).context(|| format!("cannot look for /{ETC}"))?;
            etc.extend(found.filter(|found| !etc.contains(found)));
        }
        Ok(Foreign { directory: self.directory, mounted: self.mounted, etc, made })
    }

    /// What is in the pod's /etc, if that is a directory.
    fn names_in_etc(&self) -> Option<Vec<std::ffi::OsString>> {
        let etc = self.root.path().join(ETC);
        let is_directory = etc.symlink_metadata().is_ok_and(|found| found.is_dir());
        let entries = is_directory.then(|| fs::read_dir(etc).ok()).flatten()?;
        entries.map(|entry| entry.ok().map(|entry| entry.file_name())).collect()
    }

    /// Gives directories in which only the pod's own things were made the time that they have in the parent.
    fn settle(paths: &[&Path], parent: BorrowedFd<'_>, pod: BorrowedFd<'_>) -> Result<()> {
        for path in paths {
            let open = |root| open_path(root, path).map(File::from);
            let (Ok(model), Ok(directory)) = (open(parent), open(pod)) else { continue };
            let time =
                |file: &File| file.metadata().and_then(|metadata| metadata.modified()).context(|| "cannot ask for it");
            let before = time(&model)?;
            if before != time(&directory)? {
                directory.set_times(FileTimes::new().set_modified(before)).context(|| "cannot set it")?;
            }
        }
        Ok(())
    }
}

/// Keeps a manifest that is wrong where its author can look at it.
fn keep(text: &[u8], error: Error) -> Error {
    let path = std::env::temp_dir().join(format!("jetpack-manifest-{}.json", uuid::Uuid::new_v4()));
    let file = File::options().write(true).create_new(true).mode(0o600).open(&path);
    match file.and_then(|mut file| file.write_all(text)) {
        Ok(()) => Error::with_source(format!("cannot use the manifest, which is kept in {}", path.display()), error),
        Err(e) => {
            let undo = Error::with_source(format!("cannot keep the manifest in {}", path.display()), e);
            error.and_undo(undo)
        }
    }
}
