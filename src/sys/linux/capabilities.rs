//! Capabilities of the calling process (capabilities(7)), and becoming an app.

use caps::{CapSet, CapsHashSet};
use nix::errno::Errno;

use super::super::process::{self, Seccomp};
use super::super::{Call, Error, Result};
use super::seccomp;

/// Makes this process the app's: its user, groups, capabilities (by name, as `CAP_CHOWN`) and system calls, in an order that
/// keeps each step allowed. A user other than root holds no capabilities, but set-user-ID programs may gain those that are left.
///
/// A filter needs CAP_SYS_ADMIN or no_new_privs: it comes last where the app has the latter, and else just before the former is
/// lost, which is with the change of user.
///
/// # Errors
/// A capability is unknown, or the process lacks the rights for a step.
pub fn become_app(
    uid: u32,
    gid: u32,
    groups: &[u32],
    capabilities: &[String],
    no_new_privileges: bool,
    seccomp: Seccomp,
) -> Result<()> {
    let parse = |name: &String| name.parse().map_err(|_| Error::new(format!("capability {name:?}"), Errno::EINVAL));
    let keep: CapsHashSet = capabilities.iter().map(parse).collect::<Result<_>>()?;
    let here = caps::read(None, CapSet::Bounding).map_err(|_| Error::new("prctl(PR_CAPBSET_READ)", Errno::EINVAL))?;
    if let Some(missing) = keep.difference(&here).next() {
        return Err(Error::new(format!("capset({missing}), which this host does not have,"), Errno::EPERM));
    }
    let filter = (seccomp == Seccomp::Default).then(|| seccomp::default_filter(capabilities));
    process::set_groups(gid, groups)?;
    for capability in caps::runtime::thread_all_supported() {
        if !keep.contains(&capability) {
            caps::drop(None, CapSet::Bounding, capability).map_err(failed(CapSet::Bounding))?;
        }
    }
    if !no_new_privileges {
        filter.iter().try_for_each(seccomp::install)?;
    }
    process::set_user(uid)?;
    let none = CapsHashSet::new();
    let held = if uid == 0 { &keep } else { &none };
    for (set, value) in
        [(CapSet::Ambient, &none), (CapSet::Inheritable, &none), (CapSet::Effective, held), (CapSet::Permitted, held)]
    {
        caps::set(None, set, value).map_err(failed(set))?;
    }
    if no_new_privileges {
        nix::sys::prctl::set_no_new_privs().call(|| "prctl(PR_SET_NO_NEW_PRIVS)")?;
        filter.iter().try_for_each(seccomp::install)?;
    }
    Ok(())
}

fn failed(set: CapSet) -> impl Fn(caps::errors::CapsError) -> Error {
    move |_| Error::new(format!("capset({set:?})"), Errno::EPERM)
}
