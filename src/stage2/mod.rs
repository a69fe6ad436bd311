//! The app itself: who it runs as, with what environment, and which program.
//!
//! [`AppSpec`] says what the manifest asks for; [`facts::Facts`] what the root filesystem knows (its passwd and group files,
//! owners of files); [`resolve::resolve`] makes an [`ExecSpec`] of both without touching anything; [`exec::start`] carries
//! it out in a new process. All of it happens inside the sandbox, so that a path of the image never means one of the host.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::sys::process::Seccomp;

pub mod exec;
pub mod facts;
pub mod resolve;
pub mod users;

/// What an app asks for, before its root filesystem has been looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSpec {
    /// Its name in the pod, which it finds in `AC_APP_NAME`.
    pub name: String,
    /// What it runs.
    pub program: Program,
    /// User: a name, a number, or a path whose owner is meant.
    pub user: String,
    /// Group: a name, a number, or a path whose group is meant. None means those of a login of `user`.
    pub group: Option<String>,
    /// More groups, by number.
    pub supplementary_gids: Vec<u32>,
    /// Where it starts: an absolute path.
    pub working_directory: String,
    /// Its environment, beside what every app gets.
    pub environment: Vec<(String, String)>,
    /// The capabilities that it and its descendants may have, by name. Empty on a kernel without them.
    pub capabilities: Vec<String>,
    /// Whether it can never gain rights by executing a file.
    pub no_new_privileges: bool,
    /// Which system calls it and its descendants may make.
    pub seccomp: Seccomp,
    /// Runs as root before the program, which is not started if this fails.
    pub pre_start: Option<Vec<String>>,
    /// Runs as root after the program, however that ended.
    pub post_stop: Option<Vec<String>>,
    /// The kind of terminal it runs on (`TERM`), if on one.
    pub terminal: Option<String>,
}

/// What an app runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// A program and its arguments; searched for in `PATH` if its name holds no slash.
    Exec(Vec<String>),
    /// A login shell of this user.
    Console(String),
    /// No program: files go through standard output or input, by the hands of the agent.
    Transfer(Transfer),
}

/// Files that leave a pod or come into it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transfer {
    /// What is at `path` goes to standard output; if that is a link, what it leads to if `follow`, else the link.
    Give {
        /// A path.
        path: OsString,
        /// Whether a link at its end is followed.
        follow: bool,
        /// Whether nobody is warned.
        quiet: bool,
    },
    /// What comes on standard input goes to `path`.
    Take {
        /// A path.
        path: OsString,
        /// Whether it keeps its owners, and the rights that go with them.
        keep: bool,
        /// Whether nobody is warned.
        quiet: bool,
    },
}

/// What a process of the app is to do, with nothing left to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Become a program.
    Execute(Box<ExecSpec>),
    /// Move files.
    Transfer(Transfer),
}

/// Everything that execve(2) and the calls before it need: numbers and paths, nothing left to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecSpec {
    /// The files to try, in this order, as execvp(3) would.
    pub candidates: Vec<OsString>,
    /// The arguments, the zeroth included.
    pub arguments: Vec<String>,
    /// The whole environment, as `NAME=value`.
    pub environment: Vec<String>,
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// All groups that the process is in, `gid` included.
    pub groups: Vec<u32>,
    /// Where it starts: the first of these that is there.
    pub directories: Vec<String>,
    /// The capabilities it may have, by name.
    pub capabilities: Vec<String>,
    /// Whether it can never gain rights by executing a file.
    pub no_new_privileges: bool,
    /// Which system calls it may make.
    pub seccomp: Seccomp,
    /// Whether it is login(1), which notes in the process who has logged in.
    pub login: bool,
}
