//! Images and pods as they are moved between stores in ZFS pools: a tar archive around what `zfs send` writes.
//!
//! | file | in the package of | what |
//! |---|---|---|
//! | `jetpack.json` | both | what it is a package of: see [`Head`] |
//! | `image.aci` | an image | the original archive, byte for byte |
//! | `image.aci.asc` | an image that is signed | the signatures of the archive |
//! | `tree.zfs` | an image | a stream of the image's dataset |
//! | `manifest` | a pod | the pod's manifest |
//! | `app.NAME.zfs` | a pod | a stream of each app's root, in the order of the manifest |
//! | `volume.NAME.zfs` | a pod | a stream of each volume of the pod's own, in the order of the manifest |
//!
//! A bare stream would not do. The id of an image is the digest of its archive, byte for byte, which files cannot give back; so
//! the archive comes along, and the importer believes neither the id nor the stream: it takes the id from the archive, makes the
//! image of the archive as it would without a stream, and only then keeps the dataset of the stream instead, if every file in it
//! is the same. What that is good for is its history: increments of images and pods can be received on it. A pod is several
//! datasets, and the way of ZFS itself to put those into one stream brings along properties, snapshots and children, none of which
//! anybody else is to decide upon here. And there is one file to be signed, compressed, and looked into with tar(1).

mod export;
mod import;

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::annotations::{ADDRESSES, NETWORK};
use super::build::BUILD;
use super::compression::{Compression, decoder, is_tar_header};
use super::interruptible::Interruptible;
use super::keystore::Verified;
use super::plan::DISK;
use super::unpack::too_large;
use crate::appc::{ImageId, PodManifest, VolumeKind};
use crate::command::zfs::stream::is_stream;
use crate::error::{Context, Error, Result};
use crate::storage::Part;

pub use import::Arrived;
pub(super) use import::Received;

/// The version of the packages that this program reads and writes.
const FORMAT: u32 = 1;

/// The first file of a package, by which it is known.
const HEAD: &str = "jetpack.json";
const ARCHIVE: &str = "image.aci";
const SIGNATURE: &str = "image.aci.asc";
const TREE: &str = "tree.zfs";
const MANIFEST: &str = "manifest";

/// The longest text that is read into memory.
const MAX_TEXT: u64 = 16 << 20;

/// What a package says that it is.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    /// The version of the package.
    format: u32,
    /// Whether streams hold only what differs from what the receiver has: of an image, from that of its first dependency; of
    /// apps, from their images.
    incremental: bool,
    #[serde(flatten)]
    content: Content,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Content {
    Image {
        id: ImageId,
        /// For people; the manifest in the archive says it, too.
        name: String,
        /// The images that its dependencies are.
        dependencies: Vec<ImageId>,
        /// Whether the signatures of its archive come along.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        signed: bool,
    },
    Pod {
        id: Uuid,
        /// Whether it has run.
        exited: bool,
    },
}

/// What a file is that somebody wants to have imported.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An App Container Image, or something that is not known.
    Archive,
    /// A package.
    Package,
}

/// What the file is. What cannot be read is left to who unpacks archives, and tells why.
///
/// # Errors
/// It is a bare stream of zfs(8), which does not say what it is.
pub(super) fn recognise(verified: &Verified) -> Result<Kind> {
    let start = |reader: &mut dyn Read| {
        let mut start = Vec::new();
        let _ = reader.take(512).read_to_end(&mut start);
        start
    };
    let raw = start(&mut verified.reader()?);
    let plain = match decoder(BufReader::new(verified.reader()?)) {
        Ok((Compression::None, _)) | Err(_) => raw,
        Ok((_, mut plain)) => start(&mut plain),
    };
    if is_stream(&plain) {
        return Err(Error::new(format!(
            "{} is a bare stream of zfs(8), which does not say of what",
            verified.origin()
        ))
        .help("let `jetpack export --zfs` make a package of the image or pod, where it comes from"));
    }
    let name = plain.iter().take(100).take_while(|byte| **byte != 0).copied();
    let is_package = is_tar_header(&plain) && name.eq(HEAD.bytes());
    Ok(if is_package { Kind::Package } else { Kind::Archive })
}

/// A package that is being read, from its first file to its last.
struct Reader<'a, R: Read> {
    files: tar::Entries<'a, R>,
    /// The most bytes that a file of an image may have.
    most: Option<u64>,
}

impl<'a, R: Read> Reader<'a, R> {
    /// Reads the head of a package.
    fn open(archive: &'a mut tar::Archive<R>) -> Result<(Self, Head)> {
        // Extensions of tar are not looked at: there are none, and whoever wrote them could fill the memory.
        let files = archive.entries().context(|| "cannot read the package")?.raw(true);
        let mut reader = Reader { files, most: None };
        let text = reader.text(HEAD)?;
        let what = || format!("cannot understand {HEAD}");
        // The rest may be something that only the newer version knows.
        let format: serde_json::Value = serde_json::from_slice(&text).context(what)?;
        match format["format"].as_u64() {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(newer) if newer > u64::from(FORMAT) => {
                return Err(Error::new(format!("the package has format {newer}, this program knows {FORMAT}"))
                    .help("use the version of Jetpack that made it, or a newer one"));
            }
            _ => return Err(Error::new("the package has no readable format version")),
        }
        Ok((reader, serde_json::from_slice(&text).context(what)?))
    }

    /// The next file, which must be a regular one of this name.
    fn next(&mut self, name: &str) -> Result<tar::Entry<'a, R>> {
        let what = || format!("cannot read {name} in the package");
        let entry = self.files.next().ok_or_else(|| Error::new(format!("the package has no {name}")))?.context(what)?;
        let header = entry.header();
        if header.entry_type() != tar::EntryType::Regular || *header.path_bytes() != *name.as_bytes() {
            let found = String::from_utf8_lossy(&header.path_bytes()).into_owned();
            return Err(Error::new(format!("the package has {found:?} where {name} belongs")));
        }
        Ok(entry)
    }

    fn text(&mut self, name: &str) -> Result<Vec<u8>> {
        let what = || format!("cannot read {name} in the package");
        let (entry, mut text) = (self.next(name)?, Vec::new());
        if entry.size() > MAX_TEXT {
            return Err(Error::with_source(what(), format!("it has {} bytes, more than {MAX_TEXT}", entry.size())));
        }
        Interruptible(entry).read_to_end(&mut text).context(what)?;
        Ok(text)
    }

    /// Copies the next file to `path`, if it is not longer than it may be.
    fn stream(&mut self, name: &str, path: &Path) -> Result<File> {
        let what = || format!("cannot copy {name} out of the package");
        let entry = self.next(name)?;
        let size = entry.size();
        if let Some(most) = self.most.filter(|most| size > *most) {
            return Err(too_large(&format!("{name} in the package has"), most));
        }
        let mut file = File::options().read(true).write(true).create_new(true).open(path).context(what)?;
        let copied = std::io::copy(&mut Interruptible(entry), &mut file).context(what)?;
        if copied == size { Ok(file) } else { Err(Error::with_source(what(), "the package ends early")) }
    }

    /// Sees to it that the package ends here.
    fn end(mut self) -> Result<()> {
        match self.files.next() {
            None => Ok(()),
            Some(_) => Err(Error::new("the package has more in it than belongs there")),
        }
    }
}

/// What a pod has, with the names of the files of the package, in their order.
fn parts(manifest: &PodManifest) -> Vec<(Part<'_>, String)> {
    let apps = manifest.apps.iter().map(|app| (Part::Root(app.name.as_str()), format!("app.{}.zfs", app.name)));
    let own = manifest.volumes.iter().filter(|volume| matches!(volume.kind, VolumeKind::Empty { .. }));
    let volumes = own.map(|volume| (Part::Volume(volume.name.as_str()), format!("volume.{}.zfs", volume.name)));
    apps.chain(volumes).collect()
}

/// How much an app's root may hold, where the pod was made so.
fn most(manifest: &PodManifest, part: Part<'_>) -> Result<Option<u64>> {
    let Part::Root(name) = part else { return Ok(None) };
    let app = manifest.apps.iter().find(|app| app.name.as_str() == name);
    let most = app.and_then(|app| app.annotations.get(DISK)).map(|text| text.parse().context(|| DISK.to_owned()));
    most.transpose()
}

/// Checks that a pod has nothing of its host but what every pod has. What else it was given there means something else on
/// another host, or gives it what nobody has given it.
fn check_movable(manifest: &PodManifest) -> Result<()> {
    let refuse = |what: String| {
        Err(Error::new(format!("the pod has {what} of its host, and cannot be moved"))
            .help("prepare a new pod of the same image on the other host"))
    };
    if let Some(volume) = manifest.volumes.iter().find(|volume| matches!(volume.kind, VolumeKind::Host { .. })) {
        return refuse(format!("the volume {}", volume.name));
    }
    let of_apps = manifest.apps.iter().flat_map(|app| app.annotations.iter());
    for annotation in manifest.annotations.iter().chain(of_apps) {
        match (annotation.name.as_str(), annotation.value.as_str()) {
            (BUILD, _) => return Err(Error::new("a pod in which something is built cannot be moved")),
            (NETWORK, "none") | (DISK, _) => {}
            (NETWORK, _) => return refuse("the network".to_owned()),
            (ADDRESSES, _) => return refuse("addresses".to_owned()),
            (name, _) if name.starts_with("jetpack/") => return refuse(format!("the setting {name}")),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_brings_no_more_than_it_may() {
        let mut tar = tar::Builder::new(Vec::new());
        let head = serde_json::json!({ "format": 1, "incremental": false,
                                       "pod": { "id": Uuid::nil(), "exited": false } });
        for (name, bytes) in [(HEAD, head.to_string().into_bytes()), (ARCHIVE, vec![1; 100]), (TREE, vec![2; 101])] {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            tar.append_data(&mut header, name, &*bytes).unwrap();
        }
        let package = tar.into_inner().unwrap();
        let scratch = crate::sys::testing::Scratch::new();
        let mut archive = tar::Archive::new(&*package);
        let (mut reader, _) = Reader::open(&mut archive).unwrap();
        reader.most = Some(100);
        assert_eq!(reader.stream(ARCHIVE, &scratch.path().join("a")).unwrap().metadata().unwrap().len(), 100);
        let error = reader.stream(TREE, &scratch.path().join("b")).unwrap_err();
        assert_eq!(error.to_string(), "tree.zfs in the package has more than 100 bytes");
        assert!(error.help_line().unwrap().contains("images.max-size") && !scratch.path().join("b").exists());
    }

    #[test]
    fn heads_are_what_they_were() {
        let id = ImageId::from_digest(&[7; 64]);
        let image =
            Content::Image { id: id.clone(), name: "a/b".to_owned(), dependencies: vec![id.clone()], signed: false };
        let pod = Content::Pod { id: Uuid::nil(), exited: true };
        let expected = [
            serde_json::json!({ "format": 1, "incremental": true,
                                "image": { "id": id, "name": "a/b", "dependencies": [id] } }),
            serde_json::json!({ "format": 1, "incremental": true,
                                "pod": { "id": "00000000-0000-0000-0000-000000000000", "exited": true } }),
        ];
        for (content, expected) in [image, pod].into_iter().zip(expected) {
            let head = Head { format: FORMAT, incremental: true, content };
            let text = serde_json::to_vec(&head).unwrap();
            assert_eq!(serde_json::from_slice::<serde_json::Value>(&text).unwrap(), expected);
            assert_eq!(serde_json::from_slice::<Head>(&text).unwrap(), head);
        }
    }

    #[test]
    fn what_a_pod_has_of_its_host_does_not_move() {
        let pod = |volumes: &str, annotations: &str| {
            let text = format!(
                r#"{{ "acVersion": "0.8.11", "acKind": "PodManifest", "apps": [], "volumes": [{volumes}],
                      "annotations": [{annotations}] }}"#
            );
            check_movable(&PodManifest::parse(text.as_bytes()).unwrap()).err().map(|error| error.to_string())
        };
        let annotation = |name: &str, value: &str| format!(r#"{{ "name": "{name}", "value": "{value}" }}"#);
        let movable = [annotation("hostname", "a"), annotation("jetpack/net", "none")];
        assert_eq!(pod(r#"{ "name": "a", "kind": "empty" }"#, &movable.join(", ")), None);
        let table = [
            (r#"{ "name": "data", "kind": "host", "source": "/etc" }"#, String::new(), "the volume data of its host"),
            ("", annotation("jetpack/net", "host"), "the network of its host"),
            ("", annotation("ip-address", "127.0.0.1"), "addresses of its host"),
            ("", annotation("jetpack/jail.conf/allow.mount", "1"), "the setting jetpack/jail.conf/allow.mount of"),
            ("", annotation("jetpack/devfs-ruleset", "0"), "the setting jetpack/devfs-ruleset of its host"),
            ("", annotation("jetpack/build", "x"), "a pod in which something is built"),
        ];
        for (volumes, annotations, expected) in table {
            let said = pod(volumes, &annotations).expect("refused");
            assert!(said.contains(expected), "{said}");
        }
    }
}
