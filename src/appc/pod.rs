//! The pod manifest (pods.md).

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;
use serde_json::Value;

use super::annotations::Annotations;
use super::app::App;
use super::error::Error;
use super::image_id::ImageId;
use super::isolator::{self, Isolator};
use super::json::{self, Fields, FromJson, deserialize_checked};
use super::labels::Labels;
use super::name::{AcIdentifier, AcName};
use super::port::{ExposedPort, is_false};
use super::version::{AcKind, AcVersion};
use super::volume::{Mount, Volume};

/// The apps that run together, with what they share.
///
/// It may be a template or fully resolved: whether every mount point has its volume and every volume its mount is a question
/// for the one who executes it. Fields that the specification does not know are ignored when a manifest is read.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodManifest {
    /// The version of the specification that it was written for.
    pub ac_version: AcVersion,
    /// Always [`AcKind::PodManifest`].
    pub ac_kind: AcKind,
    /// The apps in order, no two with the same name.
    pub apps: Vec<RuntimeApp>,
    /// The volumes that the apps can mount, no two with the same name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Limits and confinement of the whole pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub isolators: Vec<Isolator>,
    /// Further data, which the metadata service tells the apps.
    #[serde(skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
    /// Ports of the host that lead into the pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ExposedPort>,
    /// The user's own data; never changes what is done.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user_annotations: BTreeMap<String, String>,
    /// The user's own labels; never change what is done.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub user_labels: BTreeMap<String, String>,
}

/// One app of a pod.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuntimeApp {
    /// What it is called in this pod; need not be the image's name.
    pub name: AcName,
    /// The image it runs in.
    pub image: RuntimeImage,
    /// How it is executed, in place of what the image says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app: Option<App>,
    /// Whether its root filesystem is mounted read-only.
    #[serde(rename = "readOnlyRootFS", skip_serializing_if = "is_false")]
    pub read_only_root_fs: bool,
    /// Which volumes it has, and where.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// Further data, which overrides the image's in the metadata service.
    #[serde(skip_serializing_if = "Annotations::is_empty")]
    pub annotations: Annotations,
}

/// The image of an app.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuntimeImage {
    /// The image itself.
    pub id: ImageId,
    /// What it was found by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<AcIdentifier>,
    /// What else it was found by.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl PodManifest {
    /// A manifest of the current version without any app.
    pub fn new() -> Self {
        PodManifest {
            ac_version: AcVersion::current(),
            ac_kind: AcKind::PodManifest,
            apps: Vec::new(),
            volumes: Vec::new(),
            isolators: Vec::new(),
            annotations: Annotations::default(),
            ports: Vec::new(),
            user_annotations: BTreeMap::new(),
            user_labels: BTreeMap::new(),
        }
    }

    /// Reads and checks a manifest. Names of fields are found in any letter case, null is the same as absent (also for
    /// `apps`, which must be there all the same), unknown fields are ignored.
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

    /// The app called `name`.
    pub fn app(&self, name: &str) -> Option<&RuntimeApp> {
        self.apps.iter().find(|app| app.name == name)
    }

    /// The volume called `name`.
    pub fn volume(&self, name: &str) -> Option<&Volume> {
        self.volumes.iter().find(|volume| volume.name == name)
    }

    /// Checks everything that parsing checks, for a manifest built or changed in memory.
    ///
    /// # Errors
    /// The wrong kind, apps or volumes with the same name, an invalid app, mount, volume, port or set of isolators.
    pub fn validate(&self) -> Result<(), Error> {
        self.ac_kind.expect(AcKind::PodManifest)?;
        check_unique(self.apps.iter().map(|app| &app.name)).map_err(|e| e.field("apps"))?;
        check_unique(self.volumes.iter().map(|volume| &volume.name)).map_err(|e| e.field("volumes"))?;
        for (i, app) in self.apps.iter().enumerate() {
            app.validate().map_err(|e| e.index(i).field("apps"))?;
        }
        for (i, volume) in self.volumes.iter().enumerate() {
            volume.validate().map_err(|e| e.index(i).field("volumes"))?;
        }
        for (i, port) in self.ports.iter().enumerate() {
            port.validate().map_err(|e| e.index(i).field("ports"))?;
        }
        isolator::check_set(&self.isolators).map_err(|e| e.field("isolators"))
    }
}

impl Default for PodManifest {
    fn default() -> Self {
        PodManifest::new()
    }
}

fn check_unique<'a>(names: impl Iterator<Item = &'a AcName>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for (i, name) in names.enumerate() {
        if !seen.insert(name.as_str()) {
            return Err(Error::bad(name.as_str(), "is there already").field("name").index(i));
        }
    }
    Ok(())
}

impl RuntimeApp {
    /// An app of this name that runs what the image says.
    pub fn new(name: AcName, image: RuntimeImage) -> Self {
        let (mounts, annotations) = (Vec::new(), Annotations::default());
        RuntimeApp { name, image, app: None, read_only_root_fs: false, mounts, annotations }
    }

    fn validate(&self) -> Result<(), Error> {
        self.app.as_ref().map_or(Ok(()), App::validate).map_err(|e| e.field("app"))?;
        for (i, mount) in self.mounts.iter().enumerate() {
            mount.validate().map_err(|e| e.index(i).field("mounts"))?;
        }
        Ok(())
    }
}

impl FromJson for RuntimeImage {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let fields = Fields::of(value)?;
        Ok(RuntimeImage {
            id: fields.required("id")?,
            name: fields.optional("name")?,
            labels: fields.or_default("labels")?,
        })
    }
}

impl FromJson for RuntimeApp {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let fields = Fields::of(value)?;
        Ok(RuntimeApp {
            name: fields.required("name")?,
            image: fields.required("image")?,
            app: fields.optional("app")?,
            read_only_root_fs: fields.or_default("readOnlyRootFS")?,
            mounts: fields.or_default("mounts")?,
            annotations: fields.or_default("annotations")?,
        })
    }
}

impl FromJson for PodManifest {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let fields = Fields::of(value)?;
        // First of all, so that an image manifest is called one.
        let ac_kind: AcKind = fields.required("acKind")?;
        ac_kind.expect(AcKind::PodManifest)?;
        // The Go schema writes null for no apps.
        fields.raw("apps")?.ok_or_else(|| Error::missing("apps"))?;
        Ok(PodManifest {
            ac_version: fields.required("acVersion")?,
            ac_kind,
            apps: fields.or_default("apps")?,
            volumes: fields.or_default("volumes")?,
            isolators: fields.or_default("isolators")?,
            annotations: fields.or_default("annotations")?,
            ports: fields.or_default("ports")?,
            user_annotations: fields.or_default("userAnnotations")?,
            user_labels: fields.or_default("userLabels")?,
        })
    }
}

deserialize_checked!(PodManifest);
