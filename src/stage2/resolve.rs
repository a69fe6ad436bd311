//! From what an app asks for, and what its root filesystem knows, to numbers and paths. Nothing is touched here.

use std::ffi::OsString;

use super::facts::{Facts, LOGIN};
use super::users::User;
use super::{AppSpec, ExecSpec, Program, Work};
use crate::error::{Error, Result};

/// The `PATH` that appc prescribes (ace.md, Execution Environment).
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the variable `container` says.
pub const CONTAINER: &str = "jetpack";

/// Resolves what the app runs.
///
/// # Errors
/// The image does not know the user or the group, or there is nothing to execute.
pub fn resolve(app: &AppSpec, facts: &Facts) -> Result<Work> {
    let spec = match &app.program {
        Program::Exec(arguments) => {
            let identity = Identity::find(app, facts)?;
            assemble(app, identity, arguments.clone())
        }
        Program::Console(user) => console(app, facts, user),
        Program::Transfer(transfer) => return Ok(Work::Transfer(transfer.clone())),
    };
    spec.map(|spec| Work::Execute(Box::new(spec)))
}

/// Resolves an event handler: root runs it, with the app's environment and directory.
///
/// # Errors
/// There is nothing to execute.
pub fn resolve_handler(app: &AppSpec, facts: &Facts, arguments: &[String]) -> Result<ExecSpec> {
    let root = AppSpec { supplementary_gids: Vec::new(), ..of_root(app) };
    assemble(&root, Identity::find(&root, facts)?, arguments.to_vec())
}

/// A console: login(1) where there is one and a terminal to log in on, else the user's login shell.
fn console(app: &AppSpec, facts: &Facts, name: &str) -> Result<ExecSpec> {
    let by_number = || number(name).and_then(|uid| facts.users.iter().find(|u| u.uid == uid));
    let known = facts.users.iter().find(|u| u.name == name).or_else(by_number).cloned();
    let user = match known {
        Some(user) => user,
        None if matches!(name, "root" | "0") => {
            User { name: "root".into(), uid: 0, gid: 0, home: "/".into(), shell: String::new() }
        }
        None => return Err(Error::new(format!("the image knows no user {name:?}")).help("name one of its /etc/passwd")),
    };
    if facts.has_login {
        let arguments = ["login", "-p", "-f", &user.name].map(str::to_owned).to_vec();
        let root = of_root(app);
        let mut spec = assemble(&root, Identity::find(&root, facts)?, arguments)?;
        spec.candidates = vec![LOGIN.into()];
        spec.login = true;
        return Ok(spec);
    }
    let shell = if user.shell.is_empty() { "/bin/sh".to_owned() } else { user.shell.clone() };
    // A dash before the name tells a shell that it is a login shell (sh(1)).
    let base = shell.rsplit('/').next().unwrap_or("sh");
    let arguments = vec![format!("-{base}")];
    let home = if user.home.is_empty() { "/".to_owned() } else { user.home.clone() };
    let app = AppSpec { working_directory: home, ..app.clone() };
    let groups = groups_of(&user, facts);
    let mut spec = assemble(&app, Identity { uid: user.uid, gid: user.gid, groups, user: Some(user) }, arguments)?;
    // The home directory or the shell of passwd may not be in the image: the root and sh are the last resort.
    spec.directories.push("/".into());
    spec.candidates = if shell == "/bin/sh" { vec![shell.into()] } else { vec![shell.into(), "/bin/sh".into()] };
    Ok(spec)
}

/// The app as root would run it.
fn of_root(app: &AppSpec) -> AppSpec {
    AppSpec { user: "0".into(), group: Some("0".into()), ..app.clone() }
}

/// Who a process is.
struct Identity {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    user: Option<User>,
}

impl Identity {
    fn find(app: &AppSpec, facts: &Facts) -> Result<Identity> {
        let uid = match facts.owners.get(&app.user) {
            Some((uid, _)) => *uid,
            None => match facts.users.iter().find(|u| u.name == app.user) {
                Some(user) => user.uid,
                None => number(&app.user).ok_or_else(|| unknown("user", &app.user))?,
            },
        };
        // Several names may share a number: the one that was asked for comes first.
        let user = facts.users.iter().find(|u| u.name == app.user).or(facts.users.iter().find(|u| u.uid == uid));
        let user = user.cloned();
        let groups = match (&app.group, &user) {
            (Some(group), _) => {
                let gid = group_number(group, facts)?;
                let others = app.supplementary_gids.iter().copied().filter(|other| *other != gid);
                std::iter::once(gid).chain(others).collect()
            }
            (None, Some(user)) => groups_of(user, facts),
            (None, None) => {
                return Err(Error::new(format!("the image does not say in which group user {uid} is"))
                    .help("name a group with --group"));
            }
        };
        Ok(Identity { uid, gid: groups[0], groups, user })
    }
}

fn group_number(group: &str, facts: &Facts) -> Result<u32> {
    if let Some((_, gid)) = facts.owners.get(group) {
        return Ok(*gid);
    }
    match facts.groups.iter().find(|g| g.name == group) {
        Some(known) => Ok(known.gid),
        None => number(group).ok_or_else(|| unknown("group", group)),
    }
}

/// The groups of a login, as initgroups(3) finds them.
fn groups_of(user: &User, facts: &Facts) -> Vec<u32> {
    let mut groups = vec![user.gid];
    for group in &facts.groups {
        if group.members.contains(&user.name) && !groups.contains(&group.gid) {
            groups.push(group.gid);
        }
    }
    groups
}

/// A user's or group's number, if `text` is one. The largest is no user: setuid(2) takes it for "leave as it is".
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|n| digits && *n != u32::MAX)
}

fn unknown(kind: &str, name: &str) -> Error {
    Error::new(format!("the image knows no {kind} {name:?}")).help(format!(
        "name a {kind} of the image's /etc/{}, or a number",
        if kind == "user" { "passwd" } else { "group" }
    ))
}

fn assemble(app: &AppSpec, identity: Identity, arguments: Vec<String>) -> Result<ExecSpec> {
    let program =
        arguments.first().filter(|p| !p.is_empty()).ok_or_else(|| Error::new("there is nothing to execute"))?;
    let environment = environment(app, &identity);
    let path = environment.iter().find_map(|v| v.strip_prefix("PATH=")).unwrap_or(PATH);
    Ok(ExecSpec {
        candidates: candidates(program, path),
        arguments,
        uid: identity.uid,
        gid: identity.gid,
        groups: identity.groups,
        directories: vec![app.working_directory.clone()],
        capabilities: app.capabilities.clone(),
        no_new_privileges: app.no_new_privileges,
        seccomp: app.seccomp,
        login: false,
        environment,
    })
}

/// What every app gets, then what it asks for; what says where it runs cannot be replaced.
fn environment(app: &AppSpec, identity: &Identity) -> Vec<String> {
    let nobody =
        User { name: identity.uid.to_string(), uid: identity.uid, gid: 0, home: "/".into(), shell: String::new() };
    let user = identity.user.as_ref().unwrap_or(&nobody);
    let or = |text: &str, default: &str| if text.is_empty() { default.to_owned() } else { text.to_owned() };
    let mut variables = vec![
        ("PATH".to_owned(), PATH.to_owned()),
        ("USER".to_owned(), user.name.clone()),
        ("LOGNAME".to_owned(), user.name.clone()),
        ("HOME".to_owned(), or(&user.home, "/")),
        ("SHELL".to_owned(), or(&user.shell, "/bin/sh")),
    ];
    variables.extend(app.terminal.iter().map(|term| ("TERM".to_owned(), term.clone())));
    let fixed = [("AC_APP_NAME".to_owned(), app.name.clone()), ("container".to_owned(), CONTAINER.to_owned())];
    for (name, value) in app.environment.iter().chain(&fixed) {
        match variables.iter_mut().find(|(known, _)| known == name) {
            Some(known) => known.1.clone_from(value),
            None => variables.push((name.clone(), value.clone())),
        }
    }
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// The files that execvp(3) would try. An empty element of `PATH` is the current directory.
fn candidates(program: &str, path: &str) -> Vec<OsString> {
    if program.contains('/') {
        return vec![program.into()];
    }
    let directory =
        |d: &str| if d.is_empty() { format!("./{program}") } else { format!("{}/{program}", d.trim_end_matches('/')) };
    path.split(':').map(|d| directory(d).into()).collect()
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
