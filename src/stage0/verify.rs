//! Whether an image on the disk is still what was sealed.
//!
//! The store keeps the archive as it came, and the image's id is the digest of that. So no list of files is needed: where the
//! archive still has its digest, it is unpacked and rendered once more, beside the image, and the two are compared, with all
//! that an archive can hold of a file. An image that depends on others is rendered of those as they are.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::readlinkat;
use nix::sys::stat::{FileStat, SFlag};
use serde::Serialize;

use super::dependencies::check_cycle;
use super::diff::{diff, same_content};
use super::image::{ARCHIVE, Image};
use super::interruptible::Interruptible;
use super::properties::Properties;
use super::store::Store;
use super::unpack::{Options, Unpacked, id_digest, is_overlay, unpack};
use crate::appc::{AcIdentifier, ImageId};
use crate::error::{Context, Error, Result};
use crate::progress::Step;
use crate::sys::os::attrs;
use crate::sys::tree::{Node, Walk, file_type, open_entry, open_path, open_regular, stat_entry};

/// What is wrong with an image. Paths are absolute in it, and what in them is no text is shown in escapes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// What is wrong with the archive. Nothing is left then to compare the files with.
    pub archive: Option<String>,
    /// The manifest that the store shows is not the archive's.
    pub manifest: bool,
    /// The layers that the store has written down are not those that the image is made of.
    pub layers: bool,
    /// The layers that the store should have of it.
    pub missing_layers: Vec<String>,
    /// The files that are missing, directories among them.
    pub missing: Vec<String>,
    /// Those that the image does not have.
    pub extra: Vec<String>,
    /// Those that are not what they should be.
    pub changed: Vec<Changed>,
}

/// The aspect of extended attributes.
const ATTRIBUTES: &str = "attributes";

/// A file that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    /// Its path.
    pub path: String,
    /// In what it differs: `type`, `content`, `mode`, `owner`, `time`, `target`, `device`, `attributes`, `acl`, `flags`, or
    /// `links`, which are the names that the file has.
    pub differs: Vec<&'static str>,
}

impl Findings {
    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        *self == Findings::default()
    }
}

impl Store {
    /// Compares an image with its archive. It cannot be removed meanwhile, and needs room for its files once more.
    ///
    /// # Errors
    /// The disk fails or is full, or what the image depends on has gone. What is wrong with the image is no error.
    pub fn verify_image(&self, image: &Image) -> Result<Findings> {
        let what = || format!("cannot verify image {}", image.id.short());
        let mut findings = Findings::default();
        let staging = self.begin_image().context(what)?;
        let _lock = self.use_images()?;
        // It may have gone, or been made anew, since it was read.
        let image = &self.read_image(&image.id).context(what)?;
        let unpacked = match self.unpack_again(image, &staging.tree()).context(what)? {
            Ok(unpacked) => unpacked,
            Err(rotten) => return Ok(Findings { archive: Some(rotten), ..findings }),
        };
        findings.manifest = unpacked.manifest != self.image_manifest(&image.id).context(what)?;
        let mut record = image.record.clone();
        let known = (&image.manifest, Some(&*image.record.dependencies));
        let (rendered, _) = self.render(&staging, &unpacked, known, &mut record).context(what)?;
        findings.layers = record.layers != image.record.layers;
        let own = (staging, image.id.to_string());
        let layers = self.storage().layers()?;
        for (expected, name) in std::iter::once(own).chain(rendered.made) {
            // The own files of a rendered copy are in that.
            if !record.layers.contains(&name) {
                continue;
            }
            if !layers.contains(&name) {
                findings.missing_layers.push(name);
                continue;
            }
            let there = self.storage().open_layer(&name).context(what)?;
            compare(&expected.tree(), &there, &mut findings).context(what)?;
        }
        Ok(findings)
    }

    /// Unpacks the archive of an image, or tells what is wrong with it.
    fn unpack_again(&self, image: &Image, to: &Path) -> Result<std::result::Result<Unpacked, String>> {
        let path = self.image_directory(&image.id).join(ARCHIVE);
        let open = || File::open(&path).context(|| format!("cannot open {}", path.display()));
        if !path.exists() {
            return Ok(Err("it is missing".to_owned()));
        }
        let label = format!("verifying {}", image.manifest.name);
        let step = Step::begin(self.progress(), &label, Some(image.record.archive_size));
        let to = File::open(to).context(|| format!("cannot open {}", to.display()))?;
        let options = Options { owners: self.storage().keeps_owners(), ..Options::default() };
        let unpacked = unpack(Interruptible(step.count(open()?)), to.as_fd(), &options);
        drop(step);
        match unpacked {
            Ok(unpacked) => {
                let id = ImageId::from_digest(&unpacked.id_digest);
                Ok(if id == image.id { Ok(unpacked) } else { Err(format!("it is that of {id}")) })
            }
            // It may be the disk that fails.
            Err(error) => match id_digest(Interruptible(open()?)) {
                Ok(digest) if ImageId::from_digest(&digest) == image.id => Err(error),
                _ => Ok(Err(error.one_line())),
            },
        }
    }

    /// The images and all that they depend on, each once, behind what it depends on.
    ///
    /// # Errors
    /// One of those cannot be read, or the store's records go round in a circle.
    pub fn with_dependencies(&self, images: Vec<Image>) -> Result<Vec<Image>> {
        let mut all = Vec::new();
        images.into_iter().try_for_each(|image| self.add_with_dependencies(image, &mut Vec::new(), &mut all))?;
        Ok(all)
    }

    /// The same of one image. `chain` are the images on whose behalf.
    fn add_with_dependencies(
        &self,
        image: Image,
        chain: &mut Vec<(AcIdentifier, ImageId)>,
        all: &mut Vec<Image>,
    ) -> Result<()> {
        if all.iter().any(|other| other.id == image.id) {
            return Ok(());
        }
        check_cycle(chain, (&image.manifest.name, &image.id))?;
        chain.push((image.manifest.name.clone(), image.id.clone()));
        for id in &image.record.dependencies {
            self.add_with_dependencies(self.read_image(id)?, chain, all)?;
        }
        chain.pop();
        all.push(image);
        Ok(())
    }
}

/// Compares what is `there` with what should be.
fn compare(expected: &Path, there: &Path, findings: &mut Findings) -> Result<()> {
    let open = |path: &Path| File::open(path).context(|| format!("cannot open {}", path.display()));
    let (expected, there) = (open(expected)?, open(there)?);
    let found = diff(expected.as_fd(), there.as_fd(), &|_| false)?;
    let texts = |paths: &[PathBuf]| paths.iter().map(|path| text(path)).collect::<Vec<_>>();
    findings.missing.extend(texts(&found.removed));
    findings.extra.extend(texts(&found.added));
    findings.extra.extend(texts(&found.sockets));
    for path in &found.changed {
        let differs = aspects(expected.as_fd(), there.as_fd(), path)
            .context(|| format!("cannot compare {} with what it should be", text(path)))?;
        if !differs.is_empty() {
            findings.changed.push(Changed { path: text(path), differs });
        }
    }
    for path in stacked_otherwise(there.as_fd())? {
        let path = text(&path);
        match findings.changed.iter_mut().find(|changed| changed.path == path) {
            Some(changed) if changed.differs.contains(&ATTRIBUTES) => {}
            Some(changed) => changed.differs.push(ATTRIBUTES),
            None => findings.changed.push(Changed { path, differs: vec![ATTRIBUTES] }),
        }
    }
    Ok(())
}

/// The files that have extended attributes by which overlayfs shows something else than them. They belong to the host and not to
/// the image, and so no comparison looks at them; but no layer is made with any.
fn stacked_otherwise(tree: BorrowedFd<'_>) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut walk = Walk::new(tree).context(|| "cannot open the layer")?;
    while walk.advance().context(|| "cannot read the layer")?.is_some() {
        let what = "cannot read extended attributes";
        let (xattrs, _) = attrs::get_attributes(walk.node().context(|| what)?).context(|| what)?;
        if xattrs.iter().any(|(name, _)| is_overlay(name)) {
            found.push(walk.path().to_path_buf());
        }
    }
    Ok(found)
}

/// A path of the image, however long.
fn text(path: &Path) -> String {
    let mut text = "/".to_owned();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    text
}

/// In what the file at `path`, which is in both trees, differs.
fn aspects(expected: BorrowedFd<'_>, there: BorrowedFd<'_>, path: &Path) -> Result<Vec<&'static str>> {
    let (old, new) = (Place::open(expected, path)?, Place::open(there, path)?);
    let (before, after) = (old.stat, new.stat);
    let kind = file_type(&before);
    if kind != file_type(&after) {
        return Ok(vec!["type"]);
    }
    // The whiteouts of a mask are made when it is made, and nobody sees more of them than what they hide.
    if kind == SFlag::S_IFCHR && [before.st_rdev, after.st_rdev] == [0, 0] {
        return Ok(Vec::new());
    }
    let is_device = matches!(kind, SFlag::S_IFCHR | SFlag::S_IFBLK);
    let time = |stat: &FileStat| (stat.st_mtime, stat.st_mtime_nsec);
    let owner = |stat: &FileStat| (stat.st_uid, stat.st_gid);
    let mut differ = Vec::new();
    let mut note = |aspect, differs: bool| differ.extend(differs.then_some(aspect));
    match kind {
        SFlag::S_IFREG => note("content", !old.has_content_of(&new)?),
        SFlag::S_IFLNK => note("target", old.target()? != new.target()?),
        _ => {}
    }
    note("mode", kind != SFlag::S_IFLNK && before.st_mode != after.st_mode);
    note("owner", owner(&before) != owner(&after));
    note("time", time(&before) != time(&after));
    note("device", is_device && before.st_rdev != after.st_rdev);
    let (one, other) = (old.properties()?, new.properties()?);
    note(ATTRIBUTES, one.xattrs != other.xattrs || one.lost != other.lost);
    note("acl", one.acls != other.acls);
    note("flags", one.flags != other.flags);
    Ok(if differ.is_empty() { vec!["links"] } else { differ })
}

/// An entry of a directory of a tree at rest.
struct Place<'p> {
    directory: OwnedFd,
    name: &'p OsStr,
    stat: FileStat,
}

impl<'p> Place<'p> {
    fn open(tree: BorrowedFd<'_>, path: &'p Path) -> Result<Self> {
        let name = path.file_name().unwrap_or(OsStr::new("."));
        let above = path.parent().unwrap_or(Path::new(""));
        let directory = open_path(tree, above).context(|| "cannot open its directory")?;
        let stat = stat_entry(directory.as_fd(), name).context(|| "cannot look at it")?;
        Ok(Place { directory, name, stat })
    }

    fn has_content_of(&self, other: &Place<'_>) -> Result<bool> {
        let file = |place: &Place<'_>| {
            let file = open_regular(place.directory.as_fd(), place.name).context(|| "cannot open it")?;
            file.ok_or_else(|| Error::new("it is no longer a regular file"))
        };
        same_content(&file(self)?, &file(other)?).context(|| "cannot read it")
    }

    fn target(&self) -> Result<OsString> {
        readlinkat(&self.directory, self.name).context(|| "cannot read the link")
    }

    fn properties(&self) -> Result<Properties> {
        let directory = self.directory.as_fd();
        if !matches!(file_type(&self.stat), SFlag::S_IFREG | SFlag::S_IFDIR) {
            return Properties::read(Node::At(directory, self.name));
        }
        let opened = open_entry(directory, self.name).context(|| "cannot open it")?;
        Properties::read(Node::Open(opened.as_fd()))
    }
}
