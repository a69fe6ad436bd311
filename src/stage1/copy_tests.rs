//! Giving and taking, on directories of this host.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;
use crate::sys::testing::{Scratch, skipped_without_root};

/// Gives and takes.
fn copy(source: &Path, destination: &Path) -> Result<Vec<String>> {
    copy_with(source, destination, false, false)
}

fn copy_with(source: &Path, destination: &Path, follow: bool, keep: bool) -> Result<Vec<String>> {
    let mut archive = Vec::new();
    let mut warnings = give(source, follow, &mut archive)?;
    warnings.extend(take(&archive[..], destination, keep)?);
    Ok(warnings)
}

/// All that is below a directory, with the contents of files and the targets of links.
fn listing(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let kind = fs::symlink_metadata(&path).unwrap();
        if kind.is_dir() {
            found.push(format!("{name}/"));
            found.extend(listing(&path).into_iter().map(|below| format!("{name}/{below}")));
        } else if kind.is_symlink() {
            found.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
        } else {
            found.push(format!("{name}: {}", fs::read_to_string(&path).unwrap()));
        }
    }
    found.sort();
    found
}

/// A source `tree` and a destination `into`.
fn place() -> (Scratch, PathBuf, PathBuf) {
    let scratch = Scratch::new();
    let (tree, into) = (scratch.rootfs().join("tree"), scratch.rootfs().join("into"));
    fs::create_dir_all(tree.join("sub")).unwrap();
    fs::create_dir(&into).unwrap();
    fs::write(tree.join("file"), "one").unwrap();
    fs::write(tree.join("sub/deep"), "two").unwrap();
    symlink("sub/deep", tree.join("link")).unwrap();
    (scratch, tree, into)
}

#[test]
fn files_and_directories_go_where_cp_puts_them() {
    type Case<'a> = (&'a str, bool, &'a str, &'a [&'a str]);
    let table: [Case<'_>; 11] = [
        ("tree/file", false, "into", &["file: one"]),
        ("tree/file", false, "into/", &["file: one"]),
        ("tree/file", false, "into/new", &["new: one"]),
        ("tree/link", false, "into", &["link -> sub/deep"]),
        ("tree/link", true, "into", &["link: two"]),
        ("tree/sub", false, "into", &["sub/", "sub/deep: two"]),
        ("tree/sub", false, "into/new", &["new/", "new/deep: two"]),
        ("tree/sub/", false, "into", &["sub/", "sub/deep: two"]),
        ("tree/sub/.", false, "into", &["deep: two"]),
        ("tree/sub/.", false, "into/new", &["new/", "new/deep: two"]),
        (
            "tree",
            false,
            "into",
            &["tree/", "tree/file: one", "tree/link -> sub/deep", "tree/sub/", "tree/sub/deep: two"],
        ),
    ];
    for (from, follow, to, expected) in table {
        let (scratch, _, into) = place();
        // Not by join, which would take the slash at the end away.
        let path = |end: &str| PathBuf::from(format!("{}/{end}", scratch.rootfs().display()));
        copy_with(&path(from), &path(to), follow, false).unwrap();
        assert_eq!(listing(&into), expected, "{from} to {to}");
        scratch.assert_outside_is_untouched(from);
    }
}

#[test]
fn what_is_there_is_replaced_or_becomes_one() {
    let (_scratch, tree, into) = place();
    fs::create_dir_all(into.join("tree/sub")).unwrap();
    fs::write(into.join("tree/sub/other"), "kept").unwrap();
    fs::write(into.join("tree/file"), "old").unwrap();
    symlink("/nowhere", into.join("tree/link")).unwrap();
    copy(&tree, &into).unwrap();
    let merged =
        ["tree/", "tree/file: one", "tree/link -> sub/deep", "tree/sub/", "tree/sub/deep: two", "tree/sub/other: kept"];
    assert_eq!(listing(&into), merged);
}

#[test]
fn links_at_the_destination_lead_nowhere() {
    let (scratch, tree, into) = place();
    // A link in the place of a directory that comes, and one in the place of a file.
    symlink(scratch.outside(), into.join("tree")).unwrap();
    let error = copy(&tree, &into).unwrap_err();
    assert!(error.one_line().ends_with("tree is there and no directory"), "{}", error.one_line());
    symlink(scratch.outside().join("keep"), into.join("file")).unwrap();
    copy(&tree.join("file"), &into).unwrap();
    assert_eq!(fs::read_to_string(into.join("file")).unwrap(), "one");
    scratch.assert_outside_is_untouched("links");
}

#[test]
fn what_cannot_be_copied_leaves_everything_as_it_was() {
    let (scratch, tree, into) = place();
    fs::create_dir(into.join("file")).unwrap();
    let missing = scratch.rootfs().join("missing");
    let long = missing.join("x");
    for (from, to, why) in [
        (tree.join("file"), into.clone(), "file is there and a directory"),
        (missing.clone(), into.clone(), "No such file or directory"),
        (tree.clone(), long, "cannot open the directory"),
        (tree.clone(), tree.join("file"), "file is there and no directory"),
        (tree.clone(), PathBuf::from(format!("{}/", missing.display())), "it is not a directory"),
    ] {
        let error = copy(&from, &to).unwrap_err().one_line();
        assert!(error.contains(why), "{error}");
    }
    assert_eq!(listing(&into), ["file/"]);
    let mut archive = Vec::new();
    give(&tree, false, &mut archive).unwrap();
    take(&archive[..archive.len() / 2], &into, false).unwrap_err();
    take(&b"not an archive"[..], &into, false).unwrap_err();
    assert_eq!(listing(&into), ["file/"]);
    scratch.assert_outside_is_untouched("errors");
}

#[test]
fn owners_are_kept_only_when_asked_for_and_rights_go_with_them() {
    if skipped_without_root() {
        return;
    }
    let (_scratch, tree, into) = place();
    let file = tree.join("file");
    std::os::unix::fs::chown(&file, Some(1234), Some(5678)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o6755)).unwrap();
    for (keep, expected) in [(false, (0, 0, 0o755)), (true, (1234, 5678, 0o6755))] {
        copy_with(&tree, &into, false, keep).unwrap();
        let found = fs::metadata(into.join("tree/file")).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), expected);
    }
}

#[test]
fn what_the_kernel_makes_up_is_read_to_its_end() {
    let (_scratch, tree, into) = place();
    let made_up = [
        "/proc/cpuinfo",
        "/proc/filesystems",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/proc/sys/kernel/ostype",
    ];
    for path in made_up.map(Path::new).into_iter().filter(|path| path.exists()) {
        assert_eq!(copy(path, &into.join("copy")).unwrap(), Vec::<String>::new());
        let (is, copied) = (fs::read(path).unwrap(), fs::read(into.join("copy")).unwrap());
        assert!(!copied.is_empty());
        // Some of it, such as a clock rate, may have changed.
        let words = |bytes: &[u8]| bytes.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default().to_vec();
        assert_eq!(words(&copied), words(&is), "{path:?}");
    }
    fs::write(tree.join("empty"), "").unwrap();
    copy(&tree.join("empty"), &into.join("empty")).unwrap();
    assert_eq!(fs::read(into.join("empty")).unwrap(), b"");
}

#[test]
fn a_fifo_in_the_place_of_a_directory_holds_nobody_up() {
    let scratch = Scratch::new();
    nix::unistd::mkfifo(&scratch.rootfs().join("fifo"), Mode::S_IRWXU).unwrap();
    let error = open(&scratch.rootfs().join("fifo")).unwrap_err().one_line();
    assert_eq!(error, "Not a directory");
}

#[test]
fn protected_files_are_copied_with_their_protection() {
    use crate::sys::os::attrs;
    use crate::sys::tree::Node;
    if skipped_without_root() {
        return;
    }
    let (_scratch, tree, into) = place();
    let flags = attrs::parse_flags("schg").unwrap().protecting;
    let node = |path: &Path| fs::File::open(path).unwrap();
    for path in ["file", "sub/deep", "sub", ""] {
        attrs::set_flags(Node::Open(node(&tree.join(path)).as_fd()), flags).unwrap();
    }
    for (from, to) in [("file", "one"), ("", "all"), ("sub", "merged"), ("sub/.", "merged")] {
        let from = PathBuf::from(format!("{}/{from}", tree.display()));
        if to == "merged" {
            fs::create_dir_all(into.join(to)).unwrap();
        }
        copy_with(&from, &into.join(to), false, true).unwrap();
    }
    for path in ["one", "all", "all/file", "all/sub", "all/sub/deep", "merged/sub", "merged/sub/deep", "merged/deep"] {
        assert_eq!(attrs::get_flags(Node::Open(node(&into.join(path)).as_fd())).unwrap(), flags, "{path}");
    }
    remove_tree(node(tree.parent().unwrap()).as_fd(), OsStr::new("tree")).unwrap();
    remove_tree(node(into.parent().unwrap()).as_fd(), OsStr::new("into")).unwrap();
}
