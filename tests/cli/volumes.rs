//! `-v` and `-m`: what a person says of volumes, and what the pod's manifest says then.

use super::scripted;
use crate::support::command::Jetpack;

const POINTS: &str = r#", "mountPoints": [{"name": "data", "path": "/srv/data"}, {"name": "conf", "path": "/etc/app", "readOnly": true}]"#;

fn store() -> Jetpack {
    let jetpack = Jetpack::fake();
    jetpack.import(&scripted("example.com/app", "exit 0", POINTS).finish());
    std::fs::create_dir(jetpack.path("source")).expect("a directory");
    jetpack
}

#[test]
fn volumes_are_in_the_manifest_and_mounted() {
    let jetpack = store();
    let source = jetpack.path("source").to_string_lossy().into_owned();
    let (long, short) = (format!("data,kind=host,source={source},recursive=false"), format!("-more:{source}"));
    let words = [
        "prepare",
        "-n",
        "-v",
        &long,
        "-v",
        &short,
        "-v",
        "unused",
        "example.com/app",
        "-m",
        "more:/more",
        "-m",
        "more:conf",
    ];
    let output = jetpack.run(words).success();
    let manifest: serde_json::Value = serde_json::from_str(&output.stdout).expect("JSON");
    let volumes = serde_json::json!([
        { "name": "data", "kind": "host", "source": source, "recursive": false },
        { "name": "more", "kind": "host", "source": source, "readOnly": true },
        { "name": "unused", "kind": "empty", "mode": "0755", "uid": 0, "gid": 0 },
    ]);
    assert_eq!(manifest["volumes"], volumes);
    let mounts = serde_json::json!([
        { "volume": "more", "path": "/etc/app" },
        { "volume": "more", "path": "/more" },
        { "volume": "data", "path": "/srv/data" },
    ]);
    assert_eq!(manifest["apps"][0]["mounts"], mounts);
    // The manifest alone is asked for: nothing is told.
    assert_eq!(output.stderr, "");
    let pod = jetpack.run([&["prepare"], &words[2..]].concat()).success();
    let told = "jetpack: warning: nothing has the volume unused: no mount point is called so, and no -m names it\n";
    assert_eq!(pod.stderr, told);
    let kept = jetpack.run(["manifest", pod.stdout.trim()]).success().stdout;
    assert_eq!(serde_json::from_str::<serde_json::Value>(&kept).expect("JSON"), manifest);
}

#[test]
fn what_cannot_be_is_refused() {
    let jetpack = store();
    let source = jetpack.path("source").to_string_lossy().into_owned();
    let host = format!("data:{source}");
    let none = format!("data:{source}/none");
    type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a str, &'a str);
    let table: [Case<'_>; 9] = [
        (&["-v", "data,kind=tmpfs"], &[], "\"tmpfs\" is not a kind of volume (empty, host)", ""),
        (&["-v", "Data"], &[], "\"Data\" is not an AC name", ""),
        (&["-v", "data:relative"], &[], "\"relative\" is not an absolute path", ""),
        (&["-v", &host, "-v", "data"], &[], "two volumes are called data", ""),
        (&["-v", &none], &[], "cannot be the volume data: there is no such directory or file", "help: make it first"),
        (
            &[],
            &["-m", "data"],
            "the pod has no volume data",
            "help: define it before the image: `-v data,kind=host,source=PATH`",
        ),
        (
            &["-v", "a"],
            &["-m", "a"],
            "app has no mount point called \"a\"",
            "help: it has data, conf; any path will do: `-m a:/PATH`",
        ),
        (
            &["-v", "a", "-v", "b"],
            &["-m", "a:/x", "-m", "b:/x/"],
            "app would have two volumes at /x/",
            "help: mount one",
        ),
        (&["-v", "a"], &["-m", "a:"], "write VOLUME or VOLUME:PATH", ""),
    ];
    let before = jetpack.contents();
    for (pod, app, expected, help) in table {
        for command in [&["prepare"][..], &["prepare", "-n"], &["run"]] {
            let error = jetpack.run([command, pod, &["example.com/app"], app].concat()).failure(125);
            assert!(error.contains(expected) && error.contains(help), "{pod:?} {app:?}: {error}");
        }
        assert_eq!(jetpack.contents(), before, "{pod:?} {app:?}");
    }
}

#[test]
fn a_pod_that_is_there_has_its_volumes_already() {
    let jetpack = store();
    let pod = jetpack.run(["-q", "prepare", "example.com/app"]).success().stdout.trim().to_owned();
    for words in [&["run", "-v", "more", &pod][..], &["run", &pod, "-m", "data"]] {
        let error = jetpack.run(words).failure(125);
        assert!(error.contains("what it runs was settled when it was prepared"), "{error}");
    }
    jetpack.run(["run", &pod]).success();
}
