//! What a pod is annotated with: `prepare -a`, `run -a`.

use super::with_script;

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn a_pod_has_the_annotations_that_it_was_given() {
    let jetpack = with_script("exit 0");
    let arguments = ["-a", "example.com/note=a=b c", "--net", "host", "-a", "hostname=box.example", "example.com/app"];
    let dry = jetpack.run(["prepare", "-n"].iter().chain(&arguments)).success().stdout;
    let expected = serde_json::json!([
        { "name": "jetpack/net", "value": "host" },
        { "name": "example.com/note", "value": "a=b c" },
        { "name": "hostname", "value": "box.example" }
    ]);
    assert_eq!(json(&dry)["annotations"], expected);
    let pod = jetpack.run(["prepare"].iter().chain(&arguments)).success().stdout;
    assert_eq!(jetpack.run(["manifest", pod.trim()]).success().stdout, dry);
    let said = jetpack.run(["run", "-a", "other=x", pod.trim()]).failure(125);
    assert!(said.contains("is a pod: what it runs was settled when it was prepared"), "{said}");
    assert_eq!(jetpack.run(["run", pod.trim()]).success().stderr, "");
}

#[test]
fn annotations_that_mean_nothing_here_are_refused() {
    let jetpack = with_script("exit 0");
    let before = jetpack.contents();
    let table: [(&[&str], &str); 11] = [
        (&["-a", "hostname"], "write NAME=VALUE"),
        (&["-a", "No=x"], "cannot annotate the pod with No: "),
        (&["-a", "a=x", "-a", "a=y"], "cannot annotate the pod with a: it is given twice"),
        (&["--hostname", "x", "-a", "hostname=x"], "cannot annotate the pod with hostname: it is given twice"),
        (&["-a", "hostname=a b"], "\"a b\" is no hostname\nhelp: "),
        (&["-a", "jetpack/net=host"], "cannot annotate the pod with jetpack/net\nhelp: `--net` chooses"),
        (&["-a", "jetpack/jails.conf/x=1"], "there is no annotation jetpack/jails.conf/x\nhelp: "),
        (&["-a", "ip-address=192.0.2"], "the annotation ip-address is \"192.0.2\"\nhelp: "),
        (&["-a", "jetpack/devfs-ruleset=0"], "the annotation jetpack/devfs-ruleset is \"0\"\nhelp: "),
        (&["-a", "jetpack/jail.conf/exec.start=x"], "exec.start cannot be had: the jail parameter exec.start is "),
        (&["-a", "jetpack/jail.conf/host.hostuuid=x"], "the jail parameter host.hostuuid is the pod's UUID\nhelp: "),
    ];
    for (arguments, expected) in table {
        for command in ["prepare", "run"] {
            let said = jetpack.run([command].iter().chain(arguments).chain(&["example.com/app"])).failure(125);
            assert!(said.contains(expected), "{command} {arguments:?}: {said}");
            assert_eq!(jetpack.contents(), before, "{command} {arguments:?}");
        }
    }
}

/// Annotations for jails are refused where there are none, and so is an address that no network gives. What is in the
/// configuration is for hosts that have jails.
#[test]
fn what_is_for_jails_is_not_for_other_hosts() {
    if std::env::consts::OS != "linux" {
        return;
    }
    let jetpack = with_script("exit 0");
    for (annotation, expected) in [
        (
            "jetpack/jail.conf/securelevel=1",
            "the annotation jetpack/jail.conf/securelevel is for a jail, and this host",
        ),
        (
            "jetpack/devfs-ruleset=5",
            "the annotation jetpack/devfs-ruleset is for a jail, and this host has none\nhelp: ",
        ),
        (
            "ip-address=127.0.0.1",
            "no network of this host gives a pod the addresses of the annotation ip-address\nhelp: ",
        ),
    ] {
        let said = jetpack.run(["prepare", "-a", annotation, "example.com/app"]).failure(125);
        assert!(said.contains(expected), "{said}");
    }
    for configured in ["ace.jailConf.securelevel=x", "ace.jailConf.exec.start=x", "ace.jailConf.nosuch=1"] {
        assert_eq!(jetpack.run(["run", "--destroy", "-o", configured, "example.com/app"]).success().stderr, "");
    }
    // A pod that was prepared elsewhere.
    let pod = jetpack.run(["prepare", "example.com/app"]).success().stdout.trim().to_owned();
    let manifest = jetpack.store().join("state/prepared").join(&pod).join("manifest");
    let text = std::fs::read_to_string(&manifest).expect("the manifest");
    let more = r#""annotations": [{ "name": "jetpack/jail.conf/securelevel", "value": "1" }, "#;
    std::fs::write(&manifest, text.replace(r#""annotations": ["#, more)).expect("the manifest");
    assert_eq!(
        jetpack.run(["run", &pod]).success().stderr,
        "jetpack: warning: the annotation jetpack/jail.conf/securelevel is ignored: this host has no jails\n"
    );
}
