//! The image's own users and groups, for the names in access control lists.

use std::collections::HashMap;

/// The users and groups of a root filesystem.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    users: HashMap<String, u32>,
    groups: HashMap<String, u32>,
}

impl Accounts {
    /// Reads the contents of passwd(5) and group(5). Lines that make no sense are passed over, as libc does.
    pub(super) fn parse(passwd: &[u8], group: &[u8]) -> Self {
        Accounts { users: names(passwd), groups: names(group) }
    }

    /// The number of a user.
    pub(super) fn user(&self, name: &str) -> Option<u32> {
        self.users.get(name).copied()
    }

    /// The number of a group.
    pub(super) fn group(&self, name: &str) -> Option<u32> {
        self.groups.get(name).copied()
    }
}

/// The first and third fields of each line. The first line of a name counts.
fn names(text: &[u8]) -> HashMap<String, u32> {
    let mut names = HashMap::new();
    for line in text.split(|b| *b == b'\n').filter_map(|line| str::from_utf8(line).ok()) {
        let mut fields = line.split(':');
        let id = fields.next().zip(fields.nth(1)).and_then(|(name, id)| Some((name, id.parse().ok()?)));
        if let Some((name, id)) = id.filter(|(name, _)| !name.is_empty() && !name.starts_with('#')) {
            names.entry(name.to_owned()).or_insert(id);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found() {
        let passwd =
            b"# comment:x:9\nroot:*:0:0:Root:/root:/bin/sh\nbad line\nwww:x:80:80::/:/bin/false\nroot:x:5:5\n\xff:x:1";
        let accounts = Accounts::parse(passwd, b"wheel:*:0:root\nhuge:x:99999999999\n");
        assert_eq!((accounts.user("root"), accounts.user("www"), accounts.user("none")), (Some(0), Some(80), None));
        assert_eq!((accounts.group("wheel"), accounts.group("huge"), accounts.group("root")), (Some(0), None, None));
    }
}
