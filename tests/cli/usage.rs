//! Help, versions, and wrong usage.

use std::fs::File;

use crate::support::command::{Jetpack, Output, skip};

/// The flags of an app.
const APP: [&str; 10] = [
    "--name",
    "--exec",
    "--user",
    "--group",
    "--env",
    "--workdir",
    "--readonly-rootfs",
    "--disk",
    "-m VOLUME[:PATH]",
    "-- ARGUMENTS",
];

#[test]
fn every_command_has_a_help_that_lists_its_options() {
    let jetpack = Jetpack::uninitialized(&[]);
    let everywhere = ["--config", "-o", "--insecure-options", "--format", "-q, --quiet", "--verbose", "-h, --help"];
    let pod = ["--hostname", "-a <NAME=VALUE>", "--net", "-v <VOLUME>", "--saveid"];
    let table: Vec<(&str, Vec<&str>)> = vec![
        ("init", vec![]),
        ("config", vec!["[VAR]..."]),
        ("info", vec![]),
        ("version", vec![]),
        ("completions", vec!["<SHELL>"]),
        ("fetch", vec!["<NAME>...", "--pull", "--saveid"]),
        ("import", vec!["<LOCATION>", "--name", "--sig", "--saveid"]),
        ("trust", vec!["[KEY]", "--root", "--prefix", "--fingerprint", "-H"]),
        ("untrust", vec!["<FINGERPRINT>...", "--root", "--prefix"]),
        ("build", vec!["<IMAGE>", "<COMMAND>...", "-t", "--dir", "--cp", "--net", "--keep", "--saveid"]),
        ("images", vec!["-H", "-l"]),
        ("show-image", vec!["<IMAGE>"]),
        ("image-manifest", vec!["<IMAGE>"]),
        ("destroy-image", vec!["<IMAGE>..."]),
        ("verify-image", vec!["<IMAGE>..."]),
        ("tag", vec!["<IMAGE>", "<TAG>"]),
        ("untag", vec!["<NAME@TAG>..."]),
        ("export", vec!["<IMAGE>", "[FILE]", "--flat"]),
        ("prepare", [&["<IMAGE>...", "-n"], &pod[..], &APP].concat()),
        ("run", [&["<POD|IMAGE>...", "-t", "--destroy"], &pod[..], &APP].concat()),
        ("exec", vec!["<POD[:APP]>", "<COMMAND>...", "-t", "--user", "--group", "--cwd", "--env"]),
        ("console", vec!["<POD[:APP]>", "-u"]),
        ("cp", vec!["<SOURCE>", "<DESTINATION>", "-a, --archive", "-L, --follow-link"]),
        ("kill", vec!["<POD>...", "-s", "--grace"]),
        ("ps", vec!["<POD>", "-H"]),
        ("top", vec!["<POD>", "-n", "-d"]),
        ("killall", vec!["<POD>", "<NAME>...", "-s"]),
        ("list", vec!["-H"]),
        ("manifest", vec!["<POD>"]),
        ("destroy", vec!["<POD>..."]),
        ("gc", vec!["--images", "--older"]),
    ];
    let top = jetpack.run(["--help"]).success().stdout;
    let commands = top.split("\nCommands:\n").nth(1).and_then(|t| t.split("\n\n").next()).expect("the commands");
    let listed: Vec<&str> = commands.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let expected: Vec<&str> = table.iter().map(|(command, _)| *command).chain(["help"]).collect();
    assert_eq!(listed, expected);
    for (command, options) in table {
        let help = jetpack.run([command, "--help"]).success().stdout;
        assert!(help.contains(&format!("\nUsage: jetpack {command} ")), "{help}");
        if options.contains(&"-- ARGUMENTS") {
            let usage = format!("\nUsage: jetpack {command} [OPTIONS] IMAGE [APP FLAGS] [-- ARGUMENTS]\n");
            assert!(help.contains(&usage), "{help}");
        }
        for option in options.iter().chain(&everywhere) {
            assert!(help.contains(option), "{command}: {option} is not in\n{help}");
        }
        assert_eq!(jetpack.run(["help", command]).success().stdout, help);
        let short = jetpack.run([command, "-h"]).success().stdout;
        assert!(short.contains("Usage: "), "{short}");
    }
}

#[test]
fn versions() {
    let jetpack = Jetpack::uninitialized(&[]);
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(jetpack.run(["version"]).success().stdout, format!("jetpack {version}\nappc 0.8.11\n"));
    let json: serde_json::Value =
        serde_json::from_str(&jetpack.run(["--format", "json", "version"]).success().stdout).expect("JSON");
    assert_eq!(json, serde_json::json!({ "jetpack": version, "appc": "0.8.11" }));
    assert_eq!(jetpack.run(["--version"]).success().stdout, format!("jetpack {version}\n"));
}

#[test]
fn wrong_usage_is_125_and_says_what_is_wrong() {
    let jetpack = Jetpack::fake();
    let table: [(&[&str], &str); 15] = [
        (&[], "Usage: jetpack"),
        (&["fly"], "unrecognized subcommand 'fly'"),
        (&["imges"], "'images'"),
        (&["images", "--fast"], "unexpected argument '--fast'"),
        (&["images", "extra"], "unexpected argument 'extra'"),
        (&["import"], "<LOCATION>"),
        (&["destroy"], "<POD>..."),
        (&["run"], "<POD|IMAGE>..."),
        (&["exec"], "<POD[:APP]>"),
        (&["exec", "x"], "<COMMAND>..."),
        (&["exec", "x", "--usr", "y", "ls"], "unexpected argument '--usr'"),
        (&["console", "x:"], "no app is named after the colon"),
        (&["--format", "xml", "list"], "invalid value 'xml'"),
        (&["--insecure-options", "all", "list"], "invalid value 'all'"),
        (&["import", "--name", "No Name", "x"], "invalid value 'No Name'"),
    ];
    for (arguments, expected) in table {
        let output = jetpack.run(arguments);
        assert_eq!((output.code, output.stdout.as_str()), (125, ""), "{arguments:?}");
        assert!(output.stderr.contains(expected), "{arguments:?}: {}", output.stderr);
    }
}

#[test]
fn the_agent_is_not_for_people() {
    let jetpack = Jetpack::fake();
    assert_eq!(jetpack.run(["agent", "fake", "none"]).code, 125);
    assert_eq!(jetpack.run(["agent"]).code, 125);
}

#[test]
fn a_full_standard_error_changes_no_exit_code() {
    if !std::path::Path::new("/dev/full").exists() {
        skip!("needs /dev/full");
    }
    let jetpack = Jetpack::fake();
    let table: [(&[&str], i32); 5] = [
        (&["run", "nosuch"], 125),
        (&["fly"], 125),
        (&["-o", "debgu", "images"], 0),
        (&["-v", "import", "nosuch"], 125),
        (&["version"], 0),
    ];
    for (arguments, code) in table {
        let full = File::options().write(true).open("/dev/full").expect("/dev/full");
        let output = jetpack.command(arguments).stderr(full).output().expect("the command ends");
        assert_eq!(Output::of(output).code, code, "{arguments:?}");
    }
}
