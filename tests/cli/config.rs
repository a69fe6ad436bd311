//! `jetpack config`, the configuration file and `-o`

use std::process::Command;

use crate::support::command::{Jetpack, Output, program};

const FAKE: [&str; 2] = ["storage=fake", "isolation=fake"];

#[test]
fn values_are_shown_by_name_or_all_together() {
    let jetpack = Jetpack::uninitialized(&FAKE);
    assert_eq!(jetpack.run(["config", "run.net", "debug", "root.zfs.mountpoint"]).success().stdout, {
        format!("none\noff\n{}\n", jetpack.store().display())
    });
    let all = jetpack.run(["config"]).success().stdout;
    assert!(all.contains("\nrun.net = none\n") && all.contains("\nstorage = fake\n"), "{all}");
    let json: serde_json::Value =
        serde_json::from_str(&jetpack.run(["config", "--format", "json"]).success().stdout).expect("JSON");
    assert_eq!((&json["debug"], &json["ace.jailConf.securelevel"]), (&"off".into(), &"2".into()));
    let said = jetpack.run(["config", "run.nett"]).failure(125);
    assert_eq!(said, "jetpack: there is no configuration key \"run.nett\"\nhelp: `jetpack config` lists them\n");
}

#[test]
fn options_before_and_behind_the_command_are_heeded_in_order() {
    let jetpack = Jetpack::uninitialized(&FAKE);
    let words = ["-o", "mds.port=1", "-o", "debug", "config", "-o", "mds.port=2", "mds.port", "debug", "storage"];
    assert_eq!(jetpack.run(words).success().stdout, "2\non\nfake\n");
}

#[test]
fn options_go_over_the_file_and_the_file_over_the_defaults() {
    let jetpack = Jetpack::uninitialized(&FAKE);
    let value = |arguments: &[&str]| jetpack.run(arguments).success().stdout;
    assert_eq!(value(&["config", "allow.http"]), "off\n");
    jetpack.file("jetpack.conf", b"allow.http = yes\n");
    assert_eq!(value(&["config", "allow.http"]), "yes\n");
    assert_eq!(value(&["-o", "allow.http=no", "config", "allow.http"]), "no\n");
    assert_eq!(value(&["config", "-o", "allow.http", "allow.http"]), "on\n");
    assert_eq!(value(&["-o", "allow.http=no", "-o", "allow.http=1", "config", "allow.http"]), "1\n");
}

#[test]
fn the_file_is_named_by_an_option_or_the_environment() {
    let jetpack = Jetpack::uninitialized(&FAKE);
    let (one, two) = (jetpack.file("one.conf", b"mds.port = 1\n"), jetpack.file("two.conf", b"mds.port = 2\n"));
    let port = |arguments: &[&std::ffi::OsStr]| {
        let mut command = Command::new(program());
        command.env_clear().env("JETPACK_CONF", &one).args(arguments).args(["config", "mds.port"]);
        Output::of(command.output().expect("the command ends")).success().stdout
    };
    assert_eq!(port(&[]), "1\n");
    assert_eq!(port(&["--config".as_ref(), two.as_os_str()]), "2\n");
    // Scripts that want the defaults name this.
    assert_eq!(port(&["--config".as_ref(), "/dev/null".as_ref()]), "1104\n");
    let none = jetpack.path("none.conf");
    let said = jetpack.run(["--config".as_ref(), none.as_os_str(), "images".as_ref()]);
    // The option stands twice, which is wrong usage; the environment cannot.
    assert_eq!(said.code, 125);
    let mut command = Command::new(program());
    command.env_clear().env("JETPACK_CONF", &none).arg("config");
    let said = Output::of(command.output().expect("the command ends")).failure(125);
    let expected = format!("jetpack: cannot read the configuration: cannot read {}: No such file", none.display());
    assert!(said.starts_with(&expected), "{said}");
}

#[test]
fn unknown_keys_are_a_warning_with_what_was_meant() {
    let jetpack = Jetpack::fake();
    let conf = jetpack.file("jetpack.conf", b"# nothing\nallow.no-signatures = on\n");
    let output = jetpack.run(["images", "-H"]).success();
    let expected = format!(
        "jetpack: warning: {}:2: unknown key allow.no-signatures, did you mean allow.no-signature?\n",
        conf.display()
    );
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("", &*expected));
    assert_eq!(jetpack.run(["-q", "images"]).success().stderr, "");
    jetpack.file("jetpack.conf", b"");
    let said = jetpack.run(["-o", "debgu", "images"]).success().stderr;
    assert_eq!(said, "jetpack: warning: -o debgu: unknown key debgu, did you mean debug?\n");
}

#[test]
fn wrong_settings_name_their_place() {
    let jetpack = Jetpack::fake();
    let table = [
        ("storage = floppy\n", ":1: storage must be one of overlay, dir, zfs, fake; not floppy\n"),
        ("\ndebug = perhaps\n", ":2: debug must be one of on, off"),
        ("root.path\n", ":1: "),
        ("run.net = ${none}\n", ":1: "),
        ("ace.dns-servers = dns\n", ":1: ace.dns-servers must be IP addresses, separated by blanks; \"dns\" is none\n"),
        ("jail.namePrefix = a.b\n", ":1: jail.namePrefix must have no `.` and no `:`; not \"a.b\"\n"),
    ];
    for (text, expected) in table {
        let conf = jetpack.file("jetpack.conf", text.as_bytes());
        let mut command = Command::new(program());
        command.env_clear().arg("--config").arg(&conf).args(["-o", "isolation=fake", "images"]);
        let said = Output::of(command.output().expect("the command ends")).failure(125);
        let start = format!("jetpack: cannot read the configuration: {}{expected}", conf.display());
        assert!(said.starts_with(&start), "expected: {start}\nfound: {said}");
    }
    // Where the configuration is broken, this still answers.
    assert!(jetpack.run(["version"]).success().stdout.starts_with("jetpack "));
}

#[test]
fn secrets_are_shown_by_name_alone() {
    let jetpack = Jetpack::uninitialized(&FAKE);
    let conf = jetpack.file("jetpack.conf", b"mds.token-key = 5ec2e7\npath.share = /${mds.token-key}\n");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(conf, open).expect("a mode");
    for format in ["text", "json"] {
        let all = jetpack.run(["--format", format, "config"]).success();
        assert!(!all.stdout.contains("5ec2e7") && all.stdout.contains("(hidden)"), "{}", all.stdout);
        assert_eq!(all.stderr, "");
    }
    let one = jetpack.run(["config", "mds.token-key"]);
    if nix::unistd::geteuid().is_root() {
        assert_eq!(one.success().stdout, "5ec2e7\n");
    } else {
        assert_eq!(one.failure(125), "jetpack: mds.token-key is secret\nhelp: only root may see it\n");
    }
}
