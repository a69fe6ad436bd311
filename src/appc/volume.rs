//! Volumes, and where they are mounted (aci.md, pods.md).

use std::str::FromStr;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::error::Error;
use super::json::{Fields, FromJson, deserialize_checked};
use super::name::AcName;
use super::port::is_false;

/// The mode of an empty volume for which none is given.
const DEFAULT_MODE: u32 = 0o755;
/// The largest mode: permissions, set-id bits and the sticky bit.
const MAX_MODE: u32 = 0o7777;

/// What chown(2) takes for the owner that is there already.
const NOBODY: u32 = u32::MAX;

/// Checks that `path` is absolute and can be a path at all.
pub(super) fn check_absolute(path: &str) -> Result<(), Error> {
    if !path.starts_with('/') {
        return Err(Error::bad(path, "is not an absolute path"));
    }
    check_no_nul(path)
}

/// Checks that `text` can be handed to a system call.
pub(super) fn check_no_nul(text: &str) -> Result<(), Error> {
    if text.contains('\0') { Err(Error::bad(text, "has a NUL character in it")) } else { Ok(()) }
}

/// A place in an app's filesystem where it expects data from outside (aci.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MountPoint {
    /// What volumes and mounts are matched to it by. Several mount points may have one name.
    pub name: AcName,
    /// The absolute path inside the root filesystem.
    pub path: String,
    /// Whether the app only reads there.
    #[serde(skip_serializing_if = "is_false")]
    pub read_only: bool,
}

impl MountPoint {
    /// Checks the path.
    pub(super) fn validate(&self) -> Result<(), Error> {
        check_absolute(&self.path).map_err(|e| e.field("path"))
    }
}

impl FromJson for MountPoint {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let fields = Fields::of(value)?;
        Ok(MountPoint {
            name: fields.required("name")?,
            path: fields.required_text("path")?,
            read_only: fields.or_default("readOnly")?,
        })
    }
}

/// A volume's place in one app (pods.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// The name of one of the pod's volumes, unless `app_volume` is given.
    pub volume: AcName,
    /// The absolute path inside the app's root filesystem.
    pub path: String,
    /// The volume itself, in place of the pod's of that name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_volume: Option<Volume>,
}

impl Mount {
    /// Checks the path and the volume.
    pub(super) fn validate(&self) -> Result<(), Error> {
        check_absolute(&self.path).map_err(|e| e.field("path"))?;
        self.app_volume.as_ref().map_or(Ok(()), Volume::validate).map_err(|e| e.field("appVolume"))
    }
}

impl FromJson for Mount {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let fields = Fields::of(value)?;
        Ok(Mount {
            volume: fields.required("volume")?,
            path: fields.required_text("path")?,
            app_volume: fields.optional("appVolume")?,
        })
    }
}

/// Storage that the apps of a pod can mount (pods.md).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Volume {
    /// What mounts call it by.
    pub name: AcName,
    /// Where its contents come from.
    pub kind: VolumeKind,
    /// Whether nobody in the pod may write to it.
    pub read_only: bool,
}

/// Where a volume's contents come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeKind {
    /// A directory of the pod's own that begins empty.
    Empty {
        /// Its permissions, `0o755` unless given; never more than `0o7777`.
        mode: u32,
        /// Its owner, 0 unless given.
        uid: u32,
        /// Its group, 0 unless given.
        gid: u32,
    },
    /// A directory (or file) of the host.
    Host {
        /// Its absolute path on the host.
        source: String,
        /// Whether what is mounted below it comes along; true unless given.
        recursive: bool,
    },
}

impl VolumeKind {
    /// An empty volume with the mode and owner that one has when nothing is said.
    pub fn empty() -> Self {
        VolumeKind::Empty { mode: DEFAULT_MODE, uid: 0, gid: 0 }
    }
}

impl Volume {
    /// Checks the host's path or the mode.
    pub(super) fn validate(&self) -> Result<(), Error> {
        match &self.kind {
            VolumeKind::Host { source, .. } => check_absolute(source).map_err(|e| e.field("source")),
            VolumeKind::Empty { mode, .. } if *mode > MAX_MODE => Err(bad_mode(&format!("{mode:o}")).field("mode")),
            VolumeKind::Empty { uid: NOBODY, .. } => Err(nobody().field("uid")),
            VolumeKind::Empty { gid: NOBODY, .. } => Err(nobody().field("gid")),
            VolumeKind::Empty { .. } => Ok(()),
        }
    }
}

fn nobody() -> Error {
    Error::bad(&NOBODY.to_string(), "is nobody's number")
}

fn bad_mode(text: &str) -> Error {
    Error::bad(text, "is not an octal mode such as 0755")
}

/// The mode in an empty volume's `mode` field.
struct Mode(u32);

impl FromJson for Mode {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let text = String::from_json(value)?;
        let is_octal = (1..=5).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
        let mode = u32::from_str_radix(&text, 8).ok().filter(|mode| is_octal && *mode <= MAX_MODE);
        mode.map(Mode).ok_or_else(|| bad_mode(&text))
    }
}

impl FromJson for Volume {
    fn from_json(value: &Value) -> Result<Self, Error> {
        let fields = Fields::of(value)?;
        let kind = match fields.required_text("kind")?.as_str() {
            "empty" => {
                refuse(&fields, &["source"], "empty")?;
                VolumeKind::Empty {
                    mode: fields.optional("mode")?.map_or(DEFAULT_MODE, |Mode(mode)| mode),
                    uid: fields.or_default("uid")?,
                    gid: fields.or_default("gid")?,
                }
            }
            "host" => {
                refuse(&fields, &["mode", "uid", "gid"], "host")?;
                VolumeKind::Host {
                    source: fields.required_text("source")?,
                    recursive: fields.optional("recursive")?.unwrap_or(true),
                }
            }
            other => return Err(Error::bad(other, "is not a kind of volume (empty, host)").field("kind")),
        };
        Ok(Volume { name: fields.required("name")?, kind, read_only: fields.or_default("readOnly")? })
    }
}

/// A volume as people write it on a command line: `NAME,kind=host,source=/path,readOnly=true`, with the fields of the
/// specification, or short, as in the parent: `NAME` is an empty one, `NAME:/path` is of the host, and a `-` before it says that it is
/// read-only.
impl FromStr for Volume {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (text, short_read_only) = match text.strip_prefix('-') {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        let mut words = text.split(',');
        let name = words.next().unwrap_or_default();
        let mut map = serde_json::Map::new();
        if short_read_only {
            map.insert("readOnly".to_owned(), Value::Bool(true));
        }
        if let (Some((name, source)), false) = (name.split_once(':'), text.contains(',')) {
            map.extend([entry("name", name), entry("kind", "host"), entry("source", source)]);
        } else if text.contains(',') {
            map.extend([entry("name", name)]);
        } else {
            map.extend([entry("name", name), entry("kind", "empty")]);
        }
        for word in words {
            let (key, value) =
                word.split_once('=').ok_or_else(|| Error::bad(word, "is not of the form FIELD=VALUE"))?;
            if !FIELDS.contains(&key) {
                return Err(Error::bad(key, format_args!("is not a field of a volume ({})", FIELDS.join(", "))));
            }
            if map.insert(key.to_owned(), typed(key, value)).is_some() {
                return Err(Error::bad(key, "is there already"));
            }
        }
        let recursive = map.contains_key("recursive");
        let volume = Volume::from_json(&Value::Object(map))?;
        if recursive && matches!(volume.kind, VolumeKind::Empty { .. }) {
            return Err(Error::new("does not go with kind \"empty\"").field("recursive"));
        }
        volume.validate()?;
        Ok(volume)
    }
}

/// The fields of a volume, but for its name.
const FIELDS: [&str; 7] = ["kind", "source", "recursive", "readOnly", "mode", "uid", "gid"];

/// The value of a field in the type that it has in a manifest; what does not fit is left for the one who reads the field.
fn typed(field: &str, text: &str) -> Value {
    let value = match field {
        "recursive" | "readOnly" => text.parse::<bool>().map(Value::from).ok(),
        "uid" | "gid" => text.parse::<u32>().map(Value::from).ok(),
        _ => None,
    };
    value.unwrap_or_else(|| Value::from(text))
}

fn entry(name: &str, text: &str) -> (String, Value) {
    (name.to_owned(), Value::from(text))
}

/// Refuses fields that belong to the other kind of volume.
fn refuse(fields: &Fields<'_>, names: &[&str], kind: &str) -> Result<(), Error> {
    for name in names {
        if fields.raw(name)?.is_some_and(|value| !is_blank(value)) {
            return Err(Error::new(format!("does not go with kind \"{kind}\"")).field(name));
        }
    }
    Ok(())
}

/// Whether a field holds what the Go schema takes for absent: null or no text.
fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(str::is_empty)
}

impl Serialize for Volume {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("name", &self.name)?;
        match &self.kind {
            VolumeKind::Empty { mode, uid, gid } => {
                map.serialize_entry("kind", "empty")?;
                map.serialize_entry("mode", &format_args!("{mode:04o}"))?;
                map.serialize_entry("uid", uid)?;
                map.serialize_entry("gid", gid)?;
            }
            VolumeKind::Host { source, recursive } => {
                map.serialize_entry("kind", "host")?;
                map.serialize_entry("source", source)?;
                if !recursive {
                    map.serialize_entry("recursive", recursive)?;
                }
            }
        }
        if self.read_only {
            map.serialize_entry("readOnly", &true)?;
        }
        map.end()
    }
}

deserialize_checked!(Volume);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_read_and_written() {
        for (text, written) in [
            (r#"{"name":"a","kind":"empty"}"#, r#"{"name":"a","kind":"empty","mode":"0755","uid":0,"gid":0}"#),
            (
                r#"{"name":"a","kind":"empty","mode":"1777","uid":7,"gid":8,"readOnly":true,"source":"","recursive":true}"#,
                r#"{"name":"a","kind":"empty","mode":"1777","uid":7,"gid":8,"readOnly":true}"#,
            ),
            (
                r#"{"name":"a","kind":"host","source":"/x","recursive":true,"readOnly":false}"#,
                r#"{"name":"a","kind":"host","source":"/x"}"#,
            ),
            (
                r#"{"name":"a","kind":"host","source":"/x","recursive":false,"readOnly":true,"mode":null}"#,
                r#"{"name":"a","kind":"host","source":"/x","recursive":false,"readOnly":true}"#,
            ),
        ] {
            let volume: Volume = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&volume).unwrap(), written);
            assert_eq!(serde_json::from_str::<Volume>(written).unwrap(), volume);
        }
    }

    #[test]
    fn volumes_are_written_as_words() {
        for (text, written) in [
            ("a", r#"{"name":"a","kind":"empty","mode":"0755","uid":0,"gid":0}"#),
            ("-a", r#"{"name":"a","kind":"empty","mode":"0755","uid":0,"gid":0,"readOnly":true}"#),
            ("a:/x:y", r#"{"name":"a","kind":"host","source":"/x:y"}"#),
            ("-a:/x", r#"{"name":"a","kind":"host","source":"/x","readOnly":true}"#),
            ("a,kind=host,source=/x y=z", r#"{"name":"a","kind":"host","source":"/x y=z"}"#),
            (
                "a,source=/x,kind=host,recursive=false,readOnly=true",
                r#"{"name":"a","kind":"host","source":"/x","recursive":false,"readOnly":true}"#,
            ),
            ("a,kind=empty,mode=1777,uid=7,gid=8", r#"{"name":"a","kind":"empty","mode":"1777","uid":7,"gid":8}"#),
        ] {
            let volume: Volume = text.parse().unwrap();
            assert_eq!(serde_json::to_string(&volume).unwrap(), written, "{text}");
        }
        for (text, error) in [
            ("", "name: \"\" is not an AC name"),
            ("A", "name: \"A\" is not an AC name"),
            ("a:x", "source: \"x\" is not an absolute path"),
            ("a,source=/x", "kind: required but missing"),
            ("a,kind=host", "source: required but missing"),
            ("a,kind=host,source=/x,ro", "\"ro\" is not of the form FIELD=VALUE"),
            (
                "a,kind=host,source=/x,readonly=true",
                "\"readonly\" is not a field of a volume (kind, source, recursive, readOnly, mode, uid, gid)",
            ),
            ("a,kind=host,source=/x,source=/y", "\"source\" is there already"),
            ("-a,kind=host,source=/x,readOnly=false", "\"readOnly\" is there already"),
            ("a,kind=host,source=/x,readOnly=yes", "readOnly: \"yes\" is not true or false"),
            ("a,kind=empty,uid=root", "uid: \"root\" is not an integer between 0 and 4294967295"),
            ("a,kind=empty,uid=4294967295", "uid: \"4294967295\" is nobody's number"),
            ("a,kind=empty,gid=4294967295", "gid: \"4294967295\" is nobody's number"),
            ("a,kind=empty,mode=9", "mode: \"9\" is not an octal mode such as 0755"),
            ("a,kind=empty,recursive=true", "recursive: does not go with kind \"empty\""),
        ] {
            let got = text.parse::<Volume>().map(drop).map_err(|e| e.to_string());
            assert!(got.as_ref().is_err_and(|got| got.starts_with(error)), "{text}: {got:?}");
        }
    }

    #[test]
    fn volumes_are_refused() {
        for (text, error) in [
            (r#"{"name":"a"}"#, "kind: required but missing"),
            (r#"{"name":"a","kind":"tmpfs"}"#, "kind: \"tmpfs\" is not a kind of volume (empty, host)"),
            (r#"{"kind":"empty"}"#, "name: required but missing"),
            (r#"{"name":"a","kind":"empty","source":"/x"}"#, "source: does not go with kind \"empty\""),
            (r#"{"name":"a","kind":"host"}"#, "source: required but missing"),
            (r#"{"name":"a","kind":"host","source":"x"}"#, "source: \"x\" is not an absolute path"),
            (r#"{"name":"a","kind":"host","source":"/\u0000"}"#, "source: \"/\\0\" has a NUL character in it"),
            (r#"{"name":"a","kind":"host","source":"/x","uid":0}"#, "uid: does not go with kind \"host\""),
            (r#"{"name":"a","kind":"host","source":"/x","MODE":"0755"}"#, "mode: does not go with kind \"host\""),
            (r#"{"name":"a","kind":"empty","mode":"0o755"}"#, "mode: \"0o755\" is not an octal mode such as 0755"),
            (r#"{"name":"a","kind":"empty","mode":"+755"}"#, "mode: \"+755\" is not an octal mode such as 0755"),
            (r#"{"name":"a","kind":"empty","mode":"17777"}"#, "mode: \"17777\" is not an octal mode such as 0755"),
            (r#"{"name":"a","kind":"empty","mode":493}"#, "mode: 493 is not a string"),
            (r#"{"name":"a","kind":"empty","uid":-1}"#, "uid: -1 is not an integer between 0 and 4294967295"),
        ] {
            assert_eq!(serde_json::from_str::<Volume>(text).unwrap_err().to_string(), error);
        }
    }
}
