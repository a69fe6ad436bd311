//! What the tests of this module and of others share: packing directories by their paths.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::Path;

use crate::error::Result;
use crate::stage0::pack::{Packed, Selection, pack};
use crate::stage0::unpack::{Options, Unpacked, unpack};

/// The manifest of the tests.
pub(crate) const MANIFEST: &[u8] = br#"{"acKind": "ImageManifest"}"#;

/// Packs a part of a directory.
pub(crate) fn pack_path(root: &Path, selection: &Selection) -> Result<(Vec<u8>, Packed)> {
    let mut bytes = Vec::new();
    let packed = pack(MANIFEST, File::open(root).unwrap().as_fd(), selection, &mut bytes)?;
    Ok((bytes, packed))
}

/// Unpacks an archive into a new directory.
pub(crate) fn unpack_path(archive: &[u8], into: &Path) -> Result<Unpacked> {
    std::fs::create_dir(into).unwrap();
    let options = Options { owners: crate::sys::is_root(), max_size: None };
    unpack(archive, File::open(into).unwrap().as_fd(), &options)
}
