//! What an image says of itself does nothing to the terminal, and forges no line.

use super::scripted;
use crate::support::archive::{Archive, manifest};
use crate::support::command::{Jetpack, skip};
use crate::support::pty::Terminal;

/// JSON text of a string that clears the screen, forges a row, and does the same with C1 characters.
const HOSTILE: &str = "1\\u001b[2J\\nsha512-000  trusted \\u009b2J\\u007f";
/// The same as people see it.
const SHOWN: &str = "1\\x1b[2J\\nsha512-000  trusted \\x9b2J\\x7f";

fn hostile() -> Jetpack {
    let app = format!(r#"{{ "exec": ["/bin/app", "{HOSTILE}"], "user": "{HOSTILE}", "group": "0" }}"#);
    let labels = format!(r#""labels": [{{ "name": "version", "value": "{HOSTILE}" }}], "name""#);
    let manifest = manifest("a", Some(&app)).replacen(r#""name""#, &labels, 1);
    let jetpack = Jetpack::fake();
    jetpack.import(&Archive::with_manifest(&manifest).file("rootfs/bin/app", 0o755, b"#!/bin/sh\n").finish());
    jetpack
}

#[test]
fn an_images_control_characters_are_shown_and_do_nothing() {
    let jetpack = hostile();
    let images = jetpack.run(["images", "-H"]).success().stdout;
    assert!(images.contains(SHOWN) && images.lines().count() == 1, "{images:?}");
    let shown = jetpack.run(["show-image", "a"]).success().stdout;
    assert!(shown.contains(&format!("\nversion     {SHOWN}\n")), "{shown:?}");
    assert!(shown.contains(&format!("\ncommand     /bin/app {SHOWN}\n")), "{shown:?}");
    let said = jetpack.run(["-v", "run", "--destroy", "a"]).failure(125);
    assert!(said.contains(&format!(": /bin/app {SHOWN}\n")), "{said:?}");
    assert!(said.lines().all(|line| line.starts_with("jetpack: ") || line.starts_with("help: ")), "{said:?}");
    assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said:?}");
    for command in [&["prepare", "-n", "a"][..], &["--format", "json", "images"]] {
        let json = jetpack.run(command).success().stdout;
        assert!(!json.contains(|c: char| c.is_control() && c != '\n'), "{json:?}");
    }
    let said = jetpack.run(["show-image", "\u{1b}c"]).failure(125);
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn a_manifest_is_the_archives_in_a_pipe_and_harmless_on_a_terminal() {
    if !cfg!(target_os = "linux") {
        skip!("needs setsid(1) of Linux");
    }
    let jetpack = Jetpack::fake();
    let label = ", \"environment\": [{ \"name\": \"A\", \"value\": \"\u{9b}2J\u{7f}\" }]";
    jetpack.import(&scripted("a", "exit 0", label).finish());
    let raw = jetpack.run(["image-manifest", "a"]).success().stdout;
    assert!(raw.contains("\"\u{9b}2J\u{7f}\""), "{raw:?}");
    let mut terminal = Terminal::start(&jetpack.command(["image-manifest", "a"]));
    let seen = terminal.expect("] } }");
    assert!(seen.contains(r"\u009b2J\u007f") && !seen.contains('\u{9b}'), "{seen:?}");
}
