//! What is known of a changed tree before it is compared.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use nix::sys::stat::FileStat;

use crate::storage::Knowledge;

/// The paths that may differ, and what that says of all others.
#[derive(Debug)]
pub struct Known {
    knowledge: Knowledge,
    noted: HashSet<PathBuf>,
}

impl Known {
    /// What `knowledge` says, where these paths, relative to the root of the tree, have been noted.
    pub fn new(knowledge: Knowledge, noted: Vec<PathBuf>) -> Known {
        let mut known = Known { knowledge, noted: HashSet::new() };
        for path in noted {
            known.note(&path);
        }
        known
    }

    /// Notes a path, and the directories on the way where they count.
    fn note(&mut self, path: &Path) {
        let everything = self.knowledge == Knowledge::Everything;
        for path in path.ancestors().take(if everything { usize::MAX } else { 1 }) {
            if !self.noted.insert(path.to_owned()) {
                break;
            }
        }
    }

    /// Whether the regular file at `path` has the content that it has in the parent. Before and after it must have had no other
    /// name, by which it may have been noted.
    pub(super) fn has_its_content(&self, path: &Path, (before, after): (&FileStat, &FileStat)) -> bool {
        let is_alone = before.st_nlink == 1 && after.st_nlink == 1;
        self.knowledge >= Knowledge::Contents && is_alone && !self.noted.contains(path)
    }

    /// Whether the directory at `path` is as it is in the parent, with all that is in it.
    pub(super) fn is_all_the_same(&self, path: &Path) -> bool {
        self.knowledge == Knowledge::Everything && !self.noted.contains(path)
    }
}
