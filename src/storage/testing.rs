//! What tests of every module share: a part of a ZFS pool.

use std::path::Path;
use std::time::Duration;

use super::{Settings, Storage, Zfs};
use crate::command::zfs::Zfs as Command;

/// The name of a dataset that a test may make, in the pool that tests/zfs.sh makes and names in `JETPACK_TEST_ZFS`. It is
/// destroyed in the end.
pub(crate) struct Pool(String);

impl Pool {
    /// A new name; none where there is no pool, which is said.
    #[expect(clippy::print_stdout, reason = "`make check` shows and counts such lines")]
    pub(crate) fn new() -> Option<Pool> {
        static TOLD: std::sync::Once = std::sync::Once::new();
        let Ok(pool) = std::env::var("JETPACK_TEST_ZFS") else {
            TOLD.call_once(|| println!("skipped: zfs: needs a pool, which tests/zfs.sh makes"));
            return None;
        };
        Some(Pool(format!("{pool}/unit-{}", uuid::Uuid::new_v4())))
    }

    /// The backend of a store whose dataset is mounted at `root`, with all that it needs.
    pub(crate) fn storage(&self, root: &Path) -> Zfs {
        let settings = Settings { dataset: self.0.clone(), ..Settings::default() };
        let storage = Zfs::new(root, settings).unwrap();
        storage.establish(false).unwrap();
        for directory in storage.layout().directories() {
            std::fs::create_dir_all(directory).unwrap();
        }
        storage
    }

    /// The name.
    pub(crate) fn dataset(&self) -> &str {
        &self.0
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let zfs = Command::find().unwrap();
        // What has just ended may hold it for a moment. A test that failed has told enough.
        let gone = (0..50).any(|_| {
            zfs.destroy(&self.0).is_ok() || !zfs.exists(&self.0) || {
                std::thread::sleep(Duration::from_millis(100));
                false
            }
        });
        assert!(gone || std::thread::panicking(), "{} is busy", self.0);
    }
}
