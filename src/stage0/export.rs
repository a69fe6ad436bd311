//! Giving images back: the archive as it came, or a new one that needs no other image.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::Path;

use super::compression::{Compression, encoder, processors};
use super::image::{ARCHIVE, Image};
use super::interruptible::Interruptible;
use super::pack::{Selection, pack};
use super::store::Store;
use crate::appc::ImageId;
use crate::error::{Context, Error, Result};
use crate::progress::Step;
use crate::storage::{Tree, staging, view};

/// An archive that was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// The id of the image that it is.
    pub id: ImageId,
    /// How it is compressed.
    pub compression: Compression,
    /// What the person should know.
    pub warnings: Vec<String>,
}

fn copy(mut archive: File, out: impl Write) -> io::Result<()> {
    let mut out = Interruptible(out);
    io::copy(&mut archive, &mut out)?;
    out.flush()
}

/// What a manifest has to lack for the image to run alone, in any case of its letters.
const FIELDS: [&str; 2] = ["dependencies", "pathWhitelist"];

impl Store {
    /// Writes the archive of `image` as it came, byte for byte. The store is not locked meanwhile: `out` may take for ever.
    ///
    /// # Errors
    /// It cannot be read, or `out` fails.
    pub fn export(&self, image: &Image, out: impl Write) -> Result<Exported> {
        let what = || format!("cannot export image {}", image.id.short());
        let lock = self.use_images()?;
        let archive = File::open(self.image_directory(&image.id).join(ARCHIVE)).context(what)?;
        drop(lock);
        let step = self.exporting(image, image.record.archive_size);
        copy(archive, step.count(out)).context(what)?;
        Ok(Exported { id: image.id.clone(), compression: image.record.compression, warnings: Vec::new() })
    }

    /// Writes an archive of all the files that pods of `image` get, with its manifest but for the dependencies and the
    /// whitelist. The same image gives the same bytes. It is made in the store before the first byte is written, since `out`
    /// may take for ever.
    ///
    /// # Errors
    /// The files cannot be read, the store is full, or `out` fails.
    pub fn export_flat(&self, image: &Image, compression: Compression, out: impl Write) -> Result<Exported> {
        let what = || format!("cannot export image {}", image.id.short());
        let staging = staging(self.root())?;
        let place = staging.path().join(ARCHIVE);
        let lock = self.use_images()?;
        let (id, warnings) = self.flatten(image, compression, &place).context(what)?;
        drop(lock);
        let archive = File::open(&place).context(what)?;
        let size = archive.metadata().context(what)?.len();
        let step = Step::begin(self.progress(), "copying the archive", Some(size));
        copy(archive, step.count(out)).context(what)?;
        Ok(Exported { id, compression, warnings })
    }

    /// Makes the flat archive at `place`, in a child process; gives its id and warnings.
    fn flatten(&self, image: &Image, compression: Compression, place: &Path) -> Result<(ImageId, Vec<String>)> {
        let manifest = flat_manifest(&self.image_manifest(&image.id)?)?;
        let tree = Tree::Layers(image.record.layers.clone());
        view(self.storage(), &[tree], |paths| {
            let root = File::open(&paths[0]).context(|| "cannot open the files of the image")?;
            let step = self.exporting(image, None);
            let cannot_write = || "cannot write the archive";
            let out = BufWriter::new(File::create(place).context(cannot_write)?);
            let mut encoder = encoder(compression, out, processors()).context(cannot_write)?;
            let counted = step.count(Interruptible(&mut encoder));
            let packed = pack(&manifest, root.as_fd(), &Selection::All, counted)?;
            encoder.finish().context(cannot_write)?;
            Ok((ImageId::from_digest(&packed.id_digest), packed.warnings))
        })
    }

    fn exporting(&self, image: &Image, total: impl Into<Option<u64>>) -> Step<'_> {
        Step::begin(self.progress(), &format!("exporting {}", image.manifest.name), total.into())
    }
}

/// The manifest of an image that has all its files itself. One that has nothing to lose stays as it is.
fn flat_manifest(manifest: &[u8]) -> Result<Vec<u8>> {
    let what = || "cannot read the manifest";
    let mut json: serde_json::Value = serde_json::from_slice(manifest).context(what)?;
    let object = json.as_object_mut().ok_or_else(|| Error::new("the manifest is no object"))?;
    let before = object.len();
    object.retain(|name, _| !FIELDS.iter().any(|field| field.eq_ignore_ascii_case(name)));
    if object.len() == before {
        return Ok(manifest.to_vec());
    }
    serde_json::to_vec_pretty(&json).context(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_loses_what_it_needs_no_more_and_nothing_else() {
        let manifest =
            br#"{"name": "a", "pathwhitelist": ["/x"], "unknown": [1, {"dependencies": 2}], "Dependencies": []}"#;
        let flat: serde_json::Value = serde_json::from_slice(&flat_manifest(manifest).unwrap()).unwrap();
        assert_eq!(flat, serde_json::json!({ "name": "a", "unknown": [1, { "dependencies": 2 }] }));
        let plain = b"{ \"name\" :\"a\" }";
        assert_eq!(flat_manifest(plain).unwrap(), plain);
        assert!(flat_manifest(b"[]").is_err());
    }
}
