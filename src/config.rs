//! `jetpack.conf` and `-o` overrides, read into plain data.
//!
//! A setting is `key = value` (the whole syntax is described at the head of `config/syntax.rs` and in jetpack.conf(5)). What
//! a key is comes from three places, each over the one before: the defaults of the [`KEYS`] table, the file, the overrides.
//! Then `${other.key}` in values is expanded. An empty value means that the key is unset, which takes away a default.
//!
//! Nothing is dropped in silence: a line that cannot be read, a reference to nothing and an impossible value are errors that
//! name file and line; an unknown key is kept, so that a newer file can be read, and reported in [`Config::warnings`].

#![forbid(unsafe_code)]

mod choice;
mod error;
mod expand;
mod keys;
mod size;
mod syntax;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use choice::{CompressionKind, IsolationKind, NetKind, StorageKind};
pub use error::Error;
pub use keys::{KEYS, Key, KeyDefault, PREFIX};
pub use size::size;

/// No sensible file is longer.
const MAX_FILE: u64 = 1024 * 1024;

const ROOT_PATH: &str = "root.path";
const MOUNTPOINT: &str = "root.zfs.mountpoint";
const DNS_SERVERS: &str = "ace.dns-servers";
const NAME_PREFIX: &str = "jail.namePrefix";
const TIMEOUT: &str = "fetch.timeout";
const FETCH_MAX_SIZE: &str = "fetch.max-size";
const MAX_SIZE: &str = "images.max-size";

/// Where a value comes from; a later one is over an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The configuration file.
    File {
        /// The line it begins on, from 1.
        line: usize,
    },
    /// `-o` on the command line.
    Override,
}

impl Origin {
    fn rank(self) -> u8 {
        match self {
            Origin::Default => 0,
            Origin::File { .. } => 1,
            Origin::Override => 2,
        }
    }
}

/// One line of `jetpack config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The key.
    pub key: &'a str,
    /// Its expanded value; empty when it is unset.
    pub value: &'a str,
    /// Who set it.
    pub origin: Origin,
    /// Whether the value is to be shown only when asked for by name.
    pub secret: bool,
    /// Whether the key has an effect in this version; false for the reserved and the unknown.
    pub in_use: bool,
}

/// A value before `${…}` is expanded.
struct Raw {
    text: String,
    origin: Origin,
}

/// A value after that.
#[derive(Clone)]
struct Value {
    text: String,
    origin: Origin,
    secret: bool,
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = if self.secret { "(hidden)" } else { &self.text };
        f.debug_struct("Value").field("text", &text).field("origin", &self.origin).finish()
    }
}

/// The configuration: checked where a value must be a word from a list, an address or a name, plain text elsewhere.
#[derive(Clone, Debug)]
pub struct Config {
    file: PathBuf,
    values: BTreeMap<String, Value>,
    warnings: Vec<String>,
    root_path: PathBuf,
    storage: StorageKind,
    isolation: IsolationKind,
    net: NetKind,
    compression: CompressionKind,
    fetch_timeout: Duration,
    fetch_max_size: Option<u64>,
    max_size: Option<u64>,
}

impl Config {
    /// Reads the file and lays the overrides (`KEY=VALUE`, or `KEY` for `KEY=on`) over it. The default file may be missing;
    /// one that is named may not.
    ///
    /// # Errors
    /// A file that cannot be read, a line that cannot be parsed, a reference that cannot be expanded, a value that cannot be.
    pub fn load(path: Option<&Path>, overrides: &[String]) -> Result<Config, Error> {
        let file = path.map_or_else(Config::default_path, Path::to_path_buf);
        let (bytes, mode) = match read(&file) {
            Ok(read) => read,
            Err(e) if path.is_none() && e.kind() == io::ErrorKind::NotFound => (Vec::new(), 0),
            Err(e) => return Err(Error::read(&file, e)),
        };
        let mut config = Config::parse(std::env::consts::OS, &file, &bytes, overrides)?;
        config.warn_if_secrets_are_open(mode);
        Ok(config)
    }

    /// The same from a file's bytes, for the kernel `os` named as in [`std::env::consts::OS`]; `file` is for messages.
    ///
    /// # Errors
    /// As [`Config::load`], without those of reading.
    pub fn parse(os: &str, file: &Path, bytes: &[u8], overrides: &[String]) -> Result<Config, Error> {
        let mut warnings = Vec::new();
        let mut raw = defaults(os);
        add_file(&mut raw, file, bytes, &mut warnings)?;
        add_overrides(&mut raw, file, overrides)?;
        warn_unknown(&raw, file, &mut warnings);
        join_synonyms(&mut raw);
        let mut config = Config {
            file: file.to_path_buf(),
            values: expand::expand(file, &raw)?,
            warnings,
            root_path: PathBuf::new(),
            storage: if os == "freebsd" { StorageKind::Dir } else { StorageKind::Overlay },
            isolation: IsolationKind::Native,
            net: NetKind::None,
            compression: CompressionKind::Xz,
            fetch_timeout: Duration::ZERO,
            fetch_max_size: None,
            max_size: None,
        };
        config.check()?;
        Ok(config)
    }

    /// Fills in what has a type of its own.
    fn check(&mut self) -> Result<(), Error> {
        self.root_path = self.checked_root_path()?;
        if self.get("root.zfs").is_some() {
            self.storage = StorageKind::Zfs;
        }
        if let Some(storage) = self.choice("storage", StorageKind::WORDS)? {
            self.storage = storage;
        }
        #[cfg(feature = "testing")]
        if let Some(isolation) = self.choice("isolation", IsolationKind::WORDS)? {
            self.isolation = isolation;
        }
        if let Some(net) = self.choice("run.net", NetKind::WORDS)? {
            self.net = net;
        }
        if let Some(compression) = self.choice("images.aci.compression", CompressionKind::WORDS)? {
            self.compression = compression;
        }
        self.fetch_timeout = self.checked_timeout()?;
        self.fetch_max_size = self.checked_size(FETCH_MAX_SIZE)?;
        self.max_size = self.checked_size(MAX_SIZE)?;
        self.check_dns_servers()?;
        self.check_name_prefix()
    }

    fn checked_timeout(&self) -> Result<Duration, Error> {
        let value = self.get(TIMEOUT).unwrap_or_default();
        let seconds = value.parse().ok().filter(|seconds| (1..=3600).contains(seconds));
        let not = || self.unless_secret(TIMEOUT, &format!("not {value:?}"));
        let wrong = || self.wrong(TIMEOUT, format!("{TIMEOUT} must be a number of seconds from 1 to 3600{}", not()));
        seconds.map(Duration::from_secs).ok_or_else(wrong)
    }

    fn checked_size(&self, key: &'static str) -> Result<Option<u64>, Error> {
        let Some(text) = self.get(key) else { return Ok(None) };
        let not = self.unless_secret(key, &format!("not {text:?}"));
        size(text).map(Some).map_err(|why| self.wrong(key, format!("{key} must be a size: {why}{not}")))
    }

    fn check_dns_servers(&self) -> Result<(), Error> {
        let mut servers = self.get(DNS_SERVERS).unwrap_or_default().split_whitespace();
        match servers.find(|server| server.parse::<IpAddr>().is_err()) {
            None => Ok(()),
            Some(server) => {
                let which = self.unless_secret(DNS_SERVERS, &format!("{server:?} is none"));
                Err(self.wrong(DNS_SERVERS, format!("{DNS_SERVERS} must be IP addresses, separated by blanks{which}")))
            }
        }
    }

    /// jail(8) and rctl(8) would read these characters as something else than a part of a name. They would read a name of
    /// digits as a number, too, but the UUID that follows has dashes.
    fn check_name_prefix(&self) -> Result<(), Error> {
        let prefix = self.get(NAME_PREFIX).unwrap_or_default();
        if !prefix.contains(['.', ':']) {
            return Ok(());
        }
        let not = self.unless_secret(NAME_PREFIX, &format!("not {prefix:?}"));
        Err(self.wrong(NAME_PREFIX, format!("{NAME_PREFIX} must have no `.` and no `:`{not}")))
    }

    /// What may be told of a value, after a semicolon.
    fn unless_secret(&self, key: &str, text: &str) -> String {
        if self.is_secret(key) { String::new() } else { format!("; {text}") }
    }

    fn checked_root_path(&self) -> Result<PathBuf, Error> {
        let path = Path::new(self.get(ROOT_PATH).unwrap_or_default());
        let mountpoint = Path::new(self.get(MOUNTPOINT).unwrap_or_default());
        if path != mountpoint {
            let (path, mountpoint) = (path.display(), mountpoint.display());
            let what = format!("{ROOT_PATH} ({path}) and {MOUNTPOINT} ({mountpoint}) are one setting and must agree");
            return Err(self.wrong(ROOT_PATH, what));
        }
        if !path.is_absolute() {
            return Err(self.wrong(
                ROOT_PATH,
                format!("{ROOT_PATH} must be an absolute path, not {:?}", path.display().to_string()),
            ));
        }
        Ok(path.to_path_buf())
    }

    /// A key with a value from a list; nothing when it is unset.
    fn choice<T: Copy>(&self, key: &str, words: &[(&'static str, T)]) -> Result<Option<T>, Error> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let not = self.unless_secret(key, &format!("not {value}"));
        let wrong = |list| self.wrong(key, format!("{key} must be one of {list}{not}"));
        choice::choose(words, value).map(Some).map_err(wrong)
    }

    fn wrong(&self, key: &str, what: String) -> Error {
        let origin = self.values.get(key).map_or(Origin::Default, |v| v.origin);
        Error::in_setting(&self.file, key, origin, what)
    }

    fn warn_if_secrets_are_open(&mut self, mode: u32) {
        let in_file = |v: &Value| v.secret && !v.text.is_empty() && matches!(v.origin, Origin::File { .. });
        if mode & 0o004 == 0 {
            return;
        }
        if let Some((key, _)) = self.values.iter().find(|(_, v)| in_file(v)) {
            self.warnings.push(format!("{} holds {key} and can be read by everyone", self.file.display()));
        }
    }

    /// `jetpack.conf` below the installation prefix: `/usr/local/etc/jetpack.conf`, and `/etc/jetpack.conf` for `/usr`.
    pub fn default_path() -> PathBuf {
        default_path_in(PREFIX)
    }

    /// The file that was read, or would have been.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The effective value of a key; nothing when it is unset or empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(|v| v.text.as_str()).filter(|v| !v.is_empty())
    }

    /// A switch: on, yes, true and 1, or off, no, false and 0, in any case. Unset is off.
    ///
    /// # Errors
    /// Any other value.
    pub fn flag(&self, key: &str) -> Result<bool, Error> {
        Ok(self.choice(key, choice::SWITCH)?.unwrap_or(false))
    }

    /// The set keys that begin with `prefix`, without it, and their values, sorted by key.
    pub fn with_prefix(&self, prefix: &str) -> Vec<(&str, &str)> {
        let with_value = self.values.iter().filter(|(_, v)| !v.text.is_empty());
        with_value.filter_map(|(k, v)| Some((k.strip_prefix(prefix)?, v.text.as_str()))).collect()
    }

    /// Every key that is known or set, sorted; families appear by their members.
    pub fn entries(&self) -> Vec<Entry<'_>> {
        let unset = KEYS.iter().filter(|k| k.family_prefix().is_none() && !self.values.contains_key(k.name));
        let unset = unset.map(|k| (k.name, "", Origin::Default));
        let set = self.values.iter().map(|(k, v)| (k.as_str(), v.text.as_str(), v.origin));
        let mut entries: Vec<_> = set
            .chain(unset)
            .map(|(key, value, origin)| {
                let in_use = keys::find(key).is_some_and(|k| k.in_use);
                Entry { key, value, origin, secret: self.is_secret(key), in_use }
            })
            .collect();
        entries.sort_by_key(|e| e.key);
        entries
    }

    /// Whether the value of a key is to be hidden: a secret key, a slip in the name of one, a value that refers to one.
    pub fn is_secret(&self, key: &str) -> bool {
        self.values.get(key).map_or_else(|| keys::is_secret(key), |v| v.secret)
    }

    /// What the person should know though it is no error: unknown keys, settings made twice, secrets that all can read.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Where images and pods are kept: `root.path`, which is the same as `root.zfs.mountpoint`. Always absolute.
    pub fn root_path(&self) -> PathBuf {
        self.root_path.clone()
    }

    /// `images.aci.compression`: how images that are made here are compressed.
    pub fn compression(&self) -> CompressionKind {
        self.compression
    }

    /// `fetch.timeout`: how long a server may take to answer, and to go on.
    pub fn fetch_timeout(&self) -> Duration {
        self.fetch_timeout
    }

    /// `fetch.max-size`: the most bytes that an archive may have as it comes; what the disk has room for where it is unset.
    pub fn fetch_max_size(&self) -> Option<u64> {
        self.fetch_max_size
    }

    /// `images.max-size`: the most bytes that an image may have, decompressed and with what its files have of holes; no limit
    /// where it is unset.
    pub fn max_image_size(&self) -> Option<u64> {
        self.max_size
    }

    /// `storage`; when it is unset, ZFS where `root.zfs` is set, else overlayfs, and plain directories on FreeBSD, which has
    /// no overlayfs.
    pub fn storage(&self) -> StorageKind {
        self.storage
    }

    /// `isolation`, a key that only exists for tests; otherwise the kernel's own.
    pub fn isolation(&self) -> IsolationKind {
        self.isolation
    }

    /// `run.net`: the network of a pod that does not ask for one.
    pub fn net_default(&self) -> NetKind {
        self.net
    }
}

fn default_path_in(prefix: &str) -> PathBuf {
    match prefix.trim_end_matches('/') {
        "/usr" | "" => PathBuf::from("/etc/jetpack.conf"),
        prefix => Path::new(prefix).join("etc/jetpack.conf"),
    }
}

/// A file's bytes and its mode.
fn read(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other("too long for a configuration file"));
    }
    Ok((bytes, mode))
}

fn defaults(os: &str) -> BTreeMap<String, Raw> {
    let set = KEYS.iter().filter_map(|key| Some((key.name, key.default.on(os)?)));
    set.map(|(k, v)| (k.to_owned(), Raw { text: v.to_owned(), origin: Origin::Default })).collect()
}

fn add_file(
    raw: &mut BTreeMap<String, Raw>,
    file: &Path,
    bytes: &[u8],
    warnings: &mut Vec<String>,
) -> Result<(), Error> {
    for setting in syntax::parse(file, bytes)? {
        let syntax::Setting { key, value, line } = setting;
        if let Some(Origin::File { line: first }) = raw.get(&key).map(|r| r.origin) {
            warnings.push(format!("{}:{line}: {key} was set on line {first} already; this one counts", file.display()));
        }
        raw.insert(key, Raw { text: value, origin: Origin::File { line } });
    }
    Ok(())
}

fn add_overrides(raw: &mut BTreeMap<String, Raw>, file: &Path, overrides: &[String]) -> Result<(), Error> {
    for text in overrides {
        let (key, value) = text.split_once('=').unwrap_or((text, "on"));
        let (key, value) = (key.trim(), value.trim());
        let wrong = |what| Error::in_setting(file, key, Origin::Override, what);
        syntax::check_key(key).map_err(wrong)?;
        if value.contains('\0') {
            return Err(wrong("a NUL character cannot be used"));
        }
        raw.insert(key.to_owned(), Raw { text: value.to_owned(), origin: Origin::Override });
    }
    Ok(())
}

fn warn_unknown(raw: &BTreeMap<String, Raw>, file: &Path, warnings: &mut Vec<String>) {
    for (key, raw) in raw {
        if keys::find(key).is_some() {
            continue;
        }
        let meant = keys::nearest(key).map(|k| format!(", did you mean {k}?")).unwrap_or_default();
        let place = error::place(file, key, raw.origin).map(|p| format!("{p}: ")).unwrap_or_default();
        warnings.push(format!("{place}unknown key {key}{meant}"));
    }
}

/// `root.path` and `root.zfs.mountpoint` are one setting: the one from the higher place stands for both.
fn join_synonyms(raw: &mut BTreeMap<String, Raw>) {
    let origin = |key| raw.get(key).map_or(Origin::Default, |r: &Raw| r.origin);
    let (path, mountpoint) = (origin(ROOT_PATH), origin(MOUNTPOINT));
    let (lower, higher, origin) = match path.rank().cmp(&mountpoint.rank()) {
        std::cmp::Ordering::Less => (ROOT_PATH, MOUNTPOINT, mountpoint),
        std::cmp::Ordering::Greater => (MOUNTPOINT, ROOT_PATH, path),
        std::cmp::Ordering::Equal => return,
    };
    raw.insert(lower.to_owned(), Raw { text: format!("${{{higher}}}"), origin });
}
