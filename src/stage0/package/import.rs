//! Taking packages in.

use std::fs::{self, File};
use std::io::BufReader;
use std::os::fd::AsFd;
use std::path::Path;

use uuid::Uuid;

use super::super::annotations;
use super::super::compression::decoder;
use super::super::diff::diff;
use super::super::image::{self, Image};
use super::super::import::{Expected, Imported};
use super::super::keystore::{Check, Signature, Verified};
use super::super::render::Rendered;
use super::super::store::Store;
use super::export::WHOLE;
use super::{ARCHIVE, Content, MANIFEST, Reader, SIGNATURE, TREE, check_movable, most, parts};
use crate::appc::{PodManifest, host_os_arch};
use crate::error::{Context, Error, Result};
use crate::storage::{Part, Source, Staging, Streams, staging};

/// What an import has brought.
#[derive(Debug)]
pub enum Arrived {
    /// An image.
    Image(Box<Imported>),
    /// A pod, of which this is the UUID.
    Pod(Uuid),
}

/// A stream of which an image is to be kept.
#[derive(Clone, Copy)]
pub(in super::super) struct Received<'a> {
    stream: &'a File,
    /// Whether it builds on the image's first dependency.
    incremental: bool,
}

impl Store {
    /// Takes a package in. `staging` is where an image's own files go.
    pub(in super::super) fn import_package(
        &self,
        verified: Verified,
        own: Staging,
        check: &Check<'_>,
    ) -> Result<Arrived> {
        let name = check.name;
        let streams = self.storage().streams().ok_or_else(|| {
            Error::new(format!("it is a package of zfs(8), and the store is of kind {}", self.storage().name()))
                .help("export the image without --zfs: an archive is for every store")
        })?;
        let what = || "cannot read the package";
        let (_, plain) = decoder(BufReader::new(verified.reader()?)).context(what)?;
        let mut archive = tar::Archive::new(plain);
        let (mut package, head) = Reader::open(&mut archive)?;
        let parts = staging(self.root())?;
        match head.content {
            Content::Image { id, dependencies, signed, .. } => {
                package.most = self.max_image_size();
                let aci = parts.path().join(ARCHIVE);
                package.stream(ARCHIVE, &aci)?;
                let signature = match signed {
                    true => Some(Signature::read(&*package.text(SIGNATURE)?, "in the package")?),
                    false => None,
                };
                let stream = package.stream(TREE, &parts.path().join(TREE))?;
                package.end()?;
                let place = own.path().join(image::ARCHIVE);
                fs::rename(&aci, &place).context(what)?;
                let received = Received { stream: &stream, incremental: head.incremental };
                let expected = Expected {
                    name,
                    id: Some(&id),
                    dependencies: Some(&dependencies),
                    received: Some(received),
                    ..Expected::default()
                };
                let part = verified.part(&place, signature.as_ref(), check)?;
                let image = self.import_verified(part, own, expected)?;
                Ok(Arrived::Image(Box::new(image)))
            }
            Content::Pod { id, .. } if name.is_some() => Err(Error::new(format!("it is the pod {id}, and no image"))),
            Content::Pod { id, exited } => {
                let (_, warning) = verified.nameless()?;
                warning.iter().for_each(|warning| (check.warn)(warning));
                let manifest =
                    PodManifest::parse(&package.text(MANIFEST)?).context(|| "cannot read the pod's manifest")?;
                let pod = Coming { id, exited, manifest, incremental: head.incremental };
                self.import_pod(&pod, package, streams, &parts)?;
                Ok(Arrived::Pod(id))
            }
        }
    }

    fn import_pod<R: std::io::Read>(
        &self,
        pod: &Coming,
        mut package: Reader<'_, R>,
        streams: &dyn Streams,
        staging: &Staging,
    ) -> Result<()> {
        check_movable(&pod.manifest)?;
        annotations::check(&pod.manifest.annotations, host_os_arch().0)?;
        let name = pod.id.to_string();
        let fill = || {
            self.storage().create_pod(&name)?;
            for (part, file) in parts(&pod.manifest) {
                let base = match part {
                    Part::Root(app) if pod.incremental => Some(self.layer_of(&pod.manifest, app)?),
                    Part::Root(_) | Part::Volume(_) => None,
                };
                let path = staging.path().join("part");
                let stream = package.stream(&file, &path)?;
                let source = Source { stream: &stream, base: base.as_deref() };
                let received = streams.receive_part(&name, part, source, most(&pod.manifest, part)?);
                received.map_err(|error| hint(error, base.is_some()))?;
                fs::remove_file(&path).context(|| "cannot remove the stream")?;
            }
            package.end()
        };
        self.receive_pod(pod.id, &pod.manifest, pod.exited, fill).map(drop)
    }

    /// Keeps the dataset of a stream in place of what was made of the archive, if both have the same files.
    pub(in super::super) fn put_received(
        &self,
        received: Received<'_>,
        own: Staging,
        mut rendered: Rendered,
        dependencies: &[Image],
    ) -> Result<(Staging, Rendered)> {
        let what = || "cannot take the image's dataset";
        let streams = self.storage().streams().ok_or_else(|| Error::new(what()))?;
        let base = match dependencies.first().map(|image| image.record.layers.as_slice()) {
            _ if !received.incremental => None,
            Some([layer]) => Some(layer.as_str()),
            _ => return Err(Error::new("the image has no dependency on which the package could build")),
        };
        let dataset = streams
            .receive_layer(Source { stream: received.stream, base })
            .map_err(|error| hint(error, base.is_some()))
            .context(what)?;
        let made = rendered.made.first().map_or(&own, |(made, _)| made);
        check_same(&made.tree(), &dataset.tree())?;
        if let Some((made, _)) = rendered.made.first_mut() {
            *made = dataset;
            return Ok((own, rendered));
        }
        let archive = |staging: &Staging| staging.path().join(image::ARCHIVE);
        fs::rename(archive(&own), archive(&dataset)).context(what)?;
        Ok((dataset, rendered))
    }

    /// The layer on which the root of a pod's app stands.
    pub(super) fn layer_of(&self, manifest: &PodManifest, app: &str) -> Result<String> {
        let app = manifest.apps.iter().find(|other| other.name.as_str() == app);
        let app = app.ok_or_else(|| Error::new("the pod has no such app"))?;
        let image = self.read_image(&app.image.id)?;
        image.record.layers.first().cloned().ok_or_else(|| Error::new("its image has no files"))
    }
}

/// A pod that is being taken in.
struct Coming {
    id: Uuid,
    exited: bool,
    manifest: PodManifest,
    incremental: bool,
}

/// Checks that a stream holds what the archive makes. When a directory was last changed does not count: an archive need not say.
fn check_same(made: &Path, received: &Path) -> Result<()> {
    let what = || "cannot compare the stream with the archive";
    let open = |path: &Path| File::open(path).context(what);
    let found = diff(open(made)?.as_fd(), open(received)?.as_fd(), &|_| false).context(what)?;
    let changed = found.changed.iter().filter(|path| !found.touched.contains(path));
    let mut different = changed.chain(&found.added).chain(&found.removed).chain(&found.sockets);
    match different.next() {
        None => Ok(()),
        Some(path) => {
            Err(Error::new(format!("the stream is not what the archive makes: {:?} differs", path.as_path()))
                .help("export the image without --zfs, if its archive is to be trusted"))
        }
    }
}

fn hint(error: Error, incremental: bool) -> Error {
    let text = format!("an increment takes the image that it builds on from a package, too; or {WHOLE}");
    if incremental { error.help(text) } else { error }
}
