//! What has to be known of a root filesystem to resolve an app.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::users::{Group, User, parse_group, parse_passwd};
use super::{AppSpec, Program};
use crate::error::{Context, Error, Result};
use crate::sys;

/// passwd and group files larger than this (bytes) are not read.
const LARGEST: u64 = 8 << 20;

/// The login program that a console is looked for.
pub const LOGIN: &str = "/usr/bin/login";

/// The capabilities without which login(1) can make nobody's session (capabilities(7)), where a kernel has them.
const LOGIN_NEEDS: [&str; 3] = ["CAP_CHOWN", "CAP_SETGID", "CAP_SETUID"];

/// The facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The image's users.
    pub users: Vec<User>,
    /// The image's groups.
    pub groups: Vec<Group>,
    /// User and group numbers of the paths that the app names as user or group.
    pub owners: BTreeMap<String, (u32, u32)>,
    /// Whether there is a login(1) that can be executed, and that may do its work.
    pub has_login: bool,
}

impl Facts {
    /// Looks at the root at `root` (`/`, once inside).
    ///
    /// # Errors
    /// A file that is there cannot be read, or a path named as user or group is not there.
    pub fn gather(root: &Path, app: &AppSpec) -> Result<Facts> {
        if let Program::Transfer(_) = app.program {
            return Ok(Facts::default());
        }
        let mut owners = BTreeMap::new();
        for path in [Some(&app.user), app.group.as_ref()].into_iter().flatten().filter(|p| p.starts_with('/')) {
            let found = fs::metadata(below(root, path)).map_err(|e| {
                Error::with_source(format!("cannot take user or group from {path}"), e)
                    .help("`user` and `group` that begin with a slash name a file of the image")
            })?;
            owners.insert(path.clone(), (found.uid(), found.gid()));
        }
        let wants_login = matches!(app.program, Program::Console(_)) && app.terminal.is_some();
        let holds = |name: &&str| app.capabilities.iter().any(|held| held == name);
        let may_log_in = !sys::os::HAS_CAPABILITIES || LOGIN_NEEDS.iter().all(holds);
        Ok(Facts {
            users: parse_passwd(&read(&below(root, "/etc/passwd"))?),
            groups: parse_group(&read(&below(root, "/etc/group"))?),
            owners,
            has_login: wants_login && may_log_in && is_executable(&below(root, LOGIN)),
        })
    }
}

/// `path` of the app, as this process reaches it.
pub(super) fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

/// A text file of the image; one that is not there is empty. Bytes that are no UTF-8 are replaced: no name matches them.
fn read(path: &Path) -> Result<String> {
    let what = || format!("cannot read {}", path.display());
    // An image may have a FIFO here, which must not block, or a link to a terminal, which must not become this process's.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = match fs::OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(String::new()),
        Err(e) => return Err(e).context(what),
    };
    let found = file.metadata().context(what)?;
    if !found.is_file() {
        return Err(Error::with_source(what(), "not a regular file"));
    }
    if found.len() > LARGEST {
        return Err(Error::with_source(what(), format!("larger than {LARGEST} bytes")));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).context(what)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
