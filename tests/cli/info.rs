//! `info` and `completions`

use std::process::{Command, Stdio};

use crate::support::archive::{Archive, manifest};
use crate::support::command::{Jetpack, Output, or_skip};

#[test]
fn info_shows_the_store_and_what_is_in_it() {
    let jetpack = Jetpack::fake();
    jetpack.import(
        &Archive::with_manifest(&manifest("plain", Some(r#"{"exec": ["/x"], "user": "0", "group": "0"}"#))).finish(),
    );
    for _ in 0..2 {
        jetpack.run(["prepare", "plain"]).success();
    }
    let text = jetpack.run(["info"]).success().stdout;
    let store = jetpack.store().display().to_string();
    for line in [format!("store            {store} (storage fake, format 1)"), "images           1".to_owned()] {
        assert!(text.contains(&line), "{line} in\n{text}");
    }
    assert!(text.contains("pods             2 (2 prepared)\n"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&jetpack.run(["--format", "json", "info"]).success().stdout).expect("JSON");
    assert_eq!((&json["store"]["root"], &json["store"]["pods"]["prepared"]), (&store.into(), &2.into()));
    let total = nix::sys::statvfs::statvfs(&jetpack.store()).map(|s| s.blocks() * s.fragment_size());
    assert_eq!(json["store"]["total"].as_u64().map(nix::Result::Ok), Some(total));
    assert!(json["store"]["free"].as_u64() < json["store"]["total"].as_u64());
}

#[test]
fn info_without_a_store_says_why_and_shows_the_rest() {
    let jetpack = Jetpack::uninitialized(&["storage=fake", "isolation=fake"]);
    let text = jetpack.run(["info"]).success().stdout;
    assert!(text.contains("there is no store at ") && text.contains("version          jetpack "), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&jetpack.run(["--format", "json", "info"]).success().stdout).expect("JSON");
    assert!(json["store_error"].as_str().is_some_and(|e| e.contains("there is no store")) && json["store"].is_null());
}

#[test]
fn the_shells_take_their_scripts() {
    let jetpack = Jetpack::uninitialized(&[]);
    for shell in ["bash", "fish", "zsh"] {
        let script = jetpack.run(["completions", shell]).success().stdout;
        assert!(script.contains("image-manifest") && script.contains("insecure-options"), "{shell}");
    }
    jetpack.run(["completions", "csh"]).failure(125);
    let script = jetpack.run(["completions", "bash"]).success().stdout;
    let ask = "COMP_WORDS=(jetpack imag); COMP_CWORD=1; _jetpack jetpack imag jetpack; echo ${COMPREPLY[@]}";
    let bash = Command::new("bash").arg("-c").arg(format!("{script}\n{ask}")).stdin(Stdio::null()).output();
    let said = Output::of(or_skip!(bash.map_err(|e| format!("needs bash: {e}")))).success();
    assert_eq!(said.stdout, "images image-manifest\n");
}
