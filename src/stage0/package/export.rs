//! Making packages.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use super::super::image::{self, Image};
use super::super::interruptible::Interruptible;
use super::super::pod::{LockedPod, State};
use super::super::store::Store;
use super::{ARCHIVE, Content, FORMAT, HEAD, Head, MANIFEST, SIGNATURE, TREE, check_movable, parts};
use crate::error::{Context, Error, Result};
use crate::progress::Step;
use crate::storage::{Part, Streams, staging};

/// What an increment that cannot be made, or not be taken, needs.
pub(super) const WHOLE: &str = "export it without --incremental";

impl Store {
    /// Writes a package of `image`, with all its files, or with those only that differ from its first dependency's. The streams are
    /// made in the store before the first byte is written, since `out` may take for ever.
    ///
    /// # Errors
    /// The store is in no ZFS pool, or full; the image was not made of its dependency's dataset; or `out` fails.
    pub fn export_image_package(&self, image: &Image, incremental: bool, out: impl Write) -> Result<()> {
        let what = || format!("cannot export image {}", image.id.short());
        let streams = self.sender()?;
        let staging = staging(self.root())?;
        let lock = self.use_images()?;
        let base = match image.record.dependencies.first() {
            _ if !incremental => None,
            Some(id) => Some(only_layer(&self.read_image(id).context(what)?).context(what)?),
            None => return Err(Error::new(format!("image {} depends on none", image.id.short())).help(WHOLE)),
        };
        let layer = only_layer(image).context(what)?;
        let stream = make_file(&staging.path().join(TREE)).context(what)?;
        self.send(image.manifest.name.as_str(), || {
            streams.send_layer(&layer, base.as_deref(), &stream).map_err(|error| hint(error, incremental))
        })
        .context(what)?;
        let archive = File::open(self.image_directory(&image.id).join(image::ARCHIVE)).context(what)?;
        let mut files = vec![(ARCHIVE, archive)];
        if self.image_signature(&image.id)?.is_some() {
            let signature = File::open(self.image_directory(&image.id).join(image::SIGNATURE)).context(what)?;
            files.push((SIGNATURE, signature));
        }
        files.push((TREE, stream));
        drop(lock);
        let content = Content::Image {
            id: image.id.clone(),
            name: image.manifest.name.to_string(),
            dependencies: image.record.dependencies.clone(),
            signed: files.iter().any(|(name, _)| *name == SIGNATURE),
        };
        let head = Head { format: FORMAT, incremental, content };
        self.write(&head, None, &files, out).context(what)
    }

    /// Writes a package of a pod that does not run: with all its files, or with those of its apps only that differ from their
    /// images. The pod stays.
    ///
    /// # Errors
    /// The store is in no ZFS pool, or full; the pod has something of this host; or `out` fails.
    pub fn export_pod_package(&self, locked: &LockedPod, incremental: bool, out: impl Write) -> Result<()> {
        let pod = &locked.pod;
        let what = || format!("cannot export pod {}", pod.id);
        let streams = self.sender()?;
        let exited = match pod.state {
            State::Prepared => false,
            State::Exited => true,
            other => return Err(Error::new(format!("pod {} cannot be exported: it is {}", pod.id, other.name()))),
        };
        let manifest = pod.manifest()?;
        check_movable(&manifest).context(what)?;
        let staging = staging(self.root())?;
        let mut files = Vec::new();
        for (part, name) in parts(&manifest) {
            let base = match part {
                Part::Root(app) if incremental => Some(self.layer_of(&manifest, app).context(what)?),
                Part::Root(_) | Part::Volume(_) => None,
            };
            let stream = make_file(&staging.path().join(&name)).context(what)?;
            let send = || streams.send_part(&pod.id.to_string(), part, base.as_deref(), &stream);
            self.send(&name, || send().map_err(|error| hint(error, incremental))).context(what)?;
            files.push((name, stream));
        }
        let files: Vec<(&str, File)> = files
            .iter()
            .map(|(name, file)| Ok((name.as_str(), file.try_clone()?)))
            .collect::<io::Result<_>>()
            .context(what)?;
        let head = Head { format: FORMAT, incremental, content: Content::Pod { id: pod.id, exited } };
        let manifest = manifest.to_json_pretty() + "\n";
        self.write(&head, Some(&manifest), &files, out).context(what)
    }

    fn sender(&self) -> Result<&dyn Streams> {
        self.storage().streams().ok_or_else(|| {
            Error::new(format!("a store of kind {} has no streams of zfs(8)", self.storage().name()))
                .help("`jetpack export` without --zfs writes the archive of an image, which every store takes")
        })
    }

    fn send(&self, name: &str, send: impl FnOnce() -> Result<()>) -> Result<()> {
        let _step = Step::begin(self.progress(), &format!("sending {name}"), None);
        send()
    }

    /// Writes the files of a package.
    fn write(&self, head: &Head, manifest: Option<&str>, files: &[(&str, File)], out: impl Write) -> Result<()> {
        let what = || "cannot write the package";
        let mut lengths = Vec::new();
        for (_, file) in files {
            lengths.push(file.metadata().context(what)?.len());
        }
        let step = Step::begin(self.progress(), "writing the package", Some(lengths.iter().sum()));
        let mut package = tar::Builder::new(Interruptible(out));
        let text = serde_json::to_string_pretty(head).context(what)? + "\n";
        for (name, text) in [(HEAD, Some(text.as_str())), (MANIFEST, manifest)] {
            let Some(text) = text else { continue };
            append(&mut package, name, text.len() as u64, text.as_bytes()).context(what)?;
        }
        for ((name, file), length) in files.iter().zip(lengths) {
            let whole = Whole { file, at: 0, step: &step };
            append(&mut package, name, length, whole).context(what)?;
        }
        let mut out = package.into_inner().context(what)?;
        out.flush().context(what)
    }
}

/// A file from its first byte on, wherever its descriptor stands.
struct Whole<'a> {
    file: &'a File,
    at: u64,
    step: &'a Step<'a>,
}

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = std::os::unix::fs::FileExt::read_at(self.file, buffer, self.at)?;
        self.at += count as u64;
        self.step.advance(count as u64);
        Ok(count)
    }
}

fn append(package: &mut tar::Builder<impl Write>, name: &str, length: u64, content: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_path(name)?;
    header.set_mode(0o600);
    header.set_size(length);
    header.set_cksum();
    package.append(&header, content.take(length))
}

/// The one layer of an image: stores in pools have no other.
fn only_layer(image: &Image) -> Result<String> {
    match image.record.layers.as_slice() {
        [layer] => Ok(layer.clone()),
        layers => Err(Error::new(format!("image {} has {} layers", image.id.short(), layers.len()))),
    }
}

fn make_file(path: &Path) -> Result<File> {
    let what = || format!("cannot make {}", path.display());
    File::options().read(true).write(true).create_new(true).open(path).context(what)
}

fn hint(error: Error, incremental: bool) -> Error {
    if incremental { error.help(format!("if it was not made as a clone here, {WHOLE}")) } else { error }
}
