use std::cell::RefCell;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::PathBuf;

use sequoia_openpgp::Cert;
use sequoia_openpgp::cert::CipherSuite;
use sequoia_openpgp::serialize::SerializeInto;
use sequoia_openpgp::types::{HashAlgorithm, KeyFlags, ReasonForRevocation, SignatureType};

use super::testing::*;
use super::*;
use crate::config::Config;
use crate::sys::testing::Scratch;

const DATA: &[u8] = b"an archive\r\nof two lines\n";

fn keystore(scratch: &Scratch) -> Keystore {
    let share = format!("path.share={}", scratch.path().join("share").display());
    let file = scratch.path().join("etc/jetpack.conf");
    Keystore::of(&Config::parse("linux", &file, b"", &[share]).unwrap())
}

fn local(scratch: &Scratch, name: &str) -> PathBuf {
    scratch.path().join("etc/jetpack/trustedkeys").join(name)
}

fn vendor(scratch: &Scratch, name: &str) -> PathBuf {
    scratch.path().join("share/trustedkeys").join(name)
}

/// Writes a file that nobody else can write, whatever the umask is.
fn put(path: &Path, bytes: &[u8]) {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

fn name(text: &str) -> AcIdentifier {
    text.parse().unwrap()
}

fn prefix(text: &str) -> Scope {
    Scope::Prefix(name(text))
}

fn fingerprint(cert: &Cert) -> Fingerprint {
    Fingerprint::of(&cert.fingerprint())
}

/// What is said of `DATA` with this signature, by who trusts these keys for `example.com/a`.
fn verify(certs: &[&Cert], signature: &[u8]) -> Result<Verified> {
    let scratch = Scratch::new();
    let keystore = keystore(&scratch);
    for cert in certs {
        keystore.trust(&prefix("example.com/a"), &as_key(cert)).unwrap();
    }
    let keys = keystore.load().unwrap();
    let signature = Signature::read(signature, "x.aci.asc")?;
    let warn = |text: &str| panic!("{text}");
    let check = Check { name: None, signature: Some(&signature), keys: &keys, policy: Policy::default(), warn: &warn };
    Verified::copy(&mut &*DATA, &scratch.path().join("copy"), "x.aci", &check)
}

/// The error of it: the text, and the help.
fn refused(certs: &[&Cert], signature: &[u8]) -> (String, String) {
    let error = verify(certs, signature).expect_err("it is refused");
    (error.one_line(), error.help_line().unwrap_or_default().to_owned())
}

#[test]
fn good_signatures_are_good() {
    let suites = [CipherSuite::Cv25519, CipherSuite::P256, CipherSuite::P384];
    let mut certs: Vec<Cert> = suites.iter().map(|suite| key_of("Alice", *suite)).collect();
    certs.extend([v6_key("Alice"), key_with_subkey("Alice")]);
    let stranger = plain_key("Mallory");
    for cert in &certs {
        for armored in [true, false] {
            let signature = sign(cert, DATA, &How { armored, ..How::default() });
            let verified = verify(&[&stranger, cert], &signature).unwrap();
            let Trust::Signed(signers) = verified.trust() else { panic!("{:?}", verified.trust()) };
            assert_eq!(signers.len(), 1);
            assert_eq!((&signers[0].fingerprint, &*signers[0].user_id), (&fingerprint(cert), "Alice"));
            let mut copied = Vec::new();
            verified.reader().unwrap().read_to_end(&mut copied).unwrap();
            assert_eq!((&*copied, verified.size()), (DATA, DATA.len() as u64));
            assert_eq!(verified.signature(), Some(&*signature));
        }
    }
}

#[test]
fn one_good_signature_of_several_is_enough() {
    let [alice, bob] = ["Alice", "Bob"].map(plain_key);
    let [by_alice, by_bob, of_else] = [plainly(&alice, DATA), plainly(&bob, DATA), plainly(&alice, b"else")];
    for parts in [[&by_bob, &by_alice], [&by_alice, &by_bob], [&of_else, &by_alice]] {
        let verified = verify(&[&alice], &parts.map(Vec::as_slice).concat()).unwrap();
        assert!(matches!(verified.trust(), Trust::Signed(signers) if signers[0].user_id == "Alice"));
    }
    let verified = verify(&[&alice, &bob], &[by_alice, by_bob].concat()).unwrap();
    assert!(matches!(verified.trust(), Trust::Signed(signers) if signers.len() == 2));
}

/// Checks what is said of the signature `how` of `data` by a key that is trusted as it is now, and what helps.
#[track_caller]
fn fault(now: &Cert, data: &[u8], how: &How, text: &str, help: &str) {
    let (said, helped) = refused(&[now], &sign(now, data, how));
    assert!(said.starts_with("cannot verify the signature x.aci.asc: "), "{said}");
    assert!(said.contains(text), "{said}");
    let user = primary_user(now);
    assert!(said.ends_with(&format!(", by key {} of {user}", fingerprint(now))), "{said}");
    assert!(helped.contains(help), "{helped}");
}

fn primary_user(cert: &Cert) -> String {
    as_key(cert).user_ids().remove(0)
}

const ANEW: &str = "sign it anew";

fn made(days_ago: u32) -> How {
    How { made: ago(days_ago), ..How::default() }
}

#[test]
fn faults_of_keys_have_their_own_words() {
    let alice = plain_key("Alice");
    let stolen = revoked(&alice, ReasonForRevocation::KeyCompromised);
    fault(&stolen, DATA, &made(1), "the key was revoked (Key material has been compromised: a test)", ANEW);
    // Whoever has the key could have dated the signature back.
    let retired = revoked(&alice, ReasonForRevocation::KeyRetired);
    fault(&retired, DATA, &made(5), "the key was revoked (Key is retired", ANEW);
    let expired = key("Old", |builder| builder.set_validity_period(DAY * 5));
    for days in [2, 7] {
        fault(&expired, DATA, &made(days), "the key expired on 20", "`jetpack trust --prefix example.com/a FILE`");
    }
    fault(&alice, DATA, &made(20), "before the key was made (20", ANEW);
    let mute = key("Mute", |builder| builder.set_primary_key_flags(KeyFlags::empty().set_certification()));
    fault(&mute, DATA, &made(1), "the key cannot sign: ", ANEW);
}

#[test]
fn faults_of_signatures_have_their_own_words() {
    let alice = plain_key("Alice");
    fault(&alice, b"else", &made(1), "the signature is of other data", "damaged");
    let short = How { lasts: Some(DAY), ..made(5) };
    fault(&alice, DATA, &short, "the signature expired on 20", ANEW);
    let future = How { made: ago(0) + DAY, ..made(1) };
    fault(&alice, DATA, &future, "the signature is of the future (20", ANEW);
    let sha1 = How { hash: HashAlgorithm::SHA1, ..made(1) };
    fault(&alice, DATA, &sha1, "the signature uses SHA1, which is no longer secure", ANEW);
    let of_text = How { kind: SignatureType::Text, ..made(1) };
    fault(&alice, DATA, &of_text, "it is no signature of a file", ANEW);
}

#[test]
fn an_unknown_key_is_named_with_the_command_that_trusts_it() {
    let [alice, bob] = ["Alice", "Bob"].map(plain_key);
    let (said, help) = refused(&[&alice], &plainly(&bob, DATA));
    assert_eq!(said, format!("cannot verify the signature x.aci.asc: key {} is not trusted", fingerprint(&bob)));
    assert!(help.contains("`jetpack trust --prefix NAME FILE`"), "{help}");
    // What is wrong with a key that is known is told, too, and helped with first.
    let both = [plainly(&bob, DATA), plainly(&alice, b"else")].concat();
    let (said, help) = refused(&[&alice], &both);
    assert!(said.contains("is not trusted; the signature is of other data"), "{said}");
    assert!(help.contains("damaged"), "{help}");
}

#[test]
fn what_is_no_signature_is_refused_before_anything_is_read() {
    let alice = plain_key("Alice");
    let huge = vec![b'a'; 300_000];
    let many = plainly(&alice, DATA).repeat(9);
    let cut = sign(&alice, DATA, &How { armored: false, ..How::default() });
    let mut secret = Vec::new();
    secret.extend(alice.as_tsk().armored().to_vec().unwrap());
    let table: [(&str, &[u8], &str); 8] = [
        ("empty", b"", "there is nothing in it"),
        ("huge", &huge, "there are more than 262144 bytes"),
        ("text", b"not found\n", "it is nothing of OpenPGP"),
        ("bytes", b"\xff\x00\x01garbage", "it is no signature"),
        ("cut", &cut[..cut.len() / 2], ""),
        ("key", &public(&alice), "it holds a PGP PUBLIC KEY BLOCK"),
        ("secret key", &secret, "it holds a PGP PRIVATE KEY BLOCK"),
        ("many", &many, "it holds more than 8 signatures"),
    ];
    for (case, bytes, text) in table {
        let said = verify(&[&alice], bytes).expect_err(case).one_line();
        assert!(said.starts_with("cannot read the signature x.aci.asc: ") || case == "cut", "{case}: {said}");
        assert!(said.contains(text), "{case}: {said}");
    }
}

/// Gives some bytes and then fails.
struct Broken(usize);

impl Read for Broken {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(self.0);
        self.0 -= count;
        if count == 0 { Err(std::io::Error::other("the wire is cut")) } else { Ok(count) }
    }
}

#[test]
fn a_source_that_fails_is_no_matter_of_signatures() {
    let scratch = Scratch::new();
    let (alice, keys) = (plain_key("Alice"), Keys::default());
    let signature = Signature::read(&*plainly(&alice, DATA), "x.aci.asc").unwrap();
    // What ends early is not imported even where a bad signature is gone over.
    let policy = Policy { allow_unsigned: true, allow_bad: true };
    let warn = |text: &str| panic!("{text}");
    let check = Check { name: None, signature: Some(&signature), keys: &keys, policy, warn: &warn };
    for length in [0, 100, 1_000_000] {
        let place = scratch.path().join(length.to_string());
        let error = Verified::copy(&mut Broken(length), &place, "x.aci", &check).unwrap_err();
        assert_eq!(error.one_line(), "cannot copy x.aci into the store: the wire is cut");
    }
}

#[test]
fn a_prefix_ends_where_a_part_of_a_name_ends() {
    for (scope, image, covers) in [
        (prefix("example.com/a"), "example.com/a", true),
        (prefix("example.com/a"), "example.com/a/b", true),
        (prefix("example.com/a"), "example.com/ab", false),
        (prefix("example.com/a"), "example.com", false),
        (prefix("example.com/a"), "example.org/example.com/a", false),
        (prefix("example.com"), "example.com.evil/a", false),
        (Scope::Root, "anything", true),
    ] {
        assert_eq!(scope.covers(&name(image)), covers, "{scope} {image}");
    }
}

#[test]
fn keys_count_for_their_names_only() {
    let scratch = Scratch::new();
    let keystore = keystore(&scratch);
    let [alice, root] = ["Alice", "Root"].map(plain_key);
    let file = keystore.trust(&prefix("example.com/a"), &as_key(&alice)).unwrap();
    keystore.trust(&Scope::Root, &as_key(&root)).unwrap();
    let keys = keystore.load().unwrap();
    let warned = RefCell::new(Vec::new());
    let warn = |text: &str| warned.borrow_mut().push(text.to_owned());
    let verify = |cert: &Cert, image: Option<&str>, allow_bad: bool| {
        let signature = Signature::read(&*plainly(cert, DATA), "x.aci.asc").unwrap();
        let image = image.map(name);
        let policy = Policy { allow_unsigned: allow_bad, allow_bad };
        let check = Check { name: image.as_ref(), signature: Some(&signature), keys: &keys, policy, warn: &warn };
        let place = scratch.path().join("copy");
        let _ = fs::remove_file(&place);
        Verified::copy(&mut &*DATA, &place, "x.aci", &check)
    };
    assert!(verify(&alice, Some("example.com/a/b"), false).is_ok());
    assert!(verify(&root, Some("anything"), false).is_ok());
    assert!(verify(&root, None, false).unwrap().nameless().is_ok());
    let expected = format!(
        "the signature does not count for example.com/ab: Alice (key {}) is trusted for example.com/a",
        fingerprint(&alice)
    );
    let help = format!("if the owner may sign it: `jetpack trust --prefix example.com/ab {}`", file.display());
    let early = verify(&alice, Some("example.com/ab"), false).unwrap_err();
    let late = verify(&alice, None, false).unwrap().named(&name("example.com/ab")).unwrap_err();
    for error in [early, late] {
        assert_eq!((&*error.one_line(), error.help_line()), (&*expected, Some(&*help)));
    }
    assert!(verify(&alice, None, false).unwrap().nameless().unwrap_err().to_string().contains("for a pod"));
    assert_eq!(*warned.borrow(), [""; 0]);
    let ignored = verify(&alice, Some("example.com/ab"), true).unwrap();
    assert_eq!((ignored.trust(), ignored.signature()), (&Trust::Unsigned, None));
    assert_eq!(*warned.borrow(), [format!("{expected}; that is ignored")]);
}

#[test]
fn policy_decides_over_the_unsigned_and_the_badly_signed() {
    let scratch = Scratch::new();
    let (alice, keys) = (plain_key("Alice"), Keys::default());
    let bad = Signature::read(&*plainly(&alice, DATA), "x.aci.asc").unwrap();
    let place = scratch.path().join("copy");
    for (allow_unsigned, allow_bad) in [(false, false), (true, false), (true, true)] {
        for signature in [None, Some(&bad)] {
            let warned = RefCell::new(String::new());
            let warn = |text: &str| warned.borrow_mut().push_str(text);
            let policy = Policy { allow_unsigned, allow_bad };
            let check = Check { name: None, signature, keys: &keys, policy, warn: &warn };
            let verified = Verified::copy(&mut &*DATA, &place, "x.aci", &check);
            let allowed = if signature.is_some() { allow_bad } else { allow_unsigned };
            match verified {
                Ok(verified) => {
                    assert!(allowed);
                    assert_eq!((verified.trust(), verified.size()), (&Trust::Unsigned, DATA.len() as u64));
                    let said = if signature.is_some() { "; that is ignored" } else { "x.aci is not signed: " };
                    assert!(warned.borrow().contains(said), "{}", warned.borrow());
                }
                Err(error) => {
                    assert!(!allowed && warned.borrow().is_empty());
                    if signature.is_none() {
                        assert_eq!(error.to_string(), "x.aci is not signed");
                        assert!(error.help_line().unwrap().contains("--insecure-options image"));
                        assert!(!place.exists());
                    }
                }
            }
            let _ = fs::remove_file(&place);
        }
    }
}

#[test]
fn local_files_stand_for_the_vendors_and_empty_ones_take_them_away() {
    let scratch = Scratch::new();
    let keystore = keystore(&scratch);
    assert!(keystore.load().unwrap().trusted.is_empty());
    let cert = plain_key("Vendor");
    let (fingerprint, file) = (fingerprint(&cert), fingerprint(&cert).file_name());
    let place = format!("prefix.d/example.com,a/{file}");
    put(&vendor(&scratch, &place), &public(&cert));
    put(&vendor(&scratch, &format!("root.d/{file}")), &public(&cert));
    let load = || {
        let keys = keystore.load().unwrap();
        assert!(keys.broken.is_empty(), "{:?}", keys.broken);
        keys.scopes(&fingerprint).map(|t| (t.scope.to_string(), t.owner)).collect::<Vec<_>>()
    };
    let (all, a) = ("images of every name".to_owned(), "example.com/a".to_owned());
    assert_eq!(load(), [(all.clone(), Owner::Vendor), (a.clone(), Owner::Vendor)]);
    let changed = keystore.untrust(&fingerprint, Some(&prefix("example.com/a"))).unwrap();
    assert_eq!(changed, [(prefix("example.com/a"), local(&scratch, &place))]);
    assert_eq!(fs::read(local(&scratch, &place)).unwrap(), b"");
    assert_eq!(load(), [(all.clone(), Owner::Vendor)]);
    let (said, help) = {
        let error = keystore.untrust(&fingerprint, Some(&prefix("example.com/a"))).unwrap_err();
        (error.to_string(), error.help_line().map(str::to_owned))
    };
    assert_eq!((said, help), (format!("key {fingerprint} is not trusted for example.com/a, but for {all}"), None));
    keystore.untrust(&fingerprint, None).unwrap();
    assert_eq!(load(), []);
    // Whose signature it was is still known, and so is what would trust it again.
    let keys = keystore.load().unwrap();
    let signature = Signature::read(&*plainly(&cert, DATA), "x.asc").unwrap();
    assert!(signature.is_by_nobody_of(&keys, &name("example.com/a")));
    let check =
        Check { name: None, signature: Some(&signature), keys: &keys, policy: Policy::default(), warn: &|_| () };
    let error = Verified::copy(&mut &*DATA, &scratch.path().join("copy"), "x", &check).unwrap_err();
    assert!(error.one_line().contains(&format!("key {fingerprint} was untrusted by ")), "{}", error.one_line());
    let again = format!("`jetpack trust --root {}`", vendor(&scratch, &format!("root.d/{file}")).display());
    assert!(error.help_line().unwrap().contains(&again), "{error:?}");
    keystore.trust(&prefix("example.com/a"), &as_key(&cert)).unwrap();
    assert_eq!(load(), [(a, Owner::Local)]);
    assert!(!signature.is_by_nobody_of(&keystore.load().unwrap(), &name("example.com/a")));
    // What is only local goes.
    let own = plain_key("Own");
    let own_file = keystore.trust(&prefix("b"), &as_key(&own)).unwrap();
    assert_eq!(keystore.untrust(&Fingerprint::of(&own.fingerprint()), None).unwrap(), [(prefix("b"), own_file)]);
    assert!(!local(&scratch, "prefix.d/b").exists());
}

#[test]
fn what_is_no_key_hides_none_and_is_told_of() {
    let scratch = Scratch::new();
    let keystore = keystore(&scratch);
    let [good, other, open] = ["Good", "Other", "Open"].map(plain_key);
    keystore.trust(&Scope::Root, &as_key(&good)).unwrap();
    let root = local(&scratch, "root.d");
    put(&root.join("README"), b"words");
    put(&root.join(".hidden"), b"words");
    put(&root.join(fingerprint(&other).file_name()), &public(&good));
    put(&root.join("ab".repeat(20)), b"words");
    put(&local(&scratch, "prefix.d/Not A Name/x"), b"");
    put(&local(&scratch, &format!("prefix.d/open/{}", fingerprint(&open).file_name())), &public(&open));
    fs::set_permissions(local(&scratch, "prefix.d/open"), fs::Permissions::from_mode(0o777)).unwrap();
    let keys = keystore.load().unwrap();
    assert_eq!(keys.trusted.len(), 1);
    let mut said: Vec<String> = keys
        .broken
        .iter()
        .map(|(path, error)| format!("{}: {error}", path.file_name().unwrap().to_string_lossy()))
        .collect();
    said.sort();
    let starts = [
        "Not A Name: it is no prefix",
        "README: a fingerprint has",
        &fingerprint(&other).file_name(),
        "abab",
        "open: others than its owner",
    ];
    for start in starts {
        assert!(said.iter().any(|said| said.starts_with(start)), "{start}: {said:?}");
    }
    assert_eq!(said.len(), starts.len(), "{said:?}");
    let (nobody, help) = match keystore.untrust(&"00".repeat(20).parse().unwrap(), None) {
        Err(error) => (error.to_string(), error.help_line().unwrap_or_default().to_owned()),
        Ok(changed) => panic!("{changed:?}"),
    };
    assert_eq!(nobody, format!("key {} is not trusted", "00".repeat(20)));
    assert!(help.contains(&fingerprint(&good).to_string()), "{help}");
}

#[test]
fn copies_of_a_key_are_joined_so_that_no_revocation_is_lost() {
    let scratch = Scratch::new();
    let keystore = keystore(&scratch);
    let cert = plain_key("Alice");
    keystore.trust(&prefix("a"), &as_key(&revoked(&cert, ReasonForRevocation::KeyCompromised))).unwrap();
    keystore.trust(&prefix("a"), &as_key(&cert)).unwrap();
    keystore.trust(&Scope::Root, &as_key(&cert)).unwrap();
    let keys = keystore.load().unwrap();
    let signature = Signature::read(&*plainly(&cert, DATA), "x.asc").unwrap();
    let check =
        Check { name: None, signature: Some(&signature), keys: &keys, policy: Policy::default(), warn: &|_| () };
    let error = Verified::copy(&mut &*DATA, &scratch.path().join("copy"), "x", &check).unwrap_err();
    assert!(error.one_line().contains("the key was revoked"), "{}", error.one_line());
}

#[test]
fn keys_are_described_and_lose_their_secrets() {
    let cert = key("Alice <alice@example.com>", |builder| builder.add_userid("Second").set_validity_period(DAY * 30));
    let key = as_key(&cert);
    assert_eq!(key.user_ids(), ["Alice <alice@example.com>", "Second"]);
    assert_eq!(key.expires().unwrap() - key.created(), 30 * 86_400);
    assert_eq!((key.validity(), key.had_secret()), (Validity::Good, false));
    let secret = cert.as_tsk().armored().to_vec().unwrap();
    let key = Key::read(&secret, "x").unwrap().pop().unwrap();
    assert!(key.had_secret());
    let kept = Key::read(&key.armored().unwrap(), "x").unwrap().pop().unwrap();
    assert!(!kept.had_secret() && kept.fingerprint() == key.fingerprint());
    let two = [public(&cert), public(&plain_key("Bob"))].concat();
    assert_eq!(Key::read(&two, "x").unwrap().len(), 2);
    for (bytes, said) in [
        (&b""[..], "there is nothing in it"),
        (b"words", "it is nothing of OpenPGP"),
        (b"\xff\x00\x01garbage", ""),
        (&plainly(&cert, DATA), "it holds a PGP SIGNATURE"),
    ] {
        let error = Key::read(bytes, "x").unwrap_err();
        assert!(error.one_line().starts_with("cannot read the keys in x: "), "{}", error.one_line());
        assert!(error.one_line().contains(said), "{}", error.one_line());
    }
    let validity = |cert: &Cert| as_key(cert).validity();
    assert!(matches!(validity(&revoked(&cert, ReasonForRevocation::KeyRetired)), Validity::Revoked(_)));
    let short = testing::key("Old", |builder| builder.set_validity_period(DAY));
    assert!(matches!(validity(&short), Validity::Expired(_)));
    let mute = testing::key("Mute", |builder| builder.set_primary_key_flags(KeyFlags::empty().set_certification()));
    assert!(matches!(validity(&mute), Validity::Unusable(_)));
}
