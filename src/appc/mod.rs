//! The App Container specification, version 0.8.11, as types.
//!
//! [`ImageManifest::parse`] and [`PodManifest::parse`] turn JSON into values that hold what the specification demands of
//! them, or into an [`Error`] that names the field and what is wrong with it. The values are plain data; names, ids, labels,
//! annotations and isolators are types that cannot be made invalid, and for the rest `validate` checks a manifest that was
//! built or changed in memory. Nothing here reads a file or asks the system, and no input makes it panic.
//!
//! Where the specification's text and its Go schema disagree, or where the images in the world differ from both:
//!
//! * names of fields are found in any letter case, as in Go (the text itself has `supplementaryGIDs` and
//!   `supplementaryGids`); a name given twice, even in two cases, is an error;
//! * null is absent, and so are an empty `workingDirectory`, a port `count` of 0 and a dependency's `size` of 0, which the
//!   Go tools wrote;
//! * identifiers follow the prose rather than the expression, see [`AcIdentifier`];
//! * an image id is always whole: 128 digits;
//! * `arch` without `os` is refused, since it means nothing; `freebsd/aarch64` is known;
//! * unknown isolators are kept as [`IsolatorValue::Unknown`], and capabilities-retain-set and -remove-set exclude each
//!   other, as the text says and the Go schema does not;
//! * paths are absolute wherever the text says so, also where Go does not look; texts for system calls have no NUL;
//! * a volume's `recursive` is ignored where the kind is empty, and true where it is not given.

#![forbid(unsafe_code)]

mod annotations;
mod app;
mod draft;
mod error;
mod image;
mod image_id;
mod isolator;
pub mod isolators;
mod json;
pub mod labels;
mod name;
mod pod;
mod port;
mod quantity;
#[cfg(test)]
mod tests;
mod timestamp;
mod version;
mod volume;

pub use annotations::{Annotation, Annotations};
pub use app::{App, EnvVar, EventHandler, EventName};
pub use draft::Draft;
pub use error::Error;
pub use image::{Dependency, ImageManifest};
pub use image_id::ImageId;
pub use isolator::Isolator;
pub use isolators::{DEFAULT_CAPABILITIES, IsolatorValue};
pub use labels::{Label, Labels, host_os_arch};
pub use name::{AcIdentifier, AcName};
pub use pod::{PodManifest, RuntimeApp, RuntimeImage};
pub use port::{ExposedPort, Port};
pub use quantity::Quantity;
pub use timestamp::timestamp;
pub use version::{AcKind, AcVersion};
pub use volume::{Mount, MountPoint, Volume, VolumeKind};
