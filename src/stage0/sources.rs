//! What of the host a pod's volumes are: looked at when the pod is prepared, and again whenever it is to run.

use std::fs;
use std::path::Path;

use super::image::is_missing;
use super::store::Store;
use crate::appc::{PodManifest, VolumeKind};
use crate::error::{Context, Error, Result};

impl Store {
    /// Looks at the sources of a pod's volumes.
    ///
    /// # Errors
    /// One is missing, is neither a directory nor a file, or is named by a path with a link on it, so that nobody would know
    /// what it means tomorrow. Or it holds the store, or is in it: what was verified there could be changed.
    pub fn check_sources(&self, manifest: &PodManifest) -> Result<()> {
        for volume in &manifest.volumes {
            if let VolumeKind::Host { source, .. } = &volume.kind {
                let what = || format!("{source:?} cannot be the volume {}", volume.name);
                check(Path::new(source), self.root()).context(what)?;
            }
        }
        Ok(())
    }
}

fn check(source: &Path, store: &Path) -> Result<()> {
    let real = match fs::canonicalize(source) {
        Err(e) if is_missing(&e) => {
            return Err(Error::new("there is no such directory or file")
                .help("make it first, with the owner and mode that it should have"));
        }
        found => found.context(|| "cannot find it")?,
    };
    if real != source {
        return Err(Error::new("its path holds a link, or `..`")
            .help(format!("write where it leads: `source={}`", real.display())));
    }
    let kind = fs::metadata(&real).context(|| "cannot look at it")?.file_type();
    if !kind.is_dir() && !kind.is_file() {
        return Err(Error::new("it is neither a directory nor a file").help("give the directory that it is in"));
    }
    let store = fs::canonicalize(store).context(|| format!("cannot look at {}", store.display()))?;
    let why = match () {
        () if store.starts_with(&real) => "Jetpack's store is in it",
        () if real.starts_with(&store) => "it is in Jetpack's store",
        () => return Ok(()),
    };
    Err(Error::new(why)
        .help("a pod could change the images of others: give the directories that it needs, apart from the store"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn sources_are_there_and_called_by_their_own_names_and_apart_from_the_store() {
        let scratch = crate::sys::testing::Scratch::new();
        let top = fs::canonicalize(scratch.path()).unwrap();
        for directory in ["all/store/pods", "all/data/deep", "all/stores"] {
            fs::create_dir_all(top.join(directory)).unwrap();
        }
        fs::write(top.join("all/file"), "").unwrap();
        symlink("data", top.join("all/link")).unwrap();
        symlink("nowhere", top.join("all/broken")).unwrap();
        nix::unistd::mkfifo(&top.join("all/fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        // A store that is itself behind a link.
        symlink("all/store", top.join("store")).unwrap();
        let checked = |name: &str| check(&top.join(name), &top.join("store"));
        for good in ["all/data", "all/data/", "all/./data/deep", "all/file", "all/stores"] {
            checked(good).unwrap();
        }
        for (bad, expected) in [
            ("all/none", "there is no such directory or file"),
            ("all/file/x", "cannot find it"),
            ("all/broken", "there is no such directory or file"),
            ("all/link", "its path holds a link, or `..`"),
            ("all/link/deep", "its path holds a link, or `..`"),
            ("all/data/../data", "its path holds a link, or `..`"),
            ("all/fifo", "it is neither a directory nor a file"),
            ("all", "Jetpack's store is in it"),
            ("all/store", "Jetpack's store is in it"),
            ("all/store/pods", "it is in Jetpack's store"),
        ] {
            let error = checked(bad).unwrap_err();
            assert_eq!(error.to_string(), expected, "{bad}");
            assert!(error.help_line().is_some() || expected == "cannot find it", "{bad}");
        }
        let real = top.join("all/data/deep");
        let error = checked("all/link/deep").unwrap_err();
        assert_eq!(error.help_line(), Some(format!("write where it leads: `source={}`", real.display()).as_str()));
    }
}
