//! From a pod's manifest to a sandbox and an app: tables.

use super::*;

/// A pod's app, of which the manifest says this beside program and user.
fn runtime(more: &str) -> RuntimeApp {
    let text = format!(
        r#"{{"acKind": "PodManifest", "acVersion": "0.8.11", "apps": [{{"name": "web", "image": {{"id": "sha512-{}"}},
            "app": {{"exec": ["/bin/web", "-a"], "user": "www", "group": "staff"{more}}}}}]}}"#,
        "0".repeat(128)
    );
    crate::appc::PodManifest::parse(text.as_bytes()).unwrap().apps.remove(0)
}

const LINUX: Allowance<'_> = Allowance { has_capabilities: true, capabilities: &[] };

/// A pod's app without a program.
fn console() -> RuntimeApp {
    let mut app = runtime("");
    app.app = None;
    app
}

fn isolators(list: &str) -> RuntimeApp {
    runtime(&format!(r#", "isolators": [{list}]"#))
}

fn volume() -> VolumeMount {
    VolumeMount { source: "/v".into(), target: "/data".into(), read_only: false, of_host: None }
}

fn securelevel() -> Vec<Parameter> {
    parameters(&[("securelevel", "2")], &Annotations::default()).unwrap()
}

fn request<'a>(hostname: Option<&'a str>, own: bool, resolv_conf: Option<&str>) -> SandboxRequest<'a> {
    SandboxRequest {
        id: "1-2",
        name_prefix: "jetpack/",
        hostname,
        attachment: Attachment { own, addresses: vec![std::net::Ipv4Addr::LOCALHOST.into()] },
        root: RootFs::Directory { path: "/r".into() },
        read_only: true,
        abi: Abi::Linux,
        procfs: true,
        mounts: vec![volume()],
        resolv_conf: resolv_conf.map(str::to_owned),
        ruleset: 5,
        parameters: securelevel(),
        record: "/record".into(),
    }
}

#[test]
fn sandboxes() {
    let files = vec![(PathBuf::from("/etc/resolv.conf"), "nameserver 192.0.2.1\n".to_owned())];
    let expected = SandboxSpec {
        id: "1-2".to_owned(),
        name: "jetpack/1-2".to_owned(),
        hostname: "box".to_owned(),
        network: NetworkView::Own,
        addresses: vec![std::net::Ipv4Addr::LOCALHOST.into()],
        root: RootSpec {
            filesystem: RootFs::Directory { path: "/r".into() },
            read_only: true,
            abi: Abi::Linux,
            procfs: true,
            files,
            mounts: vec![volume()],
        },
        ruleset: 5,
        parameters: securelevel(),
        record: "/record".into(),
    };
    assert_eq!(sandbox(request(Some("box"), true, Some("nameserver 192.0.2.1\n"))), expected);
    let plain = sandbox(request(None, false, None));
    assert_eq!((plain.hostname.as_str(), plain.network, plain.root.files), ("1-2", NetworkView::Host, vec![]));
}

#[test]
fn an_app_is_what_its_manifest_says() {
    let more = r#", "supplementaryGIDs": [7, 8], "workingDirectory": "/srv",
        "environment": [{"name": "A", "value": "b"}],
        "eventHandlers": [{"name": "pre-start", "exec": ["/pre"]}, {"name": "post-stop", "exec": ["/post", "x"]}]"#;
    let expected = AppSpec {
        name: "web".to_owned(),
        program: Program::Exec(vec!["/bin/web".to_owned(), "-a".to_owned()]),
        user: "www".to_owned(),
        group: Some("staff".to_owned()),
        supplementary_gids: vec![7, 8],
        working_directory: "/srv".to_owned(),
        environment: vec![("A".to_owned(), "b".to_owned())],
        capabilities: DEFAULT_CAPABILITIES.map(str::to_owned).to_vec(),
        no_new_privileges: false,
        seccomp: Seccomp::Default,
        pre_start: Some(vec!["/pre".to_owned()]),
        post_stop: Some(vec!["/post".to_owned(), "x".to_owned()]),
        terminal: Some("vt220".to_owned()),
    };
    let prepared = app(&runtime(more), Some("vt220".to_owned()), LINUX);
    assert_eq!(prepared, Prepared { app: expected, notices: Vec::new() });
    let plain = app(&runtime(""), None, LINUX).app;
    assert_eq!(
        (plain.working_directory.as_str(), plain.pre_start, plain.post_stop, plain.terminal),
        ("/", None, None, None)
    );
}

#[test]
fn without_an_app_it_is_roots_console() {
    let spec = app(&console(), None, LINUX).app;
    assert_eq!(
        (spec.program, spec.user.as_str(), spec.group.as_deref()),
        (Program::Console("root".into()), "0", Some("0"))
    );
    assert_eq!(spec.capabilities.len(), 14);
}

#[test]
fn isolators_limit_or_are_reported() {
    let set = |name: &str, caps: &str| {
        format!(r#"{{"name": "os/linux/capabilities-{name}-set", "value": {{"set": [{caps}]}}}}"#)
    };
    let retain = set("retain", r#""CAP_NET_ADMIN", "CAP_KILL""#);
    let remove = set("remove", r#""CAP_MKNOD", "CAP_SYS_PTRACE""#);
    let no_new = r#"{"name": "os/linux/no-new-privileges", "value": true}"#;
    let memory = r#"{"name": "resource/memory", "value": {"limit": "1G"}}"#;
    let without_mknod: Vec<&str> = DEFAULT_CAPABILITIES.into_iter().filter(|c| *c != "CAP_MKNOD").collect();
    type Case<'a> = (String, bool, Vec<&'a str>, bool, &'a [&'a str]);
    let too_much = set("retain", r#""CAP_SYS_ADMIN", "CAP_KILL""#);
    let table: [Case<'_>; 7] = [
        (retain.clone(), true, vec!["CAP_NET_ADMIN", "CAP_KILL"], false, &[]),
        (
            too_much,
            true,
            vec!["CAP_KILL"],
            false,
            &[
                "isolator os/linux/capabilities-retain-set changed: CAP_SYS_ADMIN not given, as `allow.capabilities` in jetpack.conf does not name it",
            ],
        ),
        (remove, true, without_mknod, false, &[]),
        (no_new.to_owned(), true, DEFAULT_CAPABILITIES.to_vec(), true, &[]),
        (no_new.to_owned(), false, vec![], true, &[]),
        (
            retain,
            false,
            vec![],
            false,
            &["isolator os/linux/capabilities-retain-set ignored: this kernel has no capabilities"],
        ),
        (
            memory.to_owned(),
            true,
            DEFAULT_CAPABILITIES.to_vec(),
            false,
            &["isolator resource/memory ignored: this version does not support it"],
        ),
    ];
    for (list, has_capabilities, capabilities, no_new_privileges, ignored) in table {
        let allowance = Allowance { has_capabilities, capabilities: &["CAP_NET_ADMIN"] };
        let prepared = app(&isolators(&list), None, allowance);
        assert_eq!(prepared.app.capabilities, capabilities, "{list}");
        assert_eq!(prepared.app.no_new_privileges, no_new_privileges, "{list}");
        assert_eq!(prepared.notices, ignored, "{list}");
    }
}

#[test]
fn retaining_all_system_calls_is_to_have_no_filter() {
    let isolator = |set: &str| format!(r#"{{"name": "os/linux/seccomp-{set}}}"#);
    let ignored =
        |name: &str| vec![format!("isolator os/linux/seccomp-{name}-set ignored: this version does not support it")];
    let table = [
        (String::new(), Seccomp::Default, vec![]),
        (isolator(r#"retain-set", "value": {"set": ["@appc.io/all"]}"#), Seccomp::Unconfined, vec![]),
        (isolator(r#"retain-set", "value": {"set": ["read", "@appc.io/all"]}"#), Seccomp::Unconfined, vec![]),
        (isolator(r#"retain-set", "value": {"set": ["read", "write"]}"#), Seccomp::Default, ignored("retain")),
        (isolator(r#"remove-set", "value": {"set": ["@appc.io/all"]}"#), Seccomp::Default, ignored("remove")),
    ];
    for (list, seccomp, ignored) in table {
        let prepared = app(&isolators(&list), None, LINUX);
        assert_eq!((prepared.app.seccomp, prepared.notices), (seccomp, ignored), "{list}");
    }
}

fn command(user: Option<&str>, group: Option<&str>) -> Wanted {
    Wanted::Command(Command {
        arguments: vec!["ls".to_owned(), "-l".to_owned()],
        user: user.map(str::to_owned),
        group: group.map(str::to_owned),
        directory: None,
        environment: vec![("A".to_owned(), "new".to_owned()), ("C".to_owned(), "d".to_owned())],
    })
}

#[test]
fn a_command_is_as_the_app_but_for_what_was_asked() {
    let more = r#", "workingDirectory": "/srv", "supplementaryGIDs": [7], "environment": [{"name": "A", "value": "b"}],
        "eventHandlers": [{"name": "pre-start", "exec": ["/pre"]}, {"name": "post-stop", "exec": ["/post"]}]"#;
    let app = app(&runtime(more), None, LINUX).app;
    let made = wanted(app.clone(), command(None, None));
    let expected = AppSpec {
        program: Program::Exec(vec!["ls".to_owned(), "-l".to_owned()]),
        environment: vec![("A".to_owned(), "new".to_owned()), ("C".to_owned(), "d".to_owned())],
        pre_start: None,
        post_stop: None,
        ..app.clone()
    };
    assert_eq!(made, expected);
    for (given, expected) in [
        ((Some("joe"), None), ("joe", None, vec![])),
        ((Some("joe"), Some("mail")), ("joe", Some("mail"), vec![])),
        ((None, Some("mail")), ("www", Some("mail"), vec![7])),
    ] {
        let made = wanted(app.clone(), command(given.0, given.1));
        let got = (made.user.as_str(), made.group.as_deref(), made.supplementary_gids.clone());
        assert_eq!(got, expected, "{given:?}");
    }
}

#[test]
fn a_console_keeps_the_limits_and_nothing_else() {
    let more = r#", "environment": [{"name": "HOME", "value": "/tmp"}],
        "isolators": [{"name": "os/linux/no-new-privileges", "value": true}]"#;
    let made = wanted(app(&runtime(more), None, LINUX).app, Wanted::Console("joe".to_owned()));
    assert_eq!(
        (made.program, made.environment, made.no_new_privileges),
        (Program::Console("joe".to_owned()), vec![], true)
    );
}

#[test]
fn volumes_of_the_host_and_of_the_pod_are_mounted() {
    let point = r#", "mountPoints": [{"name": "read", "path": "/read", "readOnly": true}]"#;
    let mut runtime = runtime(point);
    let mut manifest = crate::appc::PodManifest::new();
    manifest.volumes = ["own", "all:/all", "one,kind=host,source=/one,recursive=false", "-kept:/kept"]
        .map(|text| text.parse().unwrap())
        .to_vec();
    let mount =
        |volume: &str, path: &str| Mount { volume: volume.parse().unwrap(), path: path.to_owned(), app_volume: None };
    runtime.mounts = vec![mount("own", "/o"), mount("all", "/read/"), mount("one", "/b"), mount("kept", "/c")];
    let expected = [
        ("/pod/own", "/o", false, None),
        ("/all", "/read/", true, Some(HostSource::WithMounts)),
        ("/one", "/b", false, Some(HostSource::Alone)),
        ("/kept", "/c", true, Some(HostSource::WithMounts)),
    ];
    let expected = expected.map(|(source, target, read_only, of_host)| VolumeMount {
        source: source.into(),
        target: target.into(),
        read_only,
        of_host,
    });
    assert_eq!(mounts(&manifest, &runtime, |name| Path::new("/pod").join(name)).unwrap(), expected);
    runtime.mounts = vec![mount("none", "/x")];
    let error = mounts(&manifest, &runtime, |_| PathBuf::new()).unwrap_err();
    assert_eq!(error.one_line(), "cannot mount the volume none at /x: the pod has none of that name");
    runtime.mounts = vec![Mount { app_volume: Some("own".parse().unwrap()), ..mount("own", "/x") }];
    assert!(mounts(&manifest, &runtime, |_| PathBuf::new()).is_err());
}
