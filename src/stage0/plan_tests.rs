//! What becomes of a request: tables.

use super::*;
use crate::appc::ImageId;

/// An image whose manifest has these further fields, which begin with a comma.
pub(in crate::stage0) fn image(name: &str, more: &str) -> Image {
    crate::stage0::image::testing::image(0xab, name, more)
}

/// An image with an app of this further content.
fn with_app(more: &str) -> Image {
    image(
        "example.com/web",
        &format!(r#", "app": {{"exec": ["/bin/web", "-a"], "user": "www", "group": "www"{more}}}"#),
    )
}

/// A PC with Linux.
pub(in crate::stage0) const LINUX: Platform = Platform { os: "linux", arch: "amd64", foreign: Vec::new() };

/// A pod of these apps.
fn request(apps: Vec<AppRequest>) -> PodRequest {
    let (volumes, annotations, network) = (Vec::new(), Vec::new(), "none".to_owned());
    PodRequest { apps, volumes, hostname: None, annotations, network, host: LINUX }
}

/// The plan of one app, changed like this.
fn planned(image: Image, change: impl FnOnce(&mut AppRequest)) -> Result<PodPlan> {
    let mut app = AppRequest::of(image);
    change(&mut app);
    plan(request(vec![app]))
}

/// The app of that plan.
fn app(image: Image, change: impl FnOnce(&mut AppRequest)) -> App {
    planned(image, change).unwrap().manifest.apps[0].app.clone().unwrap()
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn programs_and_arguments() {
    type Case<'a> = (Image, Option<&'a str>, &'a [&'a str], &'a [&'a str]);
    let table: [Case<'_>; 6] = [
        (with_app(""), None, &[], &["/bin/web", "-a"]),
        (with_app(""), None, &["x", "-y"], &["/bin/web", "-a", "x", "-y"]),
        (with_app(""), Some("/bin/other"), &[], &["/bin/other"]),
        (with_app(""), Some("other"), &["x"], &["other", "x"]),
        (image("a", ""), None, &["/bin/sh", "-c", "true"], &["/bin/sh", "-c", "true"]),
        (image("a", ""), Some("sh"), &["-c"], &["sh", "-c"]),
    ];
    for (image, exec, arguments, expected) in table {
        let app = app(image, |request| {
            request.exec = exec.map(str::to_owned);
            request.arguments = strings(arguments);
        });
        assert_eq!(app.exec, strings(expected));
    }
}

#[test]
fn what_is_asked_for_goes_over_the_manifest() {
    let more =
        r#", "workingDirectory": "/srv", "environment": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]"#;
    let changed = app(with_app(more), |request| {
        request.user = Some("joe".to_owned());
        request.group = Some("/etc/motd".to_owned());
        request.working_directory = Some("/tmp".to_owned());
        request.environment = [("B", "x"), ("C", "y")].map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
    });
    assert_eq!((changed.user.as_str(), changed.group.as_str()), ("joe", "/etc/motd"));
    assert_eq!(changed.working_directory.as_deref(), Some("/tmp"));
    let variables: Vec<(&str, &str)> =
        changed.environment.iter().map(|v| (v.name.as_str(), v.value.as_str())).collect();
    assert_eq!(variables, [("A", "1"), ("B", "x"), ("C", "y")]);
    let plain = app(with_app(more), |_| ());
    assert_eq!(Some(&plain), with_app(more).manifest.app.as_ref());
    // A command for an image without an app is root's, unless told otherwise.
    let command = app(image("a", ""), |request| {
        request.arguments = strings(&["id"]);
        request.group = Some("9".to_owned());
    });
    assert_eq!((command.user.as_str(), command.group.as_str()), ("0", "9"));
}

#[test]
fn an_image_without_an_app_is_a_console() {
    let plan = planned(image("a", ""), |request| request.read_only = true).unwrap();
    assert_eq!(plan.manifest.apps[0].app, None);
    assert!(plan.manifest.apps[0].read_only_root_fs);
}

#[test]
fn apps_are_called_after_their_images() {
    let table = [("example.com/web", "web"), ("busybox", "busybox"), ("example.com/my_app.v2", "my-app-v2")];
    for (name, expected) in table {
        let plan = planned(image(name, ""), |_| ()).unwrap();
        assert_eq!(plan.manifest.apps[0].name.as_str(), expected);
        let layers = vec![image(name, "").id.to_string()];
        assert_eq!(plan.apps, [AppPlan { name: expected.to_owned(), layers, disk: None }]);
    }
    let named = planned(image("a", ""), |request| request.name = Some("other".parse().unwrap())).unwrap();
    assert_eq!(named.apps[0].name, "other");
}

#[test]
fn the_manifest_knows_the_image_and_what_the_pod_is_to_be() {
    let labels = r#", "labels": [{"name": "version", "value": "1.2"}]"#;
    let apps = vec![AppRequest::of(image("example.com/a", labels))];
    let request = PodRequest {
        hostname: Some("box.example".to_owned()),
        annotations: vec![("example.com/note".to_owned(), "x".to_owned())],
        network: "host".to_owned(),
        ..request(apps)
    };
    let manifest = plan(request).unwrap().manifest;
    assert_eq!(manifest.annotations.get(HOSTNAME), Some("box.example"));
    assert_eq!(manifest.annotations.get(NETWORK), Some("host"));
    assert_eq!(manifest.annotations.get("example.com/note"), Some("x"));
    let image = &manifest.apps[0].image;
    assert_eq!(image.id, ImageId::from_digest(&[0xab; 64]));
    assert_eq!(image.name.as_ref().map(ToString::to_string).as_deref(), Some("example.com/a"));
    assert_eq!(image.labels.get("version"), Some("1.2"));
    // What is written down can be read again.
    assert_eq!(PodManifest::parse(manifest.to_json_pretty().as_bytes()).unwrap(), manifest);
}

#[test]
fn what_cannot_be_had_is_refused() {
    let volume = with_app(r#", "mountPoints": [{"name": "data", "path": "/proc/x"}]"#);
    type Change = fn(&mut AppRequest);
    let table: [(Image, Change, &str); 7] = [
        (volume, |_| (), "cannot mount a volume at /proc/x"),
        (image("a", ""), |r| r.user = Some("0".into()), "the image a has no app to change"),
        (image("a", ""), |r| r.environment = vec![("A".into(), "b".into())], "the image a has no app to change"),
        (
            with_app(""),
            |r| r.working_directory = Some("srv".into()),
            "the app web breaks the specification: workingDirectory",
        ),
        (with_app(""), |r| r.user = Some(String::new()), "the app web breaks the specification: user"),
        (
            with_app(""),
            |r| r.environment = vec![("1".into(), "b".into())],
            "the app web breaks the specification: environment",
        ),
        (with_app(""), |r| r.arguments = vec!["a\0b".into()], "the app web breaks the specification: exec[2]"),
    ];
    for (image, change, expected) in table {
        let error = planned(image, change).unwrap_err().one_line();
        assert!(error.starts_with(expected), "{error}");
    }
    for count in [0, 2] {
        let apps = vec![AppRequest::of(image("a", "")); count];
        let error = plan(request(apps)).unwrap_err();
        assert_eq!(error.to_string(), format!("a pod of {count} apps cannot be made"));
    }
}

#[test]
fn an_image_decides_nothing_about_the_pod() {
    let annotations = ["jetpack/jail.conf/persist", "jetpack/devfs-ruleset", "hostname", "ip-address", "jetpack/net"]
        .map(|name| format!(r#"{{"name": "{name}", "value": "0"}}"#));
    let plan = planned(image("a", &format!(r#", "annotations": [{}]"#, annotations.join(", "))), |_| ()).unwrap();
    let pod: Vec<_> = plan.manifest.annotations.iter().map(|a| (a.name.as_str(), a.value.as_str())).collect();
    assert_eq!((pod, plan.manifest.apps[0].annotations.len()), (vec![(NETWORK, "none")], 0));
}

#[test]
fn annotations_that_cannot_be_heeded_are_refused() {
    for (name, host, expected) in [
        ("jetpack/jail.conf/exec.start", "freebsd", Some("the annotation jetpack/jail.conf/exec.start cannot be had")),
        (
            "jetpack/jail.conf/allow.chflags",
            "linux",
            Some("the annotation jetpack/jail.conf/allow.chflags is for a jail"),
        ),
        ("jetpack/jail.conf/allow.chflags", "freebsd", None),
    ] {
        let app = AppRequest::of(image("a", ""));
        let annotations = vec![(name.to_owned(), "true".to_owned())];
        let planned = plan(PodRequest { annotations, host: Platform { os: host, ..LINUX }, ..request(vec![app]) });
        match (planned, expected) {
            (Ok(plan), None) => assert_eq!(plan.manifest.annotations.get(name), Some("true")),
            (planned, expected) => {
                let error = planned.unwrap_err().to_string();
                assert!(error.starts_with(expected.unwrap_or("none")), "{error}");
            }
        }
    }
}

#[test]
fn images_of_other_hosts_are_refused() {
    let labels = |os: &str, arch: &str| {
        let one = |name: &str, value: &str| format!(r#"{{"name": "{name}", "value": "{value}"}}"#);
        let all: Vec<String> =
            [("os", os), ("arch", arch)].iter().filter(|(_, v)| !v.is_empty()).map(|(n, v)| one(n, v)).collect();
        image("a", &format!(r#", "labels": [{}]"#, all.join(", ")))
    };
    for (os, arch) in [("", ""), ("linux", ""), ("linux", "amd64"), ("linux", "i386")] {
        planned(labels(os, arch), |_| {}).unwrap();
    }
    let table =
        [("freebsd", "amd64", "freebsd/amd64"), ("linux", "aarch64", "linux/aarch64"), ("freebsd", "", "freebsd")];
    for (os, arch, made_for) in table {
        let error = planned(labels(os, arch), |_| {}).unwrap_err().to_string();
        assert_eq!(error, format!("the image a is made for {made_for}, and this host is linux/amd64"));
    }
}

/// What hosts make of programs: those of other systems, too, where their kernels have them.
#[test]
fn programs_of_linux_run_where_the_kernel_runs_them() {
    let freebsd = |arch, foreign: &[Abi]| Platform { os: "freebsd", arch, foreign: foreign.to_vec() };
    type Case<'a> = (&'a str, &'a str, &'a str, Option<Abi>);
    let table: [Case<'_>; 10] = [
        ("amd64", "", "", Some(Abi::Native)),
        ("amd64", "freebsd", "i386", Some(Abi::Native)),
        ("amd64", "linux", "amd64", Some(Abi::Linux)),
        ("amd64", "linux", "", Some(Abi::Linux)),
        ("amd64", "linux", "i386", Some(Abi::Linux32)),
        ("amd64", "linux", "aarch64", None),
        ("aarch64", "linux", "aarch64", Some(Abi::Linux)),
        ("aarch64", "linux", "i386", None),
        ("i386", "linux", "i386", Some(Abi::Linux32)),
        ("amd64", "darwin", "", None),
    ];
    for (host, os, arch, expected) in table {
        assert_eq!(freebsd(host, &[]).abi(os, arch), expected, "{os}/{arch} on {host}");
    }
    assert_eq!(LINUX.abi("freebsd", "amd64"), None);
    let labels = r#", "labels": [{"name": "os", "value": "linux"}, {"name": "arch", "value": "amd64"}]"#;
    let planned = |foreign: &[Abi]| {
        let apps = vec![AppRequest::of(image("a", labels))];
        plan(PodRequest { host: freebsd("amd64", foreign), ..request(apps) })
    };
    planned(&[Abi::Linux]).unwrap();
    for without in [&[][..], &[Abi::Linux32]] {
        let error = planned(without).unwrap_err();
        let expected =
            "the image a is made for linux/amd64, and this host is freebsd/amd64, whose kernel has no module linux64";
        assert_eq!(error.to_string(), expected);
        assert!(error.help_line().is_some_and(|help| help.starts_with("`kldload linux64` loads it")));
    }
}

#[test]
fn volumes_have_one_name_each_and_those_that_nothing_has_are_told() {
    let volumes = |words: &[&str]| -> Vec<Volume> { words.iter().map(|word| word.parse().unwrap()).collect() };
    let with = |words: &[&str]| {
        let apps = vec![AppRequest::of(with_app(r#", "mountPoints": [{"name": "data", "path": "/data"}]"#))];
        plan(PodRequest { volumes: volumes(words), ..request(apps) })
    };
    let planned = with(&["data:/srv", "more"]).unwrap();
    assert_eq!(planned.manifest.volumes, volumes(&["data:/srv", "more"]));
    assert_eq!(planned.notices, ["nothing has the volume more: no mount point is called so, and no -m names it"]);
    let planned = with(&[]).unwrap();
    assert_eq!((planned.manifest.volumes, planned.notices.len()), (volumes(&["data"]), 1));
    assert_eq!(with(&["data", "a", "data:/x"]).unwrap_err().to_string(), "two volumes are called data");
}
