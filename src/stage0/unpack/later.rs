//! What has to wait until a tree is whole: the properties of directories, which change while they are filled or are inherited
//! by what is put in them; lists that name users of the image; and file flags, which forbid any further change.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::stat::{SFlag, futimens};
use nix::sys::time::TimeSpec;

use crate::error::{Context, Error, Result};
use crate::sys::os::attrs;
use crate::sys::tree::{self as files, Flags, Node};

use super::accounts::Accounts;
use super::acl::AclText;
use super::meta::{Meta, Warnings};
use super::name;
use super::walk::Walk;

/// The most memory for all of this. A directory takes some 300 bytes.
const MAX_WEIGHT: usize = 512 << 20;

/// The most that is read of the image's own passwd and group files.
const MAX_ACCOUNTS: u64 = 8 << 20;

/// The list of what has to wait.
#[derive(Default)]
pub(super) struct Later {
    directories: Vec<(Vec<u8>, Meta)>,
    described: HashSet<Vec<u8>>,
    /// The directories that were made on the way to something.
    made: Vec<Vec<u8>>,
    acls: Vec<(Vec<u8>, AclText)>,
    flags: Vec<(Vec<u8>, Flags)>,
    weight: usize,
}

impl Later {
    /// Whether the directory `path` has not been described before.
    pub(super) fn may_describe(&self, path: &[u8]) -> bool {
        !self.described.contains(path)
    }

    /// Keeps the names of directories that were made on the way to something.
    ///
    /// # Errors
    /// Too much has to wait.
    pub(super) fn made(&mut self, paths: Vec<Vec<u8>>) -> Result<()> {
        let weight = paths.iter().map(|path| path.len() + size_of::<Vec<u8>>()).sum();
        self.made.extend(paths);
        self.weigh(weight)
    }

    /// The directories, the root among them, of which the archive has said nothing in the end.
    pub(super) fn undescribed(&mut self) -> &[Vec<u8>] {
        self.made.push(Vec::new());
        self.made.retain(|path| !self.described.contains(path));
        &self.made
    }

    /// Keeps the properties of a directory.
    ///
    /// # Errors
    /// Too much has to wait.
    pub(super) fn directory(&mut self, path: &[u8], meta: Meta) -> Result<()> {
        self.described.insert(path.to_vec());
        self.keep_flags(path, &meta);
        self.weigh(2 * path.len() + meta.weight())?;
        self.directories.push((path.to_vec(), meta));
        Ok(())
    }

    /// Keeps what of the properties of another file has to wait.
    ///
    /// # Errors
    /// Too much has to wait.
    pub(super) fn file(&mut self, path: &[u8], meta: Meta) -> Result<()> {
        self.keep_flags(path, &meta);
        for acl in meta.acls.into_iter().filter(AclText::has_names) {
            self.weigh(path.len() + acl.weight())?;
            self.acls.push((path.to_vec(), acl));
        }
        self.weigh(0)
    }

    /// Keeps file flags, if there are any.
    fn keep_flags(&mut self, path: &[u8], meta: &Meta) {
        if meta.flags.protecting | meta.flags.informing != 0 {
            self.weight += path.len() + size_of::<Flags>();
            self.flags.push((path.to_vec(), Flags { unheld: Vec::new(), ..meta.flags }));
        }
    }

    /// Adds to the memory in use.
    fn weigh(&mut self, more: usize) -> Result<()> {
        self.weight += more;
        if self.weight > MAX_WEIGHT {
            return Err(Error::new("the properties of the directories of the archive do not fit in memory"));
        }
        Ok(())
    }

    /// Does all of it. Directories of which the archive says nothing get the time 0: they are the same whenever it is unpacked.
    ///
    /// # Errors
    /// The system refuses it, or a list names somebody whom the image lacks.
    pub(super) fn finish(self, walk: &mut Walk<'_>, owners: bool, warnings: &mut Warnings) -> Result<()> {
        let named = |meta: &Meta| meta.acls.iter().any(AclText::has_names);
        let asks = !self.acls.is_empty() || self.directories.iter().any(|(_, meta)| named(meta));
        let accounts = if asks { accounts(walk)? } else { Accounts::default() };
        for (path, acl) in &self.acls {
            let shown = shown(path);
            on(walk, path, |node| acl.apply(node, &accounts)).context(|| format!("cannot unpack {shown}"))?;
        }
        for (path, meta) in self.directories.iter().rev() {
            let shown = shown(path);
            let fd = walk.existing(path, &shown)?;
            meta.apply_late(Node::Open(fd), owners, &accounts).context(|| format!("cannot unpack {shown}"))?;
        }
        for path in &self.made {
            let shown = shown(path);
            let fd = walk.existing(path, &shown)?;
            futimens(fd, &TimeSpec::new(0, 0), &TimeSpec::new(0, 0))
                .context(|| format!("cannot set the time of {shown}"))?;
        }
        for (path, flags) in self.flags.iter().rev() {
            let shown = shown(path);
            on(walk, path, |node| set_flags(node, flags, warnings))
                .context(|| format!("cannot set the file flags of {shown}"))?;
        }
        Ok(())
    }
}

/// The name of a path as errors show it.
fn shown(path: &[u8]) -> String {
    if path.is_empty() { "rootfs".to_owned() } else { format!("rootfs/{}", name::show(path)) }
}

/// Opens what is at `path` as its kind allows, and hands it over.
fn on(walk: &mut Walk<'_>, path: &[u8], act: impl FnOnce(Node<'_>) -> Result<()>) -> Result<()> {
    let shown = shown(path);
    if path.is_empty() {
        return act(Node::Open(walk.existing(path, &shown)?));
    }
    let (parent, last) = walk.parent(path, false, &shown)?;
    let stat = files::stat_entry(parent, last).context(|| format!("cannot find {shown}"))?;
    if !matches!(files::file_type(&stat), SFlag::S_IFREG | SFlag::S_IFDIR) {
        return act(Node::At(parent, last));
    }
    let opened = files::open_entry(parent, last).context(|| format!("cannot open {shown}"))?;
    act(Node::Open(opened.as_fd()))
}

/// Sets flags. Those that only inform may be refused.
fn set_flags(node: Node<'_>, flags: &Flags, warnings: &mut Warnings) -> Result<()> {
    match attrs::set_flags(node, flags.protecting | flags.informing) {
        Err(e) if e.errno() == Errno::EOPNOTSUPP && flags.informing != 0 => {
            warnings.count("file flags that protect nothing are not kept by this filesystem");
            if flags.protecting == 0 {
                return Ok(());
            }
            attrs::set_flags(node, flags.protecting).context(|| "this host cannot hold them")
        }
        other => other.context(|| "this host cannot hold them"),
    }
}

/// The users and groups of the image. Files that are not there, or are symlinks, name nobody.
fn accounts(walk: &mut Walk<'_>) -> Result<Accounts> {
    let mut read = |path: &[u8]| -> Result<Vec<u8>> {
        let mut text = Vec::new();
        let Ok((parent, last)) = walk.parent(path, false, "the lookup of users") else { return Ok(text) };
        let regular = files::stat_entry(parent, last).is_ok_and(|stat| files::file_type(&stat) == SFlag::S_IFREG);
        if regular {
            let file = files::open_entry(parent, last).context(|| format!("cannot open {}", shown(path)))?;
            let mut limited = File::from(file).take(MAX_ACCOUNTS);
            limited.read_to_end(&mut text).context(|| format!("cannot read {}", shown(path)))?;
        }
        Ok(text)
    };
    Ok(Accounts::parse(&read(b"etc/passwd")?, &read(b"etc/group")?))
}
