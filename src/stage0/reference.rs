//! How people name an image, and which one they mean.

use super::image::Image;
use super::store::Store;
use super::tags::Tag;
use super::version::Version;
use crate::appc::{ImageId, ImageManifest, Labels, host_os_arch};
use crate::error::{Error, Result};

/// A name with the labels asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// What the image must be called.
    pub name: String,
    /// The names and values of labels that it must have, the version among them.
    pub labels: Vec<(String, String)>,
}

impl Wanted {
    /// Reads `name[:version][,label=value…]`.
    ///
    /// # Errors
    /// A label has no value.
    pub fn parse(reference: &str) -> Result<Wanted> {
        let mut parts = reference.split(',');
        let first = parts.next().unwrap_or("");
        let (name, version) = first.split_once(':').map_or((first, None), |(n, v)| (n, Some(v)));
        let mut labels: Vec<(String, String)> =
            version.map(|v| ("version".to_owned(), v.to_owned())).into_iter().collect();
        for part in parts {
            let (label, value) = part.split_once('=').ok_or_else(|| {
                Error::new(format!("{part:?} in the image reference {reference:?} is no label"))
                    .help("write name:version,label=value")
            })?;
            labels.push((label.to_owned(), value.to_owned()));
        }
        Ok(Wanted { name: name.to_owned(), labels })
    }

    /// Whether an image is one of those that are wanted.
    pub fn fits(&self, manifest: &ImageManifest) -> bool {
        let has = |(label, value): &(String, String)| manifest.labels.get(label) == Some(value.as_str());
        manifest.name.as_str() == self.name && self.labels.iter().all(has)
    }
}

/// Puts images in the order in which one of them is meant where several fit: those that run on `platform` first, an `os` and an
/// `arch`; of those, the latest version; of one version, the last imported. `images` has those first that were imported last.
pub(super) fn sort_by_preference(images: &mut [&Image], platform: (Option<&str>, Option<&str>)) {
    images.sort_by_cached_key(|image| {
        std::cmp::Reverse((suits(&image.manifest.labels, platform), Version::new(image.version())))
    });
}

/// Whether something with these labels is for that platform. What says of no platform that it is for that is for all.
fn suits(labels: &Labels, (os, arch): (Option<&str>, Option<&str>)) -> bool {
    let is = |name, wanted: Option<&str>| match (labels.get(name), wanted) {
        (Some(value), Some(wanted)) => value == wanted,
        _ => true,
    };
    is("os", os) && is("arch", arch)
}

/// The platform of this host.
pub(super) fn of_host() -> (Option<&'static str>, Option<&'static str>) {
    let (os, arch) = host_os_arch();
    (Some(os), Some(arch))
}

/// The images that a reference fits.
#[derive(Debug, Default)]
struct Fitting {
    /// Those whose id begins so.
    by_id: Vec<Image>,
    /// Those that are called so, the one that is meant first.
    by_name: Vec<Image>,
}

impl Store {
    /// The image that `reference` means: an id, a unique prefix of one, `name@tag`, or `name[:version][,label=value…]`. Of
    /// several of that name and those labels it is the latest version for this host's system and processor.
    ///
    /// # Errors
    /// There is none or no such tag, it cannot be read, or the reference fits several ids, or an id and a name (the error lists them).
    pub fn find_image(&self, reference: &str) -> Result<Image> {
        let fitting = self.fitting(reference)?;
        match (fitting.by_id.as_slice(), fitting.by_name.as_slice()) {
            ([], []) => match self.find_broken_image(reference)? {
                Some(broken) => self.read_image(&broken),
                None => Err(Error::new(format!("there is no image {reference:?}"))
                    .help("`jetpack images` lists those that are here; `jetpack import FILE` brings one in")),
            },
            ([image], []) | ([], [image, ..]) => Ok(image.clone()),
            (by_id, by_name) => {
                let all: Vec<String> = by_id.iter().chain(by_name.first()).map(named).collect();
                let error = Error::new(format!("{reference:?} fits several images: {}", all.join(", ")));
                Err(error.help("give more of the id"))
            }
        }
    }

    /// All images that `reference` fits.
    ///
    /// # Errors
    /// The store cannot be read, or the reference is not of the form of one.
    pub fn find_images(&self, reference: &str) -> Result<Vec<Image>> {
        let mut fitting = self.fitting(reference)?;
        fitting.by_id.append(&mut fitting.by_name);
        Ok(fitting.by_id)
    }

    fn fitting(&self, reference: &str) -> Result<Fitting> {
        let mut fitting = Fitting::default();
        if reference.contains('@') {
            let tag: Tag = reference.parse()?;
            let id = self.tagged(&tag)?.ok_or_else(|| self.no_tag(&tag))?;
            fitting.by_name.push(self.read_image(&id)?);
            return Ok(fitting);
        }
        let images = self.list_images()?.whole;
        if is_id_prefix(reference) {
            fitting.by_id = images.iter().filter(|image| has_prefix(&image.id, reference)).cloned().collect();
        }
        if !reference.starts_with("sha512-") {
            let wanted = Wanted::parse(reference)?;
            let mut called: Vec<&Image> = images.iter().filter(|image| wanted.fits(&image.manifest)).collect();
            sort_by_preference(&mut called, of_host());
            fitting.by_name = called.into_iter().cloned().collect();
        }
        Ok(fitting)
    }

    /// The id of the only broken image that `reference` can mean.
    pub(super) fn find_broken_image(&self, reference: &str) -> Result<Option<ImageId>> {
        let broken = self.list_images()?.broken.into_iter().map(|(id, _)| id);
        let mut meant = broken.filter(|id| is_id_prefix(reference) && has_prefix(id, reference));
        Ok(meant.next().filter(|_| meant.next().is_none()))
    }
}

/// An image as errors list it.
fn named(image: &Image) -> String {
    format!("{} ({})", image.id.short(), image.manifest.name)
}

/// Whether `id` begins with `reference`, with or without the name of the digest.
fn has_prefix(id: &ImageId, reference: &str) -> bool {
    id.as_str().starts_with(reference) || id.hex().starts_with(reference)
}

/// Whether a reference may be meant as the beginning of an id: `sha512-…`, or at least six hexadecimal digits.
fn is_id_prefix(reference: &str) -> bool {
    let digits = reference.strip_prefix("sha512-");
    let is_hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    digits.map_or(reference.len() >= 6 && is_hex(reference), is_hex)
}

#[cfg(test)]
mod tests {
    use super::super::image::testing::image;
    use super::*;

    #[test]
    fn references_are_names_with_labels() {
        let wanted = |name: &str, labels: &[(&str, &str)]| Wanted {
            name: name.into(),
            labels: labels.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
        };
        assert_eq!(Wanted::parse("a/b").unwrap(), wanted("a/b", &[]));
        assert_eq!(Wanted::parse("a:1.2,os=linux").unwrap(), wanted("a", &[("version", "1.2"), ("os", "linux")]));
        assert!(Wanted::parse("a,linux").is_err());
    }

    #[test]
    fn what_looks_like_an_id() {
        for yes in ["sha512-", "sha512-0a", "deadbeef", "012345"] {
            assert!(is_id_prefix(yes), "{yes}");
        }
        for no in ["beef", "busybox", "DEADBEEF", "a/b", "sha512-xyz"] {
            assert!(!is_id_prefix(no), "{no}");
        }
    }

    #[test]
    fn the_platform_then_the_version_then_the_import_decide() {
        let labelled = |n: u8, labels: &[(&str, &str)]| {
            let labels: Vec<String> =
                labels.iter().map(|(name, value)| format!(r#"{{"name": "{name}", "value": "{value}"}}"#)).collect();
            image(n, "a", &format!(r#", "labels": [{}]"#, labels.join(",")))
        };
        let images = [
            labelled(1, &[("version", "3"), ("os", "freebsd"), ("arch", "amd64")]),
            labelled(2, &[("version", "1.9"), ("os", "linux"), ("arch", "amd64")]),
            labelled(3, &[("version", "1.10"), ("os", "linux"), ("arch", "amd64")]),
            labelled(4, &[("version", "2"), ("os", "linux"), ("arch", "aarch64")]),
            labelled(5, &[("version", "1.10")]),
            labelled(6, &[("version", "1.10-rc1"), ("os", "linux")]),
            labelled(7, &[]),
        ];
        let table = [
            ((Some("linux"), Some("amd64")), [3, 5, 6, 2, 7, 1, 4]),
            ((Some("freebsd"), Some("amd64")), [1, 5, 7, 4, 3, 6, 2]),
            ((None, None), [1, 4, 3, 5, 6, 2, 7]),
        ];
        for (platform, expected) in table {
            let mut sorted: Vec<&Image> = images.iter().collect();
            sort_by_preference(&mut sorted, platform);
            let ids: Vec<ImageId> = sorted.iter().map(|image| image.id.clone()).collect();
            assert_eq!(ids, expected.map(|n| ImageId::from_digest(&[n; 64])), "{platform:?}");
        }
    }
}
