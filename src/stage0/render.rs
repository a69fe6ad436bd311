//! From an image's own files and the images it depends on to the layers that a root is made of (appc, aci.md and ace.md).
//!
//! The *rendered* image is what these rules make, whatever the backend:
//!
//! 1. The rendered dependencies are laid on one another in the order of the manifest, and the image's own files on them.
//!    Directories of one path are one, with the properties of the last; anything else replaces what was at its path before,
//!    a symlink to a directory and a whole directory included. Nothing is ever put through a symlink.
//! 2. If the image has a `pathWhitelist`, only the paths on it stay, of its own files too, and the directories on the way to
//!    them. A directory that is listed does not list what is in it.
//!
//! A directory of which an archive says nothing, but that it needs for something else, has the properties that the
//! dependencies give it.
//!
//! Where roots are stacks of layers, those of the dependencies are shared: the image adds its own files and, where the
//! whitelist hides something, a layer of whiteouts, its *mask*. That is the same as the rules above but in three cases, for
//! which a *rendered* copy is made, as it is where a root stands on one layer only (and where that can begin as a clone of the
//! first dependency's, only the rest is copied):
//!
//! * a dependency that is not the first has a mask, which would hide files of those before it too;
//! * it has layers of which one replaces a file by a directory that those before it have as well: the file, which nobody
//!   sees any more, would still hide theirs;
//! * there are more layers than the kernel stacks.

use std::collections::HashSet;
use std::fs::{File, FileTimes};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::stat::SFlag;

use super::image::Image;
use crate::appc::ImageId;
use crate::error::{Context, Result};
use crate::storage::{Staging, Storage, Tree, view};
use crate::sys::os::attrs;
use crate::sys::tree::{Node, Walk, copy_merged, copy_properties, file_type, lay_tree, open_path, remove_tree};

mod mask;
#[cfg(test)]
mod tests;
mod whitelist;

pub(super) use whitelist::Whitelist;

/// What the names of layers that are not an archive's begin with; the digits of the image's id follow.
const MASK: &str = "mask-";
const RENDERED: &str = "rendered-";

/// The layers that belong to the image called `id` alone, if it has them.
pub(super) fn own_layers(id: &ImageId) -> [String; 3] {
    [id.to_string(), format!("{MASK}{}", id.hex()), format!("{RENDERED}{}", id.hex())]
}

/// An image that is to be rendered.
pub(super) struct Rendering<'a> {
    /// Where its layers go.
    pub(super) storage: &'a dyn Storage,
    /// Its id.
    pub(super) id: &'a ImageId,
    /// Its own files, with the directories of which its archive says nothing.
    pub(super) own: (&'a Staging, &'a [PathBuf]),
    /// What it depends on, in order.
    pub(super) dependencies: &'a [Image],
    /// What of it all stays; everything where there is none.
    pub(super) whitelist: Option<&'a Whitelist>,
}

/// A rendered image.
pub(super) struct Rendered {
    /// The names of the layers, the lowest first.
    pub(super) layers: Vec<String>,
    /// Those that were made, with their names, besides the image's own files.
    pub(super) made: Vec<(Staging, String)>,
    /// How many paths of the whitelist are not there.
    pub(super) missing: usize,
}

impl Rendering<'_> {
    /// Renders the image.
    ///
    /// # Errors
    /// The disk fails or is full, or the files cannot be read.
    pub(super) fn render(&self) -> Result<Rendered> {
        self.describe().context(|| "cannot take the properties of directories over")?;
        let [own, ..] = own_layers(self.id);
        if self.dependencies.is_empty() && self.whitelist.is_none() {
            return Ok(Rendered { layers: vec![own], made: Vec::new(), missing: 0 });
        }
        let below = stack(self.dependencies.iter().map(|image| image.record.layers.as_slice()));
        let most = self.storage.most_layers();
        if below.len() + 1 + usize::from(self.whitelist.is_some()) > most || !self.can_be_stacked()? {
            return self.copy().context(|| "cannot render the image");
        }
        self.mask(below, own).context(|| "cannot apply the pathWhitelist")
    }

    /// What the dependencies are, each a tree.
    fn trees(&self) -> Vec<Tree> {
        self.dependencies.iter().map(|image| Tree::Layers(image.record.layers.clone())).collect()
    }

    /// Gives the directories of which the archive says nothing the properties that they have in the dependencies.
    fn describe(&self) -> Result<()> {
        let (own, undescribed) = self.own;
        if self.dependencies.is_empty() || undescribed.is_empty() {
            return Ok(());
        }
        view(self.storage, &self.trees(), |paths| {
            let own = open_tree(&own.tree())?;
            let trees = paths.iter().rev().map(|path| open_tree(path)).collect::<Result<Vec<_>>>()?;
            for path in undescribed {
                let what = || format!("cannot look at {}", path.display());
                if let Some(model) = find_directory(&trees, path).context(what)? {
                    let to = open_path(own.as_fd(), path).context(what)?;
                    copy_properties(model.as_fd(), to.as_fd()).context(what)?;
                }
            }
            Ok(())
        })
    }

    /// Whether a stack of the dependencies' layers is what the dependencies are when laid on one another.
    fn can_be_stacked(&self) -> Result<bool> {
        let mut seen = HashSet::new();
        for image in self.dependencies.iter().skip(1).filter(|image| seen.insert(&image.id)) {
            let layers = &image.record.layers;
            if layers.iter().any(|layer| layer.starts_with(MASK)) {
                return Ok(false);
            }
            let trees: Vec<PathBuf> = layers.iter().map(|layer| self.storage.layer(layer)).collect();
            if trees.len() > 1 && has_directory_over_file(&trees).context(|| "cannot read the dependencies")? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Puts the image on top of the layers `below`, with a mask where one is needed.
    fn mask(&self, below: Vec<String>, own: String) -> Result<Rendered> {
        let mut rendered = Rendered { layers: below, made: Vec::new(), missing: 0 };
        if let Some(whitelist) = self.whitelist {
            let directories = rendered.layers.iter().map(|layer| self.storage.layer(layer)).chain([self.own.0.tree()]);
            let mask = self.storage.begin_layer()?;
            let (hides, missing) = view(self.storage, &[Tree::Directories(directories.collect())], |paths| {
                let (merged, to) = (open_tree(&paths[0])?, open_tree(&mask.tree())?);
                let survey = whitelist.survey(merged.as_fd())?;
                mask::make(merged.as_fd(), to.as_fd(), &survey.removed)?;
                Ok((!survey.removed.is_empty(), survey.missing))
            })?;
            rendered.missing = missing;
            if hides {
                let [_, name, _] = own_layers(self.id);
                rendered.made.push((mask, name));
            }
        }
        rendered.layers.push(own);
        rendered.layers.extend(rendered.made.iter().map(|(_, name)| name.clone()));
        Ok(rendered)
    }

    /// Makes one layer of everything: of the first dependency's where it can begin with that, else by copying.
    fn copy(&self) -> Result<Rendered> {
        if let Some(image) = self.dependencies.first()
            && let [layer] = image.record.layers.as_slice()
            && let Some(begun) = self.storage.begin_layer_on(layer)?
        {
            return self.lay(begun);
        }
        let layer = self.storage.begin_layer()?;
        let trees: Vec<Tree> = self.trees().into_iter().chain([Tree::Directories(vec![self.own.0.tree()])]).collect();
        let missing = view(self.storage, &trees, |paths| {
            let from = paths.iter().rev().map(|path| open_tree(path)).collect::<Result<Vec<_>>>()?;
            let from: Vec<BorrowedFd<'_>> = from.iter().map(AsFd::as_fd).collect();
            let to = open_tree(&layer.tree())?;
            let keep = |path: &Path| self.whitelist.is_none_or(|whitelist| whitelist.keeps(path));
            copy_merged(&from, to.as_fd(), &keep).context(|| "cannot copy the files")?;
            self.whitelist.map_or(Ok(0), |whitelist| Ok(whitelist.survey(to.as_fd())?.missing))
        })?;
        Ok(self.rendered(layer, missing))
    }

    /// Lays the other dependencies and the image's own files on a layer that has those of the first.
    fn lay(&self, layer: Staging) -> Result<Rendered> {
        let own = Tree::Directories(vec![self.own.0.tree()]);
        let trees: Vec<Tree> = self.trees().into_iter().skip(1).chain([own]).collect();
        let missing = view(self.storage, &trees, |paths| {
            let to = open_tree(&layer.tree())?;
            for path in paths {
                lay_tree(open_tree(path)?.as_fd(), to.as_fd()).context(|| "cannot copy the files")?;
            }
            let Some(whitelist) = self.whitelist else { return Ok(0) };
            let survey = whitelist.survey(to.as_fd())?;
            survey.removed.iter().try_for_each(|path| prune(to.as_fd(), path))?;
            Ok(survey.missing)
        })?;
        Ok(self.rendered(layer, missing))
    }

    fn rendered(&self, layer: Staging, missing: usize) -> Rendered {
        let [_, _, name] = own_layers(self.id);
        Rendered { layers: vec![name.clone()], made: vec![(layer, name)], missing }
    }
}

/// Removes what is at a path, and leaves the directory that it is in as it was otherwise.
fn prune(tree: BorrowedFd<'_>, path: &Path) -> Result<()> {
    let what = || format!("cannot remove {}", path.display());
    let above = File::from(open_path(tree, path.parent().unwrap_or(Path::new(""))).context(what)?);
    let node = Node::Open(above.as_fd());
    let before = above.metadata().and_then(|found| found.modified()).context(what)?;
    let flags = attrs::get_flags(node).context(what)?;
    remove_tree(above.as_fd(), path.file_name().unwrap_or_default()).context(what)?;
    if attrs::get_flags(node).context(what)? != 0 {
        attrs::set_flags(node, 0).context(what)?;
    }
    above.set_times(FileTimes::new().set_modified(before)).context(what)?;
    if flags == 0 { Ok(()) } else { attrs::set_flags(node, flags).context(what) }
}

/// All layers, each once. Of one that comes twice the uppermost is enough: it has all that the other one shows.
fn stack<'a>(images: impl Iterator<Item = &'a [String]>) -> Vec<String> {
    let mut layers: Vec<String> = Vec::new();
    for layer in images.flatten() {
        layers.retain(|other| other != layer);
        layers.push(layer.clone());
    }
    layers
}

/// Whether one of the layers has a directory where one below it has something else.
fn has_directory_over_file(layers: &[PathBuf]) -> Result<bool> {
    let mut files: HashSet<PathBuf> = HashSet::new();
    for layer in layers {
        let what = || format!("cannot read {}", layer.display());
        let mut here = Vec::new();
        let mut walk = Walk::new(open_tree(layer)?.as_fd()).context(what)?;
        while let Some(stat) = walk.advance().context(what)? {
            match file_type(&stat) {
                SFlag::S_IFDIR if files.contains(walk.path()) => return Ok(true),
                SFlag::S_IFDIR => {}
                _ => here.push(walk.path().to_path_buf()),
            }
        }
        files.extend(here);
    }
    Ok(false)
}

/// The directory at `path` when the trees are laid on one another, the uppermost first; none if there is none.
fn find_directory(trees: &[File], path: &Path) -> Result<Option<OwnedFd>> {
    for tree in trees {
        match open_path(tree.as_fd(), path) {
            Ok(found) => return Ok(Some(found)),
            Err(e) if e.errno() == Errno::ENOENT => {}
            // Something else is there, and hides the trees below.
            Err(e) if matches!(e.errno(), Errno::ENOTDIR | Errno::ELOOP | Errno::EMLINK) => return Ok(None),
            Err(e) => return Err(e).context(|| "cannot open it"),
        }
    }
    Ok(None)
}

fn open_tree(path: &Path) -> Result<File> {
    File::open(path).context(|| format!("cannot open {}", path.display()))
}
