//! Making the datasets of a store, or finding them: `init`.

use super::{Setting, Settings, Zfs, make_place};
use crate::command::zfs::Property;
use crate::error::{Context, Error, Result};
use crate::steps::Steps;

/// The property by which ROOT is known to be a store's, and its value: the version of what the datasets look like.
const MARK: Property<'_> = ("jetpack:format", "1");

/// What decides where the store is, and whether it works: not the configuration's to choose.
const OWN: [&str; 5] = ["mountpoint", "canmount", "readonly", "jailed", "zoned"];

/// What the names of Jetpack's own properties begin with.
const MARKS: &str = "jetpack:";

/// What a dataset is.
struct Found {
    mountpoint: String,
    mounted: String,
    mark: String,
}

/// Checks what the configuration says of the datasets.
///
/// # Errors
/// ROOT has no name that a dataset can have, or a property is set that is not the configuration's to set.
pub(super) fn check(settings: &Settings) -> Result<()> {
    let wrong = |what: String| Err(Error::new(what).help("set `root.zfs = POOL/DATASET` in jetpack.conf"));
    let name = settings.dataset.as_str();
    if name.is_empty() {
        return wrong("storage is zfs, but root.zfs does not say where".to_owned());
    }
    let fits = |part: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-.:".contains(&b);
        part.bytes().all(plain) && part.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    if !name.split('/').all(fits) {
        return wrong(format!("root.zfs is no name of a dataset: {name:?}"));
    }
    for (dataset, settings) in [("root", &settings.root), ("images", &settings.images), ("pods", &settings.pods)] {
        let is_own = |name: &str| OWN.contains(&name) || name.starts_with(MARKS);
        if let Some(setting) = settings.iter().find(|setting| is_own(&setting.name)) {
            return Err(Error::new(format!("{dataset}.zfs.{} cannot be set: Jetpack does", setting.name)));
        }
    }
    Ok(())
}

impl Zfs {
    /// Makes what is not there, and mounts ROOT at the store's directory: a pool may have been moved here.
    pub(super) fn make_or_find(&self, is_there: bool) -> Result<()> {
        let root = self.layout.root.as_path();
        let dataset = self.settings.dataset.as_str();
        let at = root.to_string_lossy().trim_end_matches('/').to_owned();
        let what = || format!("cannot use the dataset {dataset}");
        let mut steps = Steps::new();
        match self.find(dataset) {
            None if is_there => {
                return Err(Error::new(format!("there is a store at {at}, but no dataset {dataset}"))
                    .help("set `root.zfs` to the dataset that is mounted there"));
            }
            None => {
                let properties = [("mountpoint", &*at), MARK];
                let undo = || self.destroy(dataset);
                steps
                    .step("make the store's dataset", undo, || self.make(dataset, &properties, &self.settings.root))?;
            }
            Some(found) if found.mark != MARK.1 => self.adopt(&found, &at)?,
            Some(found) if found.mountpoint != at => {
                self.command.set(dataset, ("mountpoint", &at)).context(what)?;
            }
            Some(_) => {}
        }
        steps.check(|| self.fill(&at))?;
        steps.keep();
        Ok(())
    }

    /// Mounts ROOT at the store's directory, and makes or finds what is below it.
    fn fill(&self, at: &str) -> Result<()> {
        let dataset = self.settings.dataset.as_str();
        let root = self.layout.root.as_path();
        let what = || format!("cannot use the dataset {dataset}");
        if self.find(dataset).is_none_or(|found| found.mounted != "yes") {
            make_place(root)?;
            self.command.mount(dataset).context(what)?;
        }
        let layers = format!("{at}/layers");
        let images = self.images();
        match self.find(&images) {
            None => self.make(&images, &[("canmount", "off"), ("mountpoint", &layers)], &self.settings.images)?,
            Some(found) if found.mountpoint != layers => {
                self.command.set(&images, ("mountpoint", &layers)).context(what)?;
            }
            Some(_) => {}
        }
        match self.find(&self.pods()) {
            None => self.make(&self.pods(), &[("canmount", "off")], &self.settings.pods),
            Some(_) => Ok(()),
        }
    }

    fn find(&self, dataset: &str) -> Option<Found> {
        let [mountpoint, mounted] =
            self.command.list(dataset, 0, ["mountpoint", "mounted"]).ok()?.into_iter().next()?;
        // What is below a store's dataset inherits the mark, and may be somebody's.
        let mark = self.command.own(dataset, MARK.0).ok()?;
        Some(Found { mountpoint, mounted, mark })
    }

    /// Makes a dataset with what it must have and what the configuration wants.
    fn make(&self, dataset: &str, own: &[Property<'_>], settings: &[Setting]) -> Result<()> {
        let what = || format!("cannot make the dataset {dataset}");
        let create = |lacking: bool| {
            let wanted = settings.iter().filter(|setting| !(lacking && setting.default && setting.value == NEWER.0));
            let wanted = wanted.map(|setting| (setting.name.as_str(), setting.value.as_str()));
            let instead = if lacking { &[NEWER.1][..] } else { &[] };
            let all: Vec<Property<'_>> = own.iter().copied().chain(wanted).chain(instead.iter().copied()).collect();
            self.command.create(dataset, &all)
        };
        let mut made = create(false);
        if made.is_err() && settings.iter().any(|setting| setting.default && setting.value == NEWER.0) {
            made = create(true);
        }
        let pool = dataset.split('/').next().unwrap_or_default();
        match made {
            Err(_) if !self.command.exists(pool) => Err(Error::new(format!("there is no ZFS pool {pool}")).help(
                "set `root.zfs = POOL/DATASET` in jetpack.conf for a pool that is here (`zpool list`), or no \
                     `root.zfs` and `storage = dir`, which works on every filesystem",
            )),
            made => made.context(what),
        }
    }

    /// Takes over a dataset that somebody made for the store, which is mounted there already or will be.
    fn adopt(&self, found: &Found, at: &str) -> Result<()> {
        let dataset = self.settings.dataset.as_str();
        if found.mountpoint != at {
            return Err(Error::new(format!("the dataset {dataset} is none of Jetpack's and is mounted elsewhere"))
                .help(format!(
                    "set `root.zfs` to a dataset that is not there yet, or `root.path` to where this one is mounted: {}",
                    found.mountpoint
                )));
        }
        self.command.set(dataset, MARK).context(|| format!("cannot mark the dataset {dataset}"))
    }
}

/// The value of `compress` that an old ZFS does not know, and what it gets instead.
const NEWER: (&str, Property<'_>) = ("lz4", ("compression", "on"));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_properties_are_checked() {
        let with = |dataset: &str| Settings { dataset: dataset.to_owned(), ..Settings::default() };
        for name in ["tank", "zroot/jetpack", "a_b/c-d.e:f/0"] {
            assert!(check(&with(name)).is_ok(), "{name}");
        }
        for name in ["", "/tank", "tank/", "a//b", "-x", "a/-x", "a@b", "a b", "a/../b", "a%"] {
            assert!(check(&with(name)).is_err(), "{name}");
        }
        let setting = |name: &str| Setting { name: name.to_owned(), value: "on".to_owned(), default: false };
        let settings = Settings { pods: vec![setting("atime"), setting("canmount")], ..with("tank") };
        assert_eq!(check(&settings).unwrap_err().to_string(), "pods.zfs.canmount cannot be set: Jetpack does");
        // A dataset that is given to a jail cannot be mounted here.
        for name in ["jailed", "zoned", "jetpack:format"] {
            assert!(check(&Settings { root: vec![setting(name)], ..with("tank") }).is_err(), "{name}");
        }
    }
}
