//! passwd(5) and group(5) files of an image.

/// A line of passwd(5), as far as it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User number.
    pub uid: u32,
    /// Primary group's number.
    pub gid: u32,
    /// Home directory.
    pub home: String,
    /// Login shell; empty means `/bin/sh`.
    pub shell: String,
}

/// A line of group(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its number.
    pub gid: u32,
    /// Login names of users that are in it beside those whose primary group it is.
    pub members: Vec<String>,
}

/// Reads passwd(5). Lines that are not of its form are passed over, as getpwent(3) does.
pub fn parse_passwd(text: &str) -> Vec<User> {
    text.lines().filter_map(parse_user).collect()
}

fn parse_user(line: &str) -> Option<User> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, home, shell] = fields[..] else { return None };
    let usable = !name.is_empty() && !name.starts_with(['#', '+', '-']);
    usable.then_some(User {
        name: name.to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        home: home.to_owned(),
        shell: shell.to_owned(),
    })
}

/// Reads group(5). Lines that are not of its form are passed over.
pub fn parse_group(text: &str) -> Vec<Group> {
    text.lines().filter_map(parse_group_line).collect()
}

fn parse_group_line(line: &str) -> Option<Group> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, gid, members] = fields[..] else { return None };
    let usable = !name.is_empty() && !name.starts_with(['#', '+', '-']);
    usable.then_some(Group {
        name: name.to_owned(),
        gid: gid.parse().ok()?,
        members: members.split(',').map(str::trim).filter(|m| !m.is_empty()).map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_lines_are_passed_over() {
        let passwd = "# comment\n\nroot:x:0:0:root:/root:/bin/sh\nbad\nneg:x:-1:0::/:\nhuge:x:4294967296:0::/:\n+::::::\nweb:*:80:80:::\n";
        let users = parse_passwd(passwd);
        assert_eq!(users.iter().map(|u| u.name.as_str()).collect::<Vec<_>>(), ["root", "web"]);
        assert_eq!((users[1].uid, users[1].home.as_str(), users[1].shell.as_str()), (80, "", ""));
    }

    #[test]
    fn members_are_split() {
        let groups = parse_group("wheel:x:0:root, joe,\nnogroup:x:65534:\nshort:x:1\n");
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[0].members, ["root", "joe"]);
        assert!(groups[1].members.is_empty());
    }
}
