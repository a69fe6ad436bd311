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

    /// The names that are not alone, each with the number of its group, and the groups, in the order of the walk.
    fn groups(&self) -> Groups<'_> {
        let groups: Vec<&[PathBuf]> = self.0.values().map(Vec::as_slice).filter(|group| group.len() > 1).collect();
        let names = groups.iter().enumerate().flat_map(|(n, group)| group.iter().map(move |path| (path.as_path(), n)));
        (names.collect(), groups)
    }
}

/// The names that are joined with other names in one tree than in the other. What was noted of `old` are the names that `new`
/// has, too.
pub(super) fn relinked(old: &Links, new: &Links) -> BTreeSet<PathBuf> {
    let (old, new) = (old.groups(), new.groups());
    [(&old, &new), (&new, &old)].into_iter().flat_map(|(these, others)| joined_otherwise(these, others)).collect()
}

type Groups<'a> = (HashMap<&'a Path, usize>, Vec<&'a [PathBuf]>);

/// The names of the groups that are not groups of the other tree. A group is compared once, however many names it has: with the
/// one in which its first name is.
fn joined_otherwise<'a>((_, these): &'a Groups<'a>, (names, others): &'a Groups<'a>) -> Vec<PathBuf> {
    let is_same = |group: &&&[PathBuf]| names.get(group[0].as_path()).is_some_and(|n| others[*n] == **group);
    these.iter().filter(|group| !is_same(group)).flat_map(|group| group.iter().cloned()).collect()
}
