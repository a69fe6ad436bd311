//! What comes of building: tables.

use super::*;
use crate::appc::{Annotation, EnvVar, RuntimeApp};
use crate::stage0::plan::tests::{LINUX, image};

/// An image to build on, with an app that says a lot.
fn parent() -> Image {
    let more = r#", "labels": [{"name": "version", "value": "1"}, {"name": "os", "value": "linux"}],
        "app": {"exec": ["/bin/web"], "user": "www", "group": "www", "workingDirectory": "/srv", "supplementaryGIDs": [5],
            "environment": [{"name": "A", "value": "b"}], "mountPoints": [{"name": "data", "path": "/srv"}],
            "eventHandlers": [{"name": "pre-start", "exec": ["/bin/false"]}],
            "isolators": [{"name": "os/linux/no-new-privileges", "value": true}]}"#;
    image("example.com/web", more)
}

#[test]
fn the_command_takes_the_place_of_the_app() {
    let request = BuildRequest {
        image: parent(),
        command: vec!["sh".to_owned(), "./build.sh".to_owned()],
        network: "host".to_owned(),
        directory: ".work".to_owned(),
        host: LINUX,
    };
    let planned = plan_build(request.clone()).unwrap();
    let [RuntimeApp { name, app: Some(app), mounts, read_only_root_fs: false, .. }] = &planned.manifest.apps[..] else {
        panic!("{planned:?}")
    };
    let mut expected = App::new(request.command.clone(), "0", "0");
    expected.working_directory = Some("/.work".to_owned());
    expected.environment = vec![EnvVar { name: "A".to_owned(), value: "b".to_owned() }];
    assert_eq!((name.as_str(), app, mounts.len()), ("build", &expected, 0));
    assert_eq!(planned.apps[0].layers, parent().record.layers);
    let annotations = |plan: &PodPlan| {
        let pair = |annotation: &Annotation| format!("{}={}", annotation.name, annotation.value);
        plan.manifest.annotations.iter().map(pair).collect::<Vec<_>>()
    };
    assert_eq!(annotations(&planned), ["jetpack/net=host", "jetpack/build=.work"]);
    let elsewhere = BuildRequest { host: Platform { os: "freebsd", ..LINUX }, ..request };
    assert!(plan_build(elsewhere.clone()).unwrap_err().to_string().contains("is made for linux"));
    let planned = plan_build(BuildRequest { image: image("a", ""), ..elsewhere }).unwrap();
    let expected = [
        "jetpack/net=host",
        "jetpack/jail.conf/allow.chflags=true",
        "jetpack/jail.conf/securelevel=0",
        "jetpack/build=.work",
    ];
    assert_eq!(annotations(&planned), expected);
}

#[test]
fn a_manifest_is_completed() {
    let parent = parent();
    let (manifest, warnings) = complete(br#"{"name": "example.com/new", "extra": 5}"#, &parent, 1_414_438_347).unwrap();
    let id = &parent.id;
    let expected = format!(
        r#"{{
  "acKind": "ImageManifest",
  "acVersion": "0.8.11",
  "name": "example.com/new",
  "labels": [
    {{
      "name": "os",
      "value": "linux"
    }}
  ],
  "dependencies": [
    {{
      "imageName": "example.com/web",
      "imageID": "{id}",
      "labels": [
        {{
          "name": "version",
          "value": "1"
        }},
        {{
          "name": "os",
          "value": "linux"
        }}
      ]
    }}
  ],
  "annotations": [
    {{
      "name": "timestamp",
      "value": "2014-10-27T19:32:27Z"
    }}
  ]
}}"#
    );
    assert_eq!(manifest.to_json_pretty(), expected);
    assert_eq!(warnings, ["the specification has no field extra, which is left out of the manifest"]);
    let own = br#"{"name": "a", "annotations": [{"name": "timestamp", "value": "mine"}]}"#;
    assert_eq!(complete(own, &parent, 0).unwrap().0.annotations.get("timestamp"), Some("mine"));
}

#[test]
fn what_a_build_decides_is_not_the_authors() {
    for (text, error) in [
        (
            "{",
            "the manifest.json that the command left breaks the specification: line 1, column 1: not JSON: EOF while parsing an object",
        ),
        (
            r#"{"name": "a", "dependencies": [{"imageName": "b"}]}"#,
            "the manifest.json that the command left depends on b",
        ),
        (r#"{"name": "a", "pathWhitelist": ["/x"]}"#, "the manifest.json that the command left has a pathWhitelist"),
    ] {
        assert_eq!(complete(text.as_bytes(), &parent(), 0).unwrap_err().one_line(), error, "{text}");
    }
}

#[test]
fn what_is_the_pods_is_not_the_images() {
    let foreign = |etc: &[&str], made| Foreign {
        directory: ".work",
        mounted: &["dev", "proc"],
        etc: etc.iter().map(std::path::PathBuf::from).collect(),
        made,
    };
    let plain = foreign(&["etc"], false);
    for path in [".work", "dev", "proc", "etc/hosts", "etc/resolv.conf"] {
        assert!(plain.has(Path::new(path)), "{path}");
    }
    for path in ["", "etc", "work", "sys", "etc/hosts.allow", "usr/dev", "hosts", "opt/etc/hosts", "usr/etc/hosts"] {
        assert!(!plain.has(Path::new(path)), "{path}");
    }
    assert!(foreign(&["etc"], true).has(Path::new("etc")));
    let moved = foreign(&["etc", "usr/etc"], false);
    assert!(["etc/hosts", "usr/etc/hosts", "usr/etc/resolv.conf"].iter().all(|path| moved.has(Path::new(path))));
    assert!(!moved.has(Path::new("usr/etc")) && !moved.has(Path::new("usr/hosts")));
    let is_all = |names: &[&'static str]| Foreign::is_all(names.iter().map(std::ffi::OsStr::new));
    assert!(is_all(&[]) && is_all(&["hosts"]) && is_all(&["resolv.conf", "hosts"]));
    assert!(!is_all(&["hosts", "motd"]));
    let paths = |paths: &[&str]| paths.iter().map(std::path::PathBuf::from).collect();
    let difference =
        |added, changed| Difference { added: paths(added), changed: paths(changed), ..Difference::default() };
    assert_eq!(plain.disturbed(&difference(&[], &["usr"])), [Path::new(""), Path::new("etc")]);
    assert_eq!(plain.disturbed(&difference(&["etc"], &[])), [Path::new("")]);
    assert!(plain.disturbed(&difference(&[], &["", "etc"])).is_empty());
    assert_eq!(moved.disturbed(&difference(&["usr/etc"], &[])), [Path::new(""), Path::new("etc")]);
}
