//! The build directory and what goes with it: from the host into the working directory of the build pod.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag};
use nix::unistd::{Gid, Uid};

use crate::error::{Context, Error, Result};
use crate::progress::{Progress, Step};
use crate::sys;
use crate::sys::tree::{copy_file_for, copy_tree_for, file_type};

/// What is to be copied; it was there when it was looked at.
#[derive(Debug)]
pub(super) struct Source {
    directory: PathBuf,
    files: Vec<Extra>,
}

/// Something that is copied beside the content of the build directory.
#[derive(Debug)]
struct Extra {
    path: PathBuf,
    name: OsString,
}

impl Source {
    /// Looks at the build directory and at further files and directories. Links that are named are followed.
    ///
    /// # Errors
    /// One of them is not there, is something else, holds the store or is in it, or has the name of another.
    pub(super) fn check(directory: &Path, files: &[PathBuf], store: &Path) -> Result<Source> {
        let store = fs::canonicalize(store).context(|| format!("cannot look at {}", store.display()))?;
        let what = || format!("cannot use the build directory {}", directory.display());
        let found = fs::canonicalize(directory).context(what)?;
        // Whether it can be listed is known before anything is made.
        fs::read_dir(&found).context(what)?;
        check_apart(&found, &store).context(what)?;
        let mut source = Source { directory: found, files: Vec::new() };
        for path in files {
            let what = || format!("cannot copy {}", path.display());
            let extra = source.check_extra(path, &store).context(what)?;
            source.files.push(extra);
        }
        Ok(source)
    }

    fn check_extra(&self, path: &Path, store: &Path) -> Result<Extra> {
        let name =
            path.file_name().ok_or_else(|| Error::new("it has no name of its own").help("name it by its own name"))?;
        let found = fs::canonicalize(path).context(|| "cannot find it")?;
        let kind = fs::metadata(&found).context(|| "cannot look at it")?.file_type();
        if kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device() {
            return Err(Error::new("it is neither a file nor a directory"));
        }
        if kind.is_dir() {
            check_apart(&found, store)?;
        }
        if self.directory.join(name).symlink_metadata().is_ok() {
            return Err(Error::new(format!("the build directory has a {} already", name.display())));
        }
        if self.files.iter().any(|other| other.name == name) {
            return Err(Error::new(format!("{} is copied twice", name.display())));
        }
        Ok(Extra { path: found, name: name.to_owned() })
    }

    /// Makes the directory `name` in `root` and copies everything there, as root's, or as this user's where no owner is
    /// given. Returns what was left out.
    ///
    /// # Errors
    /// Something cannot be read (the error names it) or is a mount point, or the disk is full, or a signal has arrived.
    pub(super) fn copy_into(
        &self,
        root: &Path,
        name: &str,
        owner: Option<(u32, u32)>,
        progress: &dyn Progress,
    ) -> Result<Vec<String>> {
        let owner = match owner {
            Some((uid, gid)) => (Uid::from_raw(uid), Gid::from_raw(gid)),
            None => (Uid::effective(), Gid::effective()),
        };
        let target = root.join(name);
        let step = Step::begin(progress, "copying the build directory", None);
        let mut copy = Copy { owner, step, left_out: 0 };
        let to = copy.new_directory(&target)?;
        copy.tree(&self.directory, &to)?;
        for Extra { path, name } in &self.files {
            copy.extra(path, &to, &target, name)?;
        }
        to.set_permissions(fs::Permissions::from_mode(0o755))
            .context(|| format!("cannot open {} to all", target.display()))?;
        let count = copy.left_out;
        Ok((count > 0)
            .then(|| format!("{count} sockets and devices are left out of the build directory"))
            .into_iter()
            .collect())
    }
}

/// Refuses a directory that would be copied into itself.
fn check_apart(directory: &Path, store: &Path) -> Result<()> {
    if store.starts_with(directory) {
        return Err(Error::new("Jetpack's store is in it").help("build in a directory of its own: --dir names it"));
    }
    if directory.starts_with(store) {
        return Err(Error::new("it is in Jetpack's store").help("build in a directory of its own: --dir names it"));
    }
    Ok(())
}

/// Copying under way.
struct Copy<'a> {
    owner: (Uid, Gid),
    step: Step<'a>,
    left_out: usize,
}

impl Copy<'_> {
    fn new_directory(&self, path: &Path) -> Result<File> {
        let what = || format!("cannot make {}", path.display());
        fs::DirBuilder::new().mode(0o700).create(path).context(what)?;
        File::open(path).context(what)
    }

    /// Copies what is in a directory.
    fn tree(&mut self, from: &Path, to: &File) -> Result<()> {
        let mut last = PathBuf::new();
        let mut visit = |path: &Path, stat: &FileStat| {
            self.left_out += usize::from(matches!(file_type(stat), SFlag::S_IFSOCK | SFlag::S_IFCHR | SFlag::S_IFBLK));
            path.clone_into(&mut last);
            if file_type(stat) == SFlag::S_IFREG {
                self.step.advance(u64::try_from(stat.st_size).unwrap_or_default());
            }
            true
        };
        let opened = File::open(from).context(|| cannot_copy(from, Path::new("")))?;
        explained(copy_tree_for(self.owner, opened.as_fd(), to.as_fd(), &mut visit), from, &last)
    }

    /// Copies a file or a directory under a name of its own.
    fn extra(&mut self, from: &Path, to: &File, target: &Path, name: &OsStr) -> Result<()> {
        let opened = File::open(from).context(|| cannot_copy(from, Path::new("")))?;
        let is_directory = |file: &File| file.metadata().map(|metadata| metadata.is_dir());
        if is_directory(&opened).context(|| cannot_copy(from, Path::new("")))? {
            let to = self.new_directory(&target.join(name))?;
            return self.tree(from, &to);
        }
        explained(copy_file_for(self.owner, &opened, to.as_fd(), name), from, Path::new(""))
    }
}

fn cannot_copy(from: &Path, path: &Path) -> String {
    let path: PathBuf = from.components().chain(path.components()).collect();
    format!("cannot copy {} into the build pod", path.display())
}

/// Puts the path over what went wrong.
fn explained(copied: sys::Result<()>, from: &Path, path: &Path) -> Result<()> {
    copied.map_err(|error| {
        let text = cannot_copy(from, path);
        match error.errno() {
            Errno::EXDEV => Error::with_source(text, io::Error::other("it is a mount point"))
                .help("what is mounted below a build directory is not copied: unmount it, or copy it with --cp"),
            _ => Error::with_source(text, error),
        }
    })
}
