//! What a pod has changed in its root, by `zfs diff`.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::stat::SFlag;

use super::super::{Knowledge, Note, Storage};
use super::{APP, RECEIVED, TREE, Zfs};
use crate::command::zfs::{Change, What};
use crate::error::{Context, Result};
use crate::sys::tree::{Walk, file_type};

/// The name that `zfs diff` gives what holds the extended attributes of a file, where these are files, too.
const ATTRIBUTES: &str = "<xattrdir>";

/// What the names of layers begin with that are an archive's files and nothing else.
const UNPACKED: &str = "sha512-";

/// The longest path of a directory, in bytes, below which `zfs diff` is asked. The kernel puts each path into a buffer of twice
/// `PATH_MAX`, and does not look whether it fits (OpenZFS 2.4, `zfs_obj_to_path_impl`): a pod that nests directories would write
/// into the kernel's memory. With a name and an attribute's name, this is far from the end.
const LONGEST: usize = libc::PATH_MAX as usize / 2;

impl Zfs {
    /// Asks for what has changed since the root was made. Where this ZFS does not tell, or tells what is not understood, nothing
    /// is known.
    ///
    /// The path of a file that has lost names is looked for in the directory of the name that it got last. If that is the one
    /// it has lost, nothing is told of the file, whatever happens to it: so it is only asked of roots that stand on what was
    /// unpacked here, where no name was ever removed.
    pub(super) fn changed(&self, pod: &str, app: &str, layers: &[String], note: Note<'_>) -> Result<Knowledge> {
        let [layer] = layers else { return Ok(Knowledge::Nothing) };
        let dataset = format!("{}/{APP}{app}", self.pod(pod));
        // The kernel knows its mounts by paths without links.
        let tree = fs::canonicalize(self.app_place(pod, app).join(TREE));
        let (Ok(tree), Ok(before)) = (tree, self.open_layer(layer)) else { return Ok(Knowledge::Nothing) };
        if !layer.starts_with(UNPACKED) || self.was_received(layer) || !is_shallow(&tree)? {
            return Ok(Knowledge::Nothing);
        }
        let Ok(changes) = self.command.diff(&format!("{dataset}@parent"), &dataset) else {
            return Ok(Knowledge::Nothing);
        };
        let has_names = |path: &Path| has_names(&tree, path) || has_names(&before, path);
        let Some(found) = Found::of(&changes, &tree, &has_names) else { return Ok(Knowledge::Nothing) };
        for path in &found.noted {
            note(path)?;
        }
        Ok(found.knowledge)
    }
}

impl Zfs {
    /// Whether a layer is what somebody else has sent, or may be.
    fn was_received(&self, layer: &str) -> bool {
        let found = self.command.list(&self.image(layer), 0, [RECEIVED.0]);
        !found.is_ok_and(|found| found == [["-"]])
    }
}

/// Whether no directory of a tree has a path that is too long.
fn is_shallow(tree: &Path) -> Result<bool> {
    let what = || format!("cannot read {}", tree.display());
    let opened = File::open(tree).context(what)?;
    let mut walk = Walk::new(opened.as_fd()).context(what)?;
    while let Some(stat) = walk.advance().context(what)? {
        if file_type(&stat) == SFlag::S_IFDIR && walk.path().as_os_str().len() > LONGEST {
            return Ok(false);
        }
    }
    Ok(true)
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
    fn deep_trees_are_found() {
        let scratch = crate::sys::testing::Scratch::new();
        let component = "x".repeat(200);
        let deep = |bytes: usize| vec![component.as_str(); bytes / 201].join("/");
        fs::create_dir_all(scratch.path().join(deep(LONGEST))).unwrap();
        fs::write(scratch.path().join(deep(LONGEST)).join("y".repeat(255)), "").unwrap();
        assert!(is_shallow(scratch.path()).unwrap());
        fs::create_dir_all(scratch.path().join(deep(LONGEST + 402))).unwrap();
        assert!(!is_shallow(scratch.path()).unwrap());
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
