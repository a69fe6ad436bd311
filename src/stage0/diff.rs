//! What differs between two trees: what a pod made of its image, and so what an image of that pod has to hold.
//!
//! Both trees are walked in step, in the same order, so that neither is in memory. A path is *added* or *removed* when only one
//! tree has it, each path of a directory on its own. It is *changed* when the file's type, content, mode, owner, time of
//! modification, extended attributes, access control lists, protecting flags, link target or device number differ, or when it
//! is another name of other files than before. Files that merely lost a further name are not changed: removing that name
//! from the parent's tree is all it takes. Times of access and of change, the size of a directory, where holes are, and what
//! archives do not hold (see [`pack`](super::pack)) do not count. Sockets are as if they were not there.
//!
//! What the caller ignores stays as it is in the parent, with all that is in it: it is neither added nor removed. Putting it
//! there changed the time of its directory, so a directory in which anything is ignored is not changed by its time alone. A
//! path that is ignored has to be in one of the trees for that: who makes and removes something in the pod must compare before
//! it is removed, or put back the time of its directory.
//!
//! An entry of the parent that is ignored below a directory that is gone is gone with it.
//!
//! Nothing is followed, and no mount point is entered: one that is not ignored is an error.

mod compare;
mod known;
mod links;
#[cfg(any(test, feature = "testing"))]
pub mod random;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use nix::sys::stat::{FileStat, SFlag};

use crate::error::{Context, Error, Result};
use crate::storage::Knowledge;
use crate::sys::tree::{Walk, file_type};

use super::pack::{Selection, check_name, shown};
pub(super) use compare::same_content;
use compare::{Compared, compare};
pub use known::Known;
use links::Links;

/// What differs between two trees. Paths are relative to the root, which is itself the empty path, and sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// What only the changed tree has.
    pub added: Vec<PathBuf>,
    /// What both have and what is not the same.
    pub changed: Vec<PathBuf>,
    /// The directories of those that differ in nothing but the time of modification.
    pub touched: Vec<PathBuf>,
    /// What only the parent has.
    pub removed: Vec<PathBuf>,
    /// The sockets of the changed tree, which no archive holds.
    pub sockets: Vec<PathBuf>,
    /// Everything but the root that is there after the difference was applied to the parent, what is ignored included. Where
    /// nothing is removed, directories that are known to be the same are left out.
    pub remaining: Vec<PathBuf>,
}

impl Difference {
    /// Whether the trees are the same.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }

    /// Whether something came into a directory, or went from it.
    pub fn has_changed_in(&self, directory: &Path) -> bool {
        self.added.iter().chain(&self.removed).any(|path| path.parent() == Some(directory))
    }

    /// Takes a directory out that differs in nothing but the time of modification, if nothing came into it or went.
    pub fn overlook(&mut self, directory: &Path) {
        if self.touched.iter().any(|path| path == directory) && !self.has_changed_in(directory) {
            self.changed.retain(|path| path != directory);
        }
    }

    /// What has to be in the archive that makes the changed tree of the parent.
    pub fn selection(&self) -> Selection {
        Selection::Paths(self.added.iter().chain(&self.changed).cloned().collect())
    }

    /// The `pathWhitelist` of an image of the changed tree that depends on the parent: every absolute path that is there in
    /// the end, or none at all where nothing was removed. It is never empty where something was: that would allow everything.
    ///
    /// # Errors
    /// A path is not text, which is all that a manifest can hold.
    pub fn whitelist(&self) -> Result<Vec<String>> {
        if self.removed.is_empty() {
            return Ok(Vec::new());
        }
        if self.remaining.is_empty() {
            return Ok(vec!["/".to_owned()]);
        }
        let text = |path: &PathBuf| path.to_str().map(|path| format!("/{path}"));
        let not_text =
            |path| Error::new(format!("the name {} is not text, so no pathWhitelist can hold it", shown(path)));
        self.remaining
            .iter()
            .map(|path| {
                text(path).ok_or_else(|| {
                    not_text(path)
                        .help("an image from which files of its parent were removed can only have names in UTF-8")
                })
            })
            .collect()
    }
}

/// Compares the directories `parent` and `changed`, but for what `ignore` says of paths relative to them.
///
/// # Errors
/// One of the trees cannot be read.
pub fn diff(parent: BorrowedFd<'_>, changed: BorrowedFd<'_>, ignore: &dyn Fn(&Path) -> bool) -> Result<Difference> {
    diff_knowing(parent, changed, ignore, &Known::new(Knowledge::Nothing, Vec::new()))
}

/// As [`diff`], where something is known of the changed tree: that need not be compared.
///
/// # Errors
/// As [`diff`].
pub fn diff_knowing(
    parent: BorrowedFd<'_>,
    changed: BorrowedFd<'_>,
    ignore: &dyn Fn(&Path) -> bool,
    known: &Known,
) -> Result<Difference> {
    let mut diff = Diff {
        old: Side::new(parent, "the parent")?,
        new: Side::new(changed, "the changed tree")?,
        ignore,
        known,
        found: Difference::default(),
        gone: None,
        by_time: HashSet::new(),
        excused: HashSet::new(),
        compared: HashMap::new(),
    };
    diff.old.advance()?;
    diff.new.advance()?;
    while diff.step()? {}
    Ok(diff.finish())
}

/// One of the trees.
struct Side {
    walk: Walk,
    /// What the present entry is; none at the end.
    stat: Option<FileStat>,
    links: Links,
    what: &'static str,
}

impl Side {
    fn new(root: BorrowedFd<'_>, what: &'static str) -> Result<Self> {
        let walk = Walk::new(root).context(|| format!("cannot open {what}"))?;
        Ok(Side { walk, stat: None, links: Links::default(), what })
    }

    fn path(&self) -> &Path {
        self.walk.path()
    }

    fn advance(&mut self) -> Result<()> {
        self.stat =
            self.walk.advance().context(|| format!("cannot read {} in {}", shown(self.walk.path()), self.what))?;
        Ok(())
    }

    fn is(&self, kind: SFlag) -> bool {
        self.stat.is_some_and(|stat| file_type(&stat) == kind)
    }
}

/// A comparison under way.
struct Diff<'a> {
    old: Side,
    new: Side,
    ignore: &'a dyn Fn(&Path) -> bool,
    known: &'a Known,
    found: Difference,
    /// The last directory of the parent that is gone or has become something else.
    gone: Option<PathBuf>,
    /// Directories that differ in their time alone.
    by_time: HashSet<PathBuf>,
    /// Directories in which something is ignored.
    excused: HashSet<PathBuf>,
    /// What came of files that have several names: a program of a hundred names is read once.
    compared: HashMap<[(libc::dev_t, libc::ino_t); 2], Compared>,
}

impl Diff<'_> {
    /// Compares what comes next; false at the end of both trees.
    fn step(&mut self) -> Result<bool> {
        let order = match (&self.old.stat, &self.new.stat) {
            (None, None) => return Ok(false),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), Some(_)) => self.old.path().cmp(self.new.path()),
        };
        match order {
            Ordering::Less => self.only_old()?,
            Ordering::Greater => self.only_new()?,
            Ordering::Equal => self.both()?,
        }
        Ok(true)
    }

    /// An entry that the changed tree lacks.
    fn only_old(&mut self) -> Result<()> {
        let path = self.old.path().to_owned();
        let is_gone = self.gone.as_ref().is_some_and(|gone| path.starts_with(gone));
        if !is_gone && (self.ignore)(&path) {
            return self.keep_old(&path);
        }
        if !self.old.is(SFlag::S_IFSOCK) {
            self.found.removed.push(path.clone());
        }
        if !is_gone && self.old.is(SFlag::S_IFDIR) {
            self.gone = Some(path);
        }
        self.old.advance()
    }

    /// An entry of the parent that is ignored: it remains, with all that is in it.
    fn keep_old(&mut self, path: &Path) -> Result<()> {
        self.excuse(path);
        while self.old.stat.is_some() && self.old.path().starts_with(path) {
            if !self.old.is(SFlag::S_IFSOCK) {
                self.found.remaining.push(self.old.path().to_owned());
            }
            self.old.advance()?;
        }
        Ok(())
    }

    /// An entry that the parent lacks.
    fn only_new(&mut self) -> Result<()> {
        let path = self.new.path().to_owned();
        if (self.ignore)(&path) {
            self.excuse(&path);
            self.new.walk.skip();
        } else if self.new.is(SFlag::S_IFSOCK) {
            self.found.sockets.push(path);
        } else {
            check_name(&path)?;
            self.note_new(&path);
            self.found.remaining.push(path.clone());
            self.found.added.push(path);
        }
        self.new.advance()
    }

    /// An entry that both have.
    fn both(&mut self) -> Result<()> {
        let path = self.new.path().to_owned();
        if (self.ignore)(&path) {
            self.new.walk.skip();
            self.new.advance()?;
            return self.keep_old(&path);
        }
        if self.new.is(SFlag::S_IFSOCK) {
            self.found.sockets.push(path.clone());
            self.new.advance()?;
            return self.only_old();
        }
        if self.old.is(SFlag::S_IFSOCK) {
            self.old.advance()?;
            return self.only_new();
        }
        if self.old.is(SFlag::S_IFDIR) && self.new.is(SFlag::S_IFDIR) && self.known.is_all_the_same(&path) {
            self.old.walk.skip();
            self.new.walk.skip();
            self.old.advance()?;
            return self.new.advance();
        }
        self.note_new(&path);
        if let Some(stat) = &self.old.stat {
            self.old.links.note(&path, stat);
        }
        match self.compare(&path)? {
            Compared::Same => {}
            Compared::Time if self.new.is(SFlag::S_IFDIR) => {
                self.by_time.insert(path.clone());
                self.found.changed.push(path.clone());
            }
            Compared::Time | Compared::Different => self.found.changed.push(path.clone()),
        }
        if self.old.is(SFlag::S_IFDIR) && !self.new.is(SFlag::S_IFDIR) {
            self.gone = Some(path.clone());
        }
        if !path.as_os_str().is_empty() {
            self.found.remaining.push(path);
        }
        self.old.advance()?;
        self.new.advance()
    }

    fn compare(&mut self, path: &Path) -> Result<Compared> {
        let (Some(old), Some(new)) = (self.old.stat, self.new.stat) else { return Ok(Compared::Same) };
        let files = [(old.st_dev, old.st_ino), (new.st_dev, new.st_ino)];
        if let Some(compared) = self.compared.get(&files) {
            return Ok(*compared);
        }
        let know = || self.known.has_its_content(path, (&old, &new));
        let compared = compare((&mut self.old.walk, &old), (&mut self.new.walk, &new), &know)
            .context(|| format!("cannot compare {} with the parent's", shown(path)))?;
        if old.st_nlink > 1 && new.st_nlink > 1 && !self.new.is(SFlag::S_IFDIR) {
            self.compared.insert(files, compared);
        }
        Ok(compared)
    }

    /// Remembers the names of a file of the changed tree.
    fn note_new(&mut self, path: &Path) {
        if let Some(stat) = &self.new.stat {
            self.new.links.note(path, stat);
        }
    }

    /// Remembers that something is ignored in the directory of `path`.
    fn excuse(&mut self, path: &Path) {
        if let Some(directory) = path.parent() {
            self.excused.insert(directory.to_owned());
        }
    }

    /// Brings in what only the whole trees tell.
    fn finish(self) -> Difference {
        let (mut found, by_time, excused) = (self.found, self.by_time, self.excused);
        let is_excused =
            |path: &PathBuf| by_time.contains(path) && excused.contains(path) && !found.has_changed_in(path);
        let dropped: HashSet<PathBuf> = found.changed.iter().filter(|path| is_excused(path)).cloned().collect();
        found.changed.retain(|path| !dropped.contains(path));
        let added: HashSet<&PathBuf> = found.added.iter().collect();
        let relinked = links::relinked(&self.old.links, &self.new.links);
        found.changed.extend(relinked.into_iter().filter(|path| !added.contains(path)));
        found.changed.sort_unstable();
        found.changed.dedup();
        found.touched.extend(by_time);
        found.touched.sort_unstable();
        found
    }
}
