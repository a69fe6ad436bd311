//! Extended attributes, access control lists and file flags of FreeBSD.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_ulong, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;

use crate::sys::acl::{self, AclKind, AclTexts, PosixAcl};
use crate::sys::tree::{self, Flags, Node, Xattrs};
use crate::sys::{Call, Error, Result};

/// The namespaces of extended attributes and how an archive writes them.
const NAMESPACES: [(&[u8], c_int); 2] =
    [(b"user.", libc::EXTATTR_NAMESPACE_USER), (b"system.", libc::EXTATTR_NAMESPACE_SYSTEM)];

/// Attributes in which UFS keeps what has calls of its own.
const ACL_STORAGE: [&[u8]; 3] = [b"posix1e.acl_access", b"posix1e.acl_default", b"nfs4.acl"];

/// The types of <sys/acl.h>.
const ACL_TYPE_ACCESS: c_int = 2;
const ACL_TYPE_DEFAULT: c_int = 3;
const ACL_TYPE_NFS4: c_int = 4;

/// More of <sys/acl.h>.
const ACL_FIRST_ENTRY: c_int = 0;
const ACL_TEXT_NUMERIC_IDS: c_int = 2;

unsafe extern "C" {
    fn acl_from_text(text: *const c_char) -> *mut c_void;
    fn acl_free(acl: *mut c_void) -> c_int;
    fn acl_set_fd_np(fd: c_int, acl: *mut c_void, kind: c_int) -> c_int;
    fn acl_set_link_np(path: *const c_char, kind: c_int, acl: *mut c_void) -> c_int;
    fn acl_get_fd_np(fd: c_int, kind: c_int) -> *mut c_void;
    fn acl_get_link_np(path: *const c_char, kind: c_int) -> *mut c_void;
    fn acl_is_trivial_np(acl: *mut c_void, trivial: *mut c_int) -> c_int;
    fn acl_get_entry(acl: *mut c_void, which: c_int, entry: *mut *mut c_void) -> c_int;
    fn acl_to_text_np(acl: *mut c_void, length: *mut libc::ssize_t, flags: c_int) -> *mut c_char;
    fn fflagstostr(flags: c_ulong) -> *mut c_char;
    fn strtofflags(text: *mut *mut c_char, set: *mut c_ulong, clear: *mut c_ulong) -> c_int;
}

/// An access control list that libc allocated.
struct Acl(*mut c_void);

impl Acl {
    fn new(pointer: *mut c_void) -> nix::Result<Self> {
        if pointer.is_null() { Err(Errno::last()) } else { Ok(Acl(pointer)) }
    }
}

impl Drop for Acl {
    fn drop(&mut self) {
        // SAFETY: the pointer came from libc, is not null, and is freed once.
        unsafe { acl_free(self.0) };
    }
}

/// Whether this kernel has a place for the extended attribute `name`.
pub fn holds_xattr(name: &[u8]) -> bool {
    namespace(name).is_some() && !name.starts_with(b"system.posix_acl_")
}

/// The namespace of a name, and the rest of it.
fn namespace(name: &[u8]) -> Option<(c_int, &[u8])> {
    NAMESPACES.iter().find_map(|(prefix, space)| name.strip_prefix(*prefix).map(|rest| (*space, rest)))
}

/// Sets the extended attribute `name`.
///
/// # Errors
/// The call that failed.
pub fn set_xattr(node: Node<'_>, name: &[u8], value: &[u8]) -> Result<()> {
    let call = || format!("extattr_set({node}, {:?}, …, {})", OsStr::from_bytes(name), value.len());
    let (space, rest) = namespace(name).ok_or_else(|| Error::new(call(), Errno::EOPNOTSUPP))?;
    let (path, key) = (c_path(node)?, c_string(rest)?);
    let data = value.as_ptr().cast::<c_void>();
    let result = match node {
        // SAFETY: the name ends in NUL, and `data` points to `value.len()` bytes; both outlive the call.
        Node::Open(fd) => unsafe { libc::extattr_set_fd(fd.as_raw_fd(), space, key.as_ptr(), data, value.len()) },
        // SAFETY: as above, and the path ends in NUL.
        Node::At(..) => unsafe { libc::extattr_set_link(path.as_ptr(), space, key.as_ptr(), data, value.len()) },
    };
    Errno::result(result).map(drop).call(call)
}

/// Removes the extended attribute `name`.
///
/// # Errors
/// The call that failed.
pub fn remove_xattr(node: Node<'_>, name: &[u8]) -> Result<()> {
    let call = || format!("extattr_delete({node}, {:?})", OsStr::from_bytes(name));
    let (space, rest) = namespace(name).ok_or_else(|| Error::new(call(), Errno::EOPNOTSUPP))?;
    let (path, key) = (c_path(node)?, c_string(rest)?);
    let result = match node {
        // SAFETY: the name ends in NUL and outlives the call.
        Node::Open(fd) => unsafe { libc::extattr_delete_fd(fd.as_raw_fd(), space, key.as_ptr()) },
        // SAFETY: as above, and the path ends in NUL.
        Node::At(..) => unsafe { libc::extattr_delete_link(path.as_ptr(), space, key.as_ptr()) },
    };
    Errno::result(result).map(drop).call(call)
}

/// All the extended attributes that can be read, without access control lists. None where the filesystem has none.
///
/// # Errors
/// The call that failed.
pub fn get_xattrs(node: Node<'_>) -> Result<Xattrs> {
    let mut found = Vec::new();
    for (prefix, space) in NAMESPACES {
        let names = match grow(|buffer| list_xattrs(node, space, buffer)) {
            // Only root may list the namespace of the system.
            Err(Errno::EOPNOTSUPP | Errno::EPERM) => continue,
            other => other.call(|| format!("extattr_list({node}, {space})"))?,
        };
        for name in split_names(&names).filter(|name| !ACL_STORAGE.contains(name)) {
            let key = c_string(name)?;
            let value = grow(|buffer| get_xattr(node, space, &key, buffer))
                .call(|| format!("extattr_get({node}, {space}, {key:?})"))?;
            found.push(([prefix, name].concat(), value));
        }
    }
    Ok(found)
}

/// The names of a list, each of which has its length before it.
fn split_names(mut list: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = list.split_first()?;
        let (name, after) = rest.split_at_checked(usize::from(*length))?;
        list = after;
        Some(name)
    })
}

/// One extattr_list into `buffer`, which may be empty to ask for the size.
fn list_xattrs(node: Node<'_>, space: c_int, buffer: &mut [u8]) -> nix::Result<usize> {
    let path = c_path(node).map_err(|e| e.errno())?;
    let (start, size) = pointer(buffer);
    let result = match node {
        // SAFETY: `start` is null or points to `size` writable bytes.
        Node::Open(fd) => unsafe { libc::extattr_list_fd(fd.as_raw_fd(), space, start, size) },
        // SAFETY: as above, and the path ends in NUL.
        Node::At(..) => unsafe { libc::extattr_list_link(path.as_ptr(), space, start, size) },
    };
    Errno::result(result).map(isize::cast_unsigned)
}

/// One extattr_get into `buffer`, which may be empty to ask for the size.
fn get_xattr(node: Node<'_>, space: c_int, key: &CStr, buffer: &mut [u8]) -> nix::Result<usize> {
    let path = c_path(node).map_err(|e| e.errno())?;
    let (start, size) = pointer(buffer);
    let result = match node {
        // SAFETY: the name ends in NUL and `start` is null or points to `size` writable bytes.
        Node::Open(fd) => unsafe { libc::extattr_get_fd(fd.as_raw_fd(), space, key.as_ptr(), start, size) },
        // SAFETY: as above, and the path ends in NUL.
        Node::At(..) => unsafe { libc::extattr_get_link(path.as_ptr(), space, key.as_ptr(), start, size) },
    };
    Errno::result(result).map(isize::cast_unsigned)
}

/// A buffer as the calls take it: a null pointer asks for the size.
fn pointer(buffer: &mut [u8]) -> (*mut c_void, usize) {
    if buffer.is_empty() { (std::ptr::null_mut(), 0) } else { (buffer.as_mut_ptr().cast(), buffer.len()) }
}

/// Asks for a size, then for the bytes. The calls cut short without a word, so a full buffer is asked for again.
fn grow(mut ask: impl FnMut(&mut [u8]) -> nix::Result<usize>) -> nix::Result<Vec<u8>> {
    loop {
        let mut buffer = vec![0; ask(&mut [])? + 1];
        let size = ask(&mut buffer)?;
        if size < buffer.len() {
            buffer.truncate(size);
            return Ok(buffer);
        }
    }
}

/// Sets a POSIX.1e access control list.
///
/// # Errors
/// The call that failed.
pub fn set_posix_acl(node: Node<'_>, kind: AclKind, acl: &PosixAcl) -> Result<()> {
    let kind = match kind {
        AclKind::Access => ACL_TYPE_ACCESS,
        AclKind::Default => ACL_TYPE_DEFAULT,
    };
    set_acl_text(node, kind, &acl.to_text())
}

/// Sets an NFSv4 access control list, from a text with numbers for names.
///
/// # Errors
/// The call that failed.
pub fn set_nfs4_acl(node: Node<'_>, text: &str) -> Result<()> {
    set_acl_text(node, ACL_TYPE_NFS4, text)
}

/// Sets the list that acl_from_text(3) makes of `text`.
fn set_acl_text(node: Node<'_>, kind: c_int, text: &str) -> Result<()> {
    let c_text = c_string(text.as_bytes())?;
    // SAFETY: the text ends in NUL and is only read.
    let acl = Acl::new(unsafe { acl_from_text(c_text.as_ptr()) }).call(|| format!("acl_from_text({text:?})"))?;
    set_acl(node, kind, &acl)
}

/// Sets a list.
fn set_acl(node: Node<'_>, kind: c_int, acl: &Acl) -> Result<()> {
    let path = c_path(node)?;
    let result = match node {
        // SAFETY: `acl` is a list of libc's, alive during the call.
        Node::Open(fd) => unsafe { acl_set_fd_np(fd.as_raw_fd(), acl.0, kind) },
        // SAFETY: as above, and the path ends in NUL.
        Node::At(..) => unsafe { acl_set_link_np(path.as_ptr(), kind, acl.0) },
    };
    Errno::result(result).map(drop).call(|| format!("acl_set({node}, {kind})"))
}

/// The list of a kind, if it says more than the mode does.
fn get_acl(node: Node<'_>, kind: c_int) -> Result<Option<Acl>> {
    let path = c_path(node)?;
    let pointer = match node {
        // SAFETY: the descriptor is open; the result is a list or null.
        Node::Open(fd) => unsafe { acl_get_fd_np(fd.as_raw_fd(), kind) },
        // SAFETY: the path ends in NUL; the result is a list or null.
        Node::At(..) => unsafe { acl_get_link_np(path.as_ptr(), kind) },
    };
    let acl = match Acl::new(pointer) {
        Ok(acl) => acl,
        // A filesystem has one kind of list or the other, and only directories have a default one.
        Err(Errno::EINVAL | Errno::EOPNOTSUPP) => return Ok(None),
        Err(errno) => return Err(Error::new(format!("acl_get({node}, {kind})"), errno)),
    };
    if kind == ACL_TYPE_DEFAULT {
        // A directory without one has an empty one.
        let mut entry = std::ptr::null_mut();
        // SAFETY: `acl` is a list of libc's and `entry` is writable; what it then points to is not used.
        let found = unsafe { acl_get_entry(acl.0, ACL_FIRST_ENTRY, &raw mut entry) };
        return Ok((found == 1).then_some(acl));
    }
    let mut trivial = 0;
    // SAFETY: `acl` is a list of libc's and `trivial` is writable.
    let result = unsafe { acl_is_trivial_np(acl.0, &raw mut trivial) };
    Ok((result == 0 && trivial == 0).then_some(acl))
}

/// Copies the access control lists that say more than the mode does.
///
/// # Errors
/// The call that failed.
pub fn copy_acls(from: Node<'_>, to: Node<'_>) -> Result<()> {
    for kind in [ACL_TYPE_NFS4, ACL_TYPE_ACCESS, ACL_TYPE_DEFAULT] {
        if let Some(acl) = get_acl(from, kind)? {
            set_acl(to, kind, &acl)?;
        }
    }
    Ok(())
}

/// The extended attributes but access control lists, and those in words.
///
/// # Errors
/// The call that failed.
pub fn get_attributes(node: Node<'_>) -> Result<(Xattrs, AclTexts)> {
    let text = |kind| get_acl(node, kind)?.map(|acl| acl_text(&acl)).transpose();
    let (access, default) = (text(ACL_TYPE_ACCESS)?, text(ACL_TYPE_DEFAULT)?);
    Ok((get_xattrs(node)?, AclTexts { access, default, nfs4: text(ACL_TYPE_NFS4)? }))
}

/// A list in words, with numbers for names.
fn acl_text(acl: &Acl) -> Result<String> {
    // SAFETY: `acl` is a list of libc's; a null pointer for the length is allowed; the result is text or null.
    let text = unsafe { acl_to_text_np(acl.0, std::ptr::null_mut(), ACL_TEXT_NUMERIC_IDS) };
    let text = Acl::new(text.cast()).call(|| "acl_to_text_np(ACL_TEXT_NUMERIC_IDS)")?;
    // SAFETY: the text ends in NUL and lives until `text` is dropped; acl_free(3) is for texts too.
    let lines = unsafe { CStr::from_ptr(text.0.cast()) };
    Ok(acl::join_lines(&lines.to_string_lossy()))
}

/// Reads the names of file flags, with commas between them.
///
/// # Errors
/// The name of a flag that protects the file and that this kernel does not have.
pub fn parse_flags(text: &str) -> std::result::Result<Flags, String> {
    let mut flags = Flags::default();
    for name in text.split(',').filter(|name| !name.is_empty()) {
        match flag_bits(name) {
            Some(bits) if tree::is_informing(name) => flags.informing |= bits,
            Some(bits) => flags.protecting |= bits,
            None if tree::is_informing(name) => flags.unheld.push(name.to_owned()),
            None => return Err(name.to_owned()),
        }
    }
    Ok(flags)
}

/// The bits that strtofflags(3) sets for one name.
fn flag_bits(name: &str) -> Option<u64> {
    let text = CString::new(name).ok()?;
    let mut start = text.as_ptr().cast_mut();
    let (mut set, mut clear) = (0, 0);
    // SAFETY: strtofflags reads the text, which ends in NUL, moves only the pointer to it, and writes the two numbers.
    let result = unsafe { strtofflags(&raw mut start, &raw mut set, &raw mut clear) };
    (result == 0).then_some(set)
}

/// The names of flags, as [`parse_flags`] reads them.
pub fn flag_names(flags: u64) -> Vec<String> {
    // SAFETY: a number is passed; the result is null or text to be freed.
    let text = unsafe { fflagstostr(flags) };
    if text.is_null() {
        return Vec::new();
    }
    // SAFETY: the text ends in NUL and is copied before it is freed.
    let names = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    // SAFETY: fflagstostr allocates by malloc, and nothing refers to the text any more.
    unsafe { libc::free(text.cast()) };
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The flags of a file.
///
/// # Errors
/// The call that failed.
pub fn get_flags(node: Node<'_>) -> Result<u64> {
    let stat = match node {
        Node::Open(fd) => nix::sys::stat::fstat(fd).call(|| format!("fstat({node})"))?,
        Node::At(dir, name) => tree::stat_entry(dir, name)?,
    };
    Ok(u64::from(stat.st_flags))
}

/// Sets the flags of a file to `flags`.
///
/// # Errors
/// The call that failed; `EOPNOTSUPP` where the filesystem has no such flags.
pub fn set_flags(node: Node<'_>, flags: u64) -> Result<()> {
    let result = match node {
        // SAFETY: no memory is passed.
        Node::Open(fd) => unsafe { libc::fchflags(fd.as_raw_fd(), flags) },
        Node::At(dir, name) => {
            let name = c_string(name.as_bytes())?;
            // SAFETY: the name ends in NUL.
            unsafe { libc::chflagsat(dir.as_raw_fd(), name.as_ptr(), flags, libc::AT_SYMLINK_NOFOLLOW) }
        }
    };
    Errno::result(result).map(drop).call(|| format!("chflags({node}, {flags:#x})"))
}

/// Opens the directory `name` of `dir`, which has to be on the same mount. Every mount is a device of its own here.
///
/// # Errors
/// The call that failed, with `EXDEV` for a mount point.
pub fn open_same_mount(dir: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd> {
    tree::open_same_device(dir, name)
}

/// Makes `to` share the blocks of `from`: copy_file_range(2) does that by itself here.
pub fn clone_file(_from: BorrowedFd<'_>, _to: BorrowedFd<'_>) -> bool {
    false
}

/// A path for the calls that have no form with a directory: the kernel's name of the directory, then the entry, which they
/// do not follow.
fn c_path(node: Node<'_>) -> Result<CString> {
    let Node::At(dir, name) = node else { return Ok(CString::default()) };
    // SAFETY: kinfo_file is made of integers and arrays of them, for which zero is a value.
    let mut info: libc::kinfo_file = unsafe { std::mem::zeroed() };
    info.kf_structsize = c_int::try_from(size_of::<libc::kinfo_file>()).unwrap_or(c_int::MAX);
    // SAFETY: the structure says its own size, and the kernel writes no more than that.
    let result = unsafe { libc::fcntl(dir.as_raw_fd(), libc::F_KINFO, &raw mut info) };
    Errno::result(result).call(|| format!("fcntl({}, F_KINFO)", dir.as_raw_fd()))?;
    let bytes: Vec<u8> = info.kf_path.iter().map(|c| c.cast_unsigned()).take_while(|b| *b != 0).collect();
    if bytes.first() != Some(&b'/') {
        return Err(Error::new(format!("fcntl({}, F_KINFO)", dir.as_raw_fd()), Errno::ENOENT));
    }
    c_string(&[&bytes, &b"/"[..], name.as_bytes()].concat())
}

/// The bytes with a NUL after them.
fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| Error::new(format!("{:?}", OsStr::from_bytes(bytes)), Errno::EINVAL))
}
