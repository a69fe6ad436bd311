//! Sending datasets, and receiving what somebody else has sent.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::super::{Part, Source, Staging, Streams};
use super::{APP, NOT_AT_BOOT, RECEIVED, SEAL, TREE, VOLUME, Zfs, make_place, seal};
use crate::command::zfs::stream;
use crate::error::{Context, Error, Result};

/// The snapshot of what a pod has while it is sent or received.
const SENT: &str = "sent";

impl Zfs {
    /// The dataset of what a pod has, its mount point, and the property that says what it is.
    fn part<'a>(&self, pod: &str, part: Part<'a>) -> (String, PathBuf, (&'static str, &'a str)) {
        match part {
            Part::Root(app) => {
                (format!("{}/{APP}{app}", self.pod(pod)), self.app_place(pod, app), ("jetpack:app", app))
            }
            Part::Volume(name) => {
                (format!("{}/{VOLUME}{name}", self.pod(pod)), self.volume_place(pod, name), ("jetpack:volume", name))
            }
        }
    }

    /// Makes `dataset` of a stream, with one snapshot, and checks that this is what came of it. It is not mounted.
    fn receive(&self, dataset: &str, snapshot: &str, Source { stream, base }: Source<'_>) -> Result<()> {
        stream::check(stream, base.is_some())?;
        let snapshot = format!("{dataset}@{snapshot}");
        let origin = base.map(|layer| seal(&self.image(layer)));
        self.command.receive(&snapshot, origin.as_deref(), stream)?;
        let origin = origin.as_deref().unwrap_or("-");
        let row = |name: &str, kind: &str, origin: &str| [name, kind, origin].map(str::to_owned);
        let expected = [row(dataset, "filesystem", origin), row(&snapshot, "snapshot", "-")];
        let found = self.command.tree(dataset)?;
        if found == expected {
            return Ok(());
        }
        let found: Vec<String> = found.iter().map(|row| row.join(" ")).collect();
        Err(Error::new(format!("the stream is not that of one dataset made of {origin}, but {}", found.join(", "))))
    }
}

impl Streams for Zfs {
    fn send_layer(&self, name: &str, base: Option<&str>, out: &File) -> Result<()> {
        let base = base.map(|layer| seal(&self.image(layer)));
        self.command.send(&seal(&self.image(name)), base.as_deref(), out)
    }

    fn receive_layer(&self, source: Source<'_>) -> Result<Staging> {
        let received = self.begin(|dataset| {
            self.receive(dataset, SEAL, source)?;
            // It becomes read-only when it is committed, as others do. Until then it is read, and an old ZFS outside the kernel does
            // not tell extended attributes of what is read-only.
            self.command.set(dataset, NOT_AT_BOOT)?;
            self.command.set(dataset, RECEIVED)
        })?;
        check_place(received.tree().parent().unwrap_or(Path::new("/")))?;
        Ok(received.sealed())
    }

    fn send_part(&self, pod: &str, part: Part<'_>, base: Option<&str>, out: &File) -> Result<()> {
        let (dataset, ..) = self.part(pod, part);
        let snapshot = format!("{dataset}@{SENT}");
        let base = base.map(|layer| seal(&self.image(layer)));
        // A killed command may have left it.
        let _ = self.command.destroy(&snapshot);
        self.command.snapshot(&snapshot)?;
        let sent = self.command.send(&snapshot, base.as_deref(), out);
        let destroyed = self.command.destroy(&snapshot);
        match (sent, destroyed) {
            (Err(error), Err(undo)) => Err(error.and_undo(undo)),
            (sent, destroyed) => sent.and(destroyed),
        }
    }

    fn receive_part(&self, pod: &str, part: Part<'_>, source: Source<'_>, most: Option<u64>) -> Result<()> {
        let (dataset, place, property) = self.part(pod, part);
        make_place(&place)?;
        self.receive(&dataset, SENT, source)?;
        self.command.destroy(&format!("{dataset}@{SENT}"))?;
        self.command.set(&dataset, Zfs::at_boot())?;
        self.command.set(&dataset, property)?;
        if let Some(most) = most {
            self.command.set(&dataset, ("refquota", &most.to_string()))?;
        }
        self.mount(&dataset, &place)?;
        check_place(&place)
    }

    fn unfinished(&self) -> Result<Vec<String>> {
        let pods = self.pods();
        let snapshots = self.command.tree(&pods)?.into_iter().filter(|[name, ..]| is_sent(name));
        let pod = |[name, ..]: [String; 3]| Some(name.strip_prefix(&pods)?.split('/').nth(1)?.to_owned());
        let mut found: Vec<String> = snapshots.filter_map(pod).collect();
        found.dedup();
        Ok(found)
    }

    fn forget_sending(&self, pod: &str) -> Result<()> {
        let all = self.command.tree(&self.pod(pod))?;
        all.iter().filter(|[name, ..]| is_sent(name)).try_for_each(|[name, ..]| self.command.destroy(name))
    }
}

/// Whether a name is that of the snapshot of something sent.
fn is_sent(name: &str) -> bool {
    name.split_once('@').is_some_and(|(_, snapshot)| snapshot == SENT)
}

/// Checks that a dataset from elsewhere has its files where they belong: in a directory, which is no link.
fn check_place(place: &Path) -> Result<()> {
    let what = || format!("cannot look at {}", place.display());
    let mut names = fs::read_dir(place).context(what)?.map(|entry| Ok(entry?.file_name()));
    let names = names.by_ref().take(2).collect::<std::io::Result<Vec<_>>>().context(what)?;
    let is_directory = fs::symlink_metadata(place.join(TREE)).is_ok_and(|found| found.is_dir());
    if is_directory && names == [TREE] {
        return Ok(());
    }
    Err(Error::new(format!("the stream is not that of a store's dataset: not all its files are in a directory {TREE}")))
}
