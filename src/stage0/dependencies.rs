//! Which images of the store are meant by the dependencies of a manifest (aci.md, Dependency Matching).

use super::image::Image;
use super::reference::{of_host, sort_by_preference};
use crate::appc::{AcIdentifier, Dependency, ImageId, ImageManifest, Labels};
use crate::error::{Error, Result};

/// Somebody who can bring in what images depend on.
pub trait Provide {
    /// Brings in what the image called `id` depends on, as far as the store does not have it.
    ///
    /// # Errors
    /// Something cannot be had, or may not be imported.
    fn provide(&self, id: &ImageId, manifest: &ImageManifest) -> Result<()>;
}

/// An image that is not whole until what it depends on has come.
pub(super) struct Link<'a> {
    pub(super) id: &'a ImageId,
    pub(super) manifest: &'a ImageManifest,
    /// The image that depends on it.
    pub(super) above: Option<&'a Link<'a>>,
}

/// How many images may depend on one another in a row while they are fetched.
const DEEPEST: usize = 100;

impl Link<'_> {
    /// Checks that something the image depends on is none of those that wait for it.
    ///
    /// # Errors
    /// It is, and the error shows the way round; or there are too many of them.
    pub(super) fn check(&self, dependency: &Dependency) -> Result<()> {
        let links: Vec<&Link<'_>> = std::iter::successors(Some(self), |link| link.above).collect();
        let is_meant = |link: &&Link<'_>| match &dependency.image_id {
            Some(id) => link.id == id,
            None => dependency.image_name == link.manifest.name && other_label(dependency, link.manifest).is_none(),
        };
        if let Some(meant) = links.iter().find(|link| is_meant(link)) {
            let chain: Vec<_> = links.iter().rev().map(|link| (link.manifest.name.clone(), link.id.clone())).collect();
            return check_cycle(&chain, (&meant.manifest.name, meant.id));
        }
        if links.len() < DEEPEST {
            return Ok(());
        }
        Err(Error::new(format!("more than {DEEPEST} images depend on one another in a row")))
    }
}

/// Whether one of `images` is what is depended on.
///
/// # Errors
/// The one with the id that is asked for is not what the dependency says of it.
pub(super) fn is_among(dependency: &Dependency, images: &[Image]) -> Result<bool> {
    match &dependency.image_id {
        Some(id) if images.iter().any(|image| image.id == *id) => one(dependency, images, of_host()).map(|_| true),
        Some(_) => Ok(false),
        None => Ok(images.iter().any(|image| contradiction(dependency, image).is_none())),
    }
}

/// The images that `manifest` depends on, in its order, out of `images`. Where it is `known` which they are, the manifest has no
/// choice.
///
/// # Errors
/// One is not among them, or is not what the manifest says of it.
pub(super) fn resolve(manifest: &ImageManifest, known: Option<&[ImageId]>, images: &[Image]) -> Result<Vec<Image>> {
    let asked = manifest.dependencies.iter();
    // What an image does not say of its dependencies, it says of itself, or means this host.
    let label = |name| manifest.labels.get(name);
    let platform = if label("os").is_some() { (label("os"), label("arch")) } else { of_host() };
    let Some(known) = known else {
        return asked.map(|dependency| one(dependency, images, platform).cloned()).collect();
    };
    if known.len() != manifest.dependencies.len() {
        return Err(Error::new(format!(
            "the image depends on {} images, and not on {}",
            manifest.dependencies.len(),
            known.len()
        )));
    }
    let exactly = |(dependency, id): (&Dependency, &ImageId)| match &dependency.image_id {
        Some(other) if other != id => {
            Err(Error::new(format!("the image depends on {}, and not on {}", name(dependency), id.short())))
        }
        _ => one(&Dependency { image_id: Some(id.clone()), ..dependency.clone() }, images, platform).cloned(),
    };
    asked.zip(known).map(exactly).collect()
}

/// The image with the id that is asked for, or else, of those that fit, the one that is preferred on that platform.
fn one<'a>(dependency: &Dependency, images: &'a [Image], platform: (Option<&str>, Option<&str>)) -> Result<&'a Image> {
    if let Some(id) = &dependency.image_id {
        let found = images.iter().find(|image| image.id == *id);
        let image = found.ok_or_else(|| missing(dependency, images))?;
        return match contradiction(dependency, image) {
            None => Ok(image),
            Some(why) => Err(Error::new(format!("the image depends on {}, {why}", name(dependency)))),
        };
    }
    let mut fitting: Vec<&Image> = images.iter().filter(|image| contradiction(dependency, image).is_none()).collect();
    sort_by_preference(&mut fitting, platform);
    fitting.first().copied().ok_or_else(|| missing(dependency, images))
}

/// What of an image is not as the dependency says.
fn contradiction(dependency: &Dependency, image: &Image) -> Option<String> {
    let manifest = &image.manifest;
    if manifest.name != dependency.image_name {
        return Some(format!("but the image of that id is called {}", manifest.name));
    }
    if let Some((name, value)) = other_label(dependency, manifest) {
        return Some(match value {
            Some(value) => format!("but the {name} of {} is {value:?}", image.id.short()),
            None => format!("but {} has no label {name}", image.id.short()),
        });
    }
    // The specification does not tell which of the two it means; an archive may be compressed anew without being another.
    let sizes = [image.record.archive_size, image.record.size];
    let wanted = dependency.size.filter(|size| !sizes.contains(size));
    wanted.map(|size| format!("but {} has {} bytes, not {size}", image.id.short(), image.record.archive_size))
}

/// The first label that an image has not as the dependency says, and how it has it.
fn other_label<'a>(dependency: &'a Dependency, manifest: &'a ImageManifest) -> Option<(&'a str, Option<&'a str>)> {
    let mut labels = dependency.labels.iter().map(|label| (label, manifest.labels.get(label.name.as_str())));
    let (label, value) = labels.find(|(label, value)| *value != Some(label.value.as_str()))?;
    Some((label.name.as_str(), value))
}

fn missing(dependency: &Dependency, images: &[Image]) -> Error {
    let error = Error::new(format!("the image depends on {}, which is not in the store", name(dependency)));
    let of_the_name: Vec<String> =
        images.iter().filter(|image| image.manifest.name == dependency.image_name).map(describe).collect();
    if of_the_name.is_empty() {
        return error.help("bring that image in first, with `jetpack import`");
    }
    error.help(format!("bring that image in first, with `jetpack import`; here is only {}", of_the_name.join(", ")))
}

/// A dependency as its manifest has it: `name,label=value… (short id)`.
fn name(dependency: &Dependency) -> String {
    let name = with_labels(dependency.image_name.as_str(), &dependency.labels);
    match (&dependency.image_id, dependency.size) {
        (Some(id), _) => format!("{name} ({})", id.short()),
        (None, Some(size)) => format!("{name} of {size} bytes"),
        (None, None) => name,
    }
}

fn describe(image: &Image) -> String {
    format!("{} ({})", with_labels(image.manifest.name.as_str(), &image.manifest.labels), image.id.short())
}

fn with_labels(name: &str, labels: &Labels) -> String {
    let labels = labels.iter().map(|label| format!(",{}={}", label.name, label.value));
    std::iter::once(name.to_owned()).chain(labels).collect()
}

/// The images that depend on the one called `id`, as people know them: `name (short id)`.
pub(super) fn dependents(id: &ImageId, images: &[Image]) -> Vec<String> {
    let depend = images.iter().filter(|image| image.record.dependencies.contains(id));
    depend.map(|image| format!("{} ({})", image.manifest.name, image.id.short())).collect()
}

/// Checks that an image is not one of those that depend on it. `chain` are these, each of which depends on the next, and the
/// last on the image called `name`. An archive cannot have the id of an image that has its own; but by names, images can ask
/// for one another.
///
/// # Errors
/// It is, and the error shows the way round.
pub(super) fn check_cycle(chain: &[(AcIdentifier, ImageId)], (name, id): (&AcIdentifier, &ImageId)) -> Result<()> {
    let Some(first) = chain.iter().position(|(_, other)| other == id) else { return Ok(()) };
    let shown = |(name, id): (&AcIdentifier, &ImageId)| format!("{name} ({})", id.short());
    let round = chain[first..].iter().map(|(name, id)| (name, id)).chain([(name, id)]);
    let round: Vec<String> = round.map(shown).collect();
    Err(Error::new(format!("the images depend on one another: {}", round.join(" -> ")))
        .help("one of them has to be made anew, without that dependency"))
}

#[cfg(test)]
mod tests {
    use super::super::image::testing::image;
    use super::*;

    fn depending(on: &str) -> ImageManifest {
        let text =
            format!(r#"{{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "top", "dependencies": [{on}]}}"#);
        ImageManifest::parse(text.as_bytes()).unwrap()
    }

    fn images() -> Vec<Image> {
        let version = |v: &str| format!(r#", "labels": [{{"name": "version", "value": "{v}"}}]"#);
        let mut images = vec![image(1, "a", &version("1")), image(2, "a", &version("2")), image(3, "b", "")];
        for (image, (imported, size)) in images.iter_mut().zip([(20, 700), (10, 800), (30, 900)]) {
            (image.record.imported, image.record.archive_size, image.record.size) = (imported, size, 10 * size);
        }
        images
    }

    fn id(n: u8) -> String {
        ImageId::from_digest(&[n; 64]).to_string()
    }

    #[test]
    fn the_latest_of_those_that_fit_is_meant() {
        let labelled = |v: &str| format!(r#"{{"imageName": "a", "labels": [{{"name": "version", "value": "{v}"}}]}}"#);
        let table = [
            (r#"{"imageName": "a"}"#.to_owned(), 2),
            (labelled("1"), 1),
            (r#"{"imageName": "a", "size": 800}"#.to_owned(), 2),
            (r#"{"imageName": "a", "size": 8000}"#.to_owned(), 2),
            (format!(r#"{{"imageName": "a", "imageID": "{}"}}"#, id(2)), 2),
            (format!(r#"{{"imageName": "b", "imageID": "{}", "size": 900}}"#, id(3)), 3),
        ];
        for (text, expected) in table {
            let found = resolve(&depending(&text), None, &images()).unwrap();
            assert_eq!(found[0].id.as_str(), id(expected), "{text}");
        }
        let both = resolve(&depending(r#"{"imageName": "b"}, {"imageName": "a"}"#), None, &images()).unwrap();
        assert_eq!([both[0].id.as_str(), both[1].id.as_str()], [id(3), id(2)]);
    }

    #[test]
    fn the_platform_of_the_image_is_preferred_for_what_it_depends_on() {
        let on = |arch: &str| {
            format!(r#", "labels": [{{"name": "os", "value": "linux"}}, {{"name": "arch", "value": "{arch}"}}]"#)
        };
        let images = [image(1, "a", &on("i386")), image(2, "a", &on("aarch64"))];
        for (arch, expected) in [("i386", 1), ("aarch64", 2)] {
            let text = r#"{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "top", "dependencies": [{"imageName": "a"}]"#;
            let manifest = ImageManifest::parse(format!("{text}{}}}", on(arch)).as_bytes()).unwrap();
            assert_eq!(resolve(&manifest, None, &images).unwrap()[0].id.as_str(), id(expected));
        }
    }

    #[test]
    fn what_is_known_is_taken_if_it_is_what_the_manifest_says() {
        let known = |text: &str, numbers: &[u8]| {
            let ids: Vec<ImageId> = numbers.iter().map(|n| ImageId::from_digest(&[*n; 64])).collect();
            let found = resolve(&depending(text), Some(&ids), &images());
            found.map(|found| found.iter().map(|image| image.id.to_string()).collect::<Vec<_>>())
        };
        let a = r#"{"imageName": "a"}"#;
        for n in [1, 2] {
            assert_eq!(known(a, &[n]).unwrap(), [id(n)]);
        }
        let exact = format!(r#"{{"imageName": "a", "imageID": "{}"}}"#, id(2));
        let table = [
            (a, &[3][..], "the image depends on a (sha512-030303030303), but the image of that id is called b"),
            (a, &[9], "the image depends on a (sha512-090909090909), which is not in the store"),
            (a, &[], "the image depends on 1 images, and not on 0"),
            (&exact, &[1], "the image depends on a (sha512-020202020202), and not on sha512-010101010101"),
        ];
        for (text, numbers, expected) in table {
            assert_eq!(known(text, numbers).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn what_is_missing_or_is_something_else_is_told() {
        let table = [
            (r#"{"imageName": "c"}"#.to_owned(), "the image depends on c, which is not in the store"),
            (
                r#"{"imageName": "a", "labels": [{"name": "version", "value": "3"}]}"#.to_owned(),
                "the image depends on a,version=3, which is not in the store",
            ),
            (
                r#"{"imageName": "a", "size": 1}"#.to_owned(),
                "the image depends on a of 1 bytes, which is not in the store",
            ),
            (
                format!(r#"{{"imageName": "a", "imageID": "{}"}}"#, id(9)),
                "the image depends on a (sha512-090909090909), which is not in the store",
            ),
            (
                format!(r#"{{"imageName": "a", "imageID": "{}"}}"#, id(3)),
                "the image depends on a (sha512-030303030303), but the image of that id is called b",
            ),
            (
                format!(
                    r#"{{"imageName": "a", "imageID": "{}", "labels": [{{"name": "version", "value": "1"}}]}}"#,
                    id(2)
                ),
                "the image depends on a,version=1 (sha512-020202020202), but the version of sha512-020202020202 is \"2\"",
            ),
            (
                format!(r#"{{"imageName": "b", "imageID": "{}", "labels": [{{"name": "x", "value": "1"}}]}}"#, id(3)),
                "the image depends on b,x=1 (sha512-030303030303), but sha512-030303030303 has no label x",
            ),
            (
                format!(r#"{{"imageName": "b", "imageID": "{}", "size": 5}}"#, id(3)),
                "the image depends on b (sha512-030303030303), but sha512-030303030303 has 900 bytes, not 5",
            ),
        ];
        for (text, expected) in table {
            assert_eq!(resolve(&depending(&text), None, &images()).unwrap_err().to_string(), expected);
        }
        let help = resolve(&depending(r#"{"imageName": "a", "size": 1}"#), None, &images()).unwrap_err();
        let others = "here is only a,version=1 (sha512-010101010101), a,version=2 (sha512-020202020202)";
        assert_eq!(help.help_line(), Some(&*format!("bring that image in first, with `jetpack import`; {others}")));
    }

    #[test]
    fn a_cycle_is_shown() {
        let link = |n: u8| (format!("image{n}").parse::<AcIdentifier>().unwrap(), ImageId::from_digest(&[n; 64]));
        let chain = [1, 2, 3].map(link);
        let check = |chain: &[(AcIdentifier, ImageId)], next: u8| {
            let (name, id) = link(next);
            check_cycle(chain, (&name, &id)).map_err(|error| error.to_string())
        };
        assert_eq!((check(&[], 1), check(&chain, 4)), (Ok(()), Ok(())));
        let round = |shown: &str| Err(format!("the images depend on one another: {shown}"));
        let [one, two, three] =
            ["image1 (sha512-010101010101)", "image2 (sha512-020202020202)", "image3 (sha512-030303030303)"];
        assert_eq!(check(&chain, 1), round(&[one, two, three, one].join(" -> ")));
        assert_eq!(check(&chain, 2), round(&[two, three, two].join(" -> ")));
        assert_eq!(check(&chain, 3), round(&[three, three].join(" -> ")));
    }

    #[test]
    fn dependents_are_named() {
        let mut images = images();
        images[0].record.dependencies = vec![images[2].id.clone(), images[1].id.clone()];
        images[1].record.dependencies = vec![images[2].id.clone()];
        assert_eq!(dependents(&images[2].id, &images), ["a (sha512-010101010101)", "a (sha512-020202020202)"]);
        assert_eq!(dependents(&images[0].id, &images), [""; 0]);
    }
}
