//! Archives and what comes out of them.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::testing::{MANIFEST, pack_path, unpack_path};
use super::*;
use crate::stage0::diff::{Difference, diff};
use crate::sys::os::attrs;
use crate::sys::testing::{Scratch, skipped_without_root};
use crate::sys::tree::Node;

/// The names of the entries of an archive, as the tar crate reads them.
fn names(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| entry.unwrap().path_bytes().into_owned());
    entries.map(|name| show(&name)).collect()
}

/// What differs between a tree and what comes out of its archive.
fn round_trip(scratch: &Scratch) -> Difference {
    let (bytes, packed) = pack_path(&scratch.rootfs(), &Selection::All).unwrap();
    assert_eq!((packed.size, &packed.id_digest[..]), (bytes.len() as u64, &Sha512::digest(&bytes)[..]));
    let copy = scratch.path().join("copy");
    let unpacked = unpack_path(&bytes, &copy).unwrap();
    assert_eq!((unpacked.manifest.as_slice(), unpacked.id_digest), (MANIFEST, packed.id_digest));
    assert_eq!((unpacked.files, unpacked.size, unpacked.warnings), (packed.files, packed.size, Vec::new()));
    let (tree, made) = (File::open(scratch.rootfs()).unwrap(), File::open(&copy).unwrap());
    let difference = diff(tree.as_fd(), made.as_fd(), &|_| false).unwrap();
    assert!(pack_path(&copy, &Selection::All).unwrap().0 == bytes, "not the same archive again");
    difference
}

#[test]
fn entries_have_an_order_and_the_first_name_is_the_file() {
    let scratch = Scratch::new();
    let at = |name: &str| scratch.rootfs().join(name);
    fs::create_dir_all(at("b/c")).unwrap();
    fs::write(at("z"), "content").unwrap();
    for name in ["b-", "b/c/z", "a"] {
        fs::hard_link(at("z"), at(name)).unwrap();
    }
    symlink("../..", at("b/l")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(at("s")).unwrap());
    let (bytes, packed) = pack_path(&scratch.rootfs(), &Selection::All).unwrap();
    let expected = "manifest rootfs rootfs/a rootfs/b rootfs/b/c rootfs/b/c/z rootfs/b/l rootfs/b- rootfs/z";
    assert_eq!(names(&bytes).join(" "), expected);
    assert_eq!((packed.files, packed.warnings), (8, vec!["sockets are left out (1 file)".to_owned()]));
    let mut archive = tar::Archive::new(&bytes[..]);
    let links = archive.entries().unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        let link = entry.link_name_bytes().map(|link| show(&link));
        link.map(|link| format!("{}>{link}", show(&entry.path_bytes())))
    });
    let expected = ["rootfs/b/c/z>rootfs/a", "rootfs/b/l>../..", "rootfs/b->rootfs/a", "rootfs/z>rootfs/a"];
    assert_eq!(links.collect::<Vec<_>>(), expected);
}

#[test]
fn a_plain_tree_needs_no_extended_headers() {
    let scratch = Scratch::new();
    let file = scratch.rootfs().join("f");
    fs::write(&file, "content").unwrap();
    for path in [&file, &scratch.rootfs()] {
        File::open(path).unwrap().set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(5)).unwrap();
    }
    let (bytes, _) = pack_path(&scratch.rootfs(), &Selection::All).unwrap();
    // Manifest and file with a header and a block each, the root with a header, and the end.
    assert_eq!(bytes.len(), 512 * 7);
    let header = tar::Header::from_byte_slice(&bytes[512 * 3..512 * 4]);
    assert_eq!((header.path_bytes().as_ref(), header.mtime().unwrap()), (&b"rootfs/f"[..], 5));
    assert_eq!((header.username_bytes(), header.groupname_bytes()), (Some(&b""[..]), Some(&b""[..])));
}

#[test]
fn a_round_trip_keeps_everything() {
    if skipped_without_root() {
        return;
    }
    let scratch = Scratch::new();
    let at = |name: &str| scratch.rootfs().join(name);
    // As long as this kernel lets a path be, the scratch directory's own name before it.
    let longest = usize::try_from(libc::PATH_MAX).unwrap() - 96;
    let long = vec!["y".repeat(240); longest / 241].join("/");
    fs::create_dir_all(at(&long)).unwrap();
    fs::write(at(&long).join("file"), vec![7; 1_000_000]).unwrap();
    fs::hard_link(at(&long).join("file"), at(&long).join("link")).unwrap();
    symlink("t".repeat(longest), at("symlink")).unwrap();
    fs::create_dir(at("d")).unwrap();
    for byte in (1..=255).filter(|byte| *byte != b'/') {
        let name = [b"d/name-", &[byte][..]].concat();
        fs::write(scratch.rootfs().join(OsStr::from_bytes(&name)), [byte]).unwrap();
        let name = [b"d/", &[byte; 150][..]].concat();
        symlink(OsStr::from_bytes(&[byte; 120]), scratch.rootfs().join(OsStr::from_bytes(&name))).unwrap();
    }
    let program = File::create(at("ping")).unwrap();
    std::os::unix::fs::lchown(at("ping"), Some(70_000), Some(u32::MAX - 1)).unwrap();
    fs::set_permissions(at("ping"), fs::Permissions::from_mode(0o6755)).unwrap();
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (name, value) in [(&b"security.capability"[..], &capability[..]), (b"user.a=\n%41\xfe", b"\0\n=")] {
        if attrs::holds_xattr(name) {
            attrs::set_xattr(Node::Open(program.as_fd()), name, value).unwrap();
        }
    }
    let sparse = File::create(at("sparse")).unwrap();
    sparse.set_len(3 << 20).unwrap();
    program.set_modified(std::time::UNIX_EPOCH - std::time::Duration::from_millis(1500)).unwrap();
    assert_eq!(round_trip(&scratch), Difference { remaining: round_trip_paths(&scratch), ..Default::default() });
    assert!(fs::metadata(scratch.path().join("copy/sparse")).unwrap().blocks() < 8);
}

/// Every path of the tree but the root.
fn round_trip_paths(scratch: &Scratch) -> Vec<PathBuf> {
    let mut walk = Walk::new(File::open(scratch.rootfs()).unwrap().as_fd()).unwrap();
    let mut paths = Vec::new();
    while walk.advance().unwrap().is_some() {
        paths.push(walk.path().to_owned());
    }
    paths.split_off(1)
}

#[test]
fn a_selection_brings_its_parents_and_nothing_else() {
    let scratch = Scratch::new();
    let at = |name: &str| scratch.rootfs().join(name);
    fs::create_dir_all(at("a/b/c")).unwrap();
    fs::create_dir_all(at("d/e")).unwrap();
    for name in ["a/b/f", "a/b/g", "a/h", "d/i"] {
        fs::write(at(name), "").unwrap();
    }
    let select = |paths: &[&str]| Selection::Paths(paths.iter().map(PathBuf::from).collect());
    let (bytes, _) = pack_path(&scratch.rootfs(), &select(&["a/b/g", "d"])).unwrap();
    assert_eq!(names(&bytes).join(" "), "manifest rootfs rootfs/a rootfs/a/b rootfs/a/b/g rootfs/d");
    let (bytes, _) = pack_path(&scratch.rootfs(), &select(&[])).unwrap();
    assert_eq!(names(&bytes).join(" "), "manifest rootfs");
    let (bytes, _) = pack_path(&scratch.rootfs(), &select(&[""])).unwrap();
    assert_eq!(names(&bytes).join(" "), "manifest rootfs");
    for missing in ["a/b/x", "a/h/x", "zz", "/a", "../a"] {
        let error = pack_path(&scratch.rootfs(), &select(&[missing, "d/e"])).unwrap_err().to_string();
        assert!(error.starts_with("cannot pack ") && error.ends_with(": it is not there"), "{missing}: {error}");
    }
}

#[test]
fn names_linked_to_what_is_not_selected_are_files() {
    let scratch = Scratch::new();
    let at = |name: &str| scratch.rootfs().join(name);
    fs::write(at("a"), "content").unwrap();
    fs::hard_link(at("a"), at("b")).unwrap();
    fs::hard_link(at("a"), at("c")).unwrap();
    let selection = Selection::Paths(["b", "c"].map(PathBuf::from).into());
    let (bytes, _) = pack_path(&scratch.rootfs(), &selection).unwrap();
    let copy = scratch.path().join("copy");
    unpack_path(&bytes, &copy).unwrap();
    assert_eq!(fs::read(copy.join("b")).unwrap(), b"content");
    assert_eq!(fs::metadata(copy.join("c")).unwrap().nlink(), 2);
}

#[test]
fn what_belongs_to_the_host_is_not_written() {
    if skipped_without_root() || !attrs::holds_xattr(b"trusted.x") {
        return;
    }
    let scratch = Scratch::new();
    fs::write(scratch.rootfs().join("f"), "").unwrap();
    let (before, _) = pack_path(&scratch.rootfs(), &Selection::All).unwrap();
    let file = File::open(scratch.rootfs().join("f")).unwrap();
    for name in [&b"trusted.overlay.opaque"[..], b"user.overlay.metacopy", b"security.selinux"] {
        // The last only where no security module forbids it.
        let _ = attrs::set_xattr(Node::Open(file.as_fd()), name, b"y");
    }
    assert!(attrs::get_xattrs(Node::Open(file.as_fd())).unwrap().len() > 1);
    let (after, _) = pack_path(&scratch.rootfs(), &Selection::All).unwrap();
    assert!(before == after);
}

#[test]
fn whiteouts_are_refused() {
    let scratch = Scratch::new();
    let mode = nix::sys::stat::Mode::S_IRUSR;
    if skipped_without_root() || nix::sys::stat::mknod(&scratch.rootfs().join("w"), SFlag::S_IFCHR, mode, 0).is_err() {
        return;
    }
    let error = pack_path(&scratch.rootfs(), &Selection::All).unwrap_err().one_line();
    assert_eq!(error, "cannot pack /w: it is a whiteout, the device 0:0, which belongs to overlayfs");
}

/// A writer that changes a file when the archive has come to its content.
struct Meddler<'a>(&'a dyn Fn());

impl Write for Meddler<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.starts_with(b"xxxx") {
            self.0();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error() {
    let scratch = Scratch::new();
    let file = scratch.rootfs().join("log");
    let size = 2 * BUFFER as u64;
    let changes: [&dyn Fn(); 3] = [
        &|| File::options().write(true).open(&file).unwrap().set_len(size + 1).unwrap(),
        &|| File::options().write(true).open(&file).unwrap().set_len(size - 1).unwrap(),
        &|| File::open(&file).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap(),
    ];
    for change in changes {
        fs::write(&file, vec![b'x'; size as usize]).unwrap();
        let root = File::open(scratch.rootfs()).unwrap();
        let error = pack(MANIFEST, root.as_fd(), &Selection::All, Meddler(change)).unwrap_err().one_line();
        assert_eq!(error, "cannot pack /log: it changed while it was read");
    }
}

#[test]
fn a_file_that_is_written_while_it_is_read_is_as_long_as_it_said() {
    let scratch = Scratch::new();
    let file = scratch.rootfs().join("log");
    let size = 2 * BUFFER as u64;
    let set_len = |size| File::options().write(true).open(&file).unwrap().set_len(size).unwrap();
    let changes: [(&dyn Fn(), u64); 3] = [
        (&|| set_len(size + 1), size),
        (&|| set_len(size - 100_000), size - 100_000),
        (&|| set_len(100), BUFFER as u64 + 1),
    ];
    for only in [None, Some(OsString::from("log"))] {
        for (change, content) in changes {
            fs::write(&file, vec![b'x'; size as usize]).unwrap();
            let root = File::open(scratch.rootfs()).unwrap();
            let mut bytes = Vec::new();
            let selection = Selection::InUse(only.clone());
            let packed = pack(MANIFEST, root.as_fd(), &selection, Tee(Meddler(change), &mut bytes)).unwrap();
            let warning = "files that changed while they were read may be cut short or end in zeros (1 file)";
            assert_eq!(packed.warnings, [warning]);
            let into = scratch.path().join(format!("into-{content}-{}", only.is_some()));
            super::testing::unpack_path(&bytes, &into).unwrap();
            let copied = fs::read(into.join("log")).unwrap();
            assert_eq!(copied.len() as u64, size);
            assert!(copied[..content as usize].iter().all(|byte| *byte == b'x'), "{content}");
            assert!(copied[content as usize..].iter().all(|byte| *byte == 0), "{content}");
        }
    }
}

#[test]
fn what_vanishes_from_a_tree_in_use_is_left_out() {
    let scratch = Scratch::new();
    let root = scratch.rootfs();
    for directory in ["a", "b/c", "e"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for file in ["a/1", "b/c/2", "d", "e/3"] {
        fs::write(root.join(file), format!("xxxx{file}")).unwrap();
    }
    let change = || {
        fs::remove_dir_all(root.join("b")).ok();
        fs::remove_file(root.join("d")).ok();
    };
    let mut bytes = Vec::new();
    let opened = File::open(&root).unwrap();
    let packed = pack(MANIFEST, opened.as_fd(), &Selection::InUse(None), Tee(Meddler(&change), &mut bytes)).unwrap();
    assert!(packed.warnings.iter().all(|warning| warning.starts_with("what vanished meanwhile is left out (")));
    assert_eq!(names(&bytes), ["manifest", "rootfs", "rootfs/a", "rootfs/a/1", "rootfs/e", "rootfs/e/3"]);
    // The one that was asked for must not have, and nothing else of its directory is looked at.
    let only = |name: &str| Selection::InUse(Some(OsString::from(name)));
    let error = pack(MANIFEST, opened.as_fd(), &only("d"), io::sink()).unwrap_err().one_line();
    assert!(error.contains("No such file or directory") || error.contains("ENOENT"), "{error}");
    let mut bytes = Vec::new();
    pack(MANIFEST, opened.as_fd(), &only("a"), &mut bytes).unwrap();
    assert_eq!(names(&bytes)[..3], ["manifest", "rootfs", "rootfs/a"]);
}

/// Passes on to both.
struct Tee<'a, W>(W, &'a mut Vec<u8>);

impl<W: Write> Write for Tee<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(bytes)?;
        self.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_manifest_has_a_limit() {
    let scratch = Scratch::new();
    let root = File::open(scratch.rootfs()).unwrap();
    let manifest = vec![b' '; 16 << 20];
    pack(&manifest, root.as_fd(), &Selection::All, io::sink()).unwrap();
    let error = pack(&[&manifest[..], b" "].concat(), root.as_fd(), &Selection::All, io::sink()).unwrap_err();
    assert_eq!(error.to_string(), "the manifest has 16777217 bytes, more than 16777216");
}
