//! Building an image: a pod in which a command runs, and what it made of the pod's root.
//!
//! 1. a pod is made of the parent, as `prepare` makes one;
//! 2. the build directory and further files are copied into a new working directory at the root of the pod's root;
//! 3. the command runs there as root;
//! 4. `manifest.json` of the working directory is completed;
//! 5. what differs from the parent is packed, but for what is the pod's own, the working directory among it;
//! 6. the archive is imported, and the pod destroyed.
//!
//! The working directory is never removed from the root: it is not looked at, so that it does not disturb the times of the
//! root either.

use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::lifecycle::{Engine, Exit, RunOptions};
use crate::error::{Error, Result};
use crate::stage0::build::{BuildRequest, plan_build};
use crate::stage0::image::{ARCHIVE, Image};
use crate::stage0::import::Imported;
use crate::stage0::pod::LockedPod;
use crate::storage::{Tree, view};
use collect::Collect;
use source::Source;
use watch::Watch;

mod collect;
mod source;
mod watch;

/// What to build.
#[derive(Debug)]
pub struct Build<'a> {
    /// The image to build on.
    pub image: Image,
    /// The build directory.
    pub directory: &'a Path,
    /// Files and directories that are copied into the working directory, too.
    pub files: &'a [PathBuf],
    /// The command and its arguments.
    pub command: Vec<String>,
    /// The network, by name.
    pub network: String,
    /// How the command runs.
    pub run: RunOptions,
    /// Whether the pod stays.
    pub keep: bool,
    /// The time that the image is made at, in seconds since 1970.
    pub now: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Built {
    /// The image, or how the command ended in place of succeeding. A signal that ended the build counts as one that ended the
    /// command.
    pub outcome: Result<std::result::Result<Imported, Exit>>,
    /// The build pod, if it stays.
    pub kept: Option<Uuid>,
}

impl Engine<'_> {
    /// Builds an image. Nothing is left of a build that fails but the pod, if it was to be kept.
    ///
    /// # Errors
    /// The pod cannot be made, or what is to be copied is not there.
    pub fn build(&self, build: Build<'_>) -> Result<Built> {
        let source = Source::check(build.directory, build.files, self.store.root())?;
        let watch = Watch::begin()?;
        let directory = format!(".jetpack-build-{}", Uuid::new_v4());
        let plan = plan_build(BuildRequest {
            image: build.image.clone(),
            command: build.command.clone(),
            network: build.network.clone(),
            directory: directory.clone(),
            host: crate::appc::host_os_arch(),
        })?;
        let pod = self.store.create_pod(&plan)?;
        let mut locked = self.store.lock_pod(&pod)?;
        let mut work = Work { engine: self, build: &build, source, watch, directory };
        let outcome = work.in_pod(&mut locked);
        let outcome = match (outcome, work.watch.signal()) {
            (Err(_), Some(signal)) => Ok(Err(Exit::Signal(signal))),
            (outcome, _) => outcome,
        };
        if build.keep {
            return Ok(Built { outcome, kept: Some(pod.id) });
        }
        let outcome = match (outcome, self.destroy_locked(locked)) {
            (Ok(_), Err(error)) => Err(error),
            (Err(error), Err(undo)) => Err(error.and_undo(undo)),
            (outcome, Ok(())) => outcome,
        };
        Ok(Built { outcome, kept: None })
    }
}

/// A build under way.
struct Work<'a> {
    engine: &'a Engine<'a>,
    build: &'a Build<'a>,
    source: Source,
    watch: Watch,
    /// The name of the working directory.
    directory: String,
}

impl Work<'_> {
    fn in_pod(&mut self, locked: &mut LockedPod) -> Result<std::result::Result<Imported, Exit>> {
        let (engine, store) = (self.engine, self.engine.store);
        let root = store.app_root(&locked.pod, "build", &self.build.image.record.layers);
        let writable = root.writable().ok_or_else(|| Error::new("the root of the build pod is read-only"))?;
        let owner = if store.storage().keeps_owners() { Some((0, 0)) } else { None };
        let left_out = self.source.copy_into(writable, &self.directory, owner, &self.watch, store.progress())?;
        left_out.iter().for_each(|warning| (engine.warn)(warning));
        self.watch.check()?;
        let exit = engine.run(locked, &self.build.run)?;
        // The runner had the signals meanwhile, and passed them on.
        self.watch = Watch::begin()?;
        if !exit.success() {
            return Ok(Err(exit));
        }
        let staging = store.begin_image()?;
        let archive = staging.path().join(ARCHIVE);
        let collect = Collect {
            parent: &self.build.image,
            directory: &self.directory,
            mounted: engine.isolation.mounted(),
            root: &root,
            now: self.build.now,
            compression: engine.config.compression().into(),
            archive: &archive,
            watch: &self.watch,
            progress: store.progress(),
        };
        let trees = [Tree::Layers(self.build.image.record.layers.clone()), Tree::Root(root.clone())];
        let warnings = view(store.storage(), &trees, |trees| collect.work(trees))?;
        self.watch.check()?;
        let mut imported = store.import_built(staging, &format!("a build on {}", self.build.image.manifest.name))?;
        imported.warnings.extend(warnings);
        Ok(Ok(imported))
    }
}
