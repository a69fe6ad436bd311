//! Who an app is, where it starts and what is in its environment.

use super::images::{Image, NAME, inside, shell, store_of};
use super::pods;
use crate::support::command::or_skip;

const WHO: &str = "echo $(id -u) $(id -g) $(id -G) $USER $LOGNAME $HOME $SHELL";

fn with_owned_file(more: &str) -> Result<Image, String> {
    let passwd = "root:x:0:0::/root:/bin/sh\nweb:x:80:81::/srv/web:/bin/false\nalias:x:80:81::/alias:\n";
    let groups = "root:x:0:\nweb:x:81:\nmedia:x:90:web\n";
    Ok(Image::new(Some(&shell("0", more)), &["etc/passwd", "etc/group"])?
        .file("etc/passwd", 0o644, passwd.as_bytes())
        .file("etc/group", 0o644, groups.as_bytes())
        .owned("srv-file", 0o600, (80, 90), b"")
        .symlink("srv-link", "/srv-file"))
}

#[test]
fn users_and_groups_are_names_numbers_or_owners_of_files() {
    let jetpack = or_skip!(or_skip!(with_owned_file("")).into_store("overlay"));
    let web = "web web /srv/web /bin/false";
    for (user, group, expected) in [
        ("root", "root", "0 0 0 root root /root /bin/sh".to_owned()),
        ("web", "web", format!("80 81 81 {web}")),
        ("80", "media", format!("80 90 90 {web}")),
        ("alias", "81", "80 81 81 alias alias /alias /bin/sh".to_owned()),
        ("/srv-file", "/srv-link", format!("80 90 90 {web}")),
        ("4242", "4343", "4242 4343 4343 4242 4242 / /bin/sh".to_owned()),
    ] {
        let arguments = ["run", "--destroy", NAME, "--user", user, "--group", group, "--", WHO];
        assert_eq!(jetpack.run(arguments).success().stdout, expected + "\n", "{user} {group}");
    }
    for (user, group, said) in [
        ("nobody", "0", "the image knows no user \"nobody\""),
        ("0", "staff", "the image knows no group \"staff\""),
        ("/missing", "0", "cannot take user or group from /missing"),
    ] {
        let arguments = ["run", "--destroy", NAME, "--user", user, "--group", group, "--", WHO];
        let error = jetpack.run(arguments).failure(125);
        assert!(error.contains(said), "{error}");
    }
    assert_eq!(jetpack.contents().iter().filter(|name| !name.contains("sha512")).count(), 0);
}

#[test]
fn supplementary_groups_are_the_manifests() {
    let jetpack = or_skip!(store_of(&shell("1000", r#""supplementaryGIDs": [4, 24]"#)));
    assert_eq!(inside(&jetpack, "id -G; grep Groups /proc/self/status"), "1000 4 24\nGroups:\t4 24 1000 \n");
}

#[test]
fn handlers_are_roots_and_have_the_apps_environment() {
    let handler = |name: &str| {
        let script = format!("echo {name} $(id -u) $(id -G) $GREETING $AC_APP_NAME $USER $PWD");
        format!(r#"{{ "name": "{name}", "exec": ["/bin/sh", "-c", "{script}"] }}"#)
    };
    let more = format!(
        r#""eventHandlers": [{}, {}], "environment": [{{ "name": "GREETING", "value": "hello" }}],
        "supplementaryGIDs": [4], "workingDirectory": "/tmp""#,
        handler("pre-start"),
        handler("post-stop")
    );
    let jetpack = or_skip!(store_of(&shell("1000", &more)));
    let output = jetpack.run(["run", "--destroy", NAME, "--", "echo app $(id -u); exit 7"]);
    assert_eq!(output.code, 7, "{output:?}");
    let expected = "pre-start 0 0 hello test root /tmp\napp 1000\npost-stop 0 0 hello test root /tmp\n";
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), (expected, ""));
}

#[test]
fn a_failing_pre_start_prevents_the_app_and_a_failing_post_stop_is_told() {
    let handler = |name: &str| {
        format!(r#""eventHandlers": [{{ "name": "{name}", "exec": ["/bin/sh", "-c", "echo {name}; exit 3"] }}]"#)
    };
    let jetpack = or_skip!(store_of(&shell("0", &handler("pre-start"))));
    let output = jetpack.run(["run", "--destroy", NAME, "--", "echo app"]);
    assert_eq!((output.code, output.stdout.as_str()), (125, "pre-start\n"), "{output:?}");
    assert!(output.stderr.contains("pre-start handler of test failed: exit code 3"), "{output:?}");
    let jetpack = or_skip!(store_of(&shell("0", &handler("post-stop"))));
    let output = jetpack.run(["run", "--destroy", NAME, "--", "echo app; kill -9 $$"]);
    assert_eq!((output.code, output.stdout.as_str()), (137, "app\npost-stop\n"), "{output:?}");
    assert!(output.stderr.contains("post-stop handler of test failed: exit code 3"), "{output:?}");
}

#[test]
fn the_environment_is_appcs_and_nothing_of_the_hosts() {
    let jetpack = or_skip!(pods("overlay"));
    let mut command =
        jetpack.command(["run", "--destroy", "busybox-base", "--env", "A=b c", "--", "/bin/busybox", "env"]);
    command.env("SECRET", "of the host").env("TERM", "xterm").env("HOME", "/home/host").env("LD_PRELOAD", "");
    let output = crate::support::command::Output::of(command.output().expect("the command starts")).success();
    let mut lines: Vec<&str> = output.stdout.lines().collect();
    lines.sort_unstable();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let expected = [
        "A=b c",
        "AC_APP_NAME=busybox-base",
        "HOME=/root",
        "LOGNAME=root",
        path,
        "SHELL=/bin/sh",
        "USER=root",
        "container=jetpack",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn programs_are_searched_for_as_execvp_does() {
    let image = or_skip!(Image::new(None, &[]))
        .file("usr/local/sbin/tool", 0o644, b"#!/bin/sh\necho not executable\n")
        .file("usr/bin/tool", 0o755, b"echo no first line, \"$@\"\n")
        .file("tmp/here", 0o755, b"#!/bin/sh\necho here\n")
        .file("bin/orphan", 0o755, b"#!/bin/missing\n")
        .file("bin/locked", 0o600, b"#!/bin/sh\n");
    let jetpack = or_skip!(image.into_store("overlay"));
    let run = |arguments: &[&str]| jetpack.run([&["run", "--destroy", NAME], arguments].concat());
    assert_eq!(run(&["--", "tool", "with", "words"]).success().stdout, "no first line, with words\n");
    assert_eq!(run(&["--workdir", "/tmp", "--", "./here"]).success().stdout, "here\n");
    assert_eq!(run(&["--env", "PATH=/tmp", "--", "here"]).success().stdout, "here\n");
    for (arguments, code, said) in [
        (&["--", "missing"][..], 127, "there is no missing in the image's PATH="),
        (&["--", "/bin/missing"], 127, "there is no /bin/missing in the image"),
        (&["--", "orphan"], 127, "interpreter"),
        (&["--", "locked"], 126, "cannot execute /bin/locked"),
        (&["--", "/tmp"], 126, "cannot execute /tmp"),
        (&["--workdir", "/nowhere", "--", "pwd"], 125, "cannot change to the working directory /nowhere"),
        (&["--workdir", "/bin/sh", "--", "pwd"], 125, "cannot change to the working directory /bin/sh"),
    ] {
        let error = run(arguments).failure(code);
        assert!(error.contains(said), "{error}");
    }
}
