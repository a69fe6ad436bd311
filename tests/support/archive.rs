//! App Container Images made on the spot.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tar::{Builder, EntryType, Header};

/// A manifest of the image `name`; `app` is the JSON of its `app` object, if it has one.
pub(crate) fn manifest(name: &str, app: Option<&str>) -> String {
    let app = app.map(|app| format!(", \"app\": {app}")).unwrap_or_default();
    format!("{{ \"acKind\": \"ImageManifest\", \"acVersion\": \"0.8.11\", \"name\": \"{name}\"{app} }}")
}

/// An archive that is being written. Entries are given as they stand in the tar file: `manifest`, `rootfs/bin/x`.
pub(crate) struct Archive(Builder<Vec<u8>>);

impl Archive {
    /// An empty archive.
    pub(crate) fn new() -> Archive {
        Archive(Builder::new(Vec::new()))
    }

    /// An archive with this manifest and an empty root.
    pub(crate) fn with_manifest(manifest: &str) -> Archive {
        Archive::new().file("manifest", 0o644, manifest.as_bytes()).directory("rootfs", 0o755)
    }

    /// Adds a regular file.
    pub(crate) fn file(self, name: &str, mode: u32, contents: &[u8]) -> Archive {
        self.entry(EntryType::Regular, name, mode, contents, None)
    }

    /// Adds a directory.
    pub(crate) fn directory(self, name: &str, mode: u32) -> Archive {
        self.entry(EntryType::Directory, name, mode, &[], None)
    }

    /// Adds a symbolic link.
    pub(crate) fn symlink(self, name: &str, target: &str) -> Archive {
        self.entry(EntryType::Symlink, name, 0o777, &[], Some(target))
    }

    /// Adds a hard link.
    pub(crate) fn hard_link(self, name: &str, target: &str) -> Archive {
        self.entry(EntryType::Link, name, 0o644, &[], Some(target))
    }

    /// Adds anything; names are written as they are, however hostile.
    pub(crate) fn entry(
        mut self,
        kind: EntryType,
        name: &str,
        mode: u32,
        contents: &[u8],
        link: Option<&str>,
    ) -> Archive {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_mtime(1_000_000_000);
        header.set_size(contents.len() as u64);
        let raw = header.as_gnu_mut().expect("a GNU header");
        raw.name[..name.len()].copy_from_slice(name.as_bytes());
        if let Some(link) = link {
            raw.linkname[..link.len()].copy_from_slice(link.as_bytes());
        }
        header.set_cksum();
        self.0.append(&header, contents).expect("writing to memory");
        self
    }

    /// The finished tar file.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.0.into_inner().expect("writing to memory")
    }
}

/// The path of an image of busybox without an app, built once per test run by `images/busybox-base`; `None` where it cannot
/// be built, and then why.
pub(crate) fn busybox() -> Result<&'static Path, String> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    BUILT.get_or_init(build_busybox).as_ref().map(PathBuf::as_path).map_err(Clone::clone)
}

fn build_busybox() -> Result<PathBuf, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("images/busybox-base");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("busybox-{}.aci", std::process::id()));
    let output =
        Command::new("sh").arg(folder.join("base.sh")).arg(&target).output().map_err(|e| format!("sh: {e}"))?;
    if output.status.success() {
        Ok(target)
    } else {
        Err(format!("images/busybox-base/base.sh failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// `plain` in one of the compressions that an archive may have, by the name that the store gives it.
pub(crate) fn compressed(compression: &str, plain: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = match compression {
        "gzip" => flate2::read::GzEncoder::new(plain, flate2::Compression::default()).read_to_end(&mut bytes),
        "xz" => xz2::read::XzEncoder::new(plain, 3).read_to_end(&mut bytes),
        "bzip2" => bzip2::read::BzEncoder::new(plain, bzip2::Compression::fast()).read_to_end(&mut bytes),
        // With a checksum, as zstd(1) does and the library by itself does not.
        "zstd" => zstd::stream::read::Encoder::new(plain, 3).and_then(|mut encoder| {
            encoder.include_checksum(true)?;
            encoder.read_to_end(&mut bytes)
        }),
        _ => (&mut &*plain).read_to_end(&mut bytes),
    };
    read.expect("compressing in memory");
    bytes
}
