//! `jetpack trust` and `jetpack untrust`

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::command::{Jetpack, or_skip};
use crate::support::gpg::{Gpg, place_key};
use crate::support::pty::Terminal;

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

fn listed(jetpack: &Jetpack) -> serde_json::Value {
    serde_json::from_str(&jetpack.run(["--format", "json", "trust"]).success().stdout).expect("JSON")
}

#[test]
fn keys_are_listed_and_removed() {
    let gpg = or_skip!(Gpg::new());
    let alice = gpg.key("Alice <alice@example.com>", "ed25519", "sign", "2y", &[]);
    let old = gpg.key("Old", "ed25519", "sign", "2024-06-01", &["--faked-system-time", "20240101T000000"]);
    let jetpack = Jetpack::fake();
    assert_eq!(jetpack.run(["trust"]).success().stdout, "FINGERPRINT  PREFIX  STATE  EXPIRES  OF  USER\n");
    let key = jetpack.file("key.asc", &gpg.export("Alice"));
    for scope in [&["--root"][..], &["--prefix", "example.com/a"]] {
        let output = jetpack.run(["trust"].iter().chain(scope).chain(&["--fingerprint", &alice, text(&key)]));
        let output = output.success();
        assert_eq!(output.stdout, format!("{alice}\n"));
        assert!(output.stderr.contains("user       Alice <alice@example.com>\n"), "{}", output.stderr);
    }
    let place = jetpack.path("jetpack/trustedkeys/prefix.d/example.com,a");
    let file = place.join(alice.to_lowercase());
    assert!(fs::read_to_string(&file).expect("a key").contains("-----BEGIN PGP PUBLIC KEY BLOCK-----"));
    assert_eq!(fs::metadata(&file).expect("it").permissions().mode() & 0o777, 0o644);
    place_key(&place, &old, &gpg.export("Old"));
    let rows = jetpack.run(["trust", "-H"]).success().stdout;
    let rows: Vec<Vec<&str>> = rows.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!((rows.len(), &rows[0][..3]), (3, &[&*alice, "(all)", "good"][..]), "{rows:?}");
    let expired = rows.iter().find(|row| row[0] == old).expect("the expired one");
    assert_eq!(expired[1..], ["example.com/a", "expired", "2024-06-01", "local", "Old"]);
    let json = listed(&jetpack);
    assert_eq!((&json[0]["prefix"], &json[0]["state"]), (&serde_json::Value::Null, &"good".into()));
    assert_eq!(json[0]["user_ids"], serde_json::json!(["Alice <alice@example.com>"]));
    assert_eq!(jetpack.run(["-q", "trust"]).success().stdout.lines().count(), 3);

    let spaced: Vec<String> =
        alice.as_bytes().chunks(4).map(|four| String::from_utf8_lossy(four).into_owned()).collect();
    let said = jetpack.run(["untrust", "--prefix", "example.com", &spaced.join(" ")]).failure(125);
    let expected =
        format!("key {alice} is not trusted for example.com, but for images of every name and example.com/a\n");
    assert!(said.ends_with(&expected), "{said}");
    jetpack.run(["untrust", "--root", &spaced.join(" ")]).success();
    assert_eq!(listed(&jetpack).as_array().map(Vec::len), Some(2));
    jetpack.run(["untrust", &alice, &old]).success();
    assert_eq!((listed(&jetpack), place.exists()), (serde_json::json!([]), false));
    let said = jetpack.run(["untrust", &alice]).failure(125);
    assert_eq!(said, format!("jetpack: key {alice} is not trusted, and neither is any other\n"));
}

#[test]
fn an_empty_file_takes_the_vendors_key_away() {
    let gpg = or_skip!(Gpg::new());
    let vendor = gpg.key("Vendor", "ed25519", "sign", "0", &[]);
    let jetpack = Jetpack::fake();
    let share = jetpack.path("share");
    jetpack.configure(&format!("path.share = {}\n", share.display()));
    let place = share.join("trustedkeys/root.d");
    place_key(&place, &vendor, &gpg.export("Vendor"));
    assert_eq!((&listed(&jetpack)[0]["owner"], &listed(&jetpack)[0]["state"]), (&"vendor".into(), &"good".into()));
    let said = jetpack.run(["-v", "untrust", &vendor]).success().stderr;
    assert!(said.contains(&format!("key {vendor} is the vendor's: ")), "{said}");
    let empty = jetpack.path("jetpack/trustedkeys/root.d").join(vendor.to_lowercase());
    assert_eq!(fs::read(&empty).expect("a file"), b"");
    assert_eq!(listed(&jetpack)[0]["state"], "untrusted");
    let key = place.join(vendor.to_lowercase());
    // Whoever is asked is told.
    let said = jetpack.run(["trust", "--prefix", "example.com", text(&key)]).failure(125);
    assert!(said.contains(&format!("\nuntrusted  by {}\n", empty.display())), "{said}");
    jetpack.run(["trust", "--root", "--fingerprint", &vendor, text(&key)]).success();
    assert_eq!((&listed(&jetpack)[0]["owner"], &listed(&jetpack)[0]["state"]), (&"local".into(), &"good".into()));
}

#[test]
fn somebody_has_to_say_yes() {
    let gpg = or_skip!(Gpg::new());
    let alice = gpg.key("Alice", "ed25519", "sign", "0", &[]);
    let bob = gpg.key("Bob", "ed25519", "sign", "0", &[]);
    let jetpack = Jetpack::fake();
    let key = jetpack.file("key.asc", &gpg.export("Alice"));
    let command = ["trust", "--prefix", "example.com/a", text(&key)];
    let said = jetpack.run(command).failure(125);
    assert!(said.contains(&format!("there is no terminal to ask: trust key {alice} for example.com/a?\n")), "{said}");
    assert!(said.ends_with(&format!("help: to say yes, pass --fingerprint {alice}\n")), "{said}");
    let said = jetpack.run(command.iter().chain(&["--fingerprint", &bob])).failure(125);
    assert_eq!(said, format!("jetpack: {} holds key {alice}, not {bob}\n", key.display()));
    assert_eq!(listed(&jetpack), serde_json::json!([]));
    let question = format!("trust key {alice} for example.com/a? (yes/no) ");
    for (answer, code) in [("no\r", 125), ("maybe\ryes\r", 0)] {
        let mut terminal = Terminal::start(&jetpack.command(command));
        let shown = terminal.expect(&question);
        assert!(shown.contains("user       Alice\r\n") && shown.contains("expires    never\r\n"), "{shown}");
        terminal.send(answer);
        let (ended, said) = terminal.end();
        assert_eq!(ended, code, "{said}");
        assert_eq!(said.contains("no key was trusted"), code != 0, "{said}");
    }
    // Nobody sees a question that goes into a file.
    let said = jetpack.path("said");
    let inner = jetpack.command(command);
    let mut redirected = Command::new("sh");
    redirected.args(["-c", "out=$1; shift; exec \"$@\" 2>\"$out\"", "sh"]).arg(&said);
    redirected.arg(inner.get_program()).args(inner.get_args());
    redirected.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut terminal = Terminal::start(&redirected);
    terminal.send("no\r");
    assert_eq!(terminal.end().0, 125);
    let said = fs::read_to_string(said).expect("what was said");
    assert!(said.contains("there is no terminal to ask"), "{said}");
    // Of two keys in a file, each is asked about.
    let two = jetpack.file("two.asc", &[gpg.export("Alice"), gpg.export("Bob")].concat());
    let mut terminal = Terminal::start(&jetpack.command(["trust", "--root", text(&two)]));
    terminal.expect(&format!("trust key {alice} for images of every name? (yes/no) "));
    terminal.send("no\r");
    terminal.expect(&format!("trust key {bob} for images of every name? (yes/no) "));
    terminal.send("yes\r");
    assert_eq!(terminal.end().0, 0);
    let states: Vec<_> = listed(&jetpack).as_array().expect("a list").iter().map(|key| key["prefix"].clone()).collect();
    assert_eq!(states, [serde_json::Value::Null, "example.com/a".into()]);
}

#[test]
fn keys_that_cannot_be_good_are_refused() {
    let gpg = or_skip!(Gpg::new());
    let past = ["--faked-system-time", "20240101T000000"];
    let old = gpg.key("Old", "ed25519", "sign", "2024-06-01", &past);
    let lost = gpg.key("Lost", "ed25519", "sign", "0", &[]);
    gpg.revoke(&lost);
    let certifying = gpg.key("Certifying", "ed25519", "cert", "0", &[]);
    let jetpack = Jetpack::fake();
    for (user, fingerprint, why) in [
        ("Old", &old, "it expired on 2024-06-01T12:00:00Z"),
        ("Lost", &lost, "it was revoked ("),
        ("Certifying", &certifying, "it has no key in force that makes signatures"),
    ] {
        let key = jetpack.file("key.asc", &gpg.export(user));
        let said = jetpack.run(["trust", "--root", "--fingerprint", fingerprint, text(&key)]).failure(125);
        assert!(said.contains(&format!("jetpack: key {fingerprint} cannot be trusted: {why}")), "{said}");
    }
    // One that has taken the place of others stands beside them.
    let new = gpg.key("New", "ed25519", "sign", "0", &[]);
    let all = jetpack.file("keys.asc", &[gpg.export("Old"), gpg.export("Lost"), gpg.export("New")].concat());
    let mut terminal = Terminal::start(&jetpack.command(["trust", "--root", text(&all)]));
    let shown = terminal.expect(&format!("trust key {new} for images of every name? (yes/no) "));
    assert!(shown.contains(&format!("warning: key {old} cannot be trusted: it expired on")), "{shown}");
    terminal.send("yes\r");
    assert_eq!(terminal.end(), (0, format!("yes\r\n{new}\r\n")));
    // A secret key is no secret any more when it is sent around, and is not kept.
    let alice = gpg.key("Alice", "ed25519", "sign", "0", &[]);
    let secret = gpg.run(&["--armor", "--export-secret-keys", "Alice"]);
    let warned = jetpack.run_with_input(["trust", "--root", "--fingerprint", &alice, "-"], &secret).success().stderr;
    assert!(warned.contains("standard input holds the secret key, too; only the public one is kept"), "{warned}");
    let kept = jetpack.path("jetpack/trustedkeys/root.d").join(alice.to_lowercase());
    assert!(fs::read_to_string(kept).expect("a key").starts_with("-----BEGIN PGP PUBLIC KEY BLOCK-----"));
}

#[test]
fn usage_says_what_is_missing() {
    let jetpack = Jetpack::fake();
    let key = jetpack.file("key.asc", b"words");
    let said = jetpack.run(["trust", text(&key)]).failure(125);
    assert!(said.ends_with(" and --root in its place means all images\n"), "{said}");
    let said = jetpack.run(["trust", "--root", text(&key)]).failure(125);
    let expected = format!("jetpack: cannot read the keys in {}: it is nothing of OpenPGP\n", key.display());
    assert_eq!(said, expected);
    let some = "00".repeat(20);
    let wrong: [&[&str]; 6] = [
        &["trust", "--root"],
        &["trust", "--fingerprint", &some],
        &["trust", "--root", "--prefix", "a", "x"],
        &["trust", "-H", "--root", "x"],
        &["untrust"],
        &["untrust", "12"],
    ];
    for arguments in wrong {
        jetpack.run(arguments).failure(125);
    }
    // What others can write is not believed.
    let open = jetpack.path("jetpack/trustedkeys");
    fs::create_dir_all(&open).expect("a directory");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).expect("its mode");
    let warned = jetpack.run(["trust"]).success().stderr;
    assert!(warned.contains("trustedkeys is not used: others than its owner can write it (mode 0777)"), "{warned}");
}
