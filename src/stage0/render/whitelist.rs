//! The `pathWhitelist` of a manifest (aci.md): the paths that are there after rendering.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::os::fd::BorrowedFd;
use std::path::{Component, Path, PathBuf};

use crate::error::{Context, Error, Result};
use crate::sys::tree::Walk;

/// Paths relative to the root filesystem; not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::stage0) struct Whitelist(BTreeSet<PathBuf>);

/// What a whitelist makes of a tree.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// What is not wanted, without what is in it; sorted.
    pub(super) removed: Vec<PathBuf>,
    /// How many wanted paths are not there.
    pub(super) missing: usize,
}

impl Whitelist {
    /// Reads the list of a manifest, whose paths are absolute; none where it is empty, which means that everything is wanted.
    ///
    /// # Errors
    /// A path has `..` in it.
    pub(in crate::stage0) fn parse(paths: &[String]) -> Result<Option<Whitelist>> {
        let relative = |text: &String| {
            let mut path = PathBuf::new();
            for part in Path::new(text).components() {
                match part {
                    Component::Normal(part) => path.push(part),
                    Component::ParentDir => {
                        return Err(Error::new(format!("{text:?} in the pathWhitelist has .. in it")));
                    }
                    Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
                }
            }
            Ok(path)
        };
        let paths = paths.iter().map(relative).collect::<Result<BTreeSet<_>>>()?;
        Ok(if paths.is_empty() { None } else { Some(Whitelist(paths)) })
    }

    /// Whether what is at `path` stays: it is listed, or is on the way to something that is.
    pub(super) fn keeps(&self, path: &Path) -> bool {
        // What is below a path follows it in the order of paths.
        let mut rest = self.0.range::<Path, _>((Bound::Included(path), Bound::Unbounded));
        path.as_os_str().is_empty() || rest.next().is_some_and(|next| next.starts_with(path))
    }

    /// Looks at a tree.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn survey(&self, tree: BorrowedFd<'_>) -> Result<Survey> {
        let what = || "cannot read the files of the image";
        let mut survey = Survey { removed: Vec::new(), missing: self.0.len() };
        let mut walk = Walk::new(tree).context(what)?;
        while walk.advance().context(what)?.is_some() {
            if self.0.contains(walk.path()) {
                survey.missing -= 1;
            } else if !self.keeps(walk.path()) {
                survey.removed.push(walk.path().to_path_buf());
                walk.skip();
            }
        }
        Ok(survey)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::AsFd;

    use super::*;
    use crate::sys::testing::Scratch;

    fn parse(paths: &[&str]) -> Result<Option<Whitelist>> {
        Whitelist::parse(&paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn paths_are_read_as_the_kernel_reads_them() {
        let whitelist = parse(&["/etc/ssl", "/etc/ssl/", "//etc/./ssl", "/", "/etc/ssl"]).unwrap().unwrap();
        assert_eq!(whitelist.0, BTreeSet::from([PathBuf::new(), PathBuf::from("etc/ssl")]));
        assert_eq!(parse(&[]).unwrap(), None);
        for text in ["/..", "/etc/../etc/passwd", "/etc/.."] {
            let error = parse(&["/x", text]).unwrap_err();
            assert_eq!(error.to_string(), format!("{text:?} in the pathWhitelist has .. in it"));
        }
    }

    #[test]
    fn what_is_listed_stays_with_what_is_above_it_and_nothing_else() {
        let whitelist = parse(&["/a/b", "/c", "/a.d/e/f"]).unwrap().unwrap();
        for (path, stays) in [
            ("", true),
            ("a", true),
            ("a/b", true),
            ("a/b/c", false),
            ("a/bb", false),
            ("a.d", true),
            ("a.d/e", true),
            ("a.d/e/g", false),
            ("a.", false),
            ("c", true),
            ("c/x", false),
            ("z", false),
        ] {
            assert_eq!(whitelist.keeps(Path::new(path)), stays, "{path}");
        }
        assert!(!parse(&["/"]).unwrap().unwrap().keeps(Path::new("a")));
    }

    #[test]
    fn a_tree_is_surveyed() {
        let scratch = Scratch::new();
        let tree = scratch.rootfs();
        for directory in ["a/b/c", "d/e", "f"] {
            fs::create_dir_all(tree.join(directory)).unwrap();
        }
        fs::write(tree.join("a/x"), "").unwrap();
        std::os::unix::fs::symlink("a", tree.join("g")).unwrap();
        let survey = |paths| {
            let survey = parse(paths).unwrap().unwrap().survey(File::open(&tree).unwrap().as_fd()).unwrap();
            (survey.removed.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(), survey.missing)
        };
        assert_eq!(survey(&["/a/b", "/d/e/none"]), (["a/b/c", "a/x", "f", "g"].map(str::to_owned).to_vec(), 1));
        assert_eq!(survey(&["/"]), (["a", "d", "f", "g"].map(str::to_owned).to_vec(), 0));
        // A symlink is not followed: what it leads to is not at that path.
        assert_eq!(survey(&["/g/x", "/a/x"]), (["a/b", "d", "f"].map(str::to_owned).to_vec(), 1));
        assert_eq!(survey(&["/a/b/c", "/a/x", "/d/e", "/f", "/g"]), (Vec::new(), 0));
    }

    #[test]
    fn a_hundred_thousand_paths_are_looked_up_at_once() {
        let paths: Vec<String> = (0..100_000).map(|n| format!("/d{}/f{n}", n % 100)).collect();
        let whitelist = Whitelist::parse(&paths).unwrap().unwrap();
        assert!(paths.iter().all(|path| whitelist.keeps(Path::new(&path[1..]))));
        assert!(!whitelist.keeps(Path::new("d1/f0")));
    }
}
