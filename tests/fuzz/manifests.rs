//! Manifests, and what people write on the command line to name images.

use jetpack::appc::{ImageManifest, PodManifest};
use jetpack::stage0::reference::Wanted;
use jetpack::stage0::tags::Tag;
use jetpack::stage0::version::Version;
use serde_json::{Value, json};

use crate::{Random, Target};

/// The readers of manifests.
pub(crate) struct Manifests;

/// Values that stand in the place of others.
const ODD: [&str; 14] = [
    "",
    "..",
    "/",
    "/a/../b",
    "-1",
    "a b",
    "é",
    "\u{0}",
    "99999999999999999999",
    "1.5G",
    "sha512-",
    "linux",
    "a@b:c,d=e",
    "~1-rc_2+3",
];

fn image() -> Value {
    json!({
        "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/app",
        "labels": [{ "name": "version", "value": "1.10-rc1" }, { "name": "os", "value": "linux" }, { "name": "arch", "value": "amd64" }],
        "app": {
            "exec": ["/bin/app", "-v"], "user": "100", "group": "300", "supplementaryGIDs": [400, 500],
            "workingDirectory": "/opt/work", "environment": [{ "name": "A", "value": "b" }],
            "eventHandlers": [{ "exec": ["/bin/x"], "name": "pre-start" }],
            "isolators": [
                { "name": "resource/cpu", "value": { "request": "250m", "limit": "500m" } },
                { "name": "resource/memory", "value": { "request": "1G", "limit": "2G" } },
                { "name": "os/linux/capabilities-retain-set", "value": { "set": ["CAP_NET_BIND_SERVICE"] } },
                { "name": "os/linux/seccomp-retain-set", "value": { "set": ["read"], "errno": "EPERM" } },
            ],
            "mountPoints": [{ "name": "work", "path": "/var/lib/work", "readOnly": false }],
            "ports": [{ "name": "health", "port": 4000, "count": 2, "protocol": "tcp", "socketActivated": true }],
            "userAnnotations": { "a": "b" }, "userLabels": { "c": "d" },
        },
        "dependencies": [{
            "imageName": "example.com/base", "imageID": format!("sha512-{}", "0".repeat(128)),
            "labels": [{ "name": "os", "value": "linux" }], "size": 22017258,
        }],
        "pathWhitelist": ["/etc/ca/example.com/crt", "/opt/"],
        "annotations": [{ "name": "created", "value": "2014-10-27T19:32:27.67021798Z" }],
    })
}

fn pod() -> Value {
    let app = image()["app"].clone();
    json!({
        "acVersion": "0.8.11", "acKind": "PodManifest",
        "apps": [{
            "name": "app", "image": { "name": "example.com/app", "id": format!("sha512-{}", "1".repeat(128)), "labels": [] },
            "app": app, "readOnlyRootFS": true, "mounts": [{ "volume": "work", "path": "/work" }],
            "annotations": [{ "name": "foo", "value": "baz" }],
        }],
        "volumes": [
            { "name": "work", "kind": "host", "source": "/opt/tenant1/database", "readOnly": true, "recursive": true },
            { "name": "buildoutput", "kind": "empty", "mode": "0755", "uid": 0, "gid": 0 },
        ],
        "isolators": [], "annotations": [{ "name": "ip-address", "value": "10.1.2.3" }],
        "ports": [{ "name": "health", "hostPort": 1234, "hostIP": "127.0.0.1", "podPort": { "name": "x", "port": 1, "protocol": "udp" } }],
        "userAnnotations": { "x": "y" }, "userLabels": {},
    })
}

/// One of the values in a value, itself among them.
fn somewhere<'v>(random: &mut Random, value: &'v mut Value) -> &'v mut Value {
    let count = match value {
        Value::Array(list) => list.len(),
        Value::Object(object) => object.len(),
        _ => 0,
    };
    if count == 0 || random.below(8) == 0 {
        return value;
    }
    let at = random.below(count);
    match value {
        Value::Array(list) => somewhere(random, &mut list[at]),
        Value::Object(object) => somewhere(random, object.values_mut().nth(at).expect("as many as were counted")),
        _ => value,
    }
}

fn odd(random: &mut Random) -> Value {
    match random.below(8) {
        0 => Value::Null,
        1 => json!(random.below(2) == 0),
        2 => json!(*random.pick(&[0_i64, -1, 1, 65_536, i64::MAX, i64::MIN])),
        3 => json!(*random.pick(&[0.5, -1e300, 1e300])),
        4 => json!([]),
        5 => json!({}),
        _ => json!(*random.pick(&ODD)),
    }
}

fn change(random: &mut Random, value: &mut Value, other: &mut Value) {
    let with = if random.below(3) == 0 { somewhere(random, other).clone() } else { odd(random) };
    match (somewhere(random, value), random.below(5)) {
        (Value::Array(list), 0) if !list.is_empty() => drop(list.remove(random.below(list.len()))),
        (Value::Array(list), 1) => list.push(list.first().cloned().unwrap_or(with)),
        (Value::Object(object), 0 | 1) if !object.is_empty() => {
            let key = object.keys().nth(random.below(object.len())).cloned().unwrap_or_default();
            let removed = object.remove(&key).unwrap_or_default();
            // The letters' case means nothing.
            if random.below(2) == 0 {
                object.insert(key.to_uppercase(), removed);
            }
        }
        (Value::String(text), 0..=3) => *text = random.vary(text),
        (found, _) => *found = with,
    }
}

impl Target for Manifests {
    fn seeds(&self) -> Vec<Vec<u8>> {
        [image(), pod()].iter().map(|value| value.to_string().into_bytes()).collect()
    }

    fn change(&self, random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
        let parsed = (serde_json::from_slice::<Value>(input), serde_json::from_slice::<Value>(other));
        if let (Ok(mut value), Ok(mut other)) = parsed
            && random.below(4) > 0
        {
            (0..=random.below(3)).for_each(|_| change(random, &mut value, &mut other));
            return value.to_string().into_bytes();
        }
        let mut bytes = input.to_vec();
        random.disturb(&mut bytes, other);
        bytes
    }

    /// What is written of a manifest that was read must be the same manifest.
    fn read(&mut self, input: &[u8]) -> String {
        let text = String::from_utf8_lossy(input);
        let version = Version::new(&text);
        assert!(version.cmp(&Version::new("1.0")) == Version::new("1.0").cmp(&version).reverse());
        let reference = (Wanted::parse(&text).is_ok(), text.parse::<Tag>().is_ok());
        let image = ImageManifest::parse(input).map(|manifest| {
            let again = ImageManifest::parse(manifest.to_json_pretty().as_bytes());
            assert_eq!(again.expect("it was read before"), manifest);
        });
        let pod = PodManifest::parse(input).map(|manifest| {
            let again = PodManifest::parse(manifest.to_json_pretty().as_bytes());
            assert_eq!(again.expect("it was read before"), manifest);
        });
        let said = |read: Result<(), jetpack::appc::Error>| {
            read.map_or_else(|error| error.to_string(), |()| "read".to_owned())
        };
        format!("{reference:?} {} {}", said(image), said(pod))
    }
}
