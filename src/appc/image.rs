//! The image manifest (aci.md).

use serde::Serialize;
use serde_json::Value;

use super::annotations::Annotations;
use super::app::App;
use super::error::Error;
use super::image_id::ImageId;
use super::json::{self, Fields, FromJson, deserialize_checked};
use super::labels::Labels;
use super::name::AcIdentifier;
use super::version::{AcKind, AcVersion};
use super::volume::check_absolute;

/// What an image is and how its program is executed: the file `manifest` of an image archive.
///
/// Fields that the specification does not know are ignored when a manifest is read, and so are not written again; who has
/// to pass a manifest on unchanged keeps its bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// Always [`AcKind::ImageManifest`].
    pub ac_kind: AcKind,
    /// The version of the specification that it was written for.
    pub ac_version: AcVersion,
    /// The image's name, which need not be unique.
    pub name: AcIdentifier,
    /// What tells it from others of the name: `version`, `os`, `arch` and more.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// How it is executed; an image without it has nothing to execute of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<App>,
    /// The images below it, the lowest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dependencies: Vec<Dependency>,
    /// The absolute paths that exist in the rendered root filesystem; all of them where this is empty. A path of a directory
    /// may end with `/`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub path_whitelist: Vec<String>,
    /// Further data: `created`, `authors`, `homepage`, `documentation` and more.
    #[serde(skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
}

/// An image below another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// The name it is discovered by.
    pub image_name: AcIdentifier,
    /// The id that the image found must have.
    #[serde(rename = "imageID", skip_serializing_if = "Option::is_none")]
    pub image_id: Option<ImageId>,
    /// The labels it is discovered by.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
    /// The size that the image found must have, in bytes; never 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

impl ImageManifest {
    /// A manifest of the current version with a name and nothing else.
    pub fn new(name: AcIdentifier) -> Self {
        ImageManifest {
            ac_kind: AcKind::ImageManifest,
            ac_version: AcVersion::current(),
            name,
            labels: Labels::default(),
            app: None,
            dependencies: Vec::new(),
            path_whitelist: Vec::new(),
            annotations: Annotations::default(),
        }
    }

    /// Reads and checks a manifest. Names of fields are found in any letter case, null is the same as absent, unknown fields
    /// are ignored.
    ///
    /// # Errors
    /// Text that is not JSON or has a key twice in one object (with line and column); a field that is missing, of another
    /// type or of a value that the specification does not allow (with its path).
    pub fn parse(text: &[u8]) -> Result<Self, Error> {
        let manifest: Self = json::parse(text)?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// The manifest as indented JSON with the specification's names, without the fields that are empty.
    pub fn to_json_pretty(&self) -> String {
        serde_json::to_string_pretty(self).expect("a manifest has only string keys")
    }

    /// Checks everything that parsing checks, for a manifest built or changed in memory.
    ///
    /// # Errors
    /// The wrong kind, an invalid app, a relative path in the whitelist.
    pub fn validate(&self) -> Result<(), Error> {
        self.ac_kind.expect(AcKind::ImageManifest)?;
        self.app.as_ref().map_or(Ok(()), App::validate).map_err(|e| e.field("app"))?;
        for (i, path) in self.path_whitelist.iter().enumerate() {
            check_absolute(path).map_err(|e| e.index(i).field("pathWhitelist"))?;
        }
        Ok(())
    }
}

impl FromJson for Dependency {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let fields = Fields::of(value)?;
        Ok(Dependency {
            image_name: fields.required("imageName")?,
            image_id: fields.optional("imageID")?,
            labels: fields.or_default("labels")?,
            // The Go schema takes 0 for "not given".
            size: fields.optional("size")?.filter(|size| *size != 0),
        })
    }
}

/// Reads the whitelist. Converters of Docker images write the root directory's path as an empty string.
fn read_whitelist(fields: &Fields<'_>) -> Result<Vec<String>, Error> {
    let paths: Vec<String> = fields.or_default("pathWhitelist")?;
    Ok(paths.into_iter().map(|path| if path.is_empty() { "/".to_owned() } else { path }).collect())
}

impl FromJson for ImageManifest {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let fields = Fields::of(value)?;
        // First of all, so that a pod manifest is called one.
        let ac_kind: AcKind = fields.required("acKind")?;
        ac_kind.expect(AcKind::ImageManifest)?;
        Ok(ImageManifest {
            ac_kind,
            ac_version: fields.required("acVersion")?,
            name: fields.required("name")?,
            labels: fields.or_default("labels")?,
            app: fields.optional("app")?,
            dependencies: fields.or_default("dependencies")?,
            path_whitelist: read_whitelist(&fields)?,
            annotations: fields.or_default("annotations")?,
        })
    }
}

deserialize_checked!(ImageManifest);
