//! What tests share: a place for trees, and a word about those that need root.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Says that a test needs root, where there is none, and whether it has to be left out.
#[expect(clippy::print_stdout, reason = "`make check` shows and counts such lines")]
pub(crate) fn skipped_without_root() -> bool {
    let root = super::is_root();
    if !root {
        println!("skipped: needs root");
    }
    !root
}

/// A directory `rootfs` for a tree, beside a directory that nothing may touch. It is removed in the end.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("jetpack-unit-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let scratch = Scratch(std::env::temp_dir().join(name));
        fs::create_dir(&scratch.0).unwrap();
        fs::create_dir(scratch.rootfs()).unwrap();
        fs::create_dir(scratch.outside()).unwrap();
        fs::write(scratch.outside().join("keep"), "kept").unwrap();
        scratch
    }

    /// The directory itself.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Where trees are made.
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.0.join("rootfs")
    }

    /// What nothing may touch.
    pub(crate) fn outside(&self) -> PathBuf {
        self.0.join("outside")
    }

    /// Checks that nothing happened outside.
    pub(crate) fn assert_outside_is_untouched(&self, context: &str) {
        let names = |path: &Path| {
            let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(names(&self.0), ["outside", "rootfs"], "{context}");
        assert_eq!(names(&self.outside()), ["keep"], "{context}");
        assert_eq!(fs::read(self.outside().join("keep")).unwrap(), b"kept", "{context}");
        let links = std::os::unix::fs::MetadataExt::nlink(&fs::metadata(self.outside().join("keep")).unwrap());
        assert_eq!(links, 1, "{context}");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let parent = File::open(self.0.parent().unwrap()).unwrap();
        let name: &OsStr = self.0.file_name().unwrap();
        super::tree::remove_tree(parent.as_fd(), name).unwrap();
    }
}
