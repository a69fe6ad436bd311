//! Which names of a tree are names of the same file.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use nix::sys::stat::{FileStat, SFlag};

use crate::sys::tree::file_type;

/// The names of the files that have several.
#[derive(Default)]
pub(super) struct Links(HashMap<(libc::dev_t, libc::ino_t), Vec<PathBuf>>);

impl Links {
    /// Notes one name.
    pub(super) fn note(&mut self, path: &Path, stat: &FileStat) {
        if stat.st_nlink > 1 && file_type(stat) != SFlag::S_IFDIR {
            self.0.entry((stat.st_dev, stat.st_ino)).or_default().push(path.to_owned());
        }
    }

    /// The groups of two names or more, in the order of the walk.
    fn groups(&self) -> HashMap<&Path, &[PathBuf]> {
        let groups = self.0.values().filter(|group| group.len() > 1);
        groups.flat_map(|group| group.iter().map(|path| (path.as_path(), group.as_slice()))).collect()
    }
}

/// The names that are joined with other names in one tree than in the other. What was noted of `old` are the names that `new`
/// has, too.
pub(super) fn relinked(old: &Links, new: &Links) -> BTreeSet<PathBuf> {
    let (old, new) = (old.groups(), new.groups());
    let differs = |path: &&&Path| old.get(**path) != new.get(**path);
    old.keys().chain(new.keys()).filter(differs).map(|path| path.to_path_buf()).collect()
}
