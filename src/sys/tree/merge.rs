//! Several trees as if they were laid on one another, and the directory that is made of them.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::sys::stat::{FileStat, Mode, SFlag, fstat, mkdirat};

use super::remove::leave;
use super::{file_type, list, open_directory, stat_entry};
use crate::sys::os::attrs;
use crate::sys::{Call, Result};

/// A tree.
struct Source {
    /// The last directory that it has of the way to the present one.
    here: OwnedFd,
    /// How many directories are above that one.
    depth: usize,
}

/// Where a copy is: in the same directory of every tree that has a part in it, and of the one that is made.
pub(super) struct Places {
    /// The uppermost first.
    from: Vec<Source>,
    to: OwnedFd,
    /// How many directories are above the present one.
    depth: usize,
}

/// A directory on the way down.
pub(super) struct Level {
    /// The numbers of the trees that have a part in it, the uppermost first.
    from: Vec<(usize, FileStat)>,
    to: FileStat,
}

/// An entry that is no directory.
pub(super) struct Found {
    pub(super) name: OsString,
    pub(super) stat: FileStat,
    /// The number of its tree.
    from: usize,
}

/// A directory.
pub(super) struct Directory {
    pub(super) name: OsString,
    /// What the uppermost one is.
    pub(super) stat: FileStat,
    /// The numbers of the trees that have a part in it, the uppermost first.
    from: Vec<usize>,
}

impl Places {
    /// Begins at the roots of trees, the uppermost first.
    pub(super) fn new(from: &[BorrowedFd<'_>], to: BorrowedFd<'_>) -> Result<Self> {
        let open = |fd: BorrowedFd<'_>| open_directory(fd, OsStr::new("."));
        let from = from.iter().map(|fd| Ok(Source { here: open(*fd)?, depth: 0 })).collect::<Result<_>>()?;
        Ok(Places { from, to: open(to)?, depth: 0 })
    }

    /// The directory that is made.
    pub(super) fn to(&self) -> BorrowedFd<'_> {
        self.to.as_fd()
    }

    /// The directory that something found is in.
    pub(super) fn of(&self, found: &Found) -> BorrowedFd<'_> {
        self.from[found.from].here.as_fd()
    }

    /// What the present directory is in the uppermost tree that has it, and how to open it; none where there are no trees.
    pub(super) fn model(&self, level: &Level) -> Option<(BorrowedFd<'_>, FileStat)> {
        level.from.first().map(|(number, stat)| (self.from[*number].here.as_fd(), *stat))
    }

    /// The trees that have a part in the present directory.
    fn sources(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        let here = |(_, source): &(usize, &Source)| source.depth == self.depth;
        self.from.iter().enumerate().filter(here).map(|(number, source)| (number, source.here.as_fd()))
    }

    /// What is needed to come back to the present directory.
    pub(super) fn level(&self) -> Result<Level> {
        let stat = |fd: BorrowedFd<'_>| fstat(fd).call(|| format!("fstat({})", fd.as_raw_fd()));
        let from = self.sources().map(|(number, fd)| Ok((number, stat(fd)?))).collect::<Result<_>>()?;
        Ok(Level { from, to: stat(self.to.as_fd())? })
    }

    /// What is in the present directory: directories of one name are one, anything else hides what is below it. What `keep`
    /// does not want is left out.
    pub(super) fn merge(&self, keep: impl Fn(&OsStr) -> bool) -> Result<(Vec<Found>, Vec<Directory>)> {
        let (mut files, mut directories): (Vec<Found>, Vec<Directory>) = (Vec::new(), Vec::new());
        // What the trees above have: a directory, by its number, or what hides the rest.
        let mut seen: HashMap<OsString, Option<usize>> = HashMap::new();
        for (from, fd) in self.sources() {
            for name in list(fd)?.into_iter().map(|entry| entry.name).filter(|name| keep(name)) {
                let stat = stat_entry(fd, &name)?;
                let is_directory = file_type(&stat) == SFlag::S_IFDIR;
                match seen.get_mut(&name) {
                    Some(above) if is_directory => above.iter().for_each(|at| directories[*at].from.push(from)),
                    Some(above) => *above = None,
                    None if is_directory => {
                        seen.insert(name.clone(), Some(directories.len()));
                        directories.push(Directory { name, stat, from: vec![from] });
                    }
                    None => {
                        seen.insert(name.clone(), None);
                        files.push(Found { name, stat, from });
                    }
                }
            }
        }
        Ok((files, directories))
    }

    /// Makes a directory, unless it is `there`, and goes down.
    pub(super) fn enter(&mut self, next: &Directory, there: bool) -> Result<()> {
        let name = next.name.as_os_str();
        self.depth += 1;
        for number in &next.from {
            let here = attrs::open_same_mount(self.from[*number].here.as_fd(), name)?;
            self.from[*number] = Source { here, depth: self.depth };
        }
        if !there {
            mkdirat(&self.to, name, Mode::S_IRWXU).call(|| format!("mkdirat({}, {name:?})", self.to.as_raw_fd()))?;
        }
        self.to = open_directory(self.to.as_fd(), name)?;
        Ok(())
    }

    /// Goes up.
    pub(super) fn leave(&mut self, above: &Level) -> Result<()> {
        for (number, stat) in &above.from {
            let source = &mut self.from[*number];
            if source.depth == self.depth {
                *source = Source { here: leave(source.here.as_fd(), stat)?, depth: self.depth - 1 };
            }
        }
        self.to = leave(self.to.as_fd(), &above.to)?;
        self.depth -= 1;
        Ok(())
    }
}
