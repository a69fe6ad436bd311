//! Access control lists as archives write them, in words.

use crate::sys::acl::{AclKind, PosixAcl, Tag};
use crate::sys::os::attrs;
use crate::sys::tree::Node;

use super::accounts::Accounts;

/// The longest list in words. Kernels keep far less.
const MAX_TEXT: usize = 64 << 10;

/// A user or group, for which the image may have to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Who {
    Number(u32),
    Name(String),
}

/// Whom an entry is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    User(Who),
    Group(Who),
    /// One of those that have no number of their own.
    Fixed(Tag),
}

/// An entry of an NFSv4 list: whom it is about, unless that is in the rest, and the fields after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ace(Option<(bool, Who)>, String);

/// A list, not yet resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AclText {
    Posix(AclKind, Vec<(Subject, u8)>),
    Nfs4(Vec<Ace>),
}

/// Why a list is refused, to be put after its file's name.
type Refused = String;

impl AclText {
    /// Reads a POSIX.1e list: `user:NAME:rwx` entries, perhaps with the number of the user or group after them, on lines or
    /// with commas between, comments behind `#`.
    pub(super) fn posix(kind: AclKind, text: &[u8]) -> Result<Self, Refused> {
        entries(text)?
            .iter()
            .map(|entry| posix_entry(entry))
            .collect::<Result<_, _>>()
            .map(|list| AclText::Posix(kind, list))
    }

    /// Reads an NFSv4 list: `user:NAME:permissions:inheritance:type` or `owner@:permissions:inheritance:type` entries,
    /// separated as above.
    pub(super) fn nfs4(text: &[u8]) -> Result<Self, Refused> {
        entries(text)?.iter().map(|entry| nfs4_entry(entry)).collect::<Result<_, _>>().map(AclText::Nfs4)
    }

    /// Whether the image has to be asked for users or groups.
    pub(super) fn has_names(&self) -> bool {
        let is_name = |who: &Who| matches!(who, Who::Name(_));
        match self {
            AclText::Posix(_, list) => list.iter().any(|(subject, _)| match subject {
                Subject::User(who) | Subject::Group(who) => is_name(who),
                Subject::Fixed(_) => false,
            }),
            AclText::Nfs4(list) => list.iter().any(|ace| ace.0.as_ref().is_some_and(|(_, who)| is_name(who))),
        }
    }

    /// An estimate of the memory it takes.
    pub(super) fn weight(&self) -> usize {
        match self {
            AclText::Posix(_, list) => list.len() * 64,
            AclText::Nfs4(list) => list.len() * 128,
        }
    }

    /// Puts the list on a file.
    pub(super) fn apply(&self, node: Node<'_>, accounts: &Accounts) -> crate::error::Result<()> {
        let refused = |why: Refused| crate::error::Error::new(format!("its access control list {why}"));
        match self {
            AclText::Posix(kind, list) => {
                let acl = resolve_posix(list, accounts).map_err(refused)?;
                attrs::set_posix_acl(node, *kind, &acl)
            }
            AclText::Nfs4(list) => attrs::set_nfs4_acl(node, &resolve_nfs4(list, accounts).map_err(refused)?),
        }
        .map_err(|e| crate::error::Error::with_source("this host cannot hold its access control list", e))
    }
}

/// The entries of a list without comments and blanks.
fn entries(text: &[u8]) -> Result<Vec<&str>, Refused> {
    if text.len() > MAX_TEXT {
        return Err(format!("has more than {MAX_TEXT} bytes"));
    }
    let text = str::from_utf8(text).map_err(|_| "is not text".to_owned())?.trim_end_matches('\0');
    let lines = text.split('\n').map(|line| line.split('#').next().unwrap_or_default());
    Ok(lines.flat_map(|line| line.split(',')).map(str::trim).filter(|entry| !entry.is_empty()).collect())
}

/// One entry of a POSIX.1e list.
fn posix_entry(entry: &str) -> Result<(Subject, u8), Refused> {
    let bad = || format!("has an entry that makes no sense: {}", super::name::show(entry.as_bytes()));
    let fields: Vec<&str> = entry.split(':').map(str::trim).collect();
    let (tag, name, permissions, number) = match fields.as_slice() {
        [tag @ ("mask" | "m" | "other" | "o"), permissions] => (*tag, "", *permissions, None),
        [tag, name, permissions] => (*tag, *name, *permissions, None),
        [tag, name, permissions, number] => (*tag, *name, *permissions, Some(*number).filter(|n| !n.is_empty())),
        _ => return Err(bad()),
    };
    let subject = match (tag, name) {
        ("user" | "u", "") => Subject::Fixed(Tag::Owner),
        ("group" | "g", "") => Subject::Fixed(Tag::OwningGroup),
        ("mask" | "m", "") => Subject::Fixed(Tag::Mask),
        ("other" | "o", "") => Subject::Fixed(Tag::Other),
        ("user" | "u", name) => Subject::User(who(name, number).ok_or_else(bad)?),
        ("group" | "g", name) => Subject::Group(who(name, number).ok_or_else(bad)?),
        _ => return Err(bad()),
    };
    Ok((subject, permission_bits(permissions).ok_or_else(bad)?))
}

/// A user or group: its number, where one is given, counts more than its name.
fn who(name: &str, number: Option<&str>) -> Option<Who> {
    match number {
        Some(number) => number.parse().ok().map(Who::Number),
        None if name.bytes().all(|b| b.is_ascii_digit()) => name.parse().ok().map(Who::Number),
        None => Some(Who::Name(name.to_owned())),
    }
}

/// `rwx`, with dashes or without.
fn permission_bits(text: &str) -> Option<u8> {
    text.chars().try_fold(0, |bits, letter| match letter {
        'r' => Some(bits | 4),
        'w' => Some(bits | 2),
        'x' => Some(bits | 1),
        '-' => Some(bits),
        _ => None,
    })
}

/// One entry of an NFSv4 list. What the permissions mean is left to libc.
fn nfs4_entry(entry: &str) -> Result<Ace, Refused> {
    let bad = || format!("has an entry that makes no sense: {}", super::name::show(entry.as_bytes()));
    let fields: Vec<&str> = entry.split(':').map(str::trim).collect();
    match fields.as_slice() {
        [tag @ ("owner@" | "group@" | "everyone@"), rest @ ..] if rest.len() == 3 => {
            Ok(Ace(None, format!("{tag}:{}", rest.join(":"))))
        }
        [tag @ ("user" | "group"), name, permissions, flags, kind, number @ ..] if number.len() <= 1 => {
            let number = number.first().copied().filter(|n| !n.is_empty());
            let who = who(name, number).ok_or_else(bad)?;
            Ok(Ace(Some((*tag == "group", who)), format!("{permissions}:{flags}:{kind}")))
        }
        _ => Err(bad()),
    }
}

/// The number of a user or group.
fn number(is_group: bool, who: &Who, accounts: &Accounts) -> Result<u32, Refused> {
    match who {
        Who::Number(id) => Ok(*id),
        Who::Name(name) => {
            let (kind, found) = if is_group { ("group", accounts.group(name)) } else { ("user", accounts.user(name)) };
            found.ok_or_else(|| {
                format!("names the {kind} {}, which the image lacks", super::name::show(name.as_bytes()))
            })
        }
    }
}

/// The list with numbers for names.
fn resolve_posix(list: &[(Subject, u8)], accounts: &Accounts) -> Result<PosixAcl, Refused> {
    let entries = list.iter().map(|(subject, permissions)| {
        let tag = match subject {
            Subject::User(who) => Tag::User(number(false, who, accounts)?),
            Subject::Group(who) => Tag::Group(number(true, who, accounts)?),
            Subject::Fixed(tag) => *tag,
        };
        Ok((tag, *permissions))
    });
    Ok(PosixAcl::new(entries.collect::<Result<_, Refused>>()?)?)
}

/// The list as text with numbers for names, an entry to a line.
fn resolve_nfs4(list: &[Ace], accounts: &Accounts) -> Result<String, Refused> {
    let mut text = String::new();
    for Ace(who, rest) in list {
        if let Some((is_group, who)) = who {
            let tag = if *is_group { "group" } else { "user" };
            text.push_str(&format!("{tag}:{}:", number(*is_group, who, accounts)?));
        }
        text.push_str(rest);
        text.push('\n');
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        Accounts::parse(b"www:x:80:80::/:", b"staff:x:50:")
    }

    fn posix(text: &str) -> Result<String, String> {
        let AclText::Posix(_, list) = AclText::posix(AclKind::Access, text.as_bytes())? else { unreachable!() };
        resolve_posix(&list, &accounts()).map(|acl| acl.to_text().replace('\n', " "))
    }

    #[test]
    fn posix_lists_of_every_writer() {
        for (text, expected) in [
            ("user::rw-\ngroup::r--\nother::---\n", "user::rw- group::r-- other::--- "),
            ("user::rwx,group::r-x,other::r-x", "user::rwx group::r-x other::r-x "),
            (
                "user::rwx,user:joe:r-x:1000,group::---,group:www:rw-:80,mask::rwx,other::---",
                "user::rwx user:1000:r-x group::--- group:80:rw- mask::rwx other::--- ",
            ),
            (
                "u::rw # owner\nu:1000:r # by number\ng::r\nm:rx\no:-\n# done\n",
                "user::rw- user:1000:r-- group::r-- mask::r-x other::--- ",
            ),
            (
                "user::rwx,user:www:r--,group::r--,group:staff:r--,mask::r--,other::r--\0",
                "user::rwx user:80:r-- group::r-- group:50:r-- mask::r-- other::r-- ",
            ),
        ] {
            assert_eq!(posix(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn posix_lists_that_are_refused() {
        for (text, expected) in [
            ("", "lacks the entry of the owner, of the group or of others"),
            ("user::rwq", "has an entry that makes no sense: user::rwq"),
            ("user:::rwx::", "has an entry that makes no sense: user:::rwx::"),
            ("nobody::rwx", "has an entry that makes no sense: nobody::rwx"),
            ("user:99999999999:rwx", "has an entry that makes no sense: user:99999999999:rwx"),
            ("user:joe:rwx:x", "has an entry that makes no sense: user:joe:rwx:x"),
            ("user:joe:rwx", "names the user joe, which the image lacks"),
            ("group:www:rwx", "names the group www, which the image lacks"),
        ] {
            assert_eq!(posix(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn nfs4_lists_get_numbers_for_names() {
        let nfs4 = |text: &str| {
            let AclText::Nfs4(list) = AclText::nfs4(text.as_bytes())? else { unreachable!() };
            resolve_nfs4(&list, &accounts())
        };
        let text =
            "owner@:rwxp--aARWcCos:-------:allow,user:joe:r-----a-R-c--s:fd-----:deny:1001\ngroup:staff:rw::allow # x";
        let expected =
            "owner@:rwxp--aARWcCos:-------:allow\nuser:1001:r-----a-R-c--s:fd-----:deny\ngroup:50:rw::allow\n";
        assert_eq!(nfs4(text).as_deref(), Ok(expected));
        assert_eq!(nfs4("user:joe:rw::allow"), Err("names the user joe, which the image lacks".to_owned()));
        assert!(nfs4("owner@:rw").unwrap_err().starts_with("has an entry that makes no sense"));
    }

    #[test]
    fn names_are_noticed() {
        let has_names = |text: &str| AclText::posix(AclKind::Access, text.as_bytes()).unwrap().has_names();
        assert!(has_names("user:joe:rwx") && !has_names("user:joe:rwx:5") && !has_names("user::rwx,user:7:r"));
        assert!(AclText::nfs4(b"group:joe:rwx::allow").unwrap().has_names());
    }
}
