//! ZFS: a layer is a dataset, and a root a clone of it.
//!
//! ```text
//! ROOT                          mounted at the store's directory: manifests, archives, states
//! ROOT/images/LAYER             at layers/LAYER; read-only, with the snapshot `seal`
//! ROOT/images/new.UUID          a layer that is being made, while tmp/UUID is locked
//! ROOT/pods/UUID                never mounted; what follows goes with it
//! ROOT/pods/UUID/app.NAME       at pods/UUID/app.NAME; a clone of LAYER@seal, with the snapshot `parent`
//! ROOT/pods/UUID/volume.NAME    at pods/UUID/volume.NAME
//! ```
//!
//! Files are in the directory `tree` of a dataset: beside it, isolation has room. Mount points are inherited, so that a pool can
//! be moved to another host and another directory. Of all these only ROOT is mounted at boot; the others are `canmount=noauto`
//! and mounted by whoever needs them. Whether something is mounted is asked of the directory, without zfs(8): a pod that is
//! mounted runs, and is listed, without that program. User properties (`jetpack:…`) say what a dataset is.
//!
//! Everything else goes through zfs(8). What it did is judged by its exit code and by what is there afterwards.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::layers::{self, Staging};
use super::{EmptyVolume, Knowledge, Layout, Note, Storage, Streams};
use crate::command::users_of;
use crate::command::zfs::{Property, Zfs as Command};
use crate::error::{Context, Error, Result};
use crate::sys;
use crate::sys::lock::Lock;
use crate::sys::rootfs::RootFs;

mod changes;
mod establish;
mod streams;

/// What the name of a layer begins with while it is being made; the name of its directory in `tmp` follows.
const NEW: &str = "new.";

/// What the names of a pod's datasets begin with; a name that appc allows follows, which has no full stop.
const APP: &str = "app.";
const VOLUME: &str = "volume.";

/// The directory of a dataset that the files are in.
const TREE: &str = "tree";

/// How long is waited for a dataset that is in use: processes that were killed let go in a moment.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest pause between two attempts; the first are shorter.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

const NOT_AT_BOOT: Property<'_> = ("canmount", "noauto");

/// Set for a layer that came as a stream: its files are an image's, but what was done to them before is not known.
const RECEIVED: Property<'_> = ("jetpack:received", "yes");

/// A property that the configuration gives a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Whether nobody has set it: then it is left out where this ZFS does not know the value.
    pub default: bool,
}

/// What the configuration says of the datasets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The name of ROOT: a pool, and most likely a dataset of it.
    pub dataset: String,
    /// What ROOT gets when it is made.
    pub root: Vec<Setting>,
    /// What `ROOT/images` gets when it is made.
    pub images: Vec<Setting>,
    /// What `ROOT/pods` gets when it is made.
    pub pods: Vec<Setting>,
}

/// The backend.
#[derive(Debug)]
pub struct Zfs {
    layout: Layout,
    settings: Settings,
    command: Command,
}

impl Zfs {
    /// The backend of the store at `root`. No dataset is looked at yet.
    ///
    /// # Errors
    /// The host has no zfs(8), or the name of the dataset is none.
    pub fn new(root: &Path, settings: Settings) -> Result<Zfs> {
        establish::check(&settings)?;
        Ok(Zfs { layout: Layout::new(root), settings, command: Command::find()? })
    }

    fn images(&self) -> String {
        format!("{}/images", self.settings.dataset)
    }

    fn image(&self, layer: &str) -> String {
        format!("{}/{layer}", self.images())
    }

    fn pods(&self) -> String {
        format!("{}/pods", self.settings.dataset)
    }

    fn pod(&self, pod: &str) -> String {
        format!("{}/{pod}", self.pods())
    }

    fn app_place(&self, pod: &str, app: &str) -> PathBuf {
        self.layout.pod(pod).join(format!("{APP}{app}"))
    }

    fn volume_place(&self, pod: &str, volume: &str) -> PathBuf {
        self.layout.pod(pod).join(format!("{VOLUME}{volume}"))
    }

    /// The mount points of a pod's datasets.
    fn places(&self, pod: &str) -> Result<Vec<PathBuf>> {
        let place = self.layout.pod(pod);
        let what = || format!("cannot read {}", place.display());
        fs::read_dir(&place).context(what)?.map(|entry| Ok(entry.context(what)?.path())).collect()
    }

    /// Mounts a dataset whose mount point is `place`, if it is not mounted: by mount(2) where the kernel has ZFS.
    fn mount(&self, dataset: &str, place: &Path) -> Result<()> {
        let what = || format!("cannot mount {dataset} at {}", place.display());
        make_place(place)?;
        if is_mounted(place).context(what)? || sys::os::mount_dataset(dataset, place).is_ok() {
            return Ok(());
        }
        self.command.mount(dataset).or_else(|error| if is_mounted(place)? { Ok(()) } else { Err(error) }).context(what)
    }

    /// Makes the dataset of an app or a volume, not to be mounted at boot. A ZFS that is not in the kernel cannot be mounted by
    /// mount(2): there it is mounted as it is made.
    fn at_boot() -> Property<'static> {
        if sys::os::has_filesystem("zfs") { NOT_AT_BOOT } else { ("canmount", "on") }
    }

    /// Destroys a dataset and all below it. That there is none is no error.
    fn destroy(&self, dataset: &str) -> Result<()> {
        let mut clones = Vec::new();
        let destroyed = patiently(|| match self.command.destroy(dataset) {
            Err(_) if !self.command.exists(dataset) => Ok(()),
            Err(error) => {
                clones = self.clones_of(dataset)?;
                // These do not go by themselves.
                if clones.is_empty() { Err(error) } else { Ok(()) }
            }
            Ok(()) => Ok(()),
        });
        let what = || format!("cannot destroy {dataset}");
        if !clones.is_empty() {
            return Err(Error::with_source(what(), format!("there are clones of it: {}", clones.join(", "))));
        }
        destroyed.map_err(|error| match self.users_of(dataset).as_slice() {
            [] => Error::with_source(what(), error)
                .help("something uses its files, or has it mounted: end that, and try again"),
            users => Error::with_source(format!("{}, which is in use by {}", what(), users.join(", ")), error)
                .help("end these processes, and try again"),
        })
    }

    /// The processes that use what is mounted of a dataset and of those below it.
    fn users_of(&self, dataset: &str) -> Vec<String> {
        let all = self.command.list(dataset, DEEPEST, ["mountpoint", "mounted"]).unwrap_or_default();
        let mounted = all.into_iter().filter(|[_, mounted]| mounted == "yes");
        let mut users: Vec<String> = mounted.flat_map(|[place, _]| users_of(Path::new(&place))).collect();
        users.sort();
        users.dedup();
        users
    }

    /// The datasets that are clones of a dataset, and not below it.
    fn clones_of(&self, dataset: &str) -> Result<Vec<String>> {
        let all = self.command.list(&self.settings.dataset, DEEPEST, ["name", "origin"])?;
        Ok(clones(dataset, all))
    }

    /// The last parts of the names of all images' datasets.
    fn names(&self) -> Result<Vec<String>> {
        let images = self.images();
        let found = self.command.list(&images, 1, ["name"]).context(|| "cannot list the images' datasets")?;
        let last = |[name]: [String; 1]| Some(name.strip_prefix(&images)?.strip_prefix('/')?.to_owned());
        Ok(found.into_iter().filter_map(last).collect())
    }

    /// Begins a layer in a dataset that `make` makes.
    fn begin(&self, make: impl FnOnce(&str) -> Result<()>) -> Result<Staging> {
        self.sweep()?;
        let staging = Staging::create(&self.layout)?;
        let id = staging.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
        let name = format!("{NEW}{id}");
        let place = self.layout.layer(&name);
        let dataset = self.image(&name);
        let unfinished = Unfinished { command: self.command, dataset, place: place.clone(), is_sealed: false };
        let staging = staging.in_dataset(place.join(TREE), unfinished);
        make(&self.image(&name)).and_then(|()| self.mount(&self.image(&name), &place))?;
        Ok(staging)
    }
}

impl Storage for Zfs {
    fn name(&self) -> &'static str {
        "zfs"
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn establish(&self, is_there: bool) -> Result<()> {
        self.make_or_find(is_there)
    }

    fn probe(&self) -> Result<()> {
        Ok(())
    }

    fn most_layers(&self) -> usize {
        1
    }

    fn sweep(&self) -> Result<()> {
        layers::sweep(&self.layout)?;
        for name in self.names()? {
            let Some(id) = name.strip_prefix(NEW) else { continue };
            let unused = match Lock::try_exclusive(&self.layout.staging().join(id)) {
                Err(e) if e.errno() == Errno::ENOENT => true,
                tried => tried.is_ok_and(|lock| lock.is_some()),
            };
            if unused {
                // What cannot be destroyed now is in nobody's way.
                let _ = self.destroy(&self.image(&name)).and_then(|()| remove_place(&self.layout.layer(&name)));
            }
        }
        Ok(())
    }

    fn begin_layer(&self) -> Result<Staging> {
        let staging = self.begin(|dataset| self.command.create(dataset, &[NOT_AT_BOOT]))?;
        let tree = staging.tree();
        fs::create_dir(&tree).context(|| format!("cannot make {}", tree.display()))?;
        Ok(staging)
    }

    fn begin_layer_on(&self, layer: &str) -> Result<Option<Staging>> {
        let seal = seal(&self.image(layer));
        self.begin(|dataset| self.command.clone_of(&seal, dataset, &[NOT_AT_BOOT])).map(Some)
    }

    fn commit_layer(&self, staging: Staging, name: &str) -> Result<()> {
        let what = || format!("cannot keep the layer {name}");
        if self.command.exists(&self.image(name)) {
            return Ok(());
        }
        let Some(unfinished) = staging.dataset() else { return Err(Error::new(what())) };
        let from = &unfinished.dataset;
        sys::os::sync_filesystem(&unfinished.place).context(what)?;
        self.command.set(from, ("readonly", "on")).context(what)?;
        self.command.set(from, ("jetpack:layer", name)).context(what)?;
        if !unfinished.is_sealed {
            self.command.snapshot(&seal(from)).context(what)?;
        }
        // A ZFS outside the kernel hears of the end of a mount after everybody else: `rename` alone would not wait for it.
        patiently(|| if is_mounted(&unfinished.place)? { self.command.unmount(from) } else { Ok(()) }).context(what)?;
        // From here on it has its name, and is whole; unless somebody else has made it in the meantime.
        patiently(|| match self.command.rename(from, &self.image(name)) {
            Err(_) if self.command.exists(&self.image(name)) => Ok(()),
            renamed => renamed,
        })
        .context(what)?;
        self.mount(&self.image(name), &self.layout.layer(name))
    }

    fn layer(&self, name: &str) -> PathBuf {
        self.layout.layer(name).join(TREE)
    }

    fn open_layer(&self, name: &str) -> Result<PathBuf> {
        self.mount(&self.image(name), &self.layout.layer(name))?;
        Ok(self.layer(name))
    }

    fn layers(&self) -> Result<Vec<String>> {
        Ok(self.names()?.into_iter().filter(|name| !name.starts_with(NEW)).collect())
    }

    fn remove_layer(&self, name: &str) -> Result<()> {
        self.destroy(&self.image(name))?;
        remove_place(&self.layout.layer(name))
    }

    fn create_pod(&self, pod: &str) -> Result<()> {
        make_place(&self.layout.pod(pod))?;
        self.command.create(&self.pod(pod), &[NOT_AT_BOOT, ("jetpack:pod", pod)])
    }

    fn limits_roots(&self) -> bool {
        true
    }

    fn create_root(&self, pod: &str, app: &str, layers: &[String], most: Option<u64>) -> Result<()> {
        let what = || format!("cannot make the root of {app}");
        let [layer] = layers else {
            return Err(Error::new("a clone holds one layer only: the image must have been rendered"));
        };
        let (dataset, place) = (format!("{}/{APP}{app}", self.pod(pod)), self.app_place(pod, app));
        make_place(&place)?;
        let most = most.map(|bytes| bytes.to_string());
        let limit = most.as_ref().map(|bytes| ("refquota", bytes.as_str()));
        let properties: Vec<Property<'_>> = [Self::at_boot(), ("jetpack:app", app)].into_iter().chain(limit).collect();
        let made = self.command.clone_of(&seal(&self.image(layer)), &dataset, &properties).context(what);
        made.map_err(|error| match &most {
            Some(bytes) => error.help(format!("the image itself must fit into {bytes} bytes: give more to --disk")),
            None => error,
        })?;
        self.command.snapshot(&format!("{dataset}@parent")).context(what)?;
        self.mount(&dataset, &place)
    }

    fn root(&self, pod: &str, app: &str, _layers: &[String]) -> RootFs {
        RootFs::Directory { path: self.app_place(pod, app).join(TREE) }
    }

    fn create_volume(&self, pod: &str, volume: &EmptyVolume<'_>) -> Result<()> {
        let what = || format!("cannot make the volume {}", volume.name);
        let (dataset, place) =
            (format!("{}/{VOLUME}{}", self.pod(pod), volume.name), self.volume_place(pod, volume.name));
        make_place(&place)?;
        let properties = [Self::at_boot(), ("jetpack:volume", volume.name)];
        self.command.create(&dataset, &properties).context(what)?;
        self.mount(&dataset, &place)?;
        layers::create_volume(&place.join(TREE), volume, true)
    }

    fn volume(&self, pod: &str, name: &str) -> PathBuf {
        self.volume_place(pod, name).join(TREE)
    }

    fn open_pod(&self, pod: &str) -> Result<()> {
        for place in self.places(pod)? {
            let name = place.file_name().unwrap_or_default().display();
            self.mount(&format!("{}/{name}", self.pod(pod)), &place)?;
        }
        Ok(())
    }

    fn close_pod(&self, pod: &str) -> Result<()> {
        if !sys::os::has_filesystem("zfs") {
            // Only zfs(8) could mount it again.
            return Ok(());
        }
        for place in self.places(pod)? {
            let what = || format!("cannot unmount {}", place.display());
            // The kernel knows its mounts by paths without links.
            match sys::os::unmount(&fs::canonicalize(&place).context(what)?) {
                Err(e) if e.errno() != Errno::EBUSY => return Err(e).context(what),
                _ => {}
            }
        }
        Ok(())
    }

    fn changes(&self, pod: &str, app: &str, layers: &[String], note: Note<'_>) -> Result<Knowledge> {
        self.changed(pod, app, layers, note)
    }

    fn streams(&self) -> Option<&dyn Streams> {
        Some(self)
    }

    fn remove_pod(&self, pod: &str) -> Result<()> {
        self.destroy(&self.pod(pod))?;
        layers::remove_pod(&self.layout, pod)
    }
}

/// The dataset of a layer that is being made; it goes when this does. Once it has been renamed, nothing of that name is left.
#[derive(Debug)]
pub(super) struct Unfinished {
    command: Command,
    dataset: String,
    place: PathBuf,
    /// Whether it has the snapshot of which clones are made.
    pub(super) is_sealed: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // What cannot be destroyed now is swept by the next command that begins a layer.
        let _ = patiently(|| match self.command.destroy(&self.dataset) {
            Err(_) if !self.command.exists(&self.dataset) => Ok(()),
            other => other,
        });
        let _ = remove_place(&self.place);
    }
}

/// More levels than there are below ROOT.
const DEEPEST: u32 = 8;

/// The snapshot of which clones are made.
const SEAL: &str = "seal";

fn seal(dataset: &str) -> String {
    format!("{dataset}@{SEAL}")
}

/// Of datasets with their origins, those that are clones of `dataset`, or of what is below it, and are not below it.
fn clones(dataset: &str, all: Vec<[String; 2]>) -> Vec<String> {
    let is_below = |name: &str| name.strip_prefix(dataset).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let of = |origin: &str| is_below(origin.split('@').next().unwrap_or_default());
    all.into_iter().filter(|[name, origin]| of(origin) && !is_below(name)).map(|[name, _]| name).collect()
}

/// Tries again for a while what fails where something is in use.
fn patiently(mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut pause = Duration::from_millis(10);
    loop {
        match attempt() {
            Err(_) if Instant::now() < until => std::thread::sleep(pause),
            other => return other,
        }
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Whether something is mounted at a directory.
fn is_mounted(place: &Path) -> Result<bool> {
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev());
    let above = place.parent().unwrap_or(Path::new("/"));
    match (device(place), device(above)) {
        (Ok(here), Ok(above)) => Ok(here != above),
        (Err(e), _) if e.kind() == ErrorKind::NotFound => Ok(false),
        (Err(e), _) | (_, Err(e)) => Err(Error::with_source(format!("cannot look at {}", place.display()), e)),
    }
}

/// Makes a mount point, if it is not there.
fn make_place(place: &Path) -> Result<()> {
    let what = || format!("cannot make the mount point {}", place.display());
    fs::DirBuilder::new().recursive(true).mode(0o700).create(place).context(what)
}

/// Removes a mount point, if it is there.
fn remove_place(place: &Path) -> Result<()> {
    match fs::remove_dir(place) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(Error::with_source(format!("cannot remove the mount point {}", place.display()), e))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_are_named_and_what_goes_along_is_not() {
        let all = [
            ("p/j", "-"),
            ("p/j/images/a", "-"),
            ("p/j/images/b", "p/j/images/a@seal"),
            ("p/j/images/ab", "-"),
            ("p/j/pods/x/app.web", "p/j/images/ab@seal"),
            ("p/j/pods/y/app.web", "p/j/images/a@seal"),
        ];
        let of =
            |dataset| clones(dataset, all.iter().map(|(name, of)| [(*name).to_owned(), (*of).to_owned()]).collect());
        assert_eq!(of("p/j/images/a"), ["p/j/images/b", "p/j/pods/y/app.web"]);
        assert_eq!(of("p/j/images/b"), [""; 0]);
        assert_eq!(of("p/j/images"), ["p/j/pods/x/app.web", "p/j/pods/y/app.web"]);
        assert_eq!(of("p/j"), [""; 0]);
    }
}
