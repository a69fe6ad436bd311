//! Images that are signed: `import`, `show-image`, `export`, `init --from`

use std::fs;
use std::path::{Path, PathBuf};

use super::versioned;
use crate::support::archive::compressed;
use crate::support::command::{Jetpack, or_skip};
use crate::support::gpg::{Gpg, made_beforehand, place_key, shown_fingerprint};

const NAME: &str = "example.com/app";

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// An archive in a file beside the store.
fn archive(jetpack: &Jetpack, version: &str) -> PathBuf {
    jetpack.file(&format!("app-{version}.aci"), &compressed("gzip", &versioned(NAME, version)))
}

/// Trusts somebody's key for a prefix.
fn trust(jetpack: &Jetpack, gpg: &Gpg, user: &str, prefix: &str) {
    let key = jetpack.file("key.asc", &gpg.export(user));
    jetpack.run(["trust", "--prefix", prefix, "--fingerprint", &gpg.fingerprint(user), text(&key)]).success();
}

fn record(jetpack: &Jetpack, image: &str) -> serde_json::Value {
    let shown = jetpack.run(["--format", "json", "show-image", image]).success().stdout;
    serde_json::from_str(&shown).expect("JSON")
}

#[test]
fn signatures_of_gnupg_are_good_whatever_the_key() {
    let gpg = or_skip!(Gpg::new());
    for algorithm in ["rsa2048", "dsa2048", "ed25519", "nistp256", "subkey"] {
        let user = format!("{algorithm} <{algorithm}@example.com>");
        let fingerprint = match algorithm {
            "subkey" => {
                let fingerprint = gpg.key(&user, "ed25519", "cert", "0", &[]);
                gpg.run(&["--quick-add-key", &fingerprint, "rsa2048", "sign", "0"]);
                fingerprint
            }
            algorithm => gpg.key(&user, algorithm, "sign", "1y", &[]),
        };
        let jetpack = Jetpack::fake();
        trust(&jetpack, &gpg, &user, NAME);
        let file = archive(&jetpack, "1");
        let signature = fs::read(gpg.sign(&user, &file, &[])).expect("a signature");
        let output = jetpack.run(["import", text(&file)]).success();
        assert_eq!(output.stderr, "", "{algorithm}");
        let shown = record(&jetpack, NAME);
        let signer = &shown["trust"]["signed"][0];
        assert_eq!((&signer["fingerprint"], &signer["user_id"]), (&fingerprint.clone().into(), &user.clone().into()));
        let shown = jetpack.run(["show-image", NAME]).success().stdout;
        let line = format!("signature   by {user} (key {fingerprint}) on 20");
        assert!(shown.contains(&line), "{shown}");
        // It comes back with its signature, which GnuPG knows again.
        let back = jetpack.path("back.aci");
        let told = jetpack.run(["--format", "json", "export", NAME, text(&back)]).success().stdout;
        let told: serde_json::Value = serde_json::from_str(&told).expect("JSON");
        assert_eq!(told["signature"], format!("{}.asc", back.display()));
        assert_eq!(fs::read(jetpack.path("back.aci.asc")).expect("a signature"), signature);
        gpg.run(&["--verify", told["signature"].as_str().expect("a path"), text(&back)]);
    }
}

#[test]
fn what_is_wrong_is_said_and_nothing_is_kept() {
    let gpg = or_skip!(Gpg::new());
    let past = ["--faked-system-time", "20240101T000000"];
    let alice = gpg.key("Alice", "ed25519", "sign", "0", &[]);
    let old = gpg.key("Old", "ed25519", "sign", "2024-06-01", &past);
    let lost = gpg.key("Lost", "ed25519", "sign", "0", &[]);
    gpg.key("Mallory", "ed25519", "sign", "0", &[]);
    let jetpack = Jetpack::fake();
    let file = archive(&jetpack, "1");
    let other = archive(&jetpack, "2");
    for user in ["Alice", "Lost"] {
        trust(&jetpack, &gpg, user, NAME);
    }
    gpg.revoke(&lost);
    let keys = jetpack.path("jetpack/trustedkeys/prefix.d/example.com,app");
    place_key(&keys, &lost, &gpg.export("Lost"));
    place_key(&keys, &old, &gpg.export("Old"));
    let signatures = [
        ("Mallory", fs::read(gpg.sign("Mallory", &file, &[])).expect("it"), "is not trusted".to_owned()),
        (
            "other",
            fs::read(gpg.sign("Alice", &other, &[])).expect("it"),
            format!("of other data, by key {alice} of Alice"),
        ),
        (
            "sha-1",
            fs::read(gpg.sign("Alice", &file, &["--digest-algo", "SHA1"])).expect("it"),
            "uses SHA1, which is no longer secure".to_owned(),
        ),
        (
            "old",
            fs::read(gpg.sign("Old", &file, &["--faked-system-time", "20240201T000000"])).expect("it"),
            format!("the key expired on 2024-06-01T12:00:00Z, by key {old}"),
        ),
        ("text", fs::read(gpg.sign("Alice", &file, &["--textmode"])).expect("it"), "no signature of a file".to_owned()),
        ("garbage", b"<html>not found</html>".to_vec(), "it is nothing of OpenPGP".to_owned()),
        ("nothing", Vec::new(), "there is nothing in it".to_owned()),
    ];
    for (case, signature, expected) in &signatures {
        jetpack.file("app-1.aci.asc", signature);
        for allowed in [&[][..], &["-o", "allow.no-signature"]] {
            let said = jetpack.run(allowed.iter().chain(&["import", text(&file)])).failure(125);
            assert!(said.contains(expected), "{case}: {said}");
            assert_eq!(jetpack.contents(), [""; 0], "{case}");
        }
        let output = jetpack.run(["--insecure-options", "image", "import", text(&file)]).success();
        assert!(output.stderr.contains("; that is ignored"), "{case}: {}", output.stderr);
        assert_eq!(record(&jetpack, NAME)["trust"], "unsigned", "{case}");
        assert!(jetpack.run(["show-image", NAME]).success().stdout.contains("signature   none (allowed by"));
        jetpack.run(["destroy-image", NAME]).success();
    }
}

#[test]
fn a_key_is_one_for_its_names_only() {
    let gpg = or_skip!(Gpg::new());
    gpg.key("Alice", "ed25519", "sign", "0", &[]);
    for (prefix, name, good) in [
        ("example.com/a", "example.com/a", true),
        ("example.com/a", "example.com/a/b", true),
        ("example.com/a", "example.com/ab", false),
    ] {
        let jetpack = Jetpack::fake();
        trust(&jetpack, &gpg, "Alice", prefix);
        let file = jetpack.file("x.aci", &versioned(name, "1"));
        gpg.sign("Alice", &file, &[]);
        for asked in [&[][..], &["--name", name]] {
            let output = jetpack.run(["import", text(&file)].iter().chain(asked));
            if good {
                output.success();
                continue;
            }
            let said = output.failure(125);
            assert!(said.contains(&format!("the signature does not count for {name}: Alice (key ")), "{said}");
            assert!(
                said.contains(&format!("`jetpack trust --prefix {name} {}", jetpack.path("jetpack").display())),
                "{said}"
            );
            assert_eq!(jetpack.contents(), [""; 0]);
            assert_eq!(fs::read_dir(jetpack.store().join("tmp")).expect("it").count(), 0);
        }
    }
}

#[test]
fn a_signature_may_be_anywhere() {
    let gpg = or_skip!(Gpg::new());
    gpg.key("Alice", "ed25519", "sign", "0", &[]);
    let jetpack = Jetpack::fake();
    trust(&jetpack, &gpg, "Alice", "example.com");
    let file = archive(&jetpack, "1");
    let signature = jetpack.path("elsewhere");
    fs::rename(gpg.sign("Alice", &file, &[]), &signature).expect("it moves");
    let bytes = fs::read(&file).expect("the archive");
    let again = || jetpack.run(["destroy-image", NAME]).success();
    assert!(jetpack.run(["import", text(&file)]).failure(125).contains(" is not signed\n"));
    jetpack.run(["import", "--sig", text(&signature), text(&file)]).success();
    again();
    jetpack.run(["import", "--sig", &format!("file://{}", signature.display()), text(&file)]).success();
    again();
    jetpack.run_with_input(["import", "--sig", text(&signature), "-"], &bytes).success();
    again();
    let of_stdin = fs::read(&signature).expect("it");
    jetpack.run_with_input(["import", "--sig", "-", text(&file)], &of_stdin).success();
    let said = jetpack.run(["import", "--sig", "-", "-"]).failure(125);
    assert!(said.contains("standard input cannot be an image and its signature"), "{said}");
    let said = jetpack.run(["import", "--sig", text(&jetpack.path("none")), text(&file)]).failure(125);
    assert!(said.starts_with("jetpack: cannot open "), "{said}");
}

#[test]
fn a_signature_that_comes_later_is_kept_and_goes_where_the_image_goes() {
    let gpg = or_skip!(Gpg::new());
    gpg.key("Alice", "ed25519", "sign", "0", &[]);
    let jetpack = Jetpack::fake();
    let id = jetpack.import(&versioned(NAME, "1"));
    let unsigned = jetpack.path("unsigned.aci");
    jetpack.run(["export", NAME, text(&unsigned)]).success();
    assert!(!jetpack.path("unsigned.aci.asc").exists());
    // What was there beside it is of something else.
    jetpack.file("unsigned.aci.asc", b"old");
    let warned = jetpack.run(["export", NAME, text(&unsigned)]).success().stderr;
    assert!(warned.contains("unsigned.aci.asc is there already, and is no signature"), "{warned}");
    trust(&jetpack, &gpg, "Alice", "example.com");
    let file = archive(&jetpack, "1");
    let signature = fs::read(gpg.sign("Alice", &file, &[])).expect("a signature");
    let again = jetpack.run(["import", text(&file)]).success();
    assert_eq!(again.stdout.trim(), id);
    let check = |jetpack: &Jetpack| {
        let shown = record(jetpack, NAME);
        assert_eq!((&shown["trust"]["signed"][0]["user_id"], &shown["compression"]), (&"Alice".into(), &"gzip".into()));
        let out = jetpack.path("out.aci");
        jetpack.run(["export", NAME, text(&out)]).success();
        assert_eq!(fs::read(&out).expect("it"), fs::read(&file).expect("it"));
        assert_eq!(fs::read(jetpack.path("out.aci.asc")).expect("it"), signature);
    };
    check(&jetpack);
    // Without one it stays as it is.
    jetpack.import(&versioned(NAME, "1"));
    check(&jetpack);
    let new = Jetpack::uninitialized(&["storage=fake", "isolation=fake"]);
    new.run(["init".as_ref(), "--from".as_ref(), jetpack.store().as_os_str()]).success();
    check(&new);
    let flat = new.path("flat.aci");
    new.run(["export", "--flat", NAME, text(&flat)]).success();
    assert!(!new.path("flat.aci.asc").exists());
}

/// What runs on hosts without GnuPG, by tests/freebsd/trust.sh, too.
#[test]
fn signatures_that_were_made_beforehand() {
    let image = made_beforehand("app.tar.gz");
    let jetpack = Jetpack::fake();
    let keys = jetpack.path("jetpack/trustedkeys/prefix.d/example.com");
    let import = |signature: &str| jetpack.run(["import", "--sig", text(&made_beforehand(signature)), text(&image)]);
    for (name, bad) in [
        ("rsa", None),
        ("ed25519", None),
        ("nistp256", None),
        ("subkey", None),
        ("expired", Some("the key expired on 2024-06-01")),
        ("revoked", Some("the key was revoked (")),
    ] {
        let key = made_beforehand(&format!("{name}.key"));
        place_key(&keys, &shown_fingerprint(&jetpack, &key), &fs::read(&key).expect("a key"));
        match (import(&format!("{name}.asc")), bad) {
            (output, None) => drop(output.success()),
            (output, Some(why)) => assert!(output.failure(125).contains(why), "{name}"),
        }
    }
    for (name, why) in [("other", "of other data"), ("sha1", "uses SHA1"), ("text", "no signature of a file")] {
        assert!(import(&format!("{name}.asc")).failure(125).contains(why), "{name}");
    }
}
