//! Whole manifests: both kinds with every field, what is refused and how it is said, and damaged text.

use serde_json::Value;

use super::*;

/// An image manifest with every field that there is.
const IMAGE: &str = r#"{
    "acKind": "ImageManifest",
    "acVersion": "0.8.11",
    "name": "example.org/~ops/map-worker",
    "labels": [
        {"name": "version", "value": "2.1.0"},
        {"name": "os", "value": "freebsd"},
        {"name": "arch", "value": "amd64"}
    ],
    "app": {
        "exec": ["/usr/local/bin/map-worker", "--quiet"],
        "user": "100",
        "group": "300",
        "supplementaryGids": [400, 500],
        "eventHandlers": [
            {"exec": ["/usr/local/bin/fetch"], "name": "pre-start"},
            {"exec": ["/usr/local/bin/leave", "--verbose"], "name": "post-stop"}
        ],
        "workingDirectory": "/srv/work",
        "environment": [{"name": "MAP_WORKER_DEBUG", "value": "true"}],
        "isolators": [
            {"name": "resource/cpu", "value": {"request": "250m", "limit": "500m"}},
            {"name": "resource/memory", "value": {"request": "1G", "limit": "2G"}},
            {"name": "os/linux/capabilities-retain-set", "value": {"set": ["CAP_NET_BIND_SERVICE"]}},
            {"name": "example.org/unheard-of", "value": [null, {"x": 1.5}]}
        ],
        "mountPoints": [{"name": "work", "path": "/var/lib/work", "readOnly": false}],
        "ports": [
            {"name": "health", "port": 4000, "protocol": "tcp", "socketActivated": true},
            {"name": "data", "port": 20000, "count": 1000, "protocol": "udp"}
        ],
        "userAnnotations": {"Any Key!": "x"},
        "userLabels": {"": ""}
    },
    "dependencies": [
        {
            "imageName": "example.org/base",
            "imageID": "sha512-ID",
            "labels": [{"name": "os", "value": "freebsd"}, {"name": "env", "value": "canary"}],
            "size": 22017258
        },
        {"imageName": "example.org/certificates", "size": 0}
    ],
    "pathWhitelist": ["/etc/ca/crt", "/usr/local/bin/map-worker", "/etc/rc.d/", ""],
    "annotations": [
        {"name": "authors", "value": "Ann <ann@example.org>"},
        {"name": "created", "value": "2014-10-27T19:32:27.67021798Z"},
        {"name": "documentation", "value": "https://example.org/docs"},
        {"name": "appc.io/executor/supports-systemd-notify", "value": "false"}
    ],
    "somethingNew": {"ignored": true}
}"#;

/// A pod manifest with every field that there is.
const POD: &str = r#"{
    "acVersion": "0.8.11",
    "acKind": "PodManifest",
    "apps": [
        {
            "name": "map-worker",
            "image": {
                "name": "example.org/map-worker",
                "id": "sha512-ID",
                "labels": [{"name": "version", "value": "2.1.0"}]
            },
            "app": {
                "exec": ["/bin/map-worker", "--debug=true"],
                "group": "0",
                "user": "0",
                "mountPoints": [{"name": "work", "path": "/var/lib/work"}]
            },
            "readOnlyRootFS": true,
            "mounts": [
                {"volume": "work", "path": "/var/lib/work"},
                {"volume": "own", "path": "/tmp", "appVolume": {"name": "own", "kind": "empty", "mode": "1777"}}
            ],
            "annotations": [{"name": "foo", "value": "baz"}]
        },
        {"name": "register", "image": {"id": "sha512-ID"}}
    ],
    "volumes": [
        {"name": "work", "kind": "host", "source": "/srv/tenant1/work", "readOnly": true, "recursive": false}
    ],
    "isolators": [{"name": "resource/memory", "value": {"limit": "4G"}}],
    "annotations": [{"name": "ip-address", "value": "10.1.2.3"}],
    "ports": [
        {"name": "ftp", "hostPort": 2121},
        {"name": "x", "hostPort": 80, "hostIP": "10.0.0.1", "podPort": {"name": "x", "protocol": "tcp", "port": 80}}
    ],
    "userAnnotations": {"a": "b"},
    "userLabels": {"c": "d"}
}"#;

fn image_text() -> String {
    IMAGE.replace("sha512-ID", ImageId::from_digest(&[0x5a; 64]).as_str())
}

fn pod_text() -> String {
    POD.replace("sha512-ID", ImageId::from_digest(&[0xa5; 64]).as_str())
}

#[test]
fn an_image_manifest_is_read() {
    let image = ImageManifest::parse(image_text().as_bytes()).unwrap();
    assert_eq!(image.name, "example.org/~ops/map-worker");
    assert_eq!(image.labels.get("version"), Some("2.1.0"));
    assert_eq!(image.annotations.get("authors"), Some("Ann <ann@example.org>"));
    assert_eq!(image.path_whitelist.last().map(String::as_str), Some("/"));
    assert_eq!((image.dependencies[0].size, image.dependencies[1].size), (Some(22_017_258), None));
    let app = image.app.unwrap();
    assert_eq!(app.supplementary_gids, [400, 500]);
    assert_eq!(app.working_directory.as_deref(), Some("/srv/work"));
    assert_eq!(app.event_handler(EventName::PreStart).unwrap().exec, ["/usr/local/bin/fetch"]);
    assert_eq!((app.ports[0].count, app.ports[1].count), (1, 1000));
    let limit = Some("500m".parse().unwrap());
    assert_eq!(app.isolators[0].value(), &IsolatorValue::Cpu { request: Some("250m".parse().unwrap()), limit });
    assert_eq!(app.isolators[3].value(), &IsolatorValue::Unknown);
}

#[test]
fn a_pod_manifest_is_read() {
    let pod = PodManifest::parse(pod_text().as_bytes()).unwrap();
    let worker = pod.app("map-worker").unwrap();
    assert!(worker.read_only_root_fs);
    let own = worker.mounts[1].app_volume.as_ref().unwrap();
    assert_eq!(own.kind, VolumeKind::Empty { mode: 0o1777, uid: 0, gid: 0 });
    let source = "/srv/tenant1/work".to_owned();
    assert_eq!(pod.volume("work").unwrap().kind, VolumeKind::Host { source, recursive: false });
    assert_eq!(pod.ports[1].host_ip, Some([10, 0, 0, 1].into()));
    assert!(pod.app("register").unwrap().app.is_none() && pod.app("nobody").is_none());
}

#[test]
fn what_is_written_is_read_back() {
    let image = ImageManifest::parse(image_text().as_bytes()).unwrap();
    let text = image.to_json_pretty();
    assert_eq!(ImageManifest::parse(text.as_bytes()).as_ref(), Ok(&image));
    assert_eq!(serde_json::from_str::<ImageManifest>(&text).unwrap(), image);
    for (present, part) in
        [(true, "\"supplementaryGIDs\""), (true, "\"imageID\""), (false, ": null"), (false, "somethingNew")]
    {
        assert_eq!(text.contains(part), present, "{part} in {text}");
    }
    let pod = PodManifest::parse(pod_text().as_bytes()).unwrap();
    let text = pod.to_json_pretty();
    assert_eq!(PodManifest::parse(text.as_bytes()).as_ref(), Ok(&pod));
    assert_eq!(serde_json::from_str::<PodManifest>(&text).unwrap(), pod);
    for part in ["\"readOnlyRootFS\": true", "\"appVolume\"", "\"hostIP\": \"10.0.0.1\"", "\"mode\": \"1777\""] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn the_smallest_manifests() {
    let image = ImageManifest::new("example.com/test".parse().unwrap());
    let text = r#"{"acKind":"ImageManifest","acVersion":"0.8.11","name":"example.com/test"}"#;
    assert_eq!(serde_json::to_string(&image).unwrap(), text);
    assert_eq!(ImageManifest::parse(text.as_bytes()), Ok(image));
    let pod = PodManifest::new();
    let text = r#"{"acVersion":"0.8.11","acKind":"PodManifest","apps":[]}"#;
    assert_eq!(serde_json::to_string(&pod).unwrap(), text);
    assert_eq!(PodManifest::parse(text.as_bytes()), Ok(pod.clone()));
    // As the Go tools write a blank one.
    let text = r#"{"acVersion":"0.8.11","acKind":"PodManifest","apps":null,"volumes":null,"isolators":null,
        "annotations":null,"ports":null}"#;
    assert_eq!(PodManifest::parse(text.as_bytes()), Ok(pod));
}

#[test]
fn image_manifests_are_refused() {
    let head = r#""acKind": "ImageManifest", "acVersion": "0.8.11""#;
    let named = |rest: &str| format!(r#"{{{head}, "name": "example.com/a", {rest}}}"#);
    for (text, error) in [
        ("".to_owned(), "line 1, column 0: not JSON: EOF while parsing a value"),
        ("hello".to_owned(), "line 1, column 1: not JSON: expected value"),
        ("{\n  \"acKind\": 'ImageManifest'\n}".to_owned(), "line 2, column 13: not JSON: expected value"),
        ("[]".to_owned(), "a list is not an object"),
        ("{}".to_owned(), "acKind: required but missing"),
        (pod_text(), "acKind: \"PodManifest\" is not \"ImageManifest\""),
        (r#"{"acKind": "Pod"}"#.to_owned(), "acKind: \"Pod\" is not ImageManifest or PodManifest"),
        (r#"{"acKind": "ImageManifest"}"#.to_owned(), "acVersion: required but missing"),
        (
            r#"{"acKind": "ImageManifest", "acVersion": "1.0.0"}"#.to_owned(),
            "acVersion: \"1.0.0\" is not compatible with version 0.8.11 of the specification",
        ),
        (
            r#"{"acKind": "ImageManifest", "acVersion": "0.8"}"#.to_owned(),
            "acVersion: \"0.8\" is not a semantic version such as 0.8.11",
        ),
        (format!("{{{head}}}"), "name: required but missing"),
        (
            format!(r#"{{{head}, "name": "Example.com/A"}}"#),
            "name: \"Example.com/A\" is not an AC identifier (a-z 0-9 - . _ ~ / with a letter or digit at both ends)",
        ),
        (format!(r#"{{{head}, "name": "a", "name": "a"}}"#), "line 1, column 70: duplicate key \"name\""),
        (named(r#""Name": "b""#), "name: given twice, also as \"name\""),
    ] {
        assert_eq!(ImageManifest::parse(text.as_bytes()).map_err(|e| e.to_string()), Err(error.to_owned()), "{text}");
    }
    let latin1 = ImageManifest::parse(b"{\"acKind\": \"\xe9\"}").unwrap_err();
    assert_eq!(latin1.to_string(), "line 1, column 13: not JSON: invalid unicode code point");
}

#[test]
fn image_manifests_with_bad_fields_are_refused() {
    let named = |rest: &str| {
        format!(r#"{{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "example.com/a", {rest}}}"#)
    };
    for (text, error) in [
        (named(r#""labels": {"os": "linux"}"#), "labels: an object is not a list"),
        (
            named(r#""labels": [{"name": "x", "value": ""}, {"name": "x", "value": ""}]"#),
            "labels[1].name: \"x\" is there already",
        ),
        (named(r#""labels": [{"name": "os", "value": 5}]"#), "labels[0].value: 5 is not a string"),
        (
            named(r#""annotations": [{"name": "created", "value": "now"}]"#),
            "annotations[0].value: \"now\" is not an RFC 3339 timestamp such as 2014-10-27T19:32:27Z",
        ),
        (named(r#""app": []"#), "app: a list is not an object"),
        (named(r#""app": {"exec": ["/a"]}"#), "app.user: required but missing"),
        (
            named(r#""app": {"user": "0", "group": "0", "workingDirectory": "srv/www"}"#),
            "app.workingDirectory: \"srv/www\" is not an absolute path",
        ),
        (
            named(r#""app": {"user": "0", "group": "0", "ports": [{"name": "a", "port": 0, "protocol": "tcp"}]}"#),
            "app.ports[0].port: 0 is not a port number between 1 and 65535",
        ),
        (
            named(
                r#""app": {"user": "0", "group": "0",
                    "isolators": [{"name": "resource/memory", "value": {"limit": "1Q"}}]}"#,
            ),
            "app.isolators[0].value.limit: \"1Q\" is not a quantity such as 1500, 0.5, 250m, 2G or 512Mi",
        ),
        (named(r#""dependencies": [{}]"#), "dependencies[0].imageName: required but missing"),
        (
            named(r#""dependencies": [{"imageName": "a", "imageID": "sha512-..."}]"#),
            "dependencies[0].imageID: \"sha512-...\" is not an image id: 3 characters follow sha512-, not 128",
        ),
        (named(r#""pathWhitelist": ["/a", "b"]"#), "pathWhitelist[1]: \"b\" is not an absolute path"),
    ] {
        assert_eq!(ImageManifest::parse(text.as_bytes()).map_err(|e| e.to_string()), Err(error.to_owned()), "{text}");
    }
}

#[test]
fn pod_manifests_are_refused() {
    let manifest = |rest: &str| format!(r#"{{"acKind": "PodManifest", "acVersion": "0.8.11", {rest}}}"#);
    let id = ImageId::from_digest(&[0; 64]);
    let app = |name: &str| format!(r#"{{"name": "{name}", "image": {{"id": "{id}"}}}}"#);
    for (text, error) in [
        (image_text(), "acKind: \"ImageManifest\" is not \"PodManifest\""),
        (manifest(r#""volumes": []"#), "apps: required but missing"),
        (manifest(&format!(r#""apps": [{}, {}]"#, app("a"), app("a"))), "apps[1].name: \"a\" is there already"),
        (
            manifest(&format!(r#""apps": [{}]"#, app("a_b"))),
            "apps[0].name: \"a_b\" is not an AC name (a-z and 0-9, with single - between them)",
        ),
        (manifest(r#""apps": [{"name": "a"}]"#), "apps[0].image: required but missing"),
        (manifest(r#""apps": [{"name": "a", "image": {}}]"#), "apps[0].image.id: required but missing"),
        (
            manifest(r#""apps": [], "volumes": [{"name": "v", "kind": "empty"}, {"name": "v", "kind": "empty"}]"#),
            "volumes[1].name: \"v\" is there already",
        ),
        (
            manifest(r#""apps": [], "volumes": [{"name": "v", "kind": "host", "source": "v"}]"#),
            "volumes[0].source: \"v\" is not an absolute path",
        ),
        (
            manifest(r#""apps": [], "ports": [{"name": "p", "hostPort": 70000}]"#),
            "ports[0].hostPort: 70000 is not an integer between 0 and 65535",
        ),
        (
            manifest(r#""apps": [], "isolators": [{"name": "resource/cpu"}]"#),
            "isolators[0].value: required but missing",
        ),
        (
            pod_text().replace(r#""path": "/tmp""#, r#""path": "tmp""#),
            "apps[0].mounts[1].path: \"tmp\" is not an absolute path",
        ),
        (
            pod_text().replace(r#""mode": "1777""#, r#""source": "/x""#),
            "apps[0].mounts[1].appVolume.source: does not go with kind \"empty\"",
        ),
    ] {
        assert_eq!(PodManifest::parse(text.as_bytes()).map_err(|e| e.to_string()), Err(error.to_owned()), "{text}");
    }
}

#[test]
fn manifests_built_in_memory_are_held_to_the_same_rules() {
    let mut pod = PodManifest::parse(pod_text().as_bytes()).unwrap();
    assert_eq!(pod.validate(), Ok(()));
    pod.apps[0].app.as_mut().unwrap().exec = vec![String::new()];
    assert_eq!(pod.validate().unwrap_err().path(), "apps[0].app.exec[0]");
    pod.apps.swap(0, 1);
    pod.apps[1].name = pod.apps[0].name.clone();
    assert_eq!(pod.validate().unwrap_err().path(), "apps[1].name");
    pod.ac_kind = AcKind::ImageManifest;
    assert_eq!(pod.validate().unwrap_err().path(), "acKind");
}

/// A small generator of pseudo-random numbers (xorshift), so that every run tries the same.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % end.max(1)
    }
}

const PIECES: [&str; 20] = [
    "null",
    "-1",
    "0",
    "65536",
    "1e400",
    "18446744073709551616",
    "{}",
    "[]",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\u{1f980}",
    "name",
];

/// Replaces, removes or doubles a piece of `text` at a random place.
fn damage(text: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(text.len());
    let end = (at + random.below(12)).min(text.len());
    match random.below(4) {
        0 => text[at] = u8::try_from(random.below(256)).unwrap_or(0),
        1 => drop(text.splice(at..end, PIECES[random.below(PIECES.len())].bytes())),
        2 => drop(text.drain(at..end)),
        _ => {
            let copy = text[at..end].to_vec();
            let to = random.below(text.len());
            drop(text.splice(to..to, copy));
        }
    }
}

#[test]
fn damaged_text_never_panics_and_what_is_accepted_round_trips() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (image, pod) = (image_text(), pod_text());
    let mut accepted = 0;
    for round in 0..6000 {
        let mut text = if round % 2 == 0 { image.clone() } else { pod.clone() }.into_bytes();
        for _ in 0..=random.below(3) {
            damage(&mut text, &mut random);
        }
        if let Ok(manifest) = ImageManifest::parse(&text) {
            assert_eq!(ImageManifest::parse(manifest.to_json_pretty().as_bytes()), Ok(manifest));
            accepted += 1;
        }
        if let Ok(manifest) = PodManifest::parse(&text) {
            assert_eq!(PodManifest::parse(manifest.to_json_pretty().as_bytes()), Ok(manifest));
            accepted += 1;
        }
    }
    // Damage inside free text is accepted, so the second half of the claim is not empty.
    assert!((100..5900).contains(&accepted), "{accepted} accepted");
}

/// Calls `change` with the manifest once for every value in it, that value being given to change.
fn for_each_value(manifest: &Value, change: &mut dyn FnMut(&mut Value) -> bool, check: &mut dyn FnMut(&Value)) {
    let count = count_values(manifest);
    for target in 0..count {
        let mut copy = manifest.clone();
        let mut left = target;
        if value_at(&mut copy, &mut left).is_some_and(&mut *change) {
            check(&copy);
        }
    }
}

fn count_values(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count_values).sum(),
        Value::Object(map) => map.values().map(count_values).sum(),
        _ => 0,
    }
}

/// The value that is number `left` in depth-first order.
fn value_at<'a>(value: &'a mut Value, left: &mut usize) -> Option<&'a mut Value> {
    if *left == 0 {
        return Some(value);
    }
    *left -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| value_at(item, left)),
        Value::Object(map) => map.values_mut().find_map(|item| value_at(item, left)),
        _ => None,
    }
}

#[test]
fn every_value_may_be_of_another_type_without_a_panic() {
    for text in [image_text(), pod_text()] {
        let manifest: Value = serde_json::from_str(&text).unwrap();
        for other in PIECES.iter().filter_map(|piece| serde_json::from_str::<Value>(piece).ok()) {
            let mut tried = 0;
            let mut check = |changed: &Value| {
                let text = changed.to_string();
                // Whether it is accepted depends on the place; that there is an answer does not.
                let _ = (ImageManifest::parse(text.as_bytes()), PodManifest::parse(text.as_bytes()));
                tried += 1;
            };
            for_each_value(&manifest, &mut |value| std::mem::replace(value, other.clone()) != other, &mut check);
            assert!(tried > 40, "{tried} values");
        }
    }
}

#[test]
fn large_lists_take_linear_time() {
    let labels = (0..50_000).map(|i| format!(r#"{{"name": "l{i}", "value": ""}}"#)).collect::<Vec<_>>().join(",");
    let text = format!(r#"{{"acKind": "ImageManifest", "acVersion": "0.8.11", "name": "a", "labels": [{labels}]}}"#);
    assert_eq!(ImageManifest::parse(text.as_bytes()).unwrap().labels.len(), 50_000);
}
