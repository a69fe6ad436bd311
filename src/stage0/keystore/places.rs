//! The keys that are trusted, as files that a person can look at, copy and remove.
//!
//! | path below a tree | what |
//! |---|---|
//! | `root.d/FINGERPRINT` | a key for images of every name |
//! | `prefix.d/PREFIX/FINGERPRINT` | a key for the image PREFIX and those below it; a `/` of it is written as `,` |
//!
//! There are two trees, laid out as rkt's: the vendor's comes with programs and packages, the local one is the administrator's. A
//! local file stands for the vendor's of the same place, and an empty one takes that key away.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::fingerprint::Fingerprint;
use super::key::{Key, MAX_KEYS};
use crate::appc::AcIdentifier;
use crate::config::Config;
use crate::error::{Context, Error, Result};

const ROOT: &str = "root.d";
const PREFIX: &str = "prefix.d";

/// For which images a key is trusted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// All.
    Root,
    /// The one of this name, and those whose names go on with `/`.
    Prefix(AcIdentifier),
}

impl Scope {
    /// Whether an image may be called so.
    pub fn covers(&self, name: &AcIdentifier) -> bool {
        match self {
            Scope::Root => true,
            Scope::Prefix(prefix) => {
                name.as_str().strip_prefix(prefix.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }

    /// What the names of its images begin with; nothing where every name will do.
    pub fn prefix(&self) -> Option<&AcIdentifier> {
        match self {
            Scope::Root => None,
            Scope::Prefix(prefix) => Some(prefix),
        }
    }

    /// The options of `jetpack trust` and `jetpack untrust` that mean it.
    pub fn options(&self) -> String {
        match self {
            Scope::Root => "--root".to_owned(),
            Scope::Prefix(prefix) => format!("--prefix {prefix}"),
        }
    }

    fn directory(&self) -> PathBuf {
        match self {
            Scope::Root => PathBuf::from(ROOT),
            Scope::Prefix(prefix) => Path::new(PREFIX).join(prefix.as_str().replace('/', ",")),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scope::Root => f.pad("images of every name"),
            Scope::Prefix(prefix) => prefix.fmt(f),
        }
    }
}

/// Whose tree a file is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// The administrator of this host.
    Local,
    /// Whoever made a package or program.
    Vendor,
}

/// A key, and where it is trusted.
#[derive(Clone, Debug)]
pub struct Trusted {
    /// The key.
    pub key: Key,
    /// For which images.
    pub scope: Scope,
    /// In whose tree it is.
    pub owner: Owner,
    /// Its file.
    pub file: PathBuf,
}

/// A key of the vendor's that an empty local file takes away.
#[derive(Clone, Debug)]
pub struct Revoked {
    /// Its fingerprint.
    pub fingerprint: Fingerprint,
    /// For which images it would be trusted.
    pub scope: Scope,
    /// The empty file.
    pub file: PathBuf,
    /// The vendor's file, if it is there.
    pub vendor: Option<PathBuf>,
}

/// What the trees hold.
#[derive(Debug, Default)]
pub struct Keys {
    /// The keys that are trusted, by what for.
    pub trusted: Vec<Trusted>,
    /// Those that were taken away.
    pub revoked: Vec<Revoked>,
    /// What is no key, or cannot be believed, and why.
    pub broken: Vec<(PathBuf, Error)>,
}

impl Keys {
    /// Every key once, with all that is known of it.
    pub(super) fn merged(&self) -> Result<Vec<Key>> {
        let mut keys: BTreeMap<Fingerprint, Key> = BTreeMap::new();
        for Trusted { key, .. } in &self.trusted {
            let key = match keys.remove(&key.fingerprint()) {
                Some(known) => known.merged(key.clone())?,
                None => key.clone(),
            };
            keys.insert(key.fingerprint(), key);
        }
        Ok(keys.into_values().collect())
    }

    /// For which images a key is trusted.
    pub fn scopes<'a>(&'a self, fingerprint: &'a Fingerprint) -> impl Iterator<Item = &'a Trusted> {
        self.trusted.iter().filter(move |trusted| trusted.key.fingerprint() == *fingerprint)
    }
}

/// The two trees.
#[derive(Clone, Debug)]
pub struct Keystore {
    local: PathBuf,
    vendor: PathBuf,
}

/// A file of a tree by its name.
struct Entry {
    scope: Scope,
    fingerprint: Fingerprint,
    file: PathBuf,
    is_empty: bool,
}

impl Keystore {
    /// The trees that a configuration means: `jetpack/trustedkeys` beside jetpack.conf, and `trustedkeys` in `path.share`.
    pub fn of(config: &Config) -> Keystore {
        let beside = config.file().parent().unwrap_or(Path::new(""));
        let share = Path::new(config.get("path.share").unwrap_or_default());
        Keystore { local: beside.join("jetpack/trustedkeys"), vendor: share.join("trustedkeys") }
    }

    /// Reads all keys. What is no key hides none.
    ///
    /// # Errors
    /// A directory is there and cannot be read.
    pub fn load(&self) -> Result<Keys> {
        let mut keys = Keys::default();
        let vendor = entries(&self.vendor, &mut keys.broken)?;
        let local = entries(&self.local, &mut keys.broken)?;
        let places: BTreeSet<(&Scope, &Fingerprint)> = local.iter().map(Entry::place).collect();
        let vendors = vendor.iter().filter(|entry| !entry.is_empty && !places.contains(&entry.place()));
        let all = local.iter().map(|entry| (entry, Owner::Local)).chain(vendors.map(|entry| (entry, Owner::Vendor)));
        for (entry, owner) in all {
            if entry.is_empty {
                let vendor = vendor.iter().find(|other| other.place() == entry.place() && !other.is_empty);
                keys.revoked.push(Revoked {
                    fingerprint: entry.fingerprint.clone(),
                    scope: entry.scope.clone(),
                    file: entry.file.clone(),
                    vendor: vendor.map(|entry| entry.file.clone()),
                });
                continue;
            }
            match entry.read() {
                Ok(key) => {
                    let (scope, file) = (entry.scope.clone(), entry.file.clone());
                    keys.trusted.push(Trusted { key, scope, owner, file });
                }
                Err(error) => keys.broken.push((entry.file.clone(), error)),
            }
        }
        keys.trusted.sort_by_cached_key(|trusted| (trusted.scope.clone(), trusted.key.fingerprint()));
        Ok(keys)
    }

    /// Trusts a key. What is known of it in that place already is kept beside what is new. Gives its file.
    ///
    /// # Errors
    /// The local tree cannot be written.
    pub fn trust(&self, scope: &Scope, key: &Key) -> Result<PathBuf> {
        let directory = self.local.join(scope.directory());
        let file = directory.join(key.fingerprint().file_name());
        let what = || format!("cannot write {}", file.display());
        let known = [&self.local, &self.vendor].into_iter().find_map(|tree| {
            let file = tree.join(scope.directory()).join(key.fingerprint().file_name());
            read_key(&file, &key.fingerprint()).ok()
        });
        let key = match known {
            Some(known) => known.merged(key.clone())?,
            None => key.clone(),
        };
        make_directory(&directory).context(what)?;
        replace(&file, &key.armored()?).context(what)?;
        Ok(file)
    }

    /// Trusts a key no longer, for one scope or for all. Where it is the vendor's, an empty local file says so. Gives what was
    /// changed: for which images, and the file that was removed or made.
    ///
    /// # Errors
    /// It is not trusted so, or the local tree cannot be written.
    pub fn untrust(&self, fingerprint: &Fingerprint, scope: Option<&Scope>) -> Result<Vec<(Scope, PathBuf)>> {
        let mut broken = Vec::new();
        let vendor = entries(&self.vendor, &mut broken)?;
        let local = entries(&self.local, &mut broken)?;
        let is_meant =
            |entry: &&Entry| entry.fingerprint == *fingerprint && scope.is_none_or(|scope| *scope == entry.scope);
        let mut changed = Vec::new();
        for entry in vendor.iter().filter(is_meant).filter(|entry| !entry.is_empty) {
            let own = local.iter().find(|own| own.place() == entry.place());
            if own.is_some_and(|own| own.is_empty) {
                continue;
            }
            let directory = self.local.join(entry.scope.directory());
            let file = directory.join(fingerprint.file_name());
            let what = || format!("cannot write {}", file.display());
            make_directory(&directory).context(what)?;
            replace(&file, b"").context(what)?;
            changed.push((entry.scope.clone(), file));
        }
        for entry in local.iter().filter(is_meant) {
            if entry.is_empty || changed.iter().any(|(scope, _)| *scope == entry.scope) {
                continue;
            }
            fs::remove_file(&entry.file).context(|| format!("cannot remove {}", entry.file.display()))?;
            if let (Scope::Prefix(_), Some(directory)) = (&entry.scope, entry.file.parent()) {
                // Others may have keys for the same images.
                let _ = fs::remove_dir(directory);
            }
            changed.push((entry.scope.clone(), entry.file.clone()));
        }
        if changed.is_empty() { Err(self.not_trusted(fingerprint, scope)) } else { Ok(changed) }
    }

    fn not_trusted(&self, fingerprint: &Fingerprint, scope: Option<&Scope>) -> Error {
        let keys = self.load().unwrap_or_default();
        let of: Vec<String> = keys.scopes(fingerprint).map(|trusted| trusted.scope.to_string()).collect();
        let what = format!("key {fingerprint} is not trusted");
        match scope {
            Some(scope) if !of.is_empty() => Error::new(format!("{what} for {scope}, but for {}", of.join(" and "))),
            _ if keys.trusted.is_empty() => Error::new(format!("{what}, and neither is any other")),
            _ => {
                let all: BTreeSet<String> = keys.trusted.iter().map(|t| t.key.fingerprint().to_string()).collect();
                let all: Vec<String> = all.into_iter().collect();
                Error::new(what).help(format!("trusted are {}; `jetpack trust` tells more", all.join(", ")))
            }
        }
    }
}

impl Entry {
    fn place(&self) -> (&Scope, &Fingerprint) {
        (&self.scope, &self.fingerprint)
    }

    fn read(&self) -> Result<Key> {
        read_key(&self.file, &self.fingerprint)
    }
}

/// The files of a tree. Those that cannot be keys, or cannot be believed, come into `broken`; empty ones are always believed.
fn entries(tree: &Path, broken: &mut Vec<(PathBuf, Error)>) -> Result<Vec<Entry>> {
    let mut listing = Listing { found: Vec::new(), broken };
    let top = listing.names(tree, true)?;
    if top.names.is_empty() {
        return Ok(listing.found);
    }
    listing.files(&tree.join(ROOT), &Scope::Root, top.believed)?;
    let prefixes = listing.names(&tree.join(PREFIX), top.believed)?;
    for (directory, name) in prefixes.names {
        match name.replace(',', "/").parse() {
            Ok(prefix) => listing.files(&directory, &Scope::Prefix(prefix), prefixes.believed)?,
            Err(error) => listing.broken.push((directory, Error::with_source("it is no prefix of names", error))),
        }
    }
    Ok(listing.found)
}

/// A tree that is being read.
struct Listing<'a> {
    found: Vec<Entry>,
    broken: &'a mut Vec<(PathBuf, Error)>,
}

/// What is in a directory: paths and names, and whether only root can have put it there.
struct Names {
    names: Vec<(PathBuf, String)>,
    believed: bool,
}

impl Listing<'_> {
    fn files(&mut self, directory: &Path, scope: &Scope, believed: bool) -> Result<()> {
        let Names { names, believed } = self.names(directory, believed)?;
        for (file, name) in names {
            let entry = name.parse().map_err(Error::new).and_then(|fingerprint| {
                let metadata = fs::metadata(&file).context(|| "cannot look at it")?;
                if !metadata.is_file() {
                    return Err(Error::new("it is no file"));
                }
                let is_empty = metadata.len() == 0;
                if !is_empty {
                    guarded(&metadata, &file)?;
                }
                Ok(Entry { scope: scope.clone(), fingerprint, file: file.clone(), is_empty })
            });
            match entry {
                Ok(entry) if believed || entry.is_empty => self.found.push(entry),
                // That was said of the directory.
                Ok(_) => {}
                Err(error) => self.broken.push((file, error)),
            }
        }
        Ok(())
    }

    /// What is in a directory, if it is there, but for names that begin with a dot: what is being written, and what others keep
    /// there.
    fn names(&mut self, directory: &Path, believed: bool) -> Result<Names> {
        let what = || format!("cannot read {}", directory.display());
        let mut names = Vec::new();
        let listed = match fs::read_dir(directory) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Names { names, believed }),
            Err(e) if e.kind() == ErrorKind::NotADirectory => {
                self.broken.push((directory.to_path_buf(), Error::new("it is no directory")));
                return Ok(Names { names, believed });
            }
            listed => listed.context(what)?,
        };
        let mut believed = believed;
        if let Err(error) = guarded(&fs::metadata(directory).context(what)?, directory) {
            self.broken.push((directory.to_path_buf(), error));
            believed = false;
        }
        for entry in listed {
            let entry = entry.context(what)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                names.push((entry.path(), name));
            }
        }
        names.sort();
        Ok(Names { names, believed })
    }
}

/// Checks that only root, or who runs this, can have written a file or directory: whoever can write a key decides what is run.
fn guarded(found: &fs::Metadata, path: &Path) -> Result<()> {
    if found.uid() != 0 && found.uid() != nix::unistd::geteuid().as_raw() {
        return Err(Error::new(format!("it belongs to user {}", found.uid())).help("keys have to be root's"));
    }
    if found.mode() & 0o022 != 0 {
        return Err(Error::new(format!("others than its owner can write it (mode {:04o})", found.mode() & 0o7777))
            .help(format!("take that away: chmod go-w {}", path.display())));
    }
    Ok(())
}

/// The key in a file of that name.
fn read_key(file: &Path, fingerprint: &Fingerprint) -> Result<Key> {
    let what = || "cannot read it";
    let mut bytes = Vec::new();
    File::open(file).context(what)?.take(MAX_KEYS + 1).read_to_end(&mut bytes).context(what)?;
    let mut keys = Key::read(&bytes, &file.display().to_string())?;
    match (keys.pop(), keys.is_empty()) {
        (Some(key), true) if key.fingerprint() == *fingerprint => Ok(key),
        (Some(key), true) => Err(Error::new(format!("it holds key {}, which is not its name", key.fingerprint()))),
        _ => Err(Error::new("it holds more than one key")),
    }
}

/// Makes a directory, and those above it, where they are not there. None but its owner can write in it, whatever the umask is.
fn make_directory(directory: &Path) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(directory)
}

/// Writes a file whole or not at all.
fn replace(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = file.with_file_name(format!(".jetpack-{}", uuid::Uuid::new_v4()));
    let write = || {
        let mut out = File::options().write(true).create_new(true).mode(0o644).open(&new)?;
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&new, file)
    };
    write().inspect_err(|_| {
        // The error of writing it is the one to tell.
        let _ = fs::remove_file(&new);
    })
}
