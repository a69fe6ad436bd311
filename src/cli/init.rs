//! `jetpack init`

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::{Host, output, progress};
use crate::command::user;
use crate::config::{Config, StorageKind};
use crate::error::{Error, Result};
use crate::stage0::migrate::{Brought, OldStore};
use crate::stage0::store::{FORMAT, Store};
use crate::stage1::watch::Watch;

/// Make the store
///
/// The store is a directory that belongs to root alone: `root.path` in jetpack.conf(5), /var/jetpack by default. A store
/// that is there already is checked and left as it is. On FreeBSD, what belongs into rc.conf(5) is printed, and never
/// written there.
///
/// With --from, all images of another store that are not in this one are copied, whatever kinds of store the two are. Ids,
/// dependencies and what is known of their trust stay the same, and so does the other store. Pods stay there.
#[derive(Debug, Args)]
pub(super) struct Init {
    /// Copy the images of this store, which is of any kind
    #[arg(long, value_name = "OLD-STORE")]
    from: Option<PathBuf>,
    /// Make the user that `mds.user` names, too, where there is none
    #[arg(long)]
    user: bool,
}

impl Init {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        host.need_root()?;
        // What cannot be brought is no reason to make a store.
        let old = self.from.as_ref().map(|path| OldStore::open(path, &host.config.root_path())).transpose()?;
        let (store, made) = Store::init(&host.config)?;
        let user = self.user.then(|| make_user(&host.config)).transpose()?;
        let store = store.with_progress(progress::shown(!host.global.quiet));
        let (root, kind) = (store.root().display(), store.storage().name());
        let mut told = json!({ "root": store.root(), "storage": kind, "format": FORMAT, "made": made });
        if let Some(user) = &user {
            told["user"] = json!({ "name": user.name, "made": user.made });
        }
        let say = !host.json() && !host.global.quiet;
        if say {
            output::line(format!("{} a store at {root} (storage {kind}, format {FORMAT})", did(made)))?;
            if let Some(user) = user {
                output::line(format!("{} a user {}", did(user.made), user.name))?;
            }
        }
        let code = match old {
            Some(old) => self.bring(host, &store, &old, told)?,
            None if host.json() => output::json(&told).map(|()| 0)?,
            None => 0,
        };
        if say && code == 0 {
            output::print(&for_rc_conf(std::env::consts::OS, &host.config))?;
        }
        Ok(code)
    }

    /// Brings the images, and tells of it. `told` is what JSON says of the store.
    fn bring(&self, host: &Host, store: &Store, old: &OldStore, mut told: serde_json::Value) -> Result<u8> {
        let watch = Watch::begin()?;
        let brought = store.bring(old);
        if let Some(signal) = watch.end() {
            let error = Error::new(format!("the copying was {signal}"));
            output::error(&error.help("what was copied stays; the same command goes on with the rest"));
            return Ok(signal.code());
        }
        let brought = brought?;
        if host.json() {
            told["brought"] = json!({
                "from": self.from,
                "copied": brought.copied,
                "present": brought.present,
                "failed": brought.failed.iter().map(|(id, _)| id).collect::<Vec<_>>(),
                "pods": brought.pods,
            });
            output::json(&told)?;
        } else if !host.global.quiet {
            self.tell(&brought)?;
        }
        let count = brought.failed.len();
        for (id, error) in brought.failed {
            output::error(&Error::with_source(format!("cannot copy image {}", id.short()), error));
        }
        if count == 0 {
            return Ok(0);
        }
        Err(Error::new(format!("{count} of the images could not be copied"))
            .help("mend or destroy them in the old store; the same command goes on with the rest"))
    }

    fn tell(&self, brought: &Brought) -> Result<()> {
        let from = self.from.as_deref().unwrap_or(Path::new("")).display();
        let plural = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        output::line(format!(
            "copied {} from {from}; {} here already, {} left there",
            plural(brought.copied.len(), "image"),
            brought.present,
            plural(brought.pods, "pod"),
        ))
    }
}

fn did(made: bool) -> &'static str {
    if made { "made" } else { "there is" }
}

/// The user that `mds.user` names.
struct MdsUser<'a> {
    name: &'a str,
    made: bool,
}

/// Makes the user where there is none.
fn make_user(config: &Config) -> Result<MdsUser<'_>> {
    let name = config.get("mds.user").unwrap_or_default();
    let made = !user::exists(name)?;
    if made {
        user::make(name)?;
    }
    Ok(MdsUser { name, made })
}

/// What starts pods at boot where the kernel is `os`, as lines for rc.conf(5); nothing where there is none.
fn for_rc_conf(os: &str, config: &Config) -> String {
    if os != "freebsd" {
        return String::new();
    }
    let mut lines = vec!["to start pods at boot, put into /etc/rc.conf:".to_owned()];
    if config.storage() == StorageKind::Zfs {
        lines.push("    zfs_enable=\"YES\"".to_owned());
    }
    if let Some(interface) = config.get("jail.interface").filter(|name| is_cloned(name)) {
        lines.push(format!("    cloned_interfaces=\"${{cloned_interfaces}} {interface}\""));
    }
    lines.push("    jetpack_enable=\"YES\"".to_owned());
    lines.push("    jetpack_pods=\"\"    # which: UUIDs, separated by blanks".to_owned());
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// Whether an interface is there only when somebody makes it: a loopback interface beside the first.
fn is_cloned(name: &str) -> bool {
    name.strip_prefix("lo").and_then(|number| number.parse::<u32>().ok()).is_some_and(|number| number > 0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn rc_conf_is_freebsds() {
        let lines = |os: &str, text: &str| {
            for_rc_conf(os, &Config::parse(os, Path::new("/c"), text.as_bytes(), &[]).expect("a configuration"))
        };
        assert_eq!(lines("linux", ""), "");
        assert_eq!(
            lines("freebsd", ""),
            "to start pods at boot, put into /etc/rc.conf:\n    zfs_enable=\"YES\"\n    cloned_interfaces=\"${cloned_interfaces} lo1\"\n    \
             jetpack_enable=\"YES\"\n    jetpack_pods=\"\"    # which: UUIDs, separated by blanks\n"
        );
        let plain = lines("freebsd", "root.zfs =\nstorage = dir\njail.interface = em0\n");
        assert!(!plain.contains("zfs") && !plain.contains("cloned"), "{plain}");
        for (name, expected) in [("lo1", true), ("lo12", true), ("lo0", false), ("lo", false), ("vtnet0", false)] {
            assert_eq!(is_cloned(name), expected, "{name}");
        }
    }
}
