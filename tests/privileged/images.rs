//! Images of busybox with something in them that a test is about.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use tar::{Builder, EntryType, Header};

use crate::support::archive::{busybox, manifest};
use crate::support::command::Jetpack;

/// The name of every image made here.
pub(crate) const NAME: &str = "test";

/// The JSON of an app that is a shell, to which a script is given as argument; `more` goes into the object.
pub(crate) fn shell(user: &str, more: &str) -> String {
    let comma = if more.is_empty() { "" } else { ", " };
    format!(r#"{{ "exec": ["/bin/sh", "-c"], "user": "{user}", "group": "{user}"{comma}{more} }}"#)
}

/// The JSON of such an app of root's with one isolator.
pub(crate) fn isolated(user: &str, name: &str, value: &str) -> String {
    shell(user, &format!(r#""isolators": [{{ "name": "{name}", "value": {value} }}]"#))
}

/// The image that `images/busybox-base` makes, as a plain tar file.
pub(crate) fn base() -> Result<&'static [u8], String> {
    static BASE: OnceLock<Result<Vec<u8>, String>> = OnceLock::new();
    let read = || {
        let file = std::fs::File::open(busybox()?).map_err(|e| e.to_string())?;
        let mut bytes = Vec::new();
        xz2::read::XzDecoder::new(file).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
        Ok(bytes)
    };
    BASE.get_or_init(read).as_deref().map_err(Clone::clone)
}

/// An image that is being made.
pub(crate) struct Image {
    archive: Builder<Vec<u8>>,
    libraries: BTreeSet<String>,
}

impl Image {
    /// Busybox with this app and without the files and directories named, such as `etc/passwd`.
    pub(crate) fn new(app: Option<&str>, without: &[&str]) -> Result<Image, String> {
        let text = |e: std::io::Error| e.to_string();
        let mut builder = Builder::new(Vec::new());
        let mut base = tar::Archive::new(base()?);
        for entry in base.entries().map_err(text)? {
            let mut entry = entry.map_err(text)?;
            let path = entry.path().map_err(text)?.into_owned();
            let removed = |name: &&str| path.starts_with(Path::new("rootfs").join(name));
            if path == Path::new("manifest") || without.iter().any(removed) {
                continue;
            }
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents).map_err(text)?;
            builder.append(&entry.header().clone(), &*contents).map_err(text)?;
        }
        let image = Image { archive: builder, libraries: BTreeSet::new() };
        Ok(image.entry("manifest", EntryType::Regular, 0o644, (0, 0), manifest(NAME, app).as_bytes(), ""))
    }

    /// An image of this manifest and an empty root.
    pub(crate) fn of(manifest: &str) -> Image {
        let image = Image { archive: Builder::new(Vec::new()), libraries: BTreeSet::new() };
        let image = image.entry("manifest", EntryType::Regular, 0o644, (0, 0), manifest.as_bytes(), "");
        image.entry("rootfs", EntryType::Directory, 0o755, (0, 0), b"", "")
    }

    /// The finished archive, a plain tar file.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.archive.into_inner().expect("writing to memory")
    }

    /// Adds a file of root's.
    pub(crate) fn file(self, name: &str, mode: u32, contents: &[u8]) -> Image {
        self.owned(name, mode, (0, 0), contents)
    }

    /// Adds a file with user and group.
    pub(crate) fn owned(self, name: &str, mode: u32, owner: (u32, u32), contents: &[u8]) -> Image {
        self.entry(&format!("rootfs/{name}"), EntryType::Regular, mode, owner, contents, "")
    }

    /// Adds a directory of root's.
    pub(crate) fn directory(self, name: &str, mode: u32) -> Image {
        self.entry(&format!("rootfs/{name}"), EntryType::Directory, mode, (0, 0), b"", "")
    }

    /// Adds a symbolic link.
    pub(crate) fn symlink(self, name: &str, target: &str) -> Image {
        self.entry(&format!("rootfs/{name}"), EntryType::Symlink, 0o777, (0, 0), b"", target)
    }

    /// Adds a hard link to a file of the image.
    pub(crate) fn hard_link(self, name: &str, target: &str) -> Image {
        self.entry(&format!("rootfs/{name}"), EntryType::Link, 0o644, (0, 0), b"", &format!("rootfs/{target}"))
    }

    /// Adds a FIFO.
    pub(crate) fn fifo(self, name: &str) -> Image {
        self.entry(&format!("rootfs/{name}"), EntryType::Fifo, 0o644, (0, 0), b"", "")
    }

    /// Adds a program of the host's with the libraries that it needs, and with a mode of its own.
    pub(crate) fn program(self, host: &str, name: &str, mode: u32) -> Result<Image, String> {
        let contents = std::fs::read(host).map_err(|e| format!("needs {host}: {e}"))?;
        Ok(self.libraries(Path::new(host))?.file(name, mode, &contents))
    }

    /// Adds the libraries that a program of the host's needs.
    pub(crate) fn libraries(mut self, host: &Path) -> Result<Image, String> {
        let read = |path: &str| std::fs::read(path).map_err(|e| format!("needs {path}: {e}"));
        let listed = Command::new("ldd").arg(host).output().map_err(|e| format!("needs ldd: {e}"))?;
        let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
        for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
            if !self.libraries.insert(library.to_owned()) {
                continue;
            }
            self = self.file(library.trim_start_matches('/'), 0o755, &read(library)?);
        }
        Ok(self)
    }

    /// Adds anything, after attributes in the manner of pax.
    pub(crate) fn with_pax(mut self, records: &[(&str, &[u8])], add: impl FnOnce(Image) -> Image) -> Image {
        self.archive.append_pax_extensions(records.iter().copied()).expect("writing to memory");
        add(self)
    }

    /// Adds anything; the name is that in the archive.
    pub(crate) fn entry(
        self,
        name: &str,
        kind: EntryType,
        mode: u32,
        owner: (u32, u32),
        contents: &[u8],
        link: &str,
    ) -> Image {
        let mut header = Header::new_gnu();
        let raw = header.as_gnu_mut().expect("a GNU header");
        raw.linkname[..link.len()].copy_from_slice(link.as_bytes());
        self.append(header, name, kind, mode, owner, contents)
    }

    /// Adds a character device.
    pub(crate) fn device(self, name: &str, major: u32, minor: u32) -> Image {
        let mut header = Header::new_gnu();
        header.set_device_major(major).expect("a GNU header");
        header.set_device_minor(minor).expect("a GNU header");
        self.append(header, &format!("rootfs/{name}"), EntryType::Char, 0o666, (0, 0), b"")
    }

    fn append(
        mut self,
        mut header: Header,
        name: &str,
        kind: EntryType,
        mode: u32,
        (uid, gid): (u32, u32),
        contents: &[u8],
    ) -> Image {
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_mtime(1_000_000_000);
        header.set_size(contents.len() as u64);
        let raw = header.as_gnu_mut().expect("a GNU header");
        raw.name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        self.archive.append(&header, contents).expect("writing to memory");
        self
    }

    /// Imports the image into a new store kept as `storage` says.
    pub(crate) fn into_store(self, storage: &str) -> Result<Jetpack, String> {
        let jetpack = Jetpack::real(storage)?;
        jetpack.import(&self.finish());
        Ok(jetpack)
    }
}

/// A store with an image of busybox and this app.
pub(crate) fn store_of(app: &str) -> Result<Jetpack, String> {
    Image::new(Some(app), &[])?.into_store("overlay")
}

/// What a script says in a new pod of the image in the store; it must succeed, and say nothing on standard error.
#[track_caller]
pub(crate) fn inside(jetpack: &Jetpack, script: &str) -> String {
    let output = jetpack.run(["run", "--destroy", NAME, "--", script]).success();
    assert_eq!(output.stderr, "");
    output.stdout
}

/// The values of lines `NAME: value` or `NAME value`.
#[track_caller]
pub(crate) fn value<'a>(lines: &'a str, name: &str) -> &'a str {
    let found = lines.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix([':', ' ']));
    found.unwrap_or_else(|| panic!("no {name} in {lines}")).trim()
}
