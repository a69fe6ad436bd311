//! `prepare`, `list`, `manifest`, `destroy`

use super::{scripted, with_script};
use crate::support::archive::{Archive, manifest};
use crate::support::command::Jetpack;

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn a_prepared_pod_is_printed_listed_and_destroyed() {
    let jetpack = with_script("exit 0");
    let (images, saved) = (jetpack.contents(), jetpack.path("id"));
    let pod = jetpack.run(["prepare", "--saveid", saved.to_str().expect("plain"), "example.com/app"]).success().stdout;
    assert_eq!(std::fs::read_to_string(saved).expect("the UUID"), pod);
    let pod = pod.trim();
    uuid::Uuid::parse_str(pod).expect("a UUID");
    let listed = jetpack.run(["list", "-H"]).success().stdout;
    let words: Vec<&str> = listed.split_whitespace().collect();
    assert_eq!((&words[..2], &words[words.len() - 2..]), (&[pod, "prepared"][..], &["app", "(example.com/app)"][..]));
    assert!(jetpack.run(["list"]).success().stdout.starts_with("UUID  "));
    assert_eq!(jetpack.run(["list", "-q"]).success().stdout, format!("{pod}\n"));
    let shown = json(&jetpack.run(["list", "--format", "json"]).success().stdout);
    let id = jetpack.run(["images", "-q"]).success().stdout;
    let apps = serde_json::json!([{ "name": "app", "image": "example.com/app", "id": id.trim() }]);
    assert_eq!((&shown[0]["uuid"], &shown[0]["state"], &shown[0]["apps"]), (&pod.into(), &"prepared".into(), &apps));
    assert_eq!(jetpack.run(["destroy", &pod[..8]]).success().stdout, "");
    assert_eq!(jetpack.contents(), images);
    jetpack.run(["destroy", pod]).failure(125);
}

#[test]
fn json_names_the_pod() {
    let jetpack = with_script("exit 0");
    let shown = json(&jetpack.run(["prepare", "--format", "json", "example.com/app"]).success().stdout);
    assert!(shown["uuid"].is_string());
}

#[test]
fn a_dry_run_makes_nothing() {
    let jetpack = with_script("exit 0");
    let before = jetpack.contents();
    let arguments = ["prepare", "-n", "--hostname", "box.example", "example.com/app", "--env", "A=b", "--", "x", "-y"];
    let shown = json(&jetpack.run(arguments).success().stdout);
    assert_eq!(jetpack.contents(), before);
    let id = jetpack.run(["images", "-q"]).success().stdout;
    let expected = serde_json::json!({
        "acKind": "PodManifest",
        "acVersion": "0.8.11",
        "apps": [{
            "name": "app",
            "image": { "id": id.trim(), "name": "example.com/app" },
            "app": {
                "exec": ["/bin/app", "x", "-y"], "user": "0", "group": "0",
                "environment": [{ "name": "A", "value": "b" }]
            }
        }],
        "annotations": [{ "name": "jetpack/net", "value": "none" }, { "name": "hostname", "value": "box.example" }]
    });
    assert_eq!(shown, expected);
}

#[test]
fn the_manifest_of_a_pod_is_that_of_the_dry_run() {
    let jetpack = with_script("exit 0");
    let arguments = ["--net", "host", "example.com/app", "--name", "other", "--readonly-rootfs"];
    let dry = jetpack.run(["prepare", "-n"].iter().chain(&arguments)).success().stdout;
    let pod = jetpack.run(["prepare"].iter().chain(&arguments)).success().stdout;
    assert_eq!(jetpack.run(["manifest", pod.trim()]).success().stdout, dry);
    let shown = json(&dry);
    assert_eq!((&shown["apps"][0]["name"], &shown["apps"][0]["readOnlyRootFS"]), (&"other".into(), &true.into()));
    assert_eq!(shown["annotations"][0]["value"], "host");
}

#[test]
fn what_cannot_be_prepared_leaves_nothing() {
    let jetpack = with_script("exit 0");
    let volume = r#", "mountPoints": [{ "name": "data", "path": "/dev" }]"#;
    jetpack.import(&scripted("volume", "exit 0", volume).finish());
    jetpack.import(&Archive::with_manifest(&manifest("plain", None)).finish());
    let before = jetpack.contents();
    let table: [(&[&str], &str); 14] = [
        (&["volume"], "cannot mount a volume at /dev: the runtime mounts its own there"),
        (&["plain", "--user", "0"], "the image plain has no app to change\nhelp: name a program"),
        (&["example.com/app", "plain"], "a pod of 2 apps cannot be made\nhelp: this version"),
        (&["--net", "bridge", "example.com/app"], "there is no network \"bridge\"\nhelp: choose `none` or `host`"),
        (&["--hostname", "a b", "example.com/app"], "\"a b\" is no hostname\nhelp: "),
        (&["--hostname", &"a".repeat(65), "example.com/app"], "is no hostname\nhelp: "),
        (
            &["example.com/app", "--usr", "x"],
            "cannot read the app \"example.com/app\": unexpected argument '--usr' found",
        ),
        (&["example.com/app", "--user"], "a value is required for '--user <USER>'"),
        (&["example.com/app", "--env", "A"], "write NAME=VALUE"),
        (&["example.com/app", "--env", "1=b"], "\"1\" is not the name of an environment variable"),
        (&["example.com/app", "--workdir", "srv"], "workingDirectory: \"srv\" is not an absolute path"),
        (&["example.com/app", "--name", "No_Name"], "--name"),
        (&["example.com/app", "--disk", "1.5G"], "write a size such as 512M or 10G"),
        (
            &["example.com/app", "--disk", "1G"],
            "cannot limit what an app's root holds (--disk)\nhelp: keep the store in ZFS",
        ),
    ];
    for (arguments, expected) in table {
        for command in ["prepare", "run"] {
            let said = jetpack.run([command].iter().chain(arguments)).failure(125);
            assert!(said.contains(expected), "{command} {arguments:?}: {said}");
            assert_eq!(jetpack.contents(), before, "{command} {arguments:?}");
        }
    }
}

#[test]
fn a_pod_whose_id_cannot_be_saved_is_not_kept() {
    let jetpack = with_script("exit 0");
    let (before, nowhere) = (jetpack.contents(), jetpack.path("none/id"));
    for command in ["prepare", "run"] {
        let said = jetpack.run([command, "--saveid", nowhere.to_str().expect("plain"), "example.com/app"]).failure(125);
        let expected = format!("jetpack: cannot write the id to {}: No such file or directory", nowhere.display());
        assert!(said.starts_with(&expected), "{command}: {said}");
        assert_eq!(jetpack.contents(), before, "{command}");
    }
}

#[test]
fn several_pods_are_destroyed_at_once_and_broken_ones_are_listed() {
    let jetpack = with_script("exit 0");
    let images = jetpack.contents();
    let pods = [(); 3].map(|()| jetpack.run(["prepare", "example.com/app"]).success().stdout.trim().to_owned());
    std::fs::write(jetpack.store().join("state/prepared").join(&pods[0]).join("manifest"), "{}").expect("a manifest");
    let listed = jetpack.run(["list", "-H"]).success().stdout;
    let broken = listed.lines().find(|line| line.starts_with(&pods[0])).expect("the broken pod");
    assert!(broken.contains("  broken  ") && broken.contains("cannot read the manifest"), "{broken}");
    assert_eq!(listed.lines().filter(|line| line.contains("  prepared  ")).count(), 2, "{listed}");
    jetpack.run(["destroy"].into_iter().chain(pods.iter().map(String::as_str))).success();
    assert_eq!(jetpack.contents(), images);
}

#[test]
fn a_half_made_pod_is_rubbish_that_can_be_destroyed() {
    let jetpack = with_script("exit 0");
    let images = jetpack.contents();
    let pod = jetpack.run(["prepare", "example.com/app"]).success().stdout.trim().to_owned();
    let state = jetpack.store().join("state");
    std::fs::rename(state.join("prepared").join(&pod), state.join("preparing").join(&pod)).expect("the directory");
    let listed = jetpack.run(["list", "-H"]).success().stdout;
    assert!(listed.contains("  deleting  "), "{listed}");
    let said = jetpack.run(["run", &pod]).failure(125);
    let expected = format!(
        "jetpack: pod {pod} cannot run: it is deleting\nhelp: remove what is left of it with `jetpack destroy {pod}`\n"
    );
    assert_eq!(said, expected);
    jetpack.run(["destroy", &pod]).success();
    assert_eq!(jetpack.contents(), images);
}

#[test]
fn a_root_is_the_images_and_apart_from_it() {
    let jetpack = Jetpack::fake();
    let archive =
        scripted("a", "exit 0", "").file("rootfs/etc/motd", 0o640, b"hello").symlink("rootfs/link", "etc/motd");
    let id = jetpack.import(&archive.finish());
    let pod = jetpack.run(["prepare", "a"]).success().stdout.trim().to_owned();
    let root = jetpack.store().join("pods").join(&pod).join("apps/a/root");
    assert_eq!(std::fs::read_to_string(root.join("link")).expect("a link to a file"), "hello");
    std::fs::write(root.join("etc/motd"), "changed").expect("a file of the pod");
    let layer = jetpack.store().join("layers").join(id).join("etc/motd");
    assert_eq!(std::fs::read_to_string(layer).expect("the image's file"), "hello");
}
