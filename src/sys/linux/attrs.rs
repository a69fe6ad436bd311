//! Extended attributes, access control lists and inode flags of Linux.
//!
//! Access control lists are extended attributes here, so whatever copies those has copied these.

use std::ffi::{CString, OsStr, c_int, c_long, c_void};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag};

use crate::sys::acl::{self, AclKind, AclTexts, PosixAcl};
use crate::sys::tree::{self, Flags, Node, Xattrs};
use crate::sys::{Call, Error, Result};

/// The flags that are kept, by their names in an archive.
const FLAGS: [(&str, u64); 11] = [
    ("schg", 0x10),
    ("schange", 0x10),
    ("simmutable", 0x10),
    ("uchg", 0x10),
    ("uchange", 0x10),
    ("uimmutable", 0x10),
    ("sappnd", 0x20),
    ("sappend", 0x20),
    ("uappnd", 0x20),
    ("uappend", 0x20),
    ("nodump", 0x40),
];

/// All that [`get_flags`] reports and [`set_flags`] changes: immutable, append-only, nodump.
const KEPT: u64 = 0x10 | 0x20 | 0x40;

/// Whether this kernel has a place for the extended attribute `name`.
pub fn holds_xattr(name: &[u8]) -> bool {
    [&b"user."[..], b"trusted.", b"security.", b"system.posix_acl_"].iter().any(|space| name.starts_with(space))
}

/// Sets the extended attribute `name`.
///
/// # Errors
/// The call that failed.
pub fn set_xattr(node: Node<'_>, name: &[u8], value: &[u8]) -> Result<()> {
    let (path, key) = (c_path(node)?, c_string(name)?);
    let data = value.as_ptr().cast::<c_void>();
    let result = match node {
        // SAFETY: the name ends in NUL, and `data` points to `value.len()` bytes; both outlive the call.
        Node::Open(fd) => unsafe { libc::fsetxattr(fd.as_raw_fd(), key.as_ptr(), data, value.len(), 0) },
        // SAFETY: as above, and the path ends in NUL.
        Node::At(..) => unsafe { libc::lsetxattr(path.as_ptr(), key.as_ptr(), data, value.len(), 0) },
    };
    Errno::result(result).map(drop).call(|| format!("setxattr({node}, {key:?}, …, {})", value.len()))
}

/// Removes the extended attribute `name`.
///
/// # Errors
/// The call that failed.
pub fn remove_xattr(node: Node<'_>, name: &[u8]) -> Result<()> {
    let (path, key) = (c_path(node)?, c_string(name)?);
    let result = match node {
        // SAFETY: the name ends in NUL and outlives the call.
        Node::Open(fd) => unsafe { libc::fremovexattr(fd.as_raw_fd(), key.as_ptr()) },
        // SAFETY: as above, and the path ends in NUL.
        Node::At(..) => unsafe { libc::lremovexattr(path.as_ptr(), key.as_ptr()) },
    };
    Errno::result(result).map(drop).call(|| format!("removexattr({node}, {key:?})"))
}

/// All the extended attributes, access control lists among them. None where the filesystem has none.
///
/// # Errors
/// The call that failed.
pub fn get_xattrs(node: Node<'_>) -> Result<Xattrs> {
    let names = match grow(|buffer| list_xattrs(node, buffer)) {
        Err(Errno::EOPNOTSUPP) => return Ok(Vec::new()),
        other => other.call(|| format!("listxattr({node})"))?,
    };
    let mut found = Vec::new();
    for name in names.split(|b| *b == 0).filter(|name| !name.is_empty()) {
        let key = c_string(name)?;
        let value = grow(|buffer| get_xattr(node, &key, buffer)).call(|| format!("getxattr({node}, {key:?})"))?;
        found.push((name.to_vec(), value));
    }
    Ok(found)
}

/// The extended attributes but access control lists, and those in words.
///
/// # Errors
/// The call that failed, or `EINVAL` for a list that makes no sense.
pub fn get_attributes(node: Node<'_>) -> Result<(Xattrs, AclTexts)> {
    let (mut xattrs, mut acls) = (get_xattrs(node)?, AclTexts::default());
    for (name, place) in
        [(&b"system.posix_acl_access"[..], &mut acls.access), (b"system.posix_acl_default", &mut acls.default)]
    {
        let Some(at) = xattrs.iter().position(|(found, _)| found == name) else { continue };
        let (_, value) = xattrs.swap_remove(at);
        let list = PosixAcl::from_xattr(&value)
            .ok_or_else(|| Error::new(format!("getxattr({node}, {:?})", OsStr::from_bytes(name)), Errno::EINVAL))?;
        *place = Some(acl::join_lines(&list.to_text()));
    }
    Ok((xattrs, acls))
}

/// One listxattr(2) into `buffer`, which may be empty to ask for the size.
fn list_xattrs(node: Node<'_>, buffer: &mut [u8]) -> nix::Result<usize> {
    let path = c_path(node).map_err(|e| e.errno())?;
    let (start, size) = (buffer.as_mut_ptr().cast(), buffer.len());
    let result = match node {
        // SAFETY: `start` points to `size` writable bytes.
        Node::Open(fd) => unsafe { libc::flistxattr(fd.as_raw_fd(), start, size) },
        // SAFETY: as above, and the path ends in NUL.
        Node::At(..) => unsafe { libc::llistxattr(path.as_ptr(), start, size) },
    };
    Errno::result(result).map(isize::cast_unsigned)
}

/// One getxattr(2) into `buffer`, which may be empty to ask for the size.
fn get_xattr(node: Node<'_>, key: &CString, buffer: &mut [u8]) -> nix::Result<usize> {
    let path = c_path(node).map_err(|e| e.errno())?;
    let (start, size) = (buffer.as_mut_ptr().cast(), buffer.len());
    let result = match node {
        // SAFETY: the name ends in NUL and `start` points to `size` writable bytes.
        Node::Open(fd) => unsafe { libc::fgetxattr(fd.as_raw_fd(), key.as_ptr(), start, size) },
        // SAFETY: as above, and the path ends in NUL.
        Node::At(..) => unsafe { libc::lgetxattr(path.as_ptr(), key.as_ptr(), start, size) },
    };
    Errno::result(result).map(isize::cast_unsigned)
}

/// Asks for a size, then for the bytes, and again where they have grown in between.
fn grow(mut ask: impl FnMut(&mut [u8]) -> nix::Result<usize>) -> nix::Result<Vec<u8>> {
    loop {
        let mut buffer = vec![0; ask(&mut [])?];
        if buffer.is_empty() {
            return Ok(buffer);
        }
        match ask(&mut buffer) {
            Err(Errno::ERANGE) => {}
            Err(e) => return Err(e),
            Ok(size) => {
                buffer.truncate(size);
                return Ok(buffer);
            }
        }
    }
}

/// Sets a POSIX.1e access control list.
///
/// # Errors
/// The call that failed.
pub fn set_posix_acl(node: Node<'_>, kind: AclKind, acl: &PosixAcl) -> Result<()> {
    let name: &[u8] = match kind {
        AclKind::Access => b"system.posix_acl_access",
        AclKind::Default => b"system.posix_acl_default",
    };
    set_xattr(node, name, &acl.to_xattr())
}

/// Sets an NFSv4 access control list, which Linux does not have on local files.
///
/// # Errors
/// Always.
pub fn set_nfs4_acl(node: Node<'_>, _text: &str) -> Result<()> {
    Err(Error::new(format!("acl_set({node}, ACL_TYPE_NFS4)"), Errno::EOPNOTSUPP))
}

/// Copies what [`get_xattrs`] does not give of access control lists: nothing on this kernel.
///
/// # Errors
/// None.
pub fn copy_acls(_from: Node<'_>, _to: Node<'_>) -> Result<()> {
    Ok(())
}

/// Reads the names of file flags, with commas between them.
///
/// # Errors
/// The name of a flag that protects the file and that this kernel does not have.
pub fn parse_flags(text: &str) -> std::result::Result<Flags, String> {
    let mut flags = Flags::default();
    for name in text.split(',').filter(|name| !name.is_empty()) {
        match FLAGS.iter().find(|(known, _)| *known == name) {
            Some((_, bits)) if tree::is_informing(name) => flags.informing |= bits,
            Some((_, bits)) => flags.protecting |= bits,
            None if tree::is_informing(name) => flags.unheld.push(name.to_owned()),
            None => return Err(name.to_owned()),
        }
    }
    Ok(flags)
}

/// The names of flags, as [`parse_flags`] reads them.
pub fn flag_names(flags: u64) -> Vec<String> {
    let known = [(0x10, "schg"), (0x20, "sappnd"), (0x40, "nodump")];
    known.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| (*name).to_owned()).collect()
}

/// The flags of a regular file or directory that are kept; none for other files, and where the filesystem has none.
///
/// # Errors
/// The call that failed.
pub fn get_flags(node: Node<'_>) -> Result<u64> {
    let Node::Open(fd) = node else { return Ok(0) };
    match inode_flags(fd) {
        Ok(flags) => Ok(flags & KEPT),
        Err(Errno::ENOTTY | Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOSYS) => Ok(0),
        Err(errno) => Err(Error::new(format!("ioctl({node}, FS_IOC_GETFLAGS)"), errno)),
    }
}

/// Sets the kept flags of a regular file or directory to `flags`.
///
/// # Errors
/// The call that failed; `EOPNOTSUPP` where the filesystem or the kind of file has no such flags.
pub fn set_flags(node: Node<'_>, flags: u64) -> Result<()> {
    let call = || format!("ioctl({node}, FS_IOC_SETFLAGS, {flags:#x})");
    let opened: OwnedFd;
    let fd = match node {
        Node::Open(fd) => fd,
        Node::At(dir, name) => {
            let kind = tree::file_type(&tree::stat_entry(dir, name)?);
            if kind != nix::sys::stat::SFlag::S_IFREG && kind != nix::sys::stat::SFlag::S_IFDIR {
                return Err(Error::new(call(), Errno::EOPNOTSUPP));
            }
            opened = tree::open_entry(dir, name)?;
            opened.as_fd()
        }
    };
    let unsupported = |errno| if errno == Errno::ENOTTY { Errno::EOPNOTSUPP } else { errno };
    let old = inode_flags(fd).map_err(unsupported).call(call)?;
    let new = c_int::try_from((old & !KEPT) | (flags & KEPT)).unwrap_or(c_int::MAX);
    if u64::from(new.cast_unsigned()) == old {
        return Ok(());
    }
    let request = nix::request_code_write!(b'f', 2, size_of::<c_long>());
    // SAFETY: the kernel reads an int from `new`, whatever the size in the request says.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request as _, &raw const new) };
    Errno::result(result).map(drop).map_err(unsupported).call(call)
}

/// FS_IOC_GETFLAGS.
fn inode_flags(fd: BorrowedFd<'_>) -> nix::Result<u64> {
    let mut flags: c_int = 0;
    let request = nix::request_code_read!(b'f', 1, size_of::<c_long>());
    // SAFETY: the kernel writes an int to `flags`, whatever the size in the request says.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), request as _, &raw mut flags) };
    Errno::result(result).map(|_| u64::from(flags.cast_unsigned()))
}

/// Opens the directory `name` of `dir`, which has to be on the same mount: a bind mount is refused too.
///
/// # Errors
/// The call that failed, with `EXDEV` for a mount point.
pub fn open_same_mount(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(tree::CAREFUL | OFlag::O_DIRECTORY)
        .resolve(ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_BENEATH);
    match nix::fcntl::openat2(dir, name, how) {
        // Kernels before 5.6, and filters of system calls that do not know this one.
        Err(Errno::ENOSYS | Errno::EPERM) => tree::open_same_device(dir, name),
        other => other.call(|| format!("openat2({}, {name:?}, RESOLVE_NO_XDEV)", dir.as_raw_fd())),
    }
}

/// Makes `to` share the blocks of `from`; false where the filesystem cannot.
pub fn clone_file(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> bool {
    let request = nix::request_code_write!(0x94, 9, size_of::<c_int>());
    // SAFETY: FICLONE takes a descriptor by value and no memory.
    unsafe { libc::ioctl(to.as_raw_fd(), request as _, from.as_raw_fd()) == 0 }
}

/// A path for the calls that have no form with a directory: the last part of it is not followed by them.
fn c_path(node: Node<'_>) -> Result<CString> {
    let Node::At(dir, name) = node else { return Ok(CString::default()) };
    let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    c_string(&path)
}

/// The bytes with a NUL after them.
fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| Error::new(format!("{:?}", OsStr::from_bytes(bytes)), Errno::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flag_names_are_translated() {
        let flags = |protecting, informing, unheld: &[&str]| {
            Ok(Flags { protecting, informing, unheld: unheld.iter().map(|s| (*s).to_owned()).collect() })
        };
        for (text, expected) in [
            ("", flags(0, 0, &[])),
            ("schg", flags(0x10, 0, &[])),
            ("uchg,uarch", flags(0x10, 0, &["uarch"])),
            ("sappnd,nodump", flags(0x20, 0x40, &[])),
            ("hidden,system,sparse", flags(0, 0, &["hidden", "system", "sparse"])),
            ("schg,sunlnk", Err("sunlnk".to_owned())),
            ("nonsense", Err("nonsense".to_owned())),
        ] {
            assert_eq!(parse_flags(text), expected, "{text}");
        }
        assert_eq!(flag_names(0x70), ["schg", "sappnd", "nodump"]);
    }
}
