//! What a host looks like from outside, so that a test can tell whether a pod left anything on it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What must be the same before and after a pod: mounts, processes, control groups, network interfaces, and the store. The
/// mounts of datasets are no pod's, but the store's: a pod has them as long as it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    mounts: BTreeSet<String>,
    processes: BTreeSet<String>,
    groups: BTreeSet<PathBuf>,
    interfaces: BTreeSet<String>,
    unfinished: BTreeSet<PathBuf>,
}

impl Snapshot {
    /// The host now. Of mounts and processes only what mentions `store` is looked at, so that tests beside this one do not
    /// disturb.
    pub(crate) fn take(store: &Path) -> Snapshot {
        let name = store.to_string_lossy().into_owned();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mounts =
            mounts.lines().filter(|line| line.contains(&name) && !is_dataset(line)).map(str::to_owned).collect();
        let processes =
            processes().filter(|(_, text)| text.contains(&name)).map(|(pid, text)| format!("{pid} {text}")).collect();
        let mut groups = BTreeSet::new();
        directories_below(Path::new("/sys/fs/cgroup"), 3, &mut groups);
        let devices = std::fs::read_to_string("/proc/net/dev").unwrap_or_default();
        let interfaces = devices.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect();
        let unfinished =
            ["tmp", "state/preparing", "state/deleting"].iter().flat_map(|place| entries(&store.join(place)));
        Snapshot { mounts, processes, groups, interfaces, unfinished: unfinished.collect() }
    }
}

/// Every process: its number, and its command line with the mounts that it sees.
fn processes() -> impl Iterator<Item = (u32, String)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let read = |name: &str| std::fs::read(entry.path().join(name)).unwrap_or_default();
        let command = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
        let mounts = String::from_utf8_lossy(&read("mounts")).into_owned();
        let mounts: String = mounts.lines().filter(|line| !is_dataset(line)).collect();
        Some((pid, format!("{command}{mounts}")))
    })
}

/// Whether a line of a list of mounts is a dataset's.
fn is_dataset(line: &str) -> bool {
    line.split(' ').any(|word| matches!(word, "zfs" | "fuse.zfs"))
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn directories_below(directory: &Path, depth: u32, found: &mut BTreeSet<PathBuf>) {
    for path in entries(directory) {
        if depth > 0 && path.is_dir() && !path.is_symlink() {
            directories_below(&path, depth - 1, found);
            found.insert(path);
        }
    }
}
