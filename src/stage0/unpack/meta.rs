//! What a file has beside its content, and putting it on the file.

use std::collections::BTreeMap;

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmod, fchmodat, futimens, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchown, fchownat};

use crate::error::{Context, Error, Result};
use crate::sys::acl::AclKind;
use crate::sys::os::attrs;
use crate::sys::tree::{Flags, Node};

use super::accounts::Accounts;
use super::acl::AclText;
use super::entry::{Entry, Kind};
use super::{name, pax};

/// The most kinds of warnings that are told apart.
const MAX_WARNINGS: usize = 32;

/// What could not be kept and protects nothing, counted.
#[derive(Default)]
pub(in crate::stage0) struct Warnings(BTreeMap<String, u64>);

impl Warnings {
    /// One more file of which `what` holds.
    pub(in crate::stage0) fn count(&mut self, what: &str) {
        let known = self.0.contains_key(what) || self.0.len() < MAX_WARNINGS;
        *self.0.entry(if known { what } else { "other properties are not kept" }.to_owned()).or_default() += 1;
    }

    /// So many more files of which `what` holds.
    pub(in crate::stage0) fn count_all(&mut self, what: &str, files: u64) {
        (0..files).for_each(|_| self.count(what));
    }

    /// A line for each kind.
    pub(in crate::stage0) fn lines(self) -> Vec<String> {
        self.0
            .into_iter()
            .map(|(what, count)| format!("{what} ({count} files)").replace("(1 files)", "(1 file)"))
            .collect()
    }
}

/// The names and values of extended attributes.
type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// The properties of a file.
pub(super) struct Meta {
    owner: (u32, u32),
    mode: u32,
    atime: TimeSpec,
    mtime: TimeSpec,
    xattrs: Xattrs,
    pub(super) acls: Vec<AclText>,
    pub(super) flags: Flags,
}

impl Meta {
    /// Reads the properties of an entry.
    ///
    /// # Errors
    /// One of them makes no sense, or is refused.
    pub(super) fn new(entry: &Entry, warnings: &mut Warnings) -> Result<Self> {
        let refuse = |why: String| Error::new(format!("{} {why}", entry.shown()));
        let flags = entry.pax.get("SCHILY.fflags").unwrap_or_default();
        let flags = str::from_utf8(flags).map_err(|_| refuse("has file flags that are not text".to_owned()))?;
        let flags = attrs::parse_flags(flags.trim_end_matches(['\0', '\n'])).map_err(|flag| {
            refuse(format!("has the file flag {}, which this host does not have", name::show(flag.as_bytes())))
        })?;
        for flag in &flags.unheld {
            warnings.count(&format!("the file flag {flag} is not kept"));
        }
        Ok(Meta {
            owner: (entry.uid, entry.gid),
            mode: entry.mode,
            atime: entry.atime,
            mtime: entry.mtime,
            xattrs: xattrs(entry, warnings).map_err(refuse)?,
            acls: acls(entry).map_err(|why| refuse(format!("has an access control list that {why}")))?,
            flags,
        })
    }

    /// Whether this is a program that runs with rights of its own.
    pub(super) fn is_setuid(&self) -> bool {
        self.mode & 0o6000 != 0
    }

    /// Puts on the file what may be put there at once: owner, mode, extended attributes, lists without names, times.
    ///
    /// # Errors
    /// The system refuses it.
    pub(super) fn apply(&self, node: Node<'_>, kind: Kind, owners: bool, warnings: &mut Warnings) -> Result<()> {
        self.apply_owner(node, kind, owners)?;
        self.apply_xattrs(node, warnings, |_| true)?;
        for acl in self.acls.iter().filter(|acl| !acl.has_names()) {
            acl.apply(node, &Accounts::default())?;
        }
        self.apply_times(node)
    }

    /// Puts on a new directory what children do not inherit, and forgets it.
    ///
    /// # Errors
    /// The system refuses it.
    pub(super) fn apply_early(&mut self, node: Node<'_>, warnings: &mut Warnings) -> Result<()> {
        let inherited = |name: &[u8]| name.starts_with(b"system.posix_acl_");
        self.apply_xattrs(node, warnings, |name| !inherited(name))?;
        self.xattrs.retain(|(name, _)| inherited(name));
        Ok(())
    }

    /// Puts on a directory what had to wait until its content was there.
    ///
    /// # Errors
    /// The system refuses it, or a list names somebody whom the image lacks.
    pub(super) fn apply_late(&self, node: Node<'_>, owners: bool, accounts: &Accounts) -> Result<()> {
        self.apply_owner(node, Kind::Directory, owners)?;
        self.apply_xattrs(node, &mut Warnings::default(), |_| true)?;
        for acl in &self.acls {
            acl.apply(node, accounts)?;
        }
        self.apply_times(node)
    }

    /// An estimate of the memory it takes.
    pub(super) fn weight(&self) -> usize {
        let xattrs: usize = self.xattrs.iter().map(|(name, value)| name.len() + value.len() + 48).sum();
        size_of::<Self>() + xattrs + self.acls.iter().map(AclText::weight).sum::<usize>()
    }

    /// Owner, then mode, since a change of the owner clears bits of the mode.
    fn apply_owner(&self, node: Node<'_>, kind: Kind, owners: bool) -> Result<()> {
        if owners {
            let (uid, gid) = (Some(Uid::from_raw(self.owner.0)), Some(Gid::from_raw(self.owner.1)));
            match node {
                Node::Open(fd) => fchown(fd, uid, gid),
                Node::At(dir, name) => fchownat(dir, name, uid, gid, AtFlags::AT_SYMLINK_NOFOLLOW),
            }
            .context(|| format!("cannot give it to user {} and group {}", self.owner.0, self.owner.1))?;
        }
        let mode = Mode::from_bits_truncate(self.mode as libc::mode_t);
        match node {
            Node::Open(fd) => fchmod(fd, mode),
            Node::At(..) if kind == Kind::Symlink => Ok(()),
            Node::At(dir, name) => fchmodat(dir, name, mode, FchmodatFlags::NoFollowSymlink),
        }
        .context(|| format!("cannot set its mode to {:o}", self.mode))
    }

    /// The extended attributes that are `wanted`.
    fn apply_xattrs(&self, node: Node<'_>, warnings: &mut Warnings, wanted: impl Fn(&[u8]) -> bool) -> Result<()> {
        for (name, value) in self.xattrs.iter().filter(|(name, _)| wanted(name)) {
            match attrs::set_xattr(node, name, value) {
                Err(e) if matches!(node, Node::At(..)) && matches!(e.errno(), Errno::EPERM | Errno::EOPNOTSUPP) => {
                    warnings.count("extended attributes of symlinks, devices and fifos are not kept");
                }
                other => other.context(|| format!("cannot set its extended attribute {}", name::show(name)))?,
            }
        }
        Ok(())
    }

    /// The times, which are last of all.
    fn apply_times(&self, node: Node<'_>) -> Result<()> {
        match node {
            Node::Open(fd) => futimens(fd, &self.atime, &self.mtime),
            Node::At(dir, name) => utimensat(dir, name, &self.atime, &self.mtime, UtimensatFlags::NoFollowSymlink),
        }
        .context(|| "cannot set its times")
    }
}

/// The extended attributes that this host can hold, in the order of the archive.
fn xattrs(entry: &Entry, warnings: &mut Warnings) -> std::result::Result<Xattrs, String> {
    let mut found = Xattrs::new();
    for (name, value) in entry.pax.with_prefix("SCHILY.xattr.") {
        found.push((name.as_bytes().to_vec(), value.to_vec()));
    }
    let twins: std::collections::HashSet<Vec<u8>> = found.iter().map(|(name, _)| name.clone()).collect();
    for (name, value) in entry.pax.with_prefix("LIBARCHIVE.xattr.") {
        let decoded = pax::unescape(name).zip(pax::from_base64(value));
        let decoded = decoded.ok_or_else(|| format!("has the extended attribute {}, which is damaged", shown(name)))?;
        if !twins.contains(&decoded.0) {
            found.push(decoded);
        }
    }
    if let Some((name, _)) = found.iter().find(|(name, _)| is_overlay(name)) {
        return Err(format!("has the extended attribute {}, which belongs to overlayfs", name::show(name)));
    }
    if let Some((name, _)) = found.iter().find(|(name, _)| name.is_empty() || name.contains(&0)) {
        return Err(format!("has an extended attribute with the name {:?}", name::show(name)));
    }
    found.retain(|(name, _)| {
        let held = attrs::holds_xattr(name);
        if !held {
            let space = name.split(|b| *b == b'.').next().unwrap_or_default();
            warnings
                .count(&format!("extended attributes {}.* are not kept", name::show(&space[..space.len().min(40)])));
        }
        held
    });
    Ok(found)
}

/// Whether the attribute would tell overlayfs to do something.
pub(in crate::stage0) fn is_overlay(name: &[u8]) -> bool {
    name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.")
}

/// A name as errors show it.
fn shown(name: &str) -> String {
    name::show(name.as_bytes())
}

/// The access control lists.
fn acls(entry: &Entry) -> std::result::Result<Vec<AclText>, String> {
    let mut acls = Vec::new();
    if let Some(text) = entry.pax.get("SCHILY.acl.access") {
        acls.push(AclText::posix(AclKind::Access, text)?);
    }
    if let Some(text) = entry.pax.get("SCHILY.acl.default") {
        acls.push(AclText::posix(AclKind::Default, text)?);
    }
    if let Some(text) = entry.pax.get("SCHILY.acl.ace") {
        acls.push(AclText::nfs4(text)?);
    }
    Ok(acls)
}
