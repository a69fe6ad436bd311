//! The record of mounts that can outlive the process that makes them.
//!
//! It is a list of paths, each followed by a NUL: an image chooses the names of its mount points, and NUL is the one byte that
//! no path holds. The first path is the directory that all the others are in, so that nothing outside of it is ever taken for
//! a mount of the pod's.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::error::{Context, Error, Result};

/// Notes that something is about to be mounted at `target`, which is `root` or in it.
///
/// # Errors
/// It is elsewhere, or the record cannot be written.
pub(super) fn add(record: &Path, root: &Path, target: &Path) -> Result<()> {
    let what = || format!("cannot write {}", record.display());
    check(root, target).context(what)?;
    let mut file = OpenOptions::new().append(true).create(true).open(record).context(what)?;
    let begin = if file.metadata().context(what)?.len() == 0 { line(root) } else { Vec::new() };
    file.write_all(&[begin, line(target)].concat()).context(what)
}

/// What was noted, in that order; nothing where there is no record. A path whose end is missing was never mounted at.
///
/// # Errors
/// The record cannot be read, or names something that is not in its root.
pub(super) fn read(record: &Path) -> Result<Vec<PathBuf>> {
    paths(record).map(|paths| paths.into_iter().skip(1).collect())
}

/// The directory that all is in; none where there is no record.
///
/// # Errors
/// As [`read`].
pub(super) fn root(record: &Path) -> Result<Option<PathBuf>> {
    paths(record).map(|paths| paths.into_iter().next())
}

/// The root, and what was noted.
fn paths(record: &Path) -> Result<Vec<PathBuf>> {
    let what = || format!("cannot read {}", record.display());
    let bytes = match fs::read(record) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.context(what)?,
    };
    let paths = bytes.split_inclusive(|byte| *byte == 0).filter_map(|path| path.strip_suffix(&[0]));
    let paths: Vec<PathBuf> = paths.map(|path| PathBuf::from(OsStr::from_bytes(path))).collect();
    if let [root, targets @ ..] = paths.as_slice() {
        targets.iter().try_for_each(|target| check(root, target)).context(what)?;
    }
    Ok(paths)
}

fn line(path: &Path) -> Vec<u8> {
    [path.as_os_str().as_bytes(), &[0]].concat()
}

fn check(root: &Path, target: &Path) -> Result<()> {
    let below = target.strip_prefix(root).ok().filter(|_| root.is_absolute());
    match below {
        Some(below) if below.components().all(|part| matches!(part, Component::Normal(_))) => Ok(()),
        _ => Err(Error::new(format!("{target:?} is not in {root:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_mount_points_can_hold_anything_but_never_name_another_place() {
        let directory = crate::sys::testing::Scratch::new();
        let record = directory.rootfs().join("record");
        assert_eq!((read(&record).unwrap(), super::root(&record).unwrap()), (Vec::new(), None));
        let root = Path::new("/pods/x/root");
        let targets = ["", "dev", "a\n/home", "a\n/\n", "\n"].map(|name| root.join(name));
        for target in &targets {
            add(&record, root, target).unwrap();
        }
        assert_eq!(read(&record).unwrap(), targets);
        assert_eq!(super::root(&record).unwrap().as_deref(), Some(root));
        for outside in ["/home", "/", "/pods/x", "/pods/x/roots", "/pods/x/root/../..", "pods/x/root/a", ""] {
            let error = add(&record, root, Path::new(outside)).unwrap_err().one_line();
            assert!(error.ends_with(&format!("{outside:?} is not in \"/pods/x/root\"")), "{error}");
        }
        assert_eq!(read(&record).unwrap(), targets);
        let whole = fs::read(&record).unwrap();
        // What was being written when the power failed.
        fs::write(&record, [&whole[..], b"/pods/x/root/sr"].concat()).unwrap();
        assert_eq!(read(&record).unwrap(), targets);
        for foreign in [&b"/home\0"[..], b"/pods/x/root/a/../../../b\0"] {
            fs::write(&record, [&whole[..], foreign].concat()).unwrap();
            assert!(read(&record).unwrap_err().one_line().contains("is not in"));
        }
        // Lines, as no record has them.
        fs::write(&record, "/home\n/usr\n").unwrap();
        assert_eq!(read(&record).unwrap(), Vec::<PathBuf>::new());
    }
}
