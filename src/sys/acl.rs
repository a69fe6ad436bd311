//! POSIX.1e access control lists: the value, its checks, and the two forms that kernels want.

use std::fmt::Write as _;

/// Whom an entry of a list is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tag {
    /// The owner of the file.
    Owner,
    /// A user by number.
    User(u32),
    /// The group of the file.
    OwningGroup,
    /// A group by number.
    Group(u32),
    /// The most that users and groups by number, and the group of the file, may have.
    Mask,
    /// Everybody else.
    Other,
}

/// Which of the two lists of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AclKind {
    /// The one that decides about access.
    Access,
    /// The one that files made in a directory inherit.
    Default,
}

/// The access control lists of a file that say more than its mode, as archives write them: entries with numbers for names and
/// commas between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AclTexts {
    /// The POSIX.1e list that decides about access.
    pub access: Option<String>,
    /// The POSIX.1e list that files made in a directory inherit.
    pub default: Option<String>,
    /// The NFSv4 list.
    pub nfs4: Option<String>,
}

/// The entries of a list that has each on a line, perhaps indented and with a comment, with commas between.
pub fn join_lines(text: &str) -> String {
    let entries = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    entries.filter(|entry| !entry.is_empty()).collect::<Vec<_>>().join(",")
}

/// A valid POSIX.1e list, in the order in which kernels keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PosixAcl(Vec<(Tag, u8)>);

impl PosixAcl {
    /// Checks and orders entries of tag and permissions (4 read, 2 write, 1 execute).
    ///
    /// # Errors
    /// The words that say what is wrong: an entry twice, an obligatory one missing.
    pub fn new(mut entries: Vec<(Tag, u8)>) -> std::result::Result<Self, &'static str> {
        entries.sort_by_key(|(tag, _)| tag_order(*tag));
        if entries.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err("has an entry twice");
        }
        let has = |wanted: Tag| entries.iter().any(|(tag, _)| *tag == wanted);
        if !has(Tag::Owner) || !has(Tag::OwningGroup) || !has(Tag::Other) {
            return Err("lacks the entry of the owner, of the group or of others");
        }
        let named = entries.iter().any(|(tag, _)| matches!(tag, Tag::User(_) | Tag::Group(_)));
        if named && !has(Tag::Mask) {
            return Err("names a user or group and has no mask");
        }
        Ok(PosixAcl(entries))
    }

    /// The value of Linux' extended attributes `system.posix_acl_access` and `system.posix_acl_default`: version 2, then a
    /// tag, permissions and a number for each entry, all little-endian.
    pub fn to_xattr(&self) -> Vec<u8> {
        let mut value = 2u32.to_le_bytes().to_vec();
        for (tag, permissions) in &self.0 {
            let (code, id) = match tag {
                Tag::Owner => (0x01u16, u32::MAX),
                Tag::User(id) => (0x02, *id),
                Tag::OwningGroup => (0x04, u32::MAX),
                Tag::Group(id) => (0x08, *id),
                Tag::Mask => (0x10, u32::MAX),
                Tag::Other => (0x20, u32::MAX),
            };
            value.extend(code.to_le_bytes());
            value.extend(u16::from(*permissions).to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        value
    }

    /// Reads what [`PosixAcl::to_xattr`] writes; none where it is damaged.
    pub fn from_xattr(value: &[u8]) -> Option<Self> {
        let entries = value.strip_prefix(&2u32.to_le_bytes())?;
        if entries.len() % 8 != 0 {
            return None;
        }
        let entry = |entry: &[u8]| {
            let id = u32::from_le_bytes(entry.get(4..8)?.try_into().ok()?);
            let tag = match u16::from_le_bytes(entry.get(..2)?.try_into().ok()?) {
                0x01 => Tag::Owner,
                0x02 => Tag::User(id),
                0x04 => Tag::OwningGroup,
                0x08 => Tag::Group(id),
                0x10 => Tag::Mask,
                0x20 => Tag::Other,
                _ => return None,
            };
            Some((tag, *entry.get(2)? & 7))
        };
        PosixAcl::new(entries.chunks(8).map(entry).collect::<Option<_>>()?).ok()
    }

    /// The text that acl_from_text(3) reads, with numbers for names.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for (tag, permissions) in &self.0 {
            let _ = match tag {
                Tag::Owner => write!(text, "user::"),
                Tag::User(id) => write!(text, "user:{id}:"),
                Tag::OwningGroup => write!(text, "group::"),
                Tag::Group(id) => write!(text, "group:{id}:"),
                Tag::Mask => write!(text, "mask::"),
                Tag::Other => write!(text, "other::"),
            };
            for (bit, letter) in [(4, 'r'), (2, 'w'), (1, 'x')] {
                text.push(if permissions & bit != 0 { letter } else { '-' });
            }
            text.push('\n');
        }
        text
    }
}

/// The place of a tag in a list.
fn tag_order(tag: Tag) -> (u8, u32) {
    match tag {
        Tag::Owner => (0, 0),
        Tag::User(id) => (1, id),
        Tag::OwningGroup => (2, 0),
        Tag::Group(id) => (3, id),
        Tag::Mask => (4, 0),
        Tag::Other => (5, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_ordered_and_encoded() {
        let entries = vec![
            (Tag::Other, 0),
            (Tag::Mask, 7),
            (Tag::User(1000), 6),
            (Tag::OwningGroup, 5),
            (Tag::User(5), 4),
            (Tag::Group(70_000), 1),
            (Tag::Owner, 7),
        ];
        let acl = PosixAcl::new(entries).unwrap();
        let text = "user::rwx\nuser:5:r--\nuser:1000:rw-\ngroup::r-x\ngroup:70000:--x\nmask::rwx\nother::---\n";
        assert_eq!(acl.to_text(), text);
        #[rustfmt::skip]
        let expected = [
            2, 0, 0, 0,
            1, 0, 7, 0, 255, 255, 255, 255,
            2, 0, 4, 0, 5, 0, 0, 0,
            2, 0, 6, 0, 0xe8, 3, 0, 0,
            4, 0, 5, 0, 255, 255, 255, 255,
            8, 0, 1, 0, 0x70, 0x11, 1, 0,
            16, 0, 7, 0, 255, 255, 255, 255,
            32, 0, 0, 0, 255, 255, 255, 255,
        ];
        assert_eq!(acl.to_xattr(), expected);
        assert_eq!(PosixAcl::from_xattr(&expected), Some(acl));
        assert_eq!(PosixAcl::from_xattr(&expected[..expected.len() - 1]), None);
        assert_eq!(PosixAcl::from_xattr(&[1, 0, 0, 0]), None);
    }

    #[test]
    fn lines_are_joined() {
        let text = "  user::rw-\nuser:5:rwx\t\t# effective: r--\n\n            other::r--\n";
        assert_eq!(join_lines(text), "user::rw-,user:5:rwx,other::r--");
    }

    #[test]
    fn lists_that_no_kernel_takes_are_refused() {
        let base = [(Tag::Owner, 7), (Tag::OwningGroup, 5), (Tag::Other, 5)];
        let with = |more: &[(Tag, u8)]| PosixAcl::new([&base, more].concat());
        assert!(with(&[]).is_ok());
        assert_eq!(with(&[(Tag::User(1), 7)]), Err("names a user or group and has no mask"));
        assert_eq!(with(&[(Tag::Other, 1)]), Err("has an entry twice"));
        assert_eq!(with(&[(Tag::Mask, 7), (Tag::User(1), 1), (Tag::User(1), 2)]), Err("has an entry twice"));
        assert!(PosixAcl::new(base[..2].to_vec()).unwrap_err().starts_with("lacks"));
    }
}
