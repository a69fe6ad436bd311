//! The table of keys: the one source for defaults, documentation and the check for unknown keys.

use KeyDefault::{ByKernel, Unset, Value};

/// The installation prefix, chosen when Jetpack is built (`JETPACK_PREFIX`).
pub const PREFIX: &str = match option_env!("JETPACK_PREFIX") {
    Some(prefix) => prefix,
    None => "/usr/local",
};

/// What a key is when nobody sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyDefault {
    /// Nothing.
    Unset,
    /// The same on every kernel.
    Value(&'static str),
    /// Different by kernel; empty means unset. Kernels other than FreeBSD are treated as Linux.
    ByKernel {
        /// On FreeBSD.
        freebsd: &'static str,
        /// On Linux.
        linux: &'static str,
    },
}

impl KeyDefault {
    /// The default on the kernel named as in [`std::env::consts::OS`].
    pub fn on(self, os: &str) -> Option<&'static str> {
        let value = match self {
            KeyDefault::Unset => "",
            KeyDefault::Value(value) => value,
            KeyDefault::ByKernel { freebsd, linux } => {
                if os == "freebsd" {
                    freebsd
                } else {
                    linux
                }
            }
        };
        Some(value).filter(|v| !v.is_empty())
    }
}

/// One key, or a family of keys that ends in a capitalized placeholder (`root.zfs.PROPERTY`).
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The key as it is written.
    pub name: &'static str,
    /// Its value when nobody sets it; references are not expanded.
    pub default: KeyDefault,
    /// What it is for, in one line.
    pub doc: &'static str,
    /// Whether its value is shown only when asked for by name.
    pub secret: bool,
    /// Whether it has an effect in this version; the others are accepted and reserved.
    pub in_use: bool,
}

impl Key {
    /// What the keys of a family begin with, the dot included.
    pub fn family_prefix(&self) -> Option<&'static str> {
        let (prefix, last) = self.name.split_at(self.name.rfind('.')? + 1);
        last.bytes().all(|b| b.is_ascii_uppercase()).then_some(prefix)
    }

    fn is(&self, name: &str) -> bool {
        match self.family_prefix() {
            Some(prefix) => name.len() > prefix.len() && name.starts_with(prefix),
            None => self.name == name,
        }
    }
}

const fn used(name: &'static str, default: KeyDefault, doc: &'static str) -> Key {
    Key { name, default, doc, secret: false, in_use: true }
}

const fn reserved(name: &'static str, default: KeyDefault, doc: &'static str) -> Key {
    Key { name, default, doc, secret: false, in_use: false }
}

const fn secret(name: &'static str, doc: &'static str) -> Key {
    Key { name, default: KeyDefault::Unset, doc, secret: true, in_use: false }
}

/// All keys, sorted by name.
pub static KEYS: &[Key] = &[
    used("ace.dns-servers", Unset, "IP addresses of the DNS servers inside pods; unset: the host's resolv.conf"),
    used("ace.jailConf.PARAMETER", Unset, "a jail parameter of every pod (FreeBSD); empty takes a default away"),
    used("ace.jailConf.securelevel", Value("2"), "the securelevel of every pod (FreeBSD)"),
    used("allow.autodiscovery", Value("on"), "whether run, prepare and build fetch a missing image by its name"),
    used(
        "allow.capabilities",
        Unset,
        "capabilities beyond appc's default that an image may retain, separated by blanks",
    ),
    used("allow.http", Value("off"), "whether images may be fetched over plain HTTP"),
    used("allow.no-signature", Value("off"), "whether images without a signature are accepted"),
    used("debug", Value("off"), "whether to say on standard error what is being done"),
    used(
        "fetch.max-size",
        Unset,
        "the most that a fetched archive may have, such as 10G; unset: what the disk has room for",
    ),
    used("fetch.timeout", Value("30"), "how many seconds a server may take to answer and to go on, 1 to 3600"),
    used("images.aci.compression", Value("xz"), "the compression of images made here: xz, bzip2, gzip, zstd or none"),
    used("images.max-size", Value("32G"), "the most that an image may have when decompressed; empty: no limit"),
    used("images.zfs.PROPERTY", Unset, "a ZFS property of the images dataset; empty takes a default away"),
    used("images.zfs.atime", Value("off"), "whether the images dataset records access times"),
    used("images.zfs.compress", Value("lz4"), "the compression of the images dataset"),
    #[cfg(feature = "testing")]
    used("isolation", Value("native"), "the isolation backend: native, or fake, which touches nothing (tests only)"),
    reserved("jail.interface", ByKernel { freebsd: "lo1", linux: "jet0" }, "the interface of the pods' addresses"),
    used("jail.namePrefix", Value("jetpack/"), "what the names of jails begin with; the pod's UUID follows"),
    reserved("mds.keep-uid", Value("off"), "whether the metadata service goes on as the user that started it"),
    reserved("mds.logfile", Unset, "the log of the metadata service; unset or -: standard error; none: no log"),
    reserved("mds.pidfile", Unset, "where the metadata service writes its process ID"),
    reserved("mds.port", Value("1104"), "the port of the metadata service"),
    secret("mds.signing-key", "the key, in hexadecimal, with which the metadata service signs for pods"),
    secret("mds.token-key", "the key, in hexadecimal, of the tokens by which the metadata service knows pods"),
    used("mds.user", Value("_jetpack"), "the user of the metadata service, which `jetpack init --user` makes"),
    reserved("path.libexec", Value("${path.prefix}/libexec/jetpack"), "where the helper programs are"),
    reserved("path.prefix", Value(PREFIX), "the installation prefix"),
    used("path.share", Value("${path.prefix}/share/jetpack"), "where the data files are"),
    used("pods.zfs.PROPERTY", Unset, "a ZFS property of the pods dataset"),
    used("root.path", Value("${root.zfs.mountpoint}"), "where images and pods are kept"),
    used("root.zfs", ByKernel { freebsd: "zroot/jetpack", linux: "" }, "the ZFS dataset of images and pods"),
    used("root.zfs.PROPERTY", Unset, "a ZFS property of the root dataset"),
    used("root.zfs.mountpoint", Value("/var/jetpack"), "where the root dataset is mounted; the same as root.path"),
    used("run.net", Value("none"), "the network of a pod that asks for none: none or host"),
    used("storage", Unset, "the storage backend: overlay, dir or zfs; unset: zfs where root.zfs is set"),
];

/// The entry of a key: its own, else its family's.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    let own = KEYS.iter().find(|k| k.family_prefix().is_none() && k.is(name));
    own.or_else(|| KEYS.iter().find(|k| k.is(name)))
}

/// The known key that an unknown one was most likely meant to be.
pub(super) fn nearest(name: &str) -> Option<String> {
    let candidates = KEYS.iter().map(|key| match key.family_prefix() {
        None => key.name.to_owned(),
        Some(prefix) => {
            // Compare as many leading parts as the family has, and keep what follows as it was written.
            let dots = prefix.matches('.').count();
            let at = name.match_indices('.').nth(dots - 1).map_or(name.len(), |(at, _)| at + 1);
            format!("{prefix}{}", &name[at..])
        }
    });
    let (distance, best) =
        candidates.filter(|c| find(c).is_some()).map(|c| (strsim::osa_distance(name, &c), c)).min()?;
    (distance <= 3 && distance * 3 <= name.chars().count()).then_some(best)
}

/// Whether a key, or the one that it was most likely meant to be, holds a secret.
pub(super) fn is_secret(name: &str) -> bool {
    match find(name) {
        Some(key) => key.secret,
        None => nearest(name).and_then(|n| find(&n)).is_some_and(|key| key.secret),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = include_str!("../../conf/jetpack.conf.sample");
    const MANUAL: &str = include_str!("../../conf/man/jetpack.conf.5");

    /// The keys that people are told of: `isolation` is for tests only.
    fn documented() -> impl Iterator<Item = &'static Key> {
        KEYS.iter().filter(|k| k.name != "isolation")
    }

    /// The default as the documents have it: the one of FreeBSD, and the usual prefix.
    fn default_in_documents(key: &Key) -> &'static str {
        if key.name == "path.prefix" { "/usr/local" } else { key.default.on("freebsd").unwrap_or_default() }
    }

    #[test]
    fn table_is_sorted_and_complete() {
        assert!(KEYS.iter().map(|k| k.name).is_sorted());
        assert!(KEYS.iter().all(|k| !k.doc.is_empty() && find(k.name).is_some()));
        let secret: Vec<_> = KEYS.iter().filter(|k| k.secret).map(|k| k.name).collect();
        assert_eq!(secret, ["mds.signing-key", "mds.token-key"]);
        let families: Vec<_> = KEYS.iter().filter_map(Key::family_prefix).collect();
        assert_eq!(families, ["ace.jailConf.", "images.zfs.", "pods.zfs.", "root.zfs."]);
        for (name, expected) in [
            ("root.zfs.mountpoint", Some("root.zfs.mountpoint")),
            ("root.zfs.quota", Some("root.zfs.PROPERTY")),
            ("root.zfs", Some("root.zfs")),
            ("root.zfs.", None),
            ("root", None),
        ] {
            assert_eq!(find(name).map(|k| k.name), expected, "{name}");
        }
    }

    /// What the program asks the configuration for, by name: a key that nobody asks for has no effect.
    #[test]
    #[expect(clippy::print_stdout, reason = "`make check` shows and counts what is skipped")]
    fn keys_in_use_are_read_somewhere() {
        let mut sources = String::new();
        let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
        if !folders[0].exists() {
            println!("skipped: the sources are not here");
            return;
        }
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.ends_with("config/keys.rs") && !path.ends_with("config/tests.rs") {
                    sources.push_str(&std::fs::read_to_string(path).unwrap());
                }
            }
        }
        for key in KEYS.iter().filter(|key| key.in_use) {
            let families = KEYS.iter().filter_map(Key::family_prefix).filter(|prefix| key.name.starts_with(prefix));
            let read = std::iter::once(key.name).chain(families).any(|n| sources.contains(&format!("\"{n}\"")));
            assert!(read, "nothing reads {}", key.name);
        }
    }

    #[test]
    fn sample_has_every_key_once_with_its_default() {
        let mut settings: Vec<&str> = SAMPLE.lines().filter_map(|l| l.strip_prefix('#')).collect();
        settings.retain(|l| !l.is_empty() && !l.starts_with([' ', '#']));
        settings.sort_unstable();
        let mut expected: Vec<_> = documented().map(|k| format!("{} = {}", k.name, default_in_documents(k))).collect();
        expected.iter_mut().for_each(|l| l.truncate(l.trim_end().len()));
        expected.sort_unstable();
        assert_eq!(settings, expected);
        assert!(SAMPLE.lines().all(|l| l.is_empty() || l.starts_with('#')), "a setting is not commented out");
    }

    #[test]
    fn sample_says_what_is_not_used_and_what_differs() {
        for key in documented() {
            let setting = format!("\n#{} =", key.name);
            let block = SAMPLE.split("\n\n").map(|b| format!("\n{b}")).find(|b| b.contains(&setting)).expect(key.name);
            assert_eq!(!block.contains("# Not used yet"), key.in_use, "{}", key.name);
            if let KeyDefault::ByKernel { freebsd, linux } = key.default {
                assert!(block.contains(freebsd) && block.contains(linux) && block.contains("Linux"), "{}", key.name);
            }
        }
    }

    #[test]
    fn manual_has_every_key_once_with_its_default() {
        let items: Vec<&str> = MANUAL.split("\n.It Va ").skip(1).collect();
        assert_eq!(items.len(), documented().count());
        for key in documented() {
            let head = match key.family_prefix() {
                Some(prefix) => format!("{prefix} Ns Ar {}\n", &key.name[prefix.len()..]),
                None => format!("{}\n", key.name),
            };
            let item = items.iter().find_map(|i| i.strip_prefix(&head)).expect(key.name);
            let item = item.split("\n.Ss ").next().unwrap_or_default();
            let default = match (key.default, default_in_documents(key)) {
                (KeyDefault::ByKernel { freebsd, linux: "" }, _) => {
                    format!(".Po\n.Dq Li {freebsd}\non\n.Fx ,\nunset on Linux\n.Pc\n")
                }
                (KeyDefault::ByKernel { freebsd, linux }, _) => {
                    format!(".Po\n.Dq Li {freebsd}\non\n.Fx ,\n.Dq Li {linux}\non Linux\n.Pc\n")
                }
                (_, "") => ".Pq unset\n".to_owned(),
                (_, value) => format!(".Pq Dq Li {value}\n"),
            };
            assert!(item.starts_with(&default), "{}: {item}", key.name);
            assert_eq!(!item.contains("\nNot used yet"), key.in_use, "{}", key.name);
        }
    }
}
