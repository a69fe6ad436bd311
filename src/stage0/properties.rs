//! What a file has beside its content, as far as an archive holds it: the same for writing one and for comparing two trees.

use crate::error::{Context, Result};
use crate::sys::acl::AclTexts;
use crate::sys::os::attrs;
use crate::sys::tree::{Node, Xattrs, is_informing};

/// Extended attributes that belong to the host and not to the file: what overlayfs notes down, and the labels of the host's
/// security modules.
const OF_THE_HOST: [&[u8]; 6] =
    [b"trusted.overlay.", b"user.overlay.", b"security.selinux", b"security.SMACK64", b"security.ima", b"security.evm"];

/// Extended attributes, access control lists and file flags.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Properties {
    /// Extended attributes, in the order of their names.
    pub(super) xattrs: Xattrs,
    /// The lists that say more than the mode.
    pub(super) acls: AclTexts,
    /// The names of the flags that protect the file, and `nodump`. Others are the filesystem's own notes.
    pub(super) flags: String,
    /// The namespaces of attributes that no archive holds.
    pub(super) lost: Vec<Vec<u8>>,
}

impl Properties {
    /// Reads the properties of a file.
    ///
    /// # Errors
    /// The system refuses it.
    pub(super) fn read(node: Node<'_>) -> Result<Self> {
        let (mut xattrs, acls) = attrs::get_attributes(node).context(|| "cannot read its extended attributes")?;
        xattrs.retain(|(name, _)| !OF_THE_HOST.iter().any(|prefix| name.starts_with(prefix)));
        let mut lost = Vec::new();
        xattrs.retain(|(name, _)| {
            let held = attrs::holds_xattr(name);
            if !held {
                lost.push(name.split(|b| *b == b'.').next().unwrap_or_default().to_vec());
            }
            held
        });
        xattrs.sort_unstable();
        let mut flags = attrs::flag_names(attrs::get_flags(node).context(|| "cannot read its file flags")?);
        flags.retain(|name| name == "nodump" || !is_informing(name));
        Ok(Properties { xattrs, acls, flags: flags.join(","), lost })
    }
}
