//! Real pods: needs root.

mod build;
mod build_random;
mod capabilities;
mod console;
mod cp;
mod cp_interrupted;
mod dependencies;
mod descriptors;
mod devices;
mod exec;
mod exec_limits;
// Its names and its network are in namespaces.
#[cfg(target_os = "linux")]
mod fetch;
mod filesystems;
mod full_disk;
mod host_volumes;
mod hostile;
mod identity;
mod images;
mod init_from;
mod leftovers;
mod namespaces;
mod places;
mod processes;
mod resolver;
mod runtime_program;
mod seccomp;
mod signals;
mod stdio;
mod store;
mod streams;
mod terminal;
mod top;
mod users;
mod verify;
mod volumes;
mod zfs;
mod zfs_packages;

use crate::support::command::Jetpack;

/// A store kept as `storage` says, with an image called `busybox-base` in it.
pub(crate) fn pods(storage: &str) -> Result<Jetpack, String> {
    let jetpack = Jetpack::real(storage)?;
    jetpack.import(images::base()?);
    Ok(jetpack)
}
