//! What a pod has changed in its root, by `zfs diff`.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::{Knowledge, Note};
use super::{APP, TREE, Zfs};
use crate::command::zfs::{Change, What};
use crate::error::Result;

/// The name that `zfs diff` gives what holds the extended attributes of a file, where these are files, too.
const ATTRIBUTES: &str = "<xattrdir>";

impl Zfs {
    /// Asks for what has changed since the root was made. Where this ZFS does not tell, or tells what is not understood, nothing
    /// is known.
    pub(super) fn changed(&self, pod: &str, app: &str, note: Note<'_>) -> Result<Knowledge> {
        let dataset = format!("{}/{APP}{app}", self.pod(pod));
        // The kernel knows its mounts by paths without links.
        let tree = fs::canonicalize(self.app_place(pod, app).join(TREE));
        let changes = self.command.diff(&format!("{dataset}@parent"), &dataset);
        let (Ok(tree), Ok(changes)) = (tree, changes) else { return Ok(Knowledge::Nothing) };
        let Some(found) = Found::of(&changes, &tree, &|path| has_names(&tree, path)) else {
            return Ok(Knowledge::Nothing);
        };
        for path in &found.noted {
            note(path)?;
        }
        Ok(found.knowledge)
    }
}

/// Whether the file has more than one name: only one of them is told.
fn has_names(tree: &Path, path: &Path) -> bool {
    fs::symlink_metadata(tree.join(path)).is_ok_and(|found| !found.is_dir() && found.nlink() > 1)
}

/// What changes say.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    knowledge: Knowledge,
    noted: Vec<PathBuf>,
}

impl Found {
    /// What changes say of a tree; none where that is nothing. `has_names` says whether a file has several names.
    fn of(changes: &[Change], tree: &Path, has_names: &dyn Fn(&Path) -> bool) -> Option<Found> {
        let (mut noted, mut gone, mut come) = (Vec::new(), Vec::new(), HashSet::new());
        let mut is_linked = false;
        for change in changes {
            let Ok(path) = change.path.strip_prefix(tree) else {
                // The directory in which the tree is, which is not the pod's.
                if tree.starts_with(&change.path) && change.what == What::Modified {
                    continue;
                }
                return None;
            };
            noted.push(path.to_owned());
            noted.extend(owner(path));
            match &change.what {
                What::Added => drop(come.insert(path)),
                What::Removed => gone.push(path),
                What::Modified => {}
                What::Linked => is_linked = true,
                // What is in a directory that was renamed is not told.
                What::Renamed(_) if change.is_directory => return None,
                What::Renamed(to) => {
                    let to = to.strip_prefix(tree).ok()?;
                    gone.push(path);
                    come.insert(to);
                    noted.push(to.to_owned());
                }
            }
        }
        is_linked |= noted.iter().any(|path| has_names(path));
        let is_whole = !is_linked && gone.iter().all(|path| come.contains(path));
        Some(Found { knowledge: if is_whole { Knowledge::Everything } else { Knowledge::Contents }, noted })
    }
}

/// The file whose extended attributes have changed, if that is what a path says.
fn owner(path: &Path) -> Option<PathBuf> {
    let parts: Vec<&OsStr> = path.iter().collect();
    let end = parts.iter().position(|part| *part == ATTRIBUTES)?;
    Some(parts[..end].iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(what: What, path: &str) -> Change {
        Change { what, is_directory: path.ends_with('/'), path: path.into() }
    }

    fn found(changes: &[Change]) -> Option<(Knowledge, Vec<String>)> {
        let found = Found::of(changes, Path::new("/s/tree"), &|path| path == Path::new("two"))?;
        Some((found.knowledge, found.noted.iter().map(|path| path.display().to_string()).collect()))
    }

    fn noted(knowledge: Knowledge, noted: &[&str]) -> Option<(Knowledge, Vec<String>)> {
        Some((knowledge, noted.iter().map(|path| (*path).to_owned()).collect()))
    }

    #[test]
    fn what_is_replaced_has_not_vanished() {
        use What::{Added, Linked, Modified, Removed, Renamed};
        let changes = [
            change(Modified, "/s/"),
            change(Modified, "/s/tree/"),
            change(Removed, "/s/tree/etc/passwd"),
            change(Renamed("/s/tree/etc/passwd".into()), "/s/tree/etc/passwd.new"),
        ];
        let paths = ["", "etc/passwd", "etc/passwd.new", "etc/passwd"];
        assert_eq!(found(&changes), noted(Knowledge::Contents, &paths));
        assert_eq!(found(&[]), noted(Knowledge::Everything, &[]));
        let replaced = [change(Removed, "/s/tree/a"), change(Added, "/s/tree/a")];
        assert_eq!(found(&replaced), noted(Knowledge::Everything, &["a", "a"]));
        assert_eq!(found(&replaced[..1]), noted(Knowledge::Contents, &["a"]));
        assert_eq!(found(&[change(Linked, "/s/tree/a")]), noted(Knowledge::Contents, &["a"]));
        assert_eq!(found(&[change(Modified, "/s/tree/two")]), noted(Knowledge::Contents, &["two"]));
        let attributes = [change(Modified, "/s/tree/a/<xattrdir>/user.x")];
        assert_eq!(found(&attributes), noted(Knowledge::Everything, &["a/<xattrdir>/user.x", "a"]));
        let of_two = [change(Modified, "/s/tree/two/<xattrdir>/user.x")];
        assert_eq!(found(&of_two), noted(Knowledge::Contents, &["two/<xattrdir>/user.x", "two"]));
    }

    #[test]
    fn what_is_not_understood_says_nothing() {
        use What::{Added, Modified, Removed, Renamed};
        for change in [
            change(Renamed("/s/tree/e".into()), "/s/tree/d/"),
            change(Renamed("/elsewhere".into()), "/s/tree/f"),
            change(Modified, "/elsewhere"),
            change(Added, "/s/other"),
            change(Removed, "/s/tree2"),
        ] {
            assert_eq!(found(std::slice::from_ref(&change)), None, "{change:?}");
        }
    }
}
