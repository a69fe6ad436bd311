//! What of a tree is wanted, asked in the order of a walk.

use std::collections::btree_set::Iter;
use std::iter::Peekable;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

use super::{Selection, shown};

/// A selection during a walk: what is still to come of it.
pub(super) struct Select<'a>(Option<Peekable<Iter<'a, PathBuf>>>);

/// What is wanted of an entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The entry itself, which may yet be on the way to others.
    pub(super) itself: bool,
    /// Something that would be in it, if it is a directory.
    pub(super) inside: bool,
}

impl<'a> Select<'a> {
    pub(super) fn new(selection: &'a Selection) -> Self {
        Select(match selection {
            Selection::All | Selection::InUse(_) => None,
            Selection::Paths(paths) => Some(paths.iter().peekable()),
        })
    }

    /// What is wanted of the entry at `path`, the next one of the walk. The root itself always is.
    ///
    /// # Errors
    /// Something wanted should have come before and did not: it is not there.
    pub(super) fn visit(&mut self, path: &Path) -> Result<Wanted> {
        let Some(paths) = &mut self.0 else { return Ok(Wanted { itself: true, inside: true }) };
        let found = paths.next_if(|next| *next == path).is_some();
        match paths.peek() {
            Some(next) if next.as_path() < path => Err(missing(next)),
            next => {
                let inside = next.is_some_and(|next| next.starts_with(path));
                Ok(Wanted { itself: found || path.as_os_str().is_empty(), inside })
            }
        }
    }

    /// Ends the walk.
    ///
    /// # Errors
    /// Something wanted is not there.
    pub(super) fn finish(self) -> Result<()> {
        self.0.and_then(|mut paths| paths.next()).map_or(Ok(()), |next| Err(missing(next)))
    }
}

fn missing(path: &Path) -> Error {
    Error::new(format!("cannot pack {}: it is not there", shown(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_entered_and_no_more() {
        let selection = Selection::Paths(["a", "a/b/c", "a-", "d/e"].map(PathBuf::from).into());
        let mut select = Select::new(&selection);
        for (path, itself, inside) in [
            ("", true, true),
            ("a", true, true),
            ("a/a", false, false),
            ("a/b", false, true),
            ("a/b/c", true, false),
            ("a-", true, false),
            ("b", false, false),
            ("d", false, true),
            ("d/e", true, false),
            ("f", false, false),
        ] {
            assert_eq!(select.visit(Path::new(path)).unwrap(), Wanted { itself, inside }, "{path}");
        }
        select.finish().unwrap();
    }

    #[test]
    fn what_is_not_there_is_missed() {
        let selection = Selection::Paths(["a/b", "z"].map(PathBuf::from).into());
        let mut select = Select::new(&selection);
        assert!(select.visit(Path::new("")).is_ok() && select.visit(Path::new("a")).is_ok());
        let error = select.visit(Path::new("b")).unwrap_err().to_string();
        assert_eq!(error, "cannot pack /a/b: it is not there");
        let mut select = Select::new(&selection);
        for path in ["", "a", "a/b"] {
            select.visit(Path::new(path)).unwrap();
        }
        assert_eq!(select.finish().unwrap_err().to_string(), "cannot pack /z: it is not there");
    }
}
