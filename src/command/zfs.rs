//! zfs(8), the stable interface of every ZFS: exit codes and columns are read, messages never.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use super::{Done, output_within, said_within};
use crate::error::{Context, Error, Result};
use crate::sys::signal::go_on;

mod diff;
pub mod stream;

use diff::changes;
pub use diff::{Change, What};

/// Where systems have the program.
const PLACES: [&str; 3] = ["/sbin/zfs", "/usr/sbin/zfs", "/usr/local/sbin/zfs"];

/// How long one command may take: destroying and unmounting wait for the disks.
const LIMIT: Duration = Duration::from_secs(120);

/// How long comparing may take: where it takes longer, reading the files takes hours.
const DIFF_LIMIT: Duration = Duration::from_secs(1800);

/// How long sending may take, which only reads: whoever waits can end it by a signal.
const SEND_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// How many bytes of a stream are received in a second at least; [`LIMIT`] comes in addition.
const SLOWEST: u64 = 1 << 20;

/// The exit code of zfs(8) when it does not understand its arguments; it has read nothing then.
const USAGE: i32 = 2;

/// A property and its value.
pub type Property<'a> = (&'a str, &'a str);

/// The program.
#[derive(Clone, Copy, Debug)]
pub struct Zfs {
    program: &'static str,
}

impl Zfs {
    /// Looks for the program.
    ///
    /// # Errors
    /// It is not on this host.
    pub fn find() -> Result<Zfs> {
        let found = PLACES.into_iter().find(|place| Path::new(place).exists());
        found.map(|program| Zfs { program }).ok_or_else(|| {
            Error::new("zfs(8) is not on this host")
                .help("install OpenZFS, or unset `root.zfs` (`storage = dir` works on every filesystem)")
        })
    }

    /// Makes a dataset; those above it too.
    ///
    /// # Errors
    /// It is there, or has a property that this ZFS does not know.
    pub fn create(&self, dataset: &str, properties: &[Property<'_>]) -> Result<()> {
        self.run(&with_properties(&["create", "-p"], properties, &[dataset]))
    }

    /// Makes a dataset that begins as `snapshot`.
    ///
    /// # Errors
    /// The one is there, or the other is not.
    pub fn clone_of(&self, snapshot: &str, dataset: &str, properties: &[Property<'_>]) -> Result<()> {
        self.run(&with_properties(&["clone"], properties, &[snapshot, dataset]))
    }

    /// Makes a snapshot: `dataset@name`.
    ///
    /// # Errors
    /// It is there, or the dataset is not.
    pub fn snapshot(&self, snapshot: &str) -> Result<()> {
        self.run(&["snapshot".to_owned(), snapshot.to_owned()])
    }

    /// Gives a dataset another name.
    ///
    /// # Errors
    /// It is in use, or the new name is taken.
    pub fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.run(&["rename".to_owned(), from.to_owned(), to.to_owned()])
    }

    /// Sets a property.
    ///
    /// # Errors
    /// The dataset is not there, or does not know the property.
    pub fn set(&self, dataset: &str, (name, value): Property<'_>) -> Result<()> {
        self.run(&["set".to_owned(), format!("{name}={value}"), dataset.to_owned()])
    }

    /// Mounts a dataset where its properties say.
    ///
    /// # Errors
    /// It is mounted already, or something is in the way.
    pub fn mount(&self, dataset: &str) -> Result<()> {
        self.run(&["mount".to_owned(), dataset.to_owned()])
    }

    /// Takes the mount of a dataset off.
    ///
    /// # Errors
    /// It is in use, or not mounted.
    pub fn unmount(&self, dataset: &str) -> Result<()> {
        self.run(&["unmount".to_owned(), dataset.to_owned()])
    }

    /// Destroys a dataset with its snapshots and all below it.
    ///
    /// # Errors
    /// It is not there or in use, or others are clones of it.
    pub fn destroy(&self, dataset: &str) -> Result<()> {
        self.run(&["destroy".to_owned(), "-r".to_owned(), dataset.to_owned()])
    }

    /// These columns of a dataset and of those up to `depth` levels below it; what a dataset does not have is `-`.
    ///
    /// # Errors
    /// There is no such dataset.
    pub fn list<const N: usize>(&self, dataset: &str, depth: u32, columns: [&str; N]) -> Result<Vec<[String; N]>> {
        let (depth, columns) = (depth.to_string(), columns.join(","));
        let arguments = ["list", "-H", "-t", "filesystem", "-d", &depth, "-o", &columns, dataset];
        rows(&output_within(LIMIT, self.program, &arguments)?)
    }

    /// The name, type and origin of a dataset and of everything below it, snapshots too.
    ///
    /// # Errors
    /// There is no such dataset.
    pub fn tree(&self, dataset: &str) -> Result<Vec<[String; 3]>> {
        let arguments = ["list", "-H", "-t", "all", "-r", "-o", "name,type,origin", dataset];
        rows(&output_within(LIMIT, self.program, &arguments)?)
    }

    /// Writes a stream of `snapshot` to `out`: all of it, or what it has beyond `base`, the snapshot that its dataset is a clone of.
    /// It holds no properties.
    ///
    /// # Errors
    /// One of them is not there, the dataset is no clone of `base`, the disk is full, or a signal has arrived.
    pub fn send(&self, snapshot: &str, base: Option<&str>, out: &File) -> Result<()> {
        let base = base.map_or(Vec::new(), |base| vec!["-i", base]);
        let arguments: Vec<&str> = ["send"].into_iter().chain(base).chain([snapshot]).collect();
        let what = || format!("cannot send {snapshot}");
        let out = Stdio::from(out.try_clone().context(what)?);
        super::run(SEND_LIMIT, self.program, &arguments, (Stdio::null(), out), &heeding)?.success()
    }

    /// Makes a dataset of `stream`, with the one snapshot `dataset@name`; it becomes a clone of `origin` if the stream builds on
    /// that. It is not mounted, and has the mount point that it inherits.
    ///
    /// An old zfs(8) can be told neither the one nor the other. There, the caller must have seen that the stream holds no
    /// properties ([`stream::check`]), and has to look at the origin: any snapshot of the pool may be taken that is the same.
    ///
    /// # Errors
    /// The dataset is there, what the stream builds on is not, the stream is broken, the disk is full, or a signal has arrived. A
    /// part of the dataset may be there then.
    pub fn receive(&self, snapshot: &str, origin: Option<&str>, mut stream: &File) -> Result<()> {
        let what = || format!("cannot receive {snapshot}");
        let size = stream.metadata().context(what)?.len();
        let limit = LIMIT + Duration::from_secs(size / SLOWEST);
        let mut receive = |options: &[&str]| {
            stream.seek(SeekFrom::Start(0)).context(what)?;
            let arguments: Vec<&str> = ["receive", "-u"].iter().chain(options).copied().chain([snapshot]).collect();
            let input = Stdio::from(stream.try_clone().context(what)?);
            super::run(limit, self.program, &arguments, (input, Stdio::piped()), &heeding)
        };
        let origin = origin.map(|origin| format!("origin={origin}"));
        let of: Vec<&str> = origin.iter().flat_map(|origin| ["-o", origin]).collect();
        let done = receive(&[&["-x", "mountpoint"], &of[..]].concat())?;
        let done = if done.status.code() == Some(USAGE) { receive(&[])? } else { done };
        Done::success(&done)
    }

    /// The value of a property that was set for this very dataset, here or where it was sent from; `-` where none was, whatever
    /// those above it have.
    ///
    /// # Errors
    /// There is no such dataset.
    pub fn own(&self, dataset: &str, property: &str) -> Result<String> {
        let arguments = ["get", "-H", "-s", "local,received", "-o", "value", property, dataset];
        let said = output_within(LIMIT, self.program, &arguments)?;
        Ok(said.lines().next().unwrap_or("-").to_owned())
    }

    /// What differs between `snapshot` and the present state of its dataset, `dataset`, which has to be mounted.
    ///
    /// # Errors
    /// It is not mounted, or this ZFS cannot tell all of it.
    pub fn diff(&self, snapshot: &str, dataset: &str) -> Result<Vec<Change>> {
        let [said, complaints] = said_within(DIFF_LIMIT, self.program, &["diff", "-FH", snapshot, dataset])?;
        // Of an object whose path it does not find it says so there, leaves it out, and ends with 0.
        if !complaints.is_empty() {
            return Err(Error::new(format!("zfs diff is incomplete: {:?}", String::from_utf8_lossy(&complaints))));
        }
        changes(&said)
    }

    /// Whether there is such a dataset.
    pub fn exists(&self, dataset: &str) -> bool {
        self.list(dataset, 0, ["name"]).is_ok()
    }

    fn run(&self, arguments: &[String]) -> Result<()> {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        output_within(LIMIT, self.program, &arguments).map(drop)
    }
}

/// Goes on unless a signal has arrived that ends the work.
fn heeding() -> io::Result<()> {
    go_on().map_err(io::Error::other)
}

fn with_properties(command: &[&str], properties: &[Property<'_>], names: &[&str]) -> Vec<String> {
    let mut arguments: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
    for (name, value) in properties {
        arguments.extend(["-o".to_owned(), format!("{name}={value}")]);
    }
    arguments.extend(names.iter().map(|&name| name.to_owned()));
    arguments
}

/// Reads rows whose columns are separated by tabs.
fn rows<const N: usize>(text: &str) -> Result<Vec<[String; N]>> {
    let row = |line: &str| {
        let columns: Vec<String> = line.split('\t').map(str::to_owned).collect();
        columns.try_into().map_err(|_| Error::new(format!("cannot understand zfs(8): {line:?}")))
    };
    text.lines().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_words() {
        let words = with_properties(&["clone"], &[("canmount", "noauto"), ("a:b", "c d")], &["p/x@seal", "p/y"]);
        assert_eq!(words, ["clone", "-o", "canmount=noauto", "-o", "a:b=c d", "p/x@seal", "p/y"]);
    }

    #[test]
    fn differences_with_complaints_are_refused() {
        let scratch = crate::sys::testing::Scratch::new();
        let program = scratch.path().join("zfs");
        // Written by another process: a descriptor of this one's, inherited by one that is being started, keeps it from running.
        let write = |complain: &str| {
            let script = format!(
                "printf '#!/bin/sh\\nprintf \"M\\\\tF\\\\t/a\\\\n\"\\n{complain}\\n' >\"$0\" && chmod 755 \"$0\""
            );
            super::super::output("/bin/sh", &["-c", &script, program.to_str().unwrap()]).unwrap();
            Zfs { program: Box::leak(program.to_str().unwrap().to_owned().into_boxed_str()) }
        };
        assert_eq!(write("").diff("p@a", "p").unwrap().len(), 1);
        let error = write("echo no path >&2").diff("p@a", "p").unwrap_err();
        assert_eq!(error.to_string(), "zfs diff is incomplete: \"no path\\n\"");
    }

    #[test]
    fn columns_are_read_and_nonsense_is_refused() {
        let found: Vec<[String; 2]> = rows("tank\t/a b\ntank/x\t-\n").unwrap();
        assert_eq!(found, [["tank", "/a b"], ["tank/x", "-"]]);
        assert_eq!(rows::<1>("").unwrap(), [[""; 1]; 0]);
        for text in ["tank", "tank\ta\tb", "\n"] {
            assert!(rows::<2>(text).is_err(), "{text:?}");
        }
    }
}
