//! The command line on backends that touch nothing: no root needed.

mod annotations;
mod bad_archives;
mod bad_compression;
mod bad_references;
mod build;
mod config;
mod cp;
mod dependencies;
mod escapes;
mod events;
mod exec;
mod export;
mod fetch;
mod fetch_bad_servers;
mod fetch_resume;
mod fetch_signed;
mod gc;
mod hostile;
mod images;
mod import;
mod info;
mod init;
mod init_from;
mod kill;
mod lists;
mod ordinary;
mod pods;
mod progress;
mod run;
mod signatures;
mod tags;
mod trust;
mod usage;
mod verbose;
mod verify;
mod volumes;

use crate::support::archive::{Archive, manifest};
use crate::support::command::Jetpack;

/// An image called `name` whose app is `/bin/app`, this shell script. Other fields of the app come from `more`, which begins
/// with a comma.
pub(crate) fn scripted(name: &str, script: &str, more: &str) -> Archive {
    let app = format!(r#"{{ "exec": ["/bin/app"], "user": "0", "group": "0"{more} }}"#);
    Archive::with_manifest(&manifest(name, Some(&app))).file(
        "rootfs/bin/app",
        0o755,
        format!("#!/bin/sh\n{script}\n").as_bytes(),
    )
}

/// A store with such an image in it.
pub(crate) fn with_script(script: &str) -> Jetpack {
    let jetpack = Jetpack::fake();
    jetpack.import(&scripted("example.com/app", script, "").finish());
    jetpack
}

/// An image without an app, of this name and version.
pub(crate) fn versioned(name: &str, version: &str) -> Vec<u8> {
    let manifest = format!(
        r#"{{ "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "{name}",
              "labels": [{{"name": "version", "value": "{version}"}}, {{"name": "os", "value": "linux"}},
                         {{"name": "arch", "value": "amd64"}}] }}"#
    );
    Archive::with_manifest(&manifest).finish()
}
