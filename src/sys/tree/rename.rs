//! Moving what its flags protect.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::renameat;
use nix::sys::stat::SFlag;

use super::{Node, file_type, open_entry, stat_entry};
use crate::sys::os::attrs;
use crate::sys::{Call, Result};

/// An entry of a directory.
type Entry<'a> = (BorrowedFd<'a>, &'a OsStr);

/// Moves an entry, with the flags that it has; those that forbid it, its own and its directory's, are cleared for that. What is
/// at the new place is replaced, unless flags protect it.
///
/// # Errors
/// The call that failed.
pub fn move_protected(from: Entry<'_>, to: Entry<'_>) -> Result<()> {
    let rename = || renameat(from.0, from.1, to.0, to.1);
    let call = || format!("renameat({}, {:?}, {}, {:?})", from.0.as_raw_fd(), from.1, to.0.as_raw_fd(), to.1);
    match rename() {
        Err(Errno::EPERM) => {}
        moved => return moved.call(call),
    }
    let kind = file_type(&stat_entry(from.0, from.1)?);
    let opened = matches!(kind, SFlag::S_IFREG | SFlag::S_IFDIR).then(|| open_entry(from.0, from.1)).transpose()?;
    let node = opened.as_ref().map_or(Node::At(from.0, from.1), |opened| Node::Open(opened.as_fd()));
    let flags = attrs::get_flags(node)?;
    // Where there are no flags, there are none in the way.
    attrs::set_flags(Node::Open(from.0), 0).ok();
    attrs::set_flags(node, 0).ok();
    let moved = rename().call(call);
    if flags == 0 {
        return moved;
    }
    let node = if moved.is_err() || opened.is_some() { node } else { Node::At(to.0, to.1) };
    moved.and(attrs::set_flags(node, flags))
}
