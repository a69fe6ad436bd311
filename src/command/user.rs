//! Users of the host: pw(8) on FreeBSD, useradd(8) on Linux.

use nix::unistd::{Group, User};

use super::output;
use crate::error::{Context, Error, Result};

/// What the account is said to be for.
const COMMENT: &str = "Jetpack";

/// Whether the host has a user of this name.
///
/// # Errors
/// The databases of users cannot be read.
pub fn exists(name: &str) -> Result<bool> {
    let found = User::from_name(name).context(|| format!("cannot look up the user {name}"))?;
    Ok(found.is_some())
}

/// Makes a user that owns nothing and cannot log in, with a group of the same name, which may be there already.
///
/// # Errors
/// It is no name for a user, or the system's program cannot make it.
pub fn make(name: &str) -> Result<()> {
    if !is_valid(name) {
        return Err(
            Error::new(format!("{name:?} is no name for a user")).help("set `mds.user` to another, such as _jetpack")
        );
    }
    let group = Group::from_name(name).context(|| format!("cannot look up the group {name}"))?;
    let (program, arguments) = program(std::env::consts::OS, name, group.is_some());
    output(program, &arguments)?;
    if exists(name)? { Ok(()) } else { Err(Error::new(format!("{program} made no user {name}"))) }
}

/// What useradd(8) and pw(8) both take.
fn is_valid(name: &str) -> bool {
    let first = |c: char| c.is_ascii_lowercase() || c == '_';
    name.len() <= 31 && name.starts_with(first) && name.chars().all(|c| first(c) || c.is_ascii_digit() || c == '-')
}

/// The program of the kernel named as in [`std::env::consts::OS`], and what it is told. Without a password, nobody logs in;
/// pw(8) makes a group that is missing by itself.
fn program<'a>(os: &str, name: &'a str, group: bool) -> (&'static str, Vec<&'a str>) {
    if os == "freebsd" {
        let mut arguments = vec!["useradd", "-n", name, "-c", COMMENT, "-d", "/nonexistent", "-s", "/usr/sbin/nologin"];
        arguments.extend(["-w", "no"]);
        return ("/usr/sbin/pw", arguments);
    }
    let mut arguments =
        vec!["--system", "--no-create-home", "--home-dir", "/nonexistent", "--shell", "/usr/sbin/nologin"];
    arguments.extend(["--comment", COMMENT]);
    arguments.extend(if group { vec!["--gid", name] } else { vec!["--user-group"] });
    arguments.push(name);
    ("/usr/sbin/useradd", arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_system_has_its_program() {
        let line = |os, group| {
            let (program, arguments) = program(os, "_jetpack", group);
            format!("{program} {}", arguments.join(" "))
        };
        let pw = "/usr/sbin/pw useradd -n _jetpack -c Jetpack -d /nonexistent -s /usr/sbin/nologin -w no";
        let useradd = "/usr/sbin/useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin \
                       --comment Jetpack";
        assert_eq!(line("freebsd", false), pw);
        assert_eq!(line("freebsd", true), pw);
        assert_eq!(line("linux", false), format!("{useradd} --user-group _jetpack"));
        assert_eq!(line("linux", true), format!("{useradd} --gid _jetpack _jetpack"));
    }

    #[test]
    fn only_names_that_every_system_takes() {
        for good in ["_jetpack", "a", "www-data", "x1"] {
            assert!(is_valid(good), "{good}");
        }
        for bad in ["", "-r", "1x", "a b", "a:b", "Root", "../x", "a\n", &"x".repeat(32)] {
            assert!(!is_valid(bad), "{bad}");
            assert!(make(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn users_are_looked_up() {
        assert!(exists("root").unwrap());
        assert!(!exists("jetpack-nobody-has-it").unwrap());
    }
}
