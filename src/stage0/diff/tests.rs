//! Trees that differ.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::random::{Random, Wild, describe};
use super::*;
use crate::stage0::pack::testing::{pack_path, unpack_path};
use crate::storage::testing::Pool;
use crate::storage::{Note, Storage as _};
use crate::sys::paths::copy_tree;
use crate::sys::testing::{Scratch, skipped_without_root};

/// Compares two directories, but for some paths.
fn diff_but(parent: &Path, changed: &Path, ignored: &[&str]) -> Result<Difference> {
    let ignore = |path: &Path| ignored.iter().any(|ignored| path == Path::new(ignored));
    diff(File::open(parent).unwrap().as_fd(), File::open(changed).unwrap().as_fd(), &ignore)
}

fn diff_paths(parent: &Path, changed: &Path) -> Difference {
    diff_but(parent, changed, &[]).unwrap()
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| shown(path)).collect::<Vec<_>>().join(" ")
}

/// The three lists.
fn lists(difference: &Difference) -> [String; 3] {
    [list(&difference.added), list(&difference.changed), list(&difference.removed)]
}

/// Two equal trees, of which the second is to be changed.
fn twins(scratch: &Scratch, make: impl FnOnce(&Path)) -> (PathBuf, PathBuf) {
    let (parent, changed) = (scratch.path().join("parent"), scratch.path().join("changed"));
    fs::create_dir(&parent).unwrap();
    make(&parent);
    settle(&parent);
    copy_tree(&parent, &changed).unwrap();
    (parent, changed)
}

/// Gives directories times that are long past: clocks of filesystems are slow. Those that are protected keep theirs.
fn settle(root: &Path) {
    for path in super::random::paths(root).into_iter().map(|path| root.join(path)) {
        if path.symlink_metadata().unwrap().is_dir() {
            let _ = File::open(path).unwrap().set_modified(std::time::UNIX_EPOCH);
        }
    }
}

/// The entries of an archive, each with its extended header, and their names.
fn entries(archive: &[u8]) -> Vec<(Vec<u8>, &[u8])> {
    let (mut found, mut at, mut start, mut long) = (Vec::new(), 0, 0, None);
    while archive[at] != 0 {
        let header = tar::Header::from_byte_slice(&archive[at..at + 512]);
        let kind = header.as_old().linkflag[0];
        let end = at + 512 + header.size().unwrap().next_multiple_of(512) as usize;
        if kind == b'x' {
            long = path_record(&archive[at + 512..at + 512 + header.size().unwrap() as usize]);
        } else {
            let name = long.take().unwrap_or_else(|| header.path_bytes().into_owned());
            found.push((name, &archive[start..end]));
            start = end;
        }
        at = end;
    }
    found
}

/// The path in an extended header. The tar crate splits records at line ends, which names may have.
fn path_record(mut records: &[u8]) -> Option<Vec<u8>> {
    while let Some(space) = records.iter().position(|b| *b == b' ') {
        let length: usize = str::from_utf8(&records[..space]).unwrap().parse().unwrap();
        if let Some(path) = records[space + 1..length - 1].strip_prefix(b"path=") {
            return Some(path.to_vec());
        }
        records = &records[length..];
    }
    None
}

/// What an image is whose layer lies over its parent: each path as the upper one has it, without what is not in the end.
fn render(layer: &[u8], parent: &Path, difference: &Difference, into: &Path) {
    let Selection::Paths(upper) = difference.selection() else { unreachable!() };
    let rest: BTreeSet<PathBuf> = difference.remaining.iter().filter(|path| !upper.contains(*path)).cloned().collect();
    let (rest, _) = pack_path(parent, &Selection::Paths(rest)).unwrap();
    let upper = entries(layer);
    let names: BTreeSet<&Vec<u8>> = upper.iter().map(|(name, _)| name).collect();
    let lower = entries(&rest);
    let lower = lower.iter().filter(|(name, _)| !names.contains(name));
    let mut archive: Vec<u8> = upper.iter().chain(lower).flat_map(|(_, bytes)| bytes.to_vec()).collect();
    archive.resize(archive.len() + 1024, 0);
    unpack_path(&archive, into).unwrap();
}

#[test]
fn random_changes_of_random_trees_are_rendered_again() {
    if skipped_without_root() {
        return;
    }
    for seed in 0..24 {
        let scratch = Scratch::new();
        let mut random = Random::new(seed);
        let (parent, changed) = twins(&scratch, |root| Wild { random: &mut random, root }.grow(50));
        assert!(diff_paths(&parent, &changed).is_empty(), "seed {seed}: a copy differs");
        Wild { random: &mut random, root: &changed }.disturb(20);
        let difference = diff_paths(&parent, &changed);
        let (layer, _) = pack_path(&changed, &difference.selection()).unwrap();
        let result = scratch.path().join("result");
        render(&layer, &parent, &difference, &result);
        let (expected, found) = (describe(&changed), describe(&result));
        for path in expected.keys().chain(found.keys()) {
            assert_eq!(expected.get(path), found.get(path), "seed {seed}: {}", path.display());
        }
        assert_eq!(diff_paths(&result, &changed), Difference { remaining: difference.remaining, ..Default::default() });
        // What is packed does not depend on the disk that it was on.
        let all = |root: &Path| pack_path(root, &Selection::All).unwrap();
        assert!(all(&changed) == all(&result), "seed {seed}: not reproducible");
    }
}

#[test]
fn each_kind_of_change_is_found() {
    if skipped_without_root() {
        return;
    }
    type Change = fn(&Path);
    let table: [(&str, Change, [&str; 3]); 16] = [
        ("nothing", |_| (), ["", "", ""]),
        ("a new file", |at| fs::write(at.join("d/new"), "").unwrap(), ["/d/new", "/d", ""]),
        ("content", |at| keep_time(&at.join("d/f"), |f| fs::write(f, "CONTENT").unwrap()), ["", "/d/f", ""]),
        ("size", |at| keep_time(&at.join("d/f"), |f| fs::write(f, "CONTENTS").unwrap()), ["", "/d/f", ""]),
        (
            "time",
            |at| File::open(at.join("d/f")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap(),
            ["", "/d/f", ""],
        ),
        ("mode", |at| fs::set_permissions(at.join("d"), fs::Permissions::from_mode(0o2755)).unwrap(), ["", "/d", ""]),
        ("owner", |at| std::os::unix::fs::lchown(at.join("l"), Some(5), None).unwrap(), ["", "/l", ""]),
        ("a link's target", |at| replace(&at.join("l"), |l| symlink("else", l).unwrap()), ["", "/l", ""]),
        (
            "a file for a directory",
            |at| replace(&at.join("d"), |d| fs::write(d, "").unwrap()),
            ["", "/d", "/d/e /d/e/g /d/f"],
        ),
        (
            "a directory for a file",
            |at| replace(&at.join("d/f"), |f| fs::create_dir_all(f.join("x")).unwrap()),
            ["/d/f/x", "/d/f", ""],
        ),
        (
            "a directory removed",
            |at| keep_time(at, |at| crate::sys::paths::remove_tree(&at.join("d")).unwrap()),
            ["", "", "/d /d/e /d/e/g /d/f"],
        ),
        ("a name removed", |at| keep_time(at, |at| fs::remove_file(at.join("two")).unwrap()), ["", "", "/two"]),
        (
            "a name added",
            |at| keep_time(at, |at| fs::hard_link(at.join("two"), at.join("z")).unwrap()),
            ["/z", "/one /two", ""],
        ),
        ("names parted", |at| keep_time(at, part), ["", "/one /two", ""]),
        ("names joined", |at| keep_time(at, join), ["", "/alike /one /two", ""]),
        ("a rename", |at| keep_time(at, |at| fs::rename(at.join("l"), at.join("m")).unwrap()), ["/m", "", "/l"]),
    ];
    for (what, change, expected) in table {
        let scratch = Scratch::new();
        let (parent, changed) = twins(&scratch, sample);
        change(&changed);
        assert_eq!(lists(&diff_paths(&parent, &changed)), expected, "{what}");
    }
}

/// A small tree.
fn sample(at: &Path) {
    fs::create_dir_all(at.join("d/e")).unwrap();
    for (name, content) in [("d/f", "content"), ("d/e/g", ""), ("one", "1"), ("alike", "1")] {
        fs::write(at.join(name), content).unwrap();
        File::open(at.join(name))
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(9, 9))
            .unwrap();
    }
    fs::hard_link(at.join("one"), at.join("two")).unwrap();
    symlink("/nowhere", at.join("l")).unwrap();
}

/// Changes something and puts its time back.
fn keep_time(path: &Path, change: impl FnOnce(&Path)) {
    let before = fs::metadata(path).unwrap().modified().unwrap();
    change(path);
    File::open(path).unwrap().set_modified(before).unwrap();
}

/// Puts another file in the place of one, and the time of the directory back.
fn replace(path: &Path, make: impl FnOnce(&Path)) {
    keep_time(path.parent().unwrap(), |_| {
        crate::sys::paths::remove_tree(path).unwrap();
        make(path);
    });
}

/// Makes two files of one.
fn part(at: &Path) {
    let copy = at.join("copy");
    fs::copy(at.join("two"), &copy).unwrap();
    File::open(&copy).unwrap().set_modified(fs::metadata(at.join("two")).unwrap().modified().unwrap()).unwrap();
    fs::rename(&copy, at.join("two")).unwrap();
}

/// Makes one file of two that are alike.
fn join(at: &Path) {
    fs::remove_file(at.join("alike")).unwrap();
    fs::hard_link(at.join("one"), at.join("alike")).unwrap();
}

#[test]
fn what_is_ignored_stays_as_it_is_in_the_parent() {
    let scratch = Scratch::new();
    let (parent, changed) = twins(&scratch, |at| {
        fs::create_dir_all(at.join("etc")).unwrap();
        fs::create_dir_all(at.join("gone/in")).unwrap();
        fs::create_dir_all(at.join("mnt/old")).unwrap();
        fs::write(at.join("etc/hosts"), "").unwrap();
    });
    fs::write(changed.join("etc/hosts"), "changed").unwrap();
    fs::write(changed.join("etc/resolv.conf"), "new").unwrap();
    fs::create_dir_all(changed.join("work/deep")).unwrap();
    fs::remove_dir_all(changed.join("mnt")).unwrap();
    fs::remove_dir_all(changed.join("gone")).unwrap();
    let ignored = ["etc/hosts", "etc/resolv.conf", "work", "mnt", "gone/in"];
    let difference = diff_but(&parent, &changed, &ignored).unwrap();
    // The command removed something from the root, which has its own time for that.
    assert_eq!(lists(&difference), ["", "/", "/gone /gone/in"]);
    assert_eq!(difference.whitelist().unwrap(), ["/etc", "/etc/hosts", "/mnt", "/mnt/old"]);
    // The same tree without anything to ignore has a directory whose time alone has changed.
    fs::remove_file(changed.join("etc/resolv.conf")).unwrap();
    let [added, changes, removed] = lists(&diff_paths(&parent, &changed));
    assert_eq!((added.as_str(), removed.as_str()), ("/work /work/deep", "/gone /gone/in /mnt /mnt/old"));
    assert_eq!(changes, "/ /etc /etc/hosts");
}

#[test]
fn a_directory_whose_time_alone_has_changed_is_overlooked_unless_something_came_or_went() {
    for (own, expected) in [(false, ["", "", ""]), (true, ["/new", "/", ""])] {
        let scratch = Scratch::new();
        let (parent, changed) = twins(&scratch, |_| {});
        // What was made beside it is gone again, or is there and ignored: that must not matter.
        for left in [false, true] {
            fs::create_dir_all(changed.join("work")).unwrap();
            if own {
                fs::create_dir_all(changed.join("new")).unwrap();
            }
            if !left {
                fs::remove_dir(changed.join("work")).unwrap();
            }
            let mut difference = diff_but(&parent, &changed, &["work"]).unwrap();
            difference.overlook(Path::new(""));
            assert_eq!(lists(&difference), expected, "{own} {left}");
        }
    }
}

#[test]
fn whitelists() {
    let scratch = Scratch::new();
    let (parent, changed) = twins(&scratch, |at| fs::write(at.join("a"), "").unwrap());
    fs::write(changed.join("b"), "").unwrap();
    assert_eq!(diff_paths(&parent, &changed).whitelist().unwrap(), [""; 0]);
    fs::remove_file(changed.join("a")).unwrap();
    assert_eq!(diff_paths(&parent, &changed).whitelist().unwrap(), ["/b"]);
    fs::remove_file(changed.join("b")).unwrap();
    assert_eq!(diff_paths(&parent, &changed).whitelist().unwrap(), ["/"]);
    fs::write(changed.join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
    let error = diff_paths(&parent, &changed).whitelist().unwrap_err();
    assert_eq!(error.to_string(), "the name /\\xff is not text, so no pathWhitelist can hold it");
}

#[test]
fn sockets_are_not_there() {
    let scratch = Scratch::new();
    let (parent, changed) = twins(&scratch, |at| fs::write(at.join("f"), "").unwrap());
    let bind = |path: PathBuf| drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    bind(parent.join("old"));
    bind(parent.join("both"));
    settle(&parent);
    bind(changed.join("both"));
    fs::create_dir(changed.join("old")).unwrap();
    fs::remove_file(changed.join("f")).unwrap();
    bind(changed.join("f"));
    let difference = diff_paths(&parent, &changed);
    assert_eq!(lists(&difference), ["/old", "/", "/f"]);
    assert_eq!((list(&difference.sockets), list(&difference.remaining)), ("/both /f".to_owned(), "/old".to_owned()));
}

#[test]
fn known_content_is_not_read() {
    let scratch = Scratch::new();
    let (parent, changed) = twins(&scratch, |at| fs::write(at.join("f"), "a").unwrap());
    keep_time(&changed.join("f"), |f| fs::write(f, "b").unwrap());
    let open = |path: &Path| File::open(path).unwrap();
    let knowing = |knowledge: Knowledge, noted: &[&str]| {
        let known = Known::new(knowledge, noted.iter().map(PathBuf::from).collect());
        lists(&diff_knowing(open(&parent).as_fd(), open(&changed).as_fd(), &|_| false, &known).unwrap())
    };
    assert_eq!(knowing(Knowledge::Contents, &["other"]), ["", "", ""]);
    assert_eq!(knowing(Knowledge::Contents, &["f"]), ["", "/f", ""]);
    assert_eq!(knowing(Knowledge::Nothing, &[]), ["", "/f", ""]);
    assert_eq!(knowing(Knowledge::Everything, &["f"]), ["", "/f", ""]);
    // Whoever knows one name of a file does not know what was written by another.
    fs::hard_link(changed.join("f"), scratch.path().join("second")).unwrap();
    assert_eq!(knowing(Knowledge::Contents, &["other"]), ["", "/f", ""]);
    fs::remove_file(scratch.path().join("second")).unwrap();
    assert_eq!(knowing(Knowledge::Contents, &["other"]), ["", "", ""]);
    // Nor where the other name has gone since.
    fs::hard_link(parent.join("f"), scratch.path().join("second")).unwrap();
    assert_eq!(knowing(Knowledge::Contents, &["other"]), ["", "/f", ""]);
}

#[test]
fn directories_that_are_known_to_be_the_same_are_not_entered() {
    let scratch = Scratch::new();
    let (parent, changed) = twins(&scratch, |at| {
        for directory in ["a/b", "c/d"] {
            fs::create_dir_all(at.join(directory)).unwrap();
        }
    });
    for file in ["a/b/f", "c/d/f"] {
        fs::write(changed.join(file), "").unwrap();
    }
    let open = |path: &Path| File::open(path).unwrap();
    let known = Known::new(Knowledge::Everything, vec!["a/b".into(), "a/b/f".into()]);
    let found = diff_knowing(open(&parent).as_fd(), open(&changed).as_fd(), &|_| false, &known).unwrap();
    assert_eq!(lists(&found), ["/a/b/f", "/a/b", ""]);
}

/// What a backend says of changes must not change what is found.
#[test]
#[expect(clippy::print_stdout, reason = "`make check` shows and counts such lines")]
fn what_storage_knows_makes_no_difference() {
    let scratch = Scratch::new();
    // Destroyed before the directory that it is mounted in is removed.
    let Some(pool) = Pool::new() else { return };
    let zfs = pool.storage(&scratch.rootfs());
    let mut told = BTreeSet::new();
    for seed in 0..24 {
        let mut random = Random::new(seed);
        let (layer, pod) = (format!("sha512-{seed}"), format!("pod-{seed}"));
        let changes = |note: Note<'_>| zfs.changes(&pod, "app", std::slice::from_ref(&layer), note).unwrap();
        let staging = zfs.begin_layer().unwrap();
        if seed > 0 {
            Wild { random: &mut random, root: &staging.tree() }.grow(50);
        }
        zfs.commit_layer(staging, &layer).unwrap();
        zfs.create_pod(&pod).unwrap();
        zfs.create_root(&pod, "app", std::slice::from_ref(&layer), None).unwrap();
        if changes(&mut |_| Ok(true)) == Knowledge::Nothing {
            println!("skipped: this ZFS has no `zfs diff`");
            return;
        }
        let (parent, changed) = (zfs.layer(&layer), zfs.root(&pod, "app", std::slice::from_ref(&layer)));
        let changed = changed.path();
        // A few changes leave some of the tree as it was.
        Wild { random: &mut random, root: changed }.disturb(if seed % 2 == 0 { 20 } else { 2 });
        let mut noted = Vec::new();
        let knowledge = changes(&mut |path| {
            noted.push(path.to_owned());
            Ok(true)
        });
        told.insert(knowledge);
        let known = Known::new(knowledge, noted);
        let open = |path: &Path| File::open(path).unwrap();
        let found = diff_knowing(open(&parent).as_fd(), open(changed).as_fd(), &|_| false, &known).unwrap();
        let mut expected = diff_paths(&parent, changed);
        if expected.removed.is_empty() {
            expected.remaining.clone_from(&found.remaining);
        }
        assert_eq!(found, expected, "seed {seed}: {known:?}");
        zfs.remove_pod(&pod).unwrap();
        zfs.remove_layer(&layer).unwrap();
    }
    assert!(told.len() > 1 && told.contains(&Knowledge::Everything), "{told:?}");
}

/// On Linux: a bind mount has the device of what is around it.
#[test]
fn a_mount_point_is_in_the_way_unless_it_is_ignored() {
    let scratch = Scratch::new();
    let (parent, changed) = twins(&scratch, |at| fs::create_dir(at.join("point")).unwrap());
    let mount = |arguments: &[&Path]| {
        std::process::Command::new("mount").args(arguments).output().is_ok_and(|output| output.status.success())
    };
    if skipped_without_root() || !mount(&[Path::new("--bind"), &scratch.outside(), &changed.join("point")]) {
        return;
    }
    let found = diff_paths_error(&parent, &changed);
    let ignoring = diff_but(&parent, &changed, &["point"]).map(|difference| lists(&difference));
    let packed = pack_path(&changed, &Selection::All).unwrap_err().one_line();
    let part = pack_path(&changed, &Selection::Paths(BTreeSet::new())).map(|(_, packed)| packed.files);
    assert!(std::process::Command::new("umount").arg(changed.join("point")).status().unwrap().success());
    assert!(found.starts_with("cannot compare /point with the parent's: cannot open it: openat"), "{found}");
    assert_eq!(ignoring.unwrap(), ["", "", ""]);
    assert!(packed.starts_with("cannot pack /point: cannot open it: openat"), "{packed}");
    assert_eq!(part.unwrap(), 1);
    scratch.assert_outside_is_as_it_was();
}

fn diff_paths_error(parent: &Path, changed: &Path) -> String {
    diff_but(parent, changed, &[]).unwrap_err().one_line()
}

impl Scratch {
    fn assert_outside_is_as_it_was(&self) {
        assert_eq!(fs::read(self.outside().join("keep")).unwrap(), b"kept");
        assert_eq!(fs::metadata(self.outside().join("keep")).unwrap().nlink(), 1);
    }
}

#[test]
fn depth_has_no_limit() {
    let scratch = Scratch::new();
    let (parent, changed) = (scratch.rootfs(), scratch.path().join("changed"));
    fs::create_dir(&changed).unwrap();
    let mut last = None;
    for root in [&parent, &changed] {
        let mut here = std::os::fd::OwnedFd::from(File::open(root).unwrap());
        for _ in 0..3000 {
            nix::sys::stat::mkdirat(&here, "a-name-that-is-not-short", nix::sys::stat::Mode::S_IRWXU).unwrap();
            here = crate::sys::tree::open_directory(here.as_fd(), "a-name-that-is-not-short".as_ref()).unwrap();
        }
        last = Some(here);
    }
    for (root, other) in [(&parent, &changed), (&changed, &parent)] {
        let difference = diff_paths(root, other);
        assert_eq!((difference.added.len(), difference.removed.len()), (0, 0));
    }
    // What no archive can hold is refused before there is more of it.
    nix::unistd::mkfifoat(last.unwrap(), "end", nix::sys::stat::Mode::S_IRUSR).unwrap();
    let open = |path| File::open(path).unwrap();
    let error = diff(open(&parent).as_fd(), open(&changed).as_fd(), &|_| false).unwrap_err().one_line();
    assert!(error.ends_with("is longer than 4096 bytes"), "{error}");
    assert!(error.len() < 500, "{error}");
    let error = pack_path(&changed, &Selection::All).unwrap_err().one_line();
    assert!(error.ends_with("is longer than 4096 bytes"), "{error}");
    assert!(error.len() < 500, "{error}");
}
