//! Trees made and changed by chance, the same for the same seed, and all there is to say of a tree.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::fd::AsFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, mknod, utimensat};
use nix::sys::time::TimeSpec;

use crate::sys::acl::{AclKind, PosixAcl, Tag};
use crate::sys::os::attrs;
use crate::sys::paths::remove_tree;
use crate::sys::tree::Node;

/// Numbers by chance (xorshift*).
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
    text: bool,
}

impl Random {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Random { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1, text: false }
    }

    /// The same, for trees whose names are all text.
    #[must_use]
    pub fn of_text(self) -> Self {
        Random { text: true, ..self }
    }

    /// A number below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = *self.pick(&[0, 1, 511, 512, 513, 4096, 70_000]);
        let zeros = self.below(4) == 0;
        (0..length).map(|_| if zeros { 0 } else { self.below(256) as u8 }).collect()
    }

    /// A name, of few enough that they are met again.
    fn name(&mut self) -> Vec<u8> {
        let long = [b'x'; 190];
        let names: [&[u8]; 12] = [
            b"a",
            b"a-",
            b"a b",
            b"B",
            b".hid",
            b"new\nline",
            b"\xff\xfe",
            b"\xc3\xa4",
            b"=%3D",
            b"-",
            b"\x1b[2J",
            &long,
        ];
        let name = *self.pick(&names);
        let name = if self.text && str::from_utf8(name).is_err() { b"text" } else { name };
        [name, self.below(6).to_string().as_bytes()].concat()
    }
}

/// A tree that changes.
#[derive(Debug)]
pub struct Wild<'a> {
    /// What decides.
    pub random: &'a mut Random,
    /// The directory that it is in.
    pub root: &'a Path,
}

impl Wild<'_> {
    /// Adds entries.
    pub fn grow(&mut self, count: usize) {
        (0..count).for_each(|_| self.add());
        self.seal();
    }

    /// Changes whatever is there.
    pub fn disturb(&mut self, count: usize) {
        for path in paths(self.root) {
            set_flags(&self.root.join(path), 0);
        }
        (0..count).for_each(|_| self.change());
        self.seal();
    }

    /// Protects some files.
    fn seal(&mut self) {
        for path in paths(self.root) {
            if self.random.below(8) == 0 {
                let flags = *self.random.pick(&["schg", "sappnd", "nodump"]);
                let flags = attrs::parse_flags(flags).unwrap();
                set_flags(&self.root.join(path), flags.protecting | flags.informing);
            }
        }
    }

    /// A path of the tree.
    fn any(&mut self, wanted: impl Fn(&fs::Metadata) -> bool) -> Option<PathBuf> {
        let mut found: Vec<PathBuf> = paths(self.root).into_iter().map(|path| self.root.join(path)).collect();
        found.retain(|path| wanted(&fs::symlink_metadata(path).unwrap()));
        (!found.is_empty()).then(|| self.random.pick(&found).clone())
    }

    /// A new name in some directory.
    fn place(&mut self) -> PathBuf {
        let directory = self.any(fs::Metadata::is_dir).unwrap();
        directory.join(OsStr::from_bytes(&self.random.name()))
    }

    fn add(&mut self) {
        let place = self.place();
        if place.symlink_metadata().is_err() {
            self.make(&place);
        }
    }

    /// Makes a file of some type.
    fn make(&mut self, place: &Path) {
        match self.random.below(10) {
            0..=2 => fs::write(place, self.random.bytes()).unwrap(),
            3..=5 => fs::create_dir(place).unwrap(),
            6 => {
                let mut target = self.random.name().repeat(self.random.below(9) + 1);
                // FreeBSD's limit is 1024, the final NUL included.
                target.truncate(1000);
                symlink(OsStr::from_bytes(&target), place).unwrap();
            }
            7 => nix::unistd::mkfifo(place, Mode::S_IRUSR).unwrap(),
            8 => {
                let kind = *self.random.pick(&[SFlag::S_IFCHR, SFlag::S_IFBLK]);
                let number = libc::makedev(*self.random.pick(&[1, 300]), *self.random.pick(&[3, 4, 70_000]));
                mknod(place, kind, Mode::S_IRUSR, number).unwrap();
            }
            _ => return self.link(place),
        }
        for _ in 0..3 {
            self.adorn(place);
        }
    }

    /// Makes another name of a file.
    fn link(&mut self, place: &Path) {
        if let Some(file) = self.any(|file| !file.is_dir()) {
            fs::hard_link(file, place).unwrap();
        }
    }

    /// Changes a property.
    fn adorn(&mut self, path: &Path) {
        let kind = fs::symlink_metadata(path).unwrap().file_type();
        match self.random.below(5) {
            0 => {
                let (uid, gid) = (*self.random.pick(&[0, 7, 4_000_000_000]), *self.random.pick(&[0, 8, 2_097_152]));
                std::os::unix::fs::lchown(path, Some(uid), Some(gid)).unwrap();
            }
            1 if !kind.is_symlink() => {
                let mode = *self.random.pick(&[0o600, 0o644, 0o6711, 0o1777, 0o000]);
                fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
            }
            2 => {
                let seconds = *self.random.pick(&[0, -3, 1_600_000_000, 10_000_000_000]);
                set_time(path, TimeSpec::new(seconds, *self.random.pick(&[0, 1, 500_000_000])));
            }
            3 if kind.is_file() || kind.is_dir() => {
                let name = *self.random.pick(&[&b"user.a"[..], b"user.=%", b"user.\xff"]);
                let value = *self.random.pick(&[&b""[..], b"1", b"line\nnext\0\xff"]);
                attrs::set_xattr(Node::Open(File::open(path).unwrap().as_fd()), name, value).unwrap();
            }
            4 if kind.is_file() || kind.is_dir() => self.list(path, kind.is_dir()),
            _ => {}
        }
    }

    /// Gives a file an access control list.
    fn list(&mut self, path: &Path, is_directory: bool) {
        let (user, kind) = (*self.random.pick(&[5, 3_000_000_000]), self.random.below(2));
        let fixed = [(Tag::Owner, 6), (Tag::OwningGroup, 4), (Tag::Mask, 7), (Tag::Other, 0)];
        let acl = PosixAcl::new([&fixed[..], &[(Tag::User(user), 5)]].concat()).unwrap();
        let kind = if is_directory && kind == 0 { AclKind::Default } else { AclKind::Access };
        // The filesystem may have lists of another kind, or none.
        let _ = attrs::set_posix_acl(Node::Open(File::open(path).unwrap().as_fd()), kind, &acl);
    }

    /// Changes something.
    fn change(&mut self) {
        let root = self.root.to_owned();
        let Some(path) = self.any(|_| true) else { return };
        match self.random.below(9) {
            0 => self.add(),
            1 => self.rewrite(),
            2 if path != root => remove_tree(&path).unwrap(),
            3 if path != root => drop(fs::rename(&path, self.place())),
            4 if path != root => {
                remove_tree(&path).unwrap();
                self.make(&path);
            }
            5 => {
                let place = self.place();
                if place.symlink_metadata().is_err() {
                    self.link(&place);
                }
            }
            6 => self.part(),
            _ => self.adorn(&path),
        }
    }

    /// Changes the content of a file, and neither its length nor its time.
    fn rewrite(&mut self) {
        let Some(path) = self.any(fs::Metadata::is_file) else { return };
        let before = fs::metadata(&path).unwrap();
        let content: Vec<u8> = fs::read(&path).unwrap().iter().map(|byte| byte ^ 1).collect();
        fs::write(&path, content).unwrap();
        set_time(&path, TimeSpec::new(before.mtime(), before.mtime_nsec()));
    }

    /// Makes one of the names of a file a file of its own.
    fn part(&mut self) {
        let Some(path) = self.any(|file| file.is_file() && file.nlink() > 1) else { return };
        let content = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, content).unwrap();
    }
}

fn set_time(path: &Path, time: TimeSpec) {
    utimensat(AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink).unwrap();
}

/// Sets flags where files have them.
fn set_flags(path: &Path, flags: u64) {
    let kind = fs::symlink_metadata(path).unwrap().file_type();
    if kind.is_file() || kind.is_dir() {
        // The filesystem may have none.
        let _ = attrs::set_flags(Node::Open(File::open(path).unwrap().as_fd()), flags);
    }
}

/// All paths of a tree, relative to it, the root's empty one first.
pub fn paths(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    let mut at = 0;
    while at < found.len() {
        let path = root.join(&found[at]);
        if path.symlink_metadata().unwrap().is_dir() {
            let names = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name());
            let below: Vec<PathBuf> = names.map(|name| found[at].join(name)).collect();
            found.extend(below);
        }
        at += 1;
    }
    found.sort();
    found
}

/// All that there is to say of each file of a tree.
pub fn describe(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut first = BTreeMap::new();
    let mut described = BTreeMap::new();
    for path in paths(root) {
        let full = root.join(&path);
        let m = fs::symlink_metadata(&full).unwrap();
        let parent = File::open(full.parent().unwrap()).unwrap();
        let kind = m.file_type();
        let opened = (kind.is_file() || kind.is_dir()).then(|| File::open(&full).unwrap());
        let node = match &opened {
            Some(file) => Node::Open(file.as_fd()),
            None => Node::At(parent.as_fd(), full.file_name().unwrap()),
        };
        let mut xattrs = attrs::get_attributes(node).unwrap();
        xattrs.0.sort();
        let content = kind.is_file().then(|| fs::read(&full).unwrap());
        let content = content
            .map(|content| (content.len(), content.iter().fold(7u64, |h, b| h * 31 % 1_000_003 + u64::from(*b))));
        let device = (kind.is_block_device() || kind.is_char_device()).then(|| m.rdev());
        let same = if kind.is_dir() { path.clone() } else { first.entry(m.ino()).or_insert(path.clone()).clone() };
        let flags = attrs::get_flags(node).unwrap();
        let words = format!(
            "{:o} {}:{} {}.{:09} {content:?} {:?} {device:?} {xattrs:?} {flags:#x} {same:?}",
            m.mode(),
            m.uid(),
            m.gid(),
            m.mtime(),
            m.mtime_nsec(),
            fs::read_link(&full).ok(),
        );
        described.insert(path, words);
    }
    described
}
