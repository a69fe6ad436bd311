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

use super::lifecycle::{Engine, Exit, RunOptions, platform};
use super::watch::{Interruption, Watch};
use crate::error::{Error, Result};
use crate::stage0::build::{BuildRequest, plan_build};
use crate::stage0::image::{ARCHIVE, Image};
use crate::stage0::import::Imported;
use crate::stage0::plan::PodPlan;
use crate::stage0::pod::LockedPod;
use crate::storage::{Tree, view};
use collect::Collect;
use source::Source;

mod collect;
mod source;

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
    /// The latest time that a file of the image may have, likewise: later ones become this.
    pub latest: Option<u64>,
}

/// What came of it.
#[derive(Debug)]
pub struct Built {
    /// How it ended.
    pub outcome: Result<Outcome>,
    /// The build pod, if it stays.
    pub kept: Option<Uuid>,
}

/// How a build ended.
#[derive(Debug)]
pub enum Outcome {
    /// The image is in the store.
    Image(Box<Imported>),
    /// The command failed.
    Failed(Exit),
    /// A signal ended the build while no command ran.
    Interrupted(Interruption),
}

impl Engine<'_> {
    /// Builds an image. Nothing is left of a build that fails but the pod, if it was to be kept.
    ///
    /// # Errors
    /// What is to be copied is not there, or signals cannot be caught.
    pub fn build(&self, build: Build<'_>) -> Result<Built> {
        let source = Source::check(build.directory, build.files, self.store.root())?;
        let directory = format!(".jetpack-build-{}", Uuid::new_v4());
        let plan = plan_build(BuildRequest {
            image: build.image.clone(),
            command: build.command.clone(),
            network: build.network.clone(),
            directory: directory.clone(),
            host: platform(),
        })?;
        let mut work = Work { engine: self, build: &build, source, watch: Watch::begin()?, directory };
        let made = work.make_pod(&plan).map(|mut locked| (work.in_pod(&mut locked), locked));
        let signal = work.watch.end();
        let outcome = |done: Result<Outcome>| match (done, signal) {
            // What failed then failed for that.
            (Err(_), Some(signal)) => Ok(Outcome::Interrupted(signal)),
            (done, _) => done,
        };
        let (done, locked) = match made {
            Ok(made) => made,
            Err(error) => return Ok(Built { outcome: outcome(Err(error)), kept: None }),
        };
        let id = locked.pod.id;
        let kept = build.keep.then_some(id);
        let destroyed = if build.keep { Ok(()) } else { self.destroy_locked(locked) };
        let outcome = match (outcome(done), destroyed) {
            (Ok(outcome), Err(error)) => {
                // The image is there all the same.
                let error = Error::with_source(format!("cannot destroy the build pod {id}"), error);
                (self.warn)(&error.one_line());
                Ok(outcome)
            }
            (Err(error), Err(undo)) => Err(error.and_undo(undo)),
            (outcome, Ok(())) => outcome,
        };
        Ok(Built { outcome, kept })
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
    fn make_pod(&self, plan: &PodPlan) -> Result<LockedPod> {
        let pod = self.engine.store.create_pod(plan)?;
        self.engine.store.lock_pod(&pod).map_err(|error| match self.engine.destroy(&pod) {
            Ok(()) => error,
            Err(undo) => error.and_undo(undo),
        })
    }

    fn in_pod(&mut self, locked: &mut LockedPod) -> Result<Outcome> {
        let (engine, store) = (self.engine, self.engine.store);
        let layers = &self.build.image.record.layers;
        let root = store.app_root(&locked.pod, "build", layers);
        let writable = root.writable().ok_or_else(|| Error::new("the root of the build pod is read-only"))?;
        let owner = if store.storage().keeps_owners() { Some((0, 0)) } else { None };
        store.open_pod(&locked.pod)?;
        let left_out = self.source.copy_into(writable, &self.directory, owner, store.progress())?;
        left_out.iter().for_each(|warning| (engine.warn)(warning));
        self.watch.check()?;
        let run = &self.build.run;
        // What arrives while the command runs is passed on to it.
        let exit = self.watch.pause(|| engine.run(locked, run))?;
        if !exit.success() {
            return Ok(Outcome::Failed(exit));
        }
        self.watch.check()?;
        store.open_pod(&locked.pod)?;
        let staging = store.begin_image()?;
        let archive = staging.path().join(ARCHIVE);
        let id = locked.pod.id.to_string();
        let abi = platform().abi_of(&self.build.image.manifest.labels).unwrap_or_default();
        let collect = Collect {
            parent: &self.build.image,
            directory: &self.directory,
            mounted: engine.isolation.mounted(abi),
            root: &root,
            changes: &|note| store.storage().changes(&id, "build", layers, note),
            now: self.build.now,
            latest: self.build.latest,
            compression: engine.config.compression().into(),
            archive: &archive,
            progress: store.progress(),
        };
        let trees = [Tree::Layers(layers.clone()), Tree::Root(root.clone())];
        let warnings = view(store.storage(), &trees, |trees| collect.work(trees))?;
        self.watch.check()?;
        let mut imported = store.import_built(staging, &format!("a build on {}", self.build.image.manifest.name))?;
        imported.warnings.extend(warnings);
        Ok(Outcome::Image(Box::new(imported)))
    }
}
