//! Pods in the store: their states, and the locks that make the states true.
//!
//! A pod's state is the place of its directory, changed by rename(2), and the lock in it:
//!
//! | directory in | lock held | state |
//! |---|---|---|
//! | `state/preparing` | yes | preparing |
//! | `state/prepared` | | prepared |
//! | `state/run` | yes | running |
//! | `state/run` | no | exited; it can run again |
//! | `state/deleting`, or `state/preparing` without a lock | no | deleting: what a crash left |
//!
//! The runner and the agent hold the lock through a descriptor, so that the kernel releases it however they die.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::errno::Errno;
use uuid::Uuid;

use super::image::is_missing;
use super::plan::PodPlan;
use super::store::Store;
use crate::appc::{ImageId, PodManifest, VolumeKind};
use crate::error::{Context, Error, Result};
use crate::steps::Steps;
use crate::storage::EmptyVolume;
use crate::sys;
use crate::sys::lock::{Lock, Tried, is_held};
use crate::sys::rootfs::RootFs;

/// What a pod is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Its roots are being made.
    Preparing,
    /// It can run.
    Prepared,
    /// It runs.
    Running,
    /// It has run and can run again.
    Exited,
    /// It is being removed, or a crash left it half-made.
    Deleting,
}

impl State {
    /// The word that people see.
    pub fn name(self) -> &'static str {
        match self {
            State::Preparing => "preparing",
            State::Prepared => "prepared",
            State::Running => "running",
            State::Exited => "exited",
            State::Deleting => "deleting",
        }
    }
}

/// The places of a pod's directory, in the order in which it moves, never back. Who looks for pods looks in this order: a
/// pod that has moved on before the look at one place is there for the look at a later one.
const PREPARING: &str = "preparing";
const PREPARED: &str = "prepared";
const RUN: &str = "run";
const DELETING: &str = "deleting";
const PLACES: [&str; 4] = [PREPARING, PREPARED, RUN, DELETING];

const LOCK: &str = "lock";
const MANIFEST: &str = "manifest";

/// A pod as it was found; its state may change at any moment unless its lock is held.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its UUID.
    pub id: Uuid,
    /// Its state when it was looked at.
    pub state: State,
    directory: PathBuf,
}

/// A pod whose lock this process holds.
#[derive(Debug)]
pub struct LockedPod {
    /// The pod.
    pub pod: Pod,
    /// Its lock.
    pub lock: Lock,
}

impl Pod {
    /// Its manifest.
    ///
    /// # Errors
    /// The file is missing or broken.
    pub fn manifest(&self) -> Result<PodManifest> {
        let path = self.directory.join(MANIFEST);
        let what = || format!("cannot read the manifest of pod {}", self.id);
        PodManifest::parse(&fs::read(path).context(what)?).context(what)
    }

    /// When it was prepared, if the file system knows.
    pub fn created(&self) -> Option<SystemTime> {
        fs::metadata(self.directory.join(MANIFEST)).and_then(|m| m.modified()).ok()
    }

    /// Where the isolation backend writes down what outlives its processes.
    pub fn record(&self) -> PathBuf {
        self.directory.join("mounts")
    }

    /// Where its agent listens while it runs.
    pub fn control(&self) -> PathBuf {
        self.directory.join("control")
    }

    /// Takes its lock; `None` if somebody else holds it.
    fn try_lock(&self) -> Tried {
        match Lock::try_exclusive(&self.directory.join(LOCK)) {
            // The lock file went before the rest. What is left is never written to, so that it can go at any time.
            Err(e) if e.errno() == Errno::ENOENT => Lock::try_exclusive(&self.directory),
            other => other,
        }
    }

    fn at(store: &Store, place: &str, id: Uuid) -> Result<Option<Pod>> {
        let directory = place_of(store, place, id);
        let held = match is_held(&directory.join(LOCK)) {
            Ok(held) => held,
            Err(e) if e.errno() == Errno::ENOENT => {
                return Ok(directory.exists().then_some(Pod { id, state: State::Deleting, directory }));
            }
            Err(e) => return Err(e).context(|| format!("cannot look at pod {id}")),
        };
        // What was seen of the lock says nothing about this place if the pod has moved on since.
        if !directory.exists() {
            return Ok(None);
        }
        let state = match (place, held) {
            (PREPARED, _) => State::Prepared,
            (RUN, true) => State::Running,
            (RUN, false) => State::Exited,
            (PREPARING, true) => State::Preparing,
            _ => State::Deleting,
        };
        Ok(Some(Pod { id, state, directory }))
    }
}

fn place_of(store: &Store, place: &str, id: Uuid) -> PathBuf {
    store.states().join(place).join(id.to_string())
}

impl Store {
    /// Checks that the sources of a plan's volumes are there, and that the storage of this store can do what it asks of it.
    ///
    /// # Errors
    /// One is missing, or the storage cannot.
    pub fn check_plan(&self, plan: &PodPlan) -> Result<()> {
        self.check_sources(&plan.manifest)?;
        if self.storage().limits_roots() || plan.apps.iter().all(|app| app.disk.is_none()) {
            return Ok(());
        }
        Err(Error::new(format!(
            "the storage `{}` cannot limit what an app's root holds (--disk)",
            self.storage().name()
        ))
        .help("keep the store in ZFS (`root.zfs` in jetpack.conf(5)), which sets `refquota`, or leave --disk out"))
    }

    /// Makes a pod as planned: its directory, its roots. It is visible as *preparing* until it is whole.
    ///
    /// # Errors
    /// The disk fails or is full, or an image has gone; nothing is left then.
    pub fn create_pod(&self, plan: &PodPlan) -> Result<Pod> {
        let id = Uuid::new_v4();
        let name = id.to_string();
        self.check_plan(plan)?;
        let fill = || {
            self.storage().create_pod(&name)?;
            plan.manifest.apps.iter().try_for_each(|app| self.note_use(&app.image.id))?;
            for app in &plan.apps {
                self.storage().create_root(&name, &app.name, &app.layers, app.disk)?;
            }
            for volume in &plan.manifest.volumes {
                let VolumeKind::Empty { mode, uid, gid } = volume.kind else { continue };
                self.storage().create_volume(&name, &EmptyVolume { name: volume.name.as_str(), mode, uid, gid })?;
            }
            Ok(())
        };
        let images = self.use_images()?;
        self.make_pod((id, &plan.manifest), images, (PREPARED, State::Prepared), fill)
    }

    /// Makes a pod that comes from another store: `fill` makes its roots and volumes. It has run there if `exited`.
    ///
    /// # Errors
    /// It is here already, or one of its images is not; or what `fill` fails with. Nothing is left then.
    pub(super) fn receive_pod(
        &self,
        id: Uuid,
        manifest: &PodManifest,
        exited: bool,
        fill: impl FnOnce() -> Result<()>,
    ) -> Result<Pod> {
        let images = self.use_images()?;
        if self.pod(id)?.is_some() {
            return Err(Error::new(format!("pod {id} is here already"))
                .help(format!("if this one is to take its place, destroy it first (`jetpack destroy {id}`)")));
        }
        for app in &manifest.apps {
            let short = app.image.id.short();
            self.read_image(&app.image.id).context(|| format!("the app {} needs image {short}", app.name)).map_err(
                |error| error.help("import the images of the pod before it; `jetpack manifest POD` there names them"),
            )?;
        }
        let place = if exited { (RUN, State::Exited) } else { (PREPARED, State::Prepared) };
        self.make_pod((id, manifest), images, place, fill)
    }

    /// Makes a pod whose roots and volumes `fill` makes, and puts it in its place.
    fn make_pod(
        &self,
        (id, manifest): (Uuid, &PodManifest),
        images: Lock,
        (place, state): (&str, State),
        fill: impl FnOnce() -> Result<()>,
    ) -> Result<Pod> {
        let what = || format!("cannot prepare pod {id}");
        let embryo = crate::storage::staging(self.root())?;
        let preparing = place_of(self, PREPARING, id);
        fs::write(embryo.path().join(LOCK), "").context(what)?;
        fs::write(embryo.path().join(MANIFEST), manifest.to_json_pretty() + "\n").context(what)?;
        let lock = Lock::exclusive(&embryo.path().join(LOCK)).context(what)?;
        let mut steps = Steps::new();
        let forget = || sys::paths::remove_tree(&preparing).context(what);
        steps.step("write the pod down", forget, || fs::rename(embryo.path(), &preparing).context(what))?;
        // From here on the pod keeps its images from being removed.
        drop(images);
        steps.step("make its roots and volumes", || self.storage().remove_pod(&id.to_string()), fill)?;
        steps.check(|| self.storage().close_pod(&id.to_string()))?;
        let directory = place_of(self, place, id);
        steps.check(|| fs::rename(&preparing, &directory).context(what))?;
        steps.keep();
        drop(lock);
        Ok(Pod { id, state, directory })
    }

    /// All pods, by state and UUID.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn list_pods(&self) -> Result<Vec<Pod>> {
        let mut pods = HashMap::new();
        for place in PLACES {
            for id in self.ids_in(place)? {
                if let Some(pod) = Pod::at(self, place, id)? {
                    // One that has moved on while this looked is where it was found last.
                    pods.insert(id, pod);
                }
            }
        }
        let mut pods: Vec<Pod> = pods.into_values().collect();
        pods.sort_by(|a, b| a.state.cmp(&b.state).then(a.id.cmp(&b.id)));
        Ok(pods)
    }

    fn ids_in(&self, place: &str) -> Result<Vec<Uuid>> {
        let directory = self.states().join(place);
        let what = || format!("cannot read {}", directory.display());
        let names = match fs::read_dir(&directory) {
            Ok(names) => names,
            Err(e) if is_missing(&e) => return Ok(Vec::new()),
            Err(e) => return Err(e).context(what),
        };
        let mut ids = Vec::new();
        for entry in names {
            ids.extend(entry.context(what)?.file_name().to_str().and_then(|name| Uuid::parse_str(name).ok()));
        }
        Ok(ids)
    }

    /// The pod that `reference` means: a UUID or a unique prefix of one.
    ///
    /// # Errors
    /// There is none, or the prefix fits several (the error lists them).
    pub fn find_pod(&self, reference: &str) -> Result<Pod> {
        match self.pods_like(reference)?.as_slice() {
            [] => {
                Err(Error::new(format!("there is no pod {reference:?}"))
                    .help("`jetpack list` shows those that are here"))
            }
            [pod] => Ok(pod.clone()),
            several => {
                let ids: Vec<String> = several.iter().map(|pod| pod.id.to_string()).collect();
                Err(Error::new(format!("{reference:?} fits several pods: {}", ids.join(", ")))
                    .help("give more of the UUID"))
            }
        }
    }

    /// The pods whose UUID is or begins with `reference`. A whole UUID is looked for without reading any directory.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn pods_like(&self, reference: &str) -> Result<Vec<Pod>> {
        if let Some(id) = full_uuid(reference) {
            return Ok(self.pod(id)?.into_iter().collect());
        }
        let plausible = !reference.is_empty() && reference.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        if !plausible {
            return Ok(Vec::new());
        }
        let wanted = reference.to_ascii_lowercase();
        Ok(self.list_pods()?.into_iter().filter(|pod| pod.id.to_string().starts_with(&wanted)).collect())
    }

    fn pod(&self, id: Uuid) -> Result<Option<Pod>> {
        for place in PLACES {
            if let Some(pod) = Pod::at(self, place, id)? {
                return Ok(Some(pod));
            }
        }
        Ok(None)
    }

    /// Locks a pod, so that its state stays what it is.
    ///
    /// # Errors
    /// Somebody else holds the lock: the pod is being prepared, runs, or is being removed. Or it has gone.
    pub fn lock_pod(&self, pod: &Pod) -> Result<LockedPod> {
        self.try_lock_pod(pod)?.ok_or_else(|| self.busy(pod.id))
    }

    /// The same, or `None` if somebody else holds the lock.
    ///
    /// # Errors
    /// The pod has gone, or cannot be locked for another reason.
    pub fn try_lock_pod(&self, pod: &Pod) -> Result<Option<LockedPod>> {
        let id = pod.id;
        let mut seen = Some(pod.clone());
        // It may move on before its lock is reached, but not more often than there are places.
        for _ in PLACES {
            let Some(pod) = seen else { break };
            match pod.try_lock() {
                Ok(Some(lock)) => return self.locked(id, lock).map(Some),
                Ok(None) => return Ok(None),
                Err(e) if e.errno() == Errno::ENOENT => seen = self.pod(id)?,
                Err(e) => return Err(e).context(|| format!("cannot lock pod {id}")),
            }
        }
        Err(gone(id))
    }

    /// The pod whose lock is now ours.
    fn locked(&self, id: Uuid, lock: Lock) -> Result<LockedPod> {
        // It may have changed its place until we had the lock.
        let mut pod = self.pod(id)?.ok_or_else(|| gone(id))?;
        // What looked alive because of the lock that is now ours is not.
        pod.state = match pod.state {
            State::Running => State::Exited,
            State::Preparing => State::Deleting,
            other => other,
        };
        Ok(LockedPod { pod, lock })
    }

    /// Why the lock of a pod cannot be had.
    fn busy(&self, id: Uuid) -> Error {
        let doing = match self.pod(id) {
            Ok(Some(pod)) => match pod.state {
                State::Preparing => "is being prepared",
                State::Deleting => "is being removed",
                State::Prepared => "is in use by another command",
                State::Running | State::Exited => "is running",
            },
            Ok(None) => return gone(id),
            Err(error) => return error,
        };
        Error::new(format!("pod {id} {doing}"))
    }

    /// Moves a pod that is prepared or has exited to where running pods are. It is *running* from now on, until the lock's
    /// last holder dies.
    ///
    /// # Errors
    /// The pod is half-made or being removed.
    pub fn begin_run(&self, locked: &mut LockedPod) -> Result<()> {
        let id = locked.pod.id;
        match locked.pod.state {
            State::Exited => self.open_pod(&locked.pod)?,
            State::Prepared => {
                self.open_pod(&locked.pod)?;
                let directory = place_of(self, RUN, id);
                fs::rename(&locked.pod.directory, &directory).context(|| format!("cannot begin to run pod {id}"))?;
                locked.pod.directory = directory;
            }
            other => {
                return Err(Error::new(format!("pod {id} cannot run: it is {}", other.name()))
                    .help(format!("remove what is left of it with `jetpack destroy {id}`")));
            }
        }
        locked.pod.state = State::Running;
        Ok(())
    }

    /// Removes a pod and everything that it wrote.
    ///
    /// # Errors
    /// A file cannot be removed; the pod is *deleting* then, and can be destroyed again.
    pub fn destroy_pod(&self, locked: LockedPod) -> Result<()> {
        let id = locked.pod.id;
        let what = || format!("cannot destroy pod {id}");
        let directory = place_of(self, DELETING, id);
        if let Ok(manifest) = locked.pod.manifest() {
            // The pod goes, whatever becomes of the note.
            manifest.apps.iter().for_each(|app| drop(self.note_use(&app.image.id)));
        }
        if locked.pod.directory != directory {
            fs::rename(&locked.pod.directory, &directory).context(what)?;
        }
        self.storage().remove_pod(&id.to_string()).context(what)?;
        // With its name goes its lock: nobody finds the one without the other.
        let rubbish = crate::storage::staging(self.root())?;
        fs::rename(&directory, rubbish.path().join("pod")).context(what)?;
        sys::paths::remove_tree(rubbish.path()).context(what)
    }

    /// Removes what exports of pods left in those when they were killed: of pods that nobody uses at present.
    pub(super) fn forget_sending(&self) -> Result<()> {
        let Some(streams) = self.storage().streams() else { return Ok(()) };
        for name in streams.unfinished()? {
            let pod = full_uuid(&name).map_or(Ok(None), |id| self.pod(id))?;
            if let Some(pod) = pod
                && let Ok(Some(_locked)) = self.try_lock_pod(&pod)
            {
                streams.forget_sending(&name)?;
            }
        }
        Ok(())
    }

    /// Sees to it that the files of its roots and volumes can be reached; [`Store::begin_run`] does, too.
    ///
    /// # Errors
    /// One is missing, or cannot be mounted.
    pub fn open_pod(&self, pod: &Pod) -> Result<()> {
        self.storage().open_pod(&pod.id.to_string())
    }

    /// The opposite, when it does not run.
    ///
    /// # Errors
    /// The disk fails.
    pub fn close_pod(&self, pod: &Pod) -> Result<()> {
        self.storage().close_pod(&pod.id.to_string())
    }

    /// Where the volume `name` of the pod's own is.
    pub fn pod_volume(&self, pod: &Pod, name: &str) -> PathBuf {
        self.storage().volume(&pod.id.to_string(), name)
    }

    /// The root of one of the pod's apps. `layers` are those of its image.
    pub fn app_root(&self, pod: &Pod, app: &str, layers: &[String]) -> RootFs {
        self.storage().root(&pod.id.to_string(), app, layers)
    }
}

fn gone(id: Uuid) -> Error {
    Error::new(format!("pod {id} has gone"))
}

/// A UUID in its whole form, of 36 characters.
fn full_uuid(text: &str) -> Option<Uuid> {
    Uuid::parse_str(text).ok().filter(|_| text.len() == 36)
}

/// The UUIDs of pods that have an app of the image `id`.
///
/// # Errors
/// A pod's manifest cannot be read, so that nobody knows what it stands on.
pub(super) fn users_of(store: &Store, id: &ImageId) -> Result<Vec<String>> {
    let mut users = Vec::new();
    for pod in store.list_pods()? {
        if uses(store, &pod, id)? {
            users.push(pod.id.to_string());
        }
    }
    Ok(users)
}

fn uses(store: &Store, pod: &Pod, id: &ImageId) -> Result<bool> {
    let found = pod.manifest();
    let error = match found {
        Ok(manifest) => return Ok(manifest.apps.iter().any(|app| app.image.id == *id)),
        Err(error) => error,
    };
    // It may have moved on since it was found. What is being removed stands on nothing any more.
    match store.pod(pod.id)? {
        Some(now) if now.directory != pod.directory => uses(store, &now, id),
        Some(now) if now.directory != place_of(store, DELETING, pod.id) => Err(Error::with_source(
            format!("cannot tell whether image {} is in use by pod {}", id.short(), pod.id),
            error,
        )
        .help(format!("destroy that pod first (`jetpack destroy {}`)", pod.id))),
        _ => Ok(false),
    }
}

/// Makes the directories that hold pods' states.
pub(super) fn make_places(states: &Path) -> std::io::Result<()> {
    PLACES.iter().try_for_each(|place| fs::DirBuilder::new().recursive(true).mode(0o700).create(states.join(place)))
}

#[cfg(test)]
#[path = "pod_tests.rs"]
mod tests;
