//! What runs: images, pods, and the plans that lead from the one to the other.
//!
//! The store, by default `/var/jetpack`, belongs to root (mode 0700, so that a setuid file of an image is out of an ordinary
//! user's reach) and looks like this:
//!
//! | path | what |
//! |---|---|
//! | `store` | the format version and the kind of storage |
//! | `lock` | held shared while images are used, exclusively while one is added or removed |
//! | `images/ID/` | `manifest`, the original archive `image.aci`, its signatures `image.aci.asc`, `image.json`, and `used`, whose time is that of the last use |
//! | `layers/ID/` | the files of an archive, under its digest |
//! | `layers/mask-HEX/`, `layers/rendered-HEX/` | what rendering made of an image: see `render` |
//! | `tags/NAME@TAG` | the id of the image that has the tag; slashes are `+`: see [`tags`] |
//! | `pods/UUID/apps/APP/` | an app's root: storage's own |
//! | `pods/UUID/volumes/VOLUME/` | a volume of the pod's own |
//! | `state/STATE/UUID/` | the pod's `manifest` and `lock`; the directory's place is the pod's state |
//! | `cache/` | what is kept of downloads: see `fetch` |
//! | `tmp/` | what is being made; whatever nobody holds a lock on is rubbish |

pub mod annotations;
pub mod build;
mod collect;
pub mod compression;
pub mod dependencies;
pub mod diff;
pub mod discovery;
pub mod export;
pub mod fetch;
pub mod image;
pub mod import;
pub(crate) mod interruptible;
pub mod keystore;
pub mod location;
pub mod migrate;
pub mod pack;
pub mod package;
pub mod plan;
pub mod pod;
mod properties;
pub mod reference;
mod render;
mod sources;
pub mod store;
pub mod tags;
pub mod unpack;
pub mod verify;
pub mod version;
pub mod volumes;
