//! GnuPG, by which the tests sign: another implementation than the one that verifies. And what it has signed beforehand.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::command::Jetpack;

/// A file that tests/freebsd/signed/make.sh has made.
pub(crate) fn made_beforehand(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/freebsd/signed").join(name)
}

/// The fingerprint of the key in a file, as the command shows it.
#[track_caller]
pub(crate) fn shown_fingerprint(jetpack: &Jetpack, key: &Path) -> String {
    let shown = jetpack.run(["trust".as_ref(), "--root".as_ref(), key.as_os_str()]).failure(125);
    shown.lines().find_map(|line| line.strip_prefix("key        ")).expect("a fingerprint").to_owned()
}

/// Trusts the key in a file, for whatever `scope` says.
#[track_caller]
pub(crate) fn trust(jetpack: &Jetpack, scope: &[&str], key: &Path) {
    let fingerprint = shown_fingerprint(jetpack, key);
    let words = ["trust", "--fingerprint", &fingerprint, key.to_str().expect("a plain path")];
    jetpack.run(words.iter().chain(scope)).success();
}

/// Puts a key into a directory of keys, past the command, which would refuse some. Whatever the umask is, nobody else can write
/// there.
pub(crate) fn place_key(directory: &Path, fingerprint: &str, key: &[u8]) {
    fs::DirBuilder::new().recursive(true).mode(0o755).create(directory).expect("a directory");
    let file = directory.join(fingerprint.to_lowercase());
    fs::write(&file, key).expect("a key");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("its mode");
}

/// Keys in a place of their own. The agent that holds them is ended, and the place removed, when this is dropped.
pub(crate) struct Gpg {
    home: PathBuf,
}

impl Gpg {
    /// A place without keys, or why there can be none.
    pub(crate) fn new() -> Result<Gpg, String> {
        let version = Command::new("gpg").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !version.is_ok_and(|status| status.success()) {
            return Err("needs gpg".to_owned());
        }
        // The agent's socket is in it, whose path may not be long.
        let home = Path::new("/tmp").join(format!("jetpack-gpg-{}", uuid::Uuid::new_v4().simple()));
        fs::DirBuilder::new().mode(0o700).create(&home).expect("a directory");
        Ok(Gpg { home })
    }

    /// Runs gpg; gives what it says.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let mut command = Command::new("gpg");
        command.arg("--homedir").arg(&self.home).args(["--batch", "--yes", "--quiet", "--no-tty"]);
        command.args(["--pinentry-mode", "loopback", "--passphrase", ""]);
        let output = command.args(arguments).stdin(Stdio::null()).output().expect("gpg starts");
        assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Makes a key; gives its fingerprint. `more` stands before the command, such as a false time.
    pub(crate) fn key(&self, user: &str, algorithm: &str, usage: &str, expires: &str, more: &[&str]) -> String {
        let command = ["--quick-generate-key", user, algorithm, usage, expires];
        self.run(&[more, &command].concat());
        self.fingerprint(user)
    }

    /// The fingerprint of somebody's primary key.
    pub(crate) fn fingerprint(&self, user: &str) -> String {
        let listed = String::from_utf8(self.run(&["--with-colons", "--list-keys", user])).expect("a listing");
        let line = listed.lines().find(|line| line.starts_with("fpr:")).expect("a fingerprint");
        line.split(':').nth(9).expect("its field").to_owned()
    }

    /// Somebody's public key, armored.
    pub(crate) fn export(&self, user: &str) -> Vec<u8> {
        self.run(&["--armor", "--export", user])
    }

    /// Signs a file; gives the file of the signature, which is called as the file with `.asc` after it.
    pub(crate) fn sign(&self, user: &str, file: &Path, more: &[&str]) -> PathBuf {
        let (file, signature) = (file.to_str().expect("a plain path"), format!("{}.asc", file.display()));
        let command = ["--armor", "--local-user", user, "--output", &signature, "--detach-sign", file];
        self.run(&[more, &command].concat());
        PathBuf::from(signature)
    }

    /// Revokes a key, as its owner does who has the certificate that came with it.
    pub(crate) fn revoke(&self, fingerprint: &str) {
        let file = self.home.join(format!("openpgp-revocs.d/{fingerprint}.rev"));
        // A colon keeps it from being imported by mistake.
        let text = fs::read_to_string(&file).expect("a revocation").replace(":-----BEGIN", "-----BEGIN");
        fs::write(&file, text).expect("it");
        self.run(&["--import", file.to_str().expect("a plain path")]);
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let kill = Command::new("gpgconf").arg("--homedir").arg(&self.home).args(["--kill", "all"]).status();
        drop(kill);
        let _ = fs::remove_dir_all(&self.home);
    }
}
