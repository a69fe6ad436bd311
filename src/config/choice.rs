//! The keys whose values are words from a short list.

/// Where images and pods are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageKind {
    /// An overlayfs stack over the image's layers (Linux).
    Overlay,
    /// Plain directories, on any filesystem.
    Dir,
    /// ZFS datasets and clones.
    Zfs,
    /// Nothing on disk, for tests.
    #[cfg(feature = "testing")]
    Fake,
}

impl StorageKind {
    /// The words for `storage`.
    pub(super) const WORDS: &[(&str, Self)] = &[
        ("overlay", StorageKind::Overlay),
        ("dir", StorageKind::Dir),
        ("zfs", StorageKind::Zfs),
        #[cfg(feature = "testing")]
        ("fake", StorageKind::Fake),
    ];
}

/// What holds a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IsolationKind {
    /// The kernel's own: a jail or a set of namespaces.
    Native,
    /// Nothing, for tests.
    #[cfg(feature = "testing")]
    Fake,
}

impl IsolationKind {
    /// The words for `isolation`.
    #[cfg(feature = "testing")]
    pub(super) const WORDS: &[(&str, Self)] = &[("native", IsolationKind::Native), ("fake", IsolationKind::Fake)];
}

/// The network of a pod that does not ask for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetKind {
    /// No network but its own loopback.
    None,
    /// The host's.
    Host,
}

impl NetKind {
    /// The words for `run.net`.
    pub(super) const WORDS: &[(&str, Self)] = &[("none", NetKind::None), ("host", NetKind::Host)];
}

/// How images that are made here are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CompressionKind {
    /// xz(1).
    Xz,
    /// bzip2(1).
    Bzip2,
    /// gzip(1).
    Gzip,
    /// zstd(1), which readers of appc images other than this program need not know.
    Zstd,
    /// Not at all.
    None,
}

impl CompressionKind {
    /// The words for `images.aci.compression`.
    pub(super) const WORDS: &[(&str, Self)] = &[
        ("xz", CompressionKind::Xz),
        ("bzip2", CompressionKind::Bzip2),
        ("gzip", CompressionKind::Gzip),
        ("zstd", CompressionKind::Zstd),
        ("none", CompressionKind::None),
    ];
}

/// The words for switches, in any case.
pub(super) const SWITCH: &[(&str, bool)] = &[
    ("on", true),
    ("off", false),
    ("yes", true),
    ("no", false),
    ("true", true),
    ("false", false),
    ("1", true),
    ("0", false),
];

/// Looks a word up; the error lists what it may be.
pub(super) fn choose<T: Copy>(words: &[(&'static str, T)], word: &str) -> Result<T, String> {
    let found = words.iter().find(|(w, _)| w.eq_ignore_ascii_case(word));
    found.map(|(_, choice)| *choice).ok_or_else(|| words.iter().map(|(w, _)| *w).collect::<Vec<_>>().join(", "))
}
