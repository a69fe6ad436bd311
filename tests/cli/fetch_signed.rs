//! Images that are found by their names, verified by their signatures, and come with what they depend on.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::support::archive::Archive;
use crate::support::command::{Jetpack, Output, or_skip};
use crate::support::gpg::Gpg;
use crate::support::pty::Terminal;
use crate::support::server::{Server, file, page, reply};

const ALICE: &str = "Alice <alice@example.com>";
const TEMPLATE: &str = "example.com https://example.com/files/{name}.{ext}";
const KEYS: &str = "https://example.com/keys.asc";

/// What a host publishes: images by their names, each with its signature, and its key.
struct Publisher<'a> {
    gpg: &'a Gpg,
    files: BTreeMap<String, Vec<u8>>,
}

impl<'a> Publisher<'a> {
    fn new(gpg: &'a Gpg) -> Publisher<'a> {
        gpg.key(ALICE, "ed25519", "sign", "0", &[]);
        Publisher { gpg, files: BTreeMap::from([(KEYS.to_owned(), gpg.export(ALICE))]) }
    }

    /// With an image that depends on others, unsigned.
    fn unsigned(mut self, name: &str, dependencies: &str) -> Publisher<'a> {
        let manifest = format!(
            r#"{{ "acKind": "ImageManifest", "acVersion": "0.8.11", "name": "{name}", "dependencies": [{dependencies}],
                  "app": {{ "exec": ["/bin/x"], "user": "0", "group": "0" }} }}"#
        );
        let own = name.rsplit('/').next().unwrap_or_default();
        let archive = Archive::with_manifest(&manifest).file(&format!("rootfs/{own}"), 0o644, own.as_bytes()).finish();
        self.files.insert(format!("https://example.com/files/{name}.aci"), archive);
        self
    }

    /// The same, signed.
    fn signed(self, jetpack: &Jetpack, name: &str, dependencies: &str) -> Publisher<'a> {
        let mut publisher = self.unsigned(name, dependencies);
        let url = format!("https://example.com/files/{name}.aci");
        let path = jetpack.file("to-sign.aci", &publisher.files[&url]);
        let signature = fs::read(publisher.gpg.sign(ALICE, &path, &[])).expect("a signature");
        publisher.files.insert(format!("{url}.asc"), signature);
        publisher
    }

    fn serve(self) -> Server {
        let files = self.files;
        Server::new(&["example.com"], move |request, out| match files.get(&request.url) {
            Some(contents) => file(request, out, contents),
            None if request.url == "https://example.com/?ac-discovery=1" => {
                let keys = format!("example.com {KEYS}");
                let tags = [("ac-discovery", TEMPLATE), ("ac-discovery-pubkeys", &keys)];
                reply(out, "200 OK", "", &page(&tags))
            }
            None => reply(out, "404 Not Found", "", b""),
        })
    }
}

/// Runs a command without any option that would let it do what is unsafe.
fn run(server: &Server, jetpack: &Jetpack, arguments: &[&str]) -> Output {
    Output::of_command(&mut server.command(jetpack, arguments), b"")
}

fn names(jetpack: &Jetpack) -> Vec<String> {
    let listed = jetpack.run(["images", "-H"]).success().stdout;
    let mut names: Vec<String> =
        listed.lines().filter_map(|l| l.split_whitespace().nth(1)).map(str::to_owned).collect();
    names.sort();
    names
}

/// How often each archive was asked for.
fn archives(server: &Server) -> Vec<String> {
    let mut urls: Vec<String> = server.urls().into_iter().filter(|url| url.ends_with(".aci")).collect();
    urls.sort();
    urls.iter()
        .filter_map(|url| url.strip_prefix("https://example.com/files/example.com/"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_key_is_found_and_trusted_for_its_name_only() {
    let gpg = or_skip!(Gpg::new());
    let jetpack = Jetpack::fake();
    let publisher = Publisher::new(&gpg).signed(&jetpack, "example.com/a", "").signed(&jetpack, "example.com/ab", "");
    let server = publisher.serve();
    let fingerprint = gpg.fingerprint(ALICE);
    // Nobody answers: the archive does not even come.
    let said = run(&server, &jetpack, &["fetch", "example.com/a"]).failure(125);
    assert!(said.contains("is by a key that is not trusted: there is no terminal to ask: trust key"), "{said}");
    let help =
        format!("help: to say yes, trust it first, with `jetpack trust --fingerprint {fingerprint} example.com/a`\n");
    assert!(said.ends_with(&help), "{said}");
    assert_eq!((names(&jetpack), jetpack.contents()), (vec![], vec![]));
    // Another key than that which is expected.
    let other = "0".repeat(40);
    let said = run(&server, &jetpack, &["trust", "--fingerprint", &other, "example.com/a"]).failure(125);
    assert!(said.contains(&format!("{KEYS} holds key {fingerprint}, not {other}")), "{said}");
    let trusted = run(&server, &jetpack, &["trust", "--fingerprint", &fingerprint, "example.com/a"]).success();
    assert_eq!(trusted.stdout, format!("{fingerprint}\n"));
    run(&server, &jetpack, &["fetch", "example.com/a"]).success();
    let said = run(&server, &jetpack, &["fetch", "example.com/ab"]).failure(125);
    assert!(said.contains("is by a key that is not trusted"), "{said}");
    assert_eq!(names(&jetpack), ["example.com/a"]);
    let shown = jetpack.run(["show-image", "example.com/a"]).success().stdout;
    assert!(shown.contains(&format!("by {ALICE} (key {fingerprint})")), "{shown}");
}

#[test]
fn the_person_at_the_terminal_is_asked() {
    let gpg = or_skip!(Gpg::new());
    let jetpack = Jetpack::fake();
    let server = Publisher::new(&gpg).signed(&jetpack, "example.com/a", "").serve();
    for (answer, code) in [("no", 125), ("yes", 0)] {
        let mut terminal = Terminal::start(&server.command(&jetpack, &["fetch", "example.com/a"]));
        let shown = terminal.expect("(yes/no)");
        assert!(shown.contains(&gpg.fingerprint(ALICE)) && shown.contains("alice@example.com"), "{shown}");
        assert!(shown.contains(KEYS) && shown.contains("never"), "{shown}");
        terminal.send(&format!("{answer}\n"));
        let (ended, rest) = terminal.end();
        assert_eq!(ended, code, "{rest}");
    }
    let listed = jetpack.run(["trust", "-H"]).success().stdout;
    assert!(listed.contains(" example.com/a ") && listed.lines().count() == 1, "{listed}");
    assert_eq!(names(&jetpack), ["example.com/a"]);
}

/// Trusts the key for everything of the host's.
fn trust(gpg: &Gpg, jetpack: &Jetpack) {
    let key = jetpack.file("key.asc", &gpg.export(ALICE));
    let key: &Path = &key;
    let words = ["trust", "--prefix", "example.com", "--fingerprint", &gpg.fingerprint(ALICE)];
    jetpack.run(words.iter().map(AsRef::as_ref).chain([key.as_os_str()])).success();
}

fn on(names: &[&str]) -> String {
    names.iter().map(|name| format!(r#"{{ "imageName": "example.com/{name}" }}"#)).collect::<Vec<_>>().join(", ")
}

#[test]
fn what_an_image_depends_on_comes_along_once() {
    let gpg = or_skip!(Gpg::new());
    let jetpack = Jetpack::fake();
    let publisher = Publisher::new(&gpg)
        .signed(&jetpack, "example.com/top", &on(&["left", "right"]))
        .signed(&jetpack, "example.com/left", &on(&["base"]))
        .signed(&jetpack, "example.com/right", &on(&["base", "left"]))
        .signed(&jetpack, "example.com/base", "");
    let top = publisher.files["https://example.com/files/example.com/top.aci"].clone();
    let server = publisher.serve();
    trust(&gpg, &jetpack);
    let all = ["example.com/base", "example.com/left", "example.com/right", "example.com/top"];
    let output = run(&server, &jetpack, &["fetch", "example.com/top"]).success();
    assert_eq!((output.stdout.lines().count(), output.stderr.as_str()), (1, ""));
    assert_eq!(names(&jetpack), all);
    assert_eq!(archives(&server), ["base.aci", "left.aci", "right.aci", "top.aci"]);
    // A file brings in what is missing, too, and nothing else.
    jetpack.run(["destroy-image", "example.com/top", "example.com/right"]).success();
    let local = jetpack.file("top.aci", &top);
    let words = ["--insecure-options", "image", "import", local.to_str().expect("a plain path")];
    run(&server, &jetpack, &words).success();
    assert_eq!((names(&jetpack), archives(&server)), (all.map(str::to_owned).to_vec(), vec!["right.aci".to_owned()]));
}

#[test]
fn a_dependency_that_may_not_come_stops_what_depends_on_it() {
    let gpg = or_skip!(Gpg::new());
    let jetpack = Jetpack::fake();
    let wrong = r#"{ "imageName": "example.com/base", "labels": [{ "name": "version", "value": "9" }] }"#;
    let id = format!(r#"{{ "imageName": "example.com/base", "imageID": "sha512-{}" }}"#, "0".repeat(128));
    let small = r#"{ "imageName": "example.com/base", "size": 100 }"#;
    let server = Publisher::new(&gpg)
        .signed(&jetpack, "example.com/top", &on(&["bare"]))
        .unsigned("example.com/bare", "")
        .signed(&jetpack, "example.com/base", "")
        .signed(&jetpack, "example.com/version", wrong)
        .signed(&jetpack, "example.com/id", &id)
        .signed(&jetpack, "example.com/small", small)
        .signed(&jetpack, "example.com/one", &on(&["two"]))
        .signed(&jetpack, "example.com/two", &on(&["three"]))
        .signed(&jetpack, "example.com/three", &on(&["two"]))
        .signed(&jetpack, "example.com/gone", &on(&["nowhere"]))
        .serve();
    trust(&gpg, &jetpack);
    let table = [
        ("top", "bare.aci.asc: 404 Not Found"),
        ("version", "the image has no label version, which is to be \"9\""),
        ("id", "not sha512-000000000000"),
        ("small", "it has more than 100 bytes"),
        ("one", "the images depend on one another: example.com/two (sha512-"),
        ("gone", "nowhere.aci: 404 Not Found"),
    ];
    for (name, expected) in table {
        let said = run(&server, &jetpack, &["fetch", &format!("example.com/{name}")]).failure(125);
        assert!(said.contains(expected), "{name}: {said}");
        assert!(said.contains("cannot bring in example.com/"), "{name}: {said}");
        assert_eq!((names(&jetpack), jetpack.contents()), (vec![], vec![]), "{name}");
    }
}

#[test]
fn what_is_to_run_is_fetched_unless_that_is_forbidden() {
    let gpg = or_skip!(Gpg::new());
    let jetpack = Jetpack::fake();
    let server = Publisher::new(&gpg).signed(&jetpack, "example.com/a", "").serve();
    trust(&gpg, &jetpack);
    let forbidden = ["-o", "allow.autodiscovery=off", "prepare", "example.com/a"];
    let said = run(&server, &jetpack, &forbidden).failure(125);
    assert!(
        said.starts_with("jetpack: there is no image \"example.com/a\"\nhelp: `allow.autodiscovery` is off"),
        "{said}"
    );
    let said = run(&server, &jetpack, &["run", "--pull", "never", "example.com/a"]).failure(125);
    assert!(said.starts_with("jetpack: there is no image \"example.com/a\"\n"), "{said}");
    let said = run(&server, &jetpack, &["prepare", "nothing"]).failure(125);
    assert!(said.starts_with("jetpack: there is no image \"nothing\"\n"), "{said}");
    assert_eq!(server.urls(), [""; 0]);
    run(&server, &jetpack, &["prepare", "example.com/a"]).success();
    assert_eq!(archives(&server), ["a.aci"]);
    run(&server, &jetpack, &["prepare", "example.com/a"]).success();
    assert_eq!(server.urls(), [""; 0]);
    let said = run(&server, &jetpack, &[&forbidden[..3], &["--pull", "always", "example.com/a"]].concat()).failure(125);
    assert!(said.starts_with("jetpack: cannot ask for example.com/a: `allow.autodiscovery` is off\nhelp: "), "{said}");
    assert_eq!(server.urls(), [""; 0]);
}

#[test]
fn what_was_let_in_once_is_verified_when_it_is_asked_for_again() {
    let gpg = or_skip!(Gpg::new());
    let jetpack = Jetpack::fake();
    let publisher = Publisher::new(&gpg).unsigned("example.com/a", "").signed(&jetpack, "example.com/b", "");
    let of_other_data = jetpack.file("other.asc", &publisher.files["https://example.com/files/example.com/b.aci.asc"]);
    let aci = "https://example.com/files/example.com/a.aci";
    let (unsigned, bare) = (publisher.files.clone(), Publisher { gpg: &gpg, files: publisher.files.clone() }.serve());
    let archive = jetpack.file("a.aci", &unsigned[aci]);
    trust(&gpg, &jetpack);
    let sure = ["--insecure-options", "image", "import", aci];
    run(&bare, &jetpack, &sure).success();
    // It is here, and has not changed; but nobody has said now that it needs no signature.
    for words in [&["import", aci][..], &["fetch", "--pull", "always", "example.com/a"]] {
        let said = run(&bare, &jetpack, words).failure(125);
        assert!(said.contains("a.aci.asc: 404 Not Found"), "{said}");
    }
    let wrong = of_other_data.to_str().expect("a plain path");
    let said = run(&bare, &jetpack, &["-o", "allow.no-signature=on", "import", "--sig", wrong, aci]).failure(125);
    assert!(said.contains("the signature is of other data"), "{said}");
    run(&bare, &jetpack, &["fetch", "example.com/a"]).success();
    bare.requests();
    run(&bare, &jetpack, &sure).success();
    assert_eq!(bare.urls(), [aci]);
    // Signed, it need not come twice.
    let mut files = unsigned;
    let signature = fs::read(gpg.sign(ALICE, &archive, &[])).expect("a signature");
    files.insert(format!("{aci}.asc"), signature);
    let server = Publisher { gpg: &gpg, files }.serve();
    run(&server, &jetpack, &["import", aci]).success();
    let shown = jetpack.run(["show-image", "example.com/a"]).success().stdout;
    assert!(shown.contains(&format!("by {ALICE}")), "{shown}");
    server.requests();
    run(&server, &jetpack, &["import", aci]).success();
    assert_eq!(server.urls(), [aci]);
    // Until its key is trusted no longer.
    jetpack.run(["untrust", &gpg.fingerprint(ALICE)]).success();
    let said = run(&server, &jetpack, &["import", aci]).failure(125);
    assert!(said.contains("is not trusted"), "{said}");
}

#[test]
fn keys_that_did_not_make_the_signature_are_not_offered() {
    let gpg = or_skip!(Gpg::new());
    let jetpack = Jetpack::fake();
    let other = gpg.key("Mallory", "ed25519", "sign", "0", &[]);
    let mut publisher = Publisher::new(&gpg).signed(&jetpack, "example.com/a", "");
    let foreign = gpg.export("Mallory");
    let both = [foreign.clone(), gpg.export(ALICE)].concat();
    publisher.files.insert(KEYS.to_owned(), both);
    let mut wrong = Publisher { gpg: &gpg, files: publisher.files.clone() };
    wrong.files.insert(KEYS.to_owned(), foreign);
    let said = run(&publisher.serve(), &jetpack, &["fetch", "example.com/a"]).failure(125);
    assert!(said.contains(&format!("trust key {} for", gpg.fingerprint(ALICE))) && !said.contains(&other), "{said}");
    let said = run(&wrong.serve(), &jetpack, &["fetch", "example.com/a"]).failure(125);
    let expected = format!("is not trusted: {KEYS} holds key {other}, not the one that made the signature\n");
    assert!(said.ends_with(&expected), "{said}");
}
