//! /etc/resolv.conf of a pod, and that making it never touches a file of the host's.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::images::{Image, NAME, shell};
use crate::support::command::{Jetpack, Output, or_skip};

const SHOW: &str = "stat -c '%F %a %u' /etc/resolv.conf; cat /etc/resolv.conf";

fn store(image: Image) -> Result<Jetpack, String> {
    image.into_store("overlay")
}

fn plain() -> Result<Image, String> {
    Image::new(Some(&shell("1000", "")), &[])
}

/// Runs `jetpack run` with `options` where the host's files of resolvers are these.
fn on_host(jetpack: &Jetpack, options: &[&str], resolv_conf: &str, upstream: Option<&str>) -> Output {
    let wanted = jetpack.command([options, &["run", "--destroy", NAME, "--", SHOW]].concat());
    let files = [("resolv.conf", Some(resolv_conf)), ("upstream", upstream)];
    for (name, text) in files {
        fs::write(jetpack.path(name), text.unwrap_or("")).expect("a file");
    }
    let script = "mount --bind $D/resolv.conf /etc/resolv.conf && mount -t tmpfs tmpfs /run && \
        { [ ! -s $D/upstream ] || { mkdir -p /run/systemd/resolve && cp $D/upstream /run/systemd/resolve/resolv.conf; }; } && \
        exec \"$@\"";
    let mut host = Command::new("unshare");
    host.args(["-m", "sh", "-c", script, "sh"]).arg(wanted.get_program()).args(wanted.get_args());
    Output::of(host.env("D", jetpack.path("")).stdin(Stdio::null()).output().expect("unshare starts"))
}

#[test]
fn it_is_the_hosts_or_its_resolvers_or_the_configured_servers() {
    let jetpack = or_skip!(store(or_skip!(plain())));
    let (far, near) = ("search example.com\nnameserver 192.0.2.1\n", "nameserver 127.0.0.53\noptions edns0\n");
    let configured = ["-o", "ace.dns-servers=192.0.2.7 2001:db8::1"];
    for (options, host, upstream, expected) in [
        (&[][..], far, None, far),
        (&[], far, Some("nameserver 192.0.2.2\n"), far),
        (&[], near, Some(far), far),
        // Its network leads nowhere, so that there is nothing to warn of.
        (&[], near, None, near),
        (&configured, near, Some(far), "nameserver 192.0.2.7\nnameserver 2001:db8::1\n"),
    ] {
        let output = on_host(&jetpack, options, host, upstream).success();
        assert_eq!(output.stdout, format!("regular file 644 0\n{expected}"), "{host} {upstream:?}");
        assert_eq!(output.stderr, "", "{host} {upstream:?}");
    }
}

/// Links in an image that would lead a careless runtime to write a file of the host's.
#[test]
fn a_hostile_link_in_its_place_is_replaced() {
    let victim = std::env::temp_dir().join(format!("jetpack-victim-{}", uuid::Uuid::new_v4()));
    fs::write(&victim, "precious").expect("a file");
    let outside = victim.to_string_lossy().into_owned();
    let upwards = format!("../../../../../../../..{outside}");
    for target in
        [&outside, &upwards, "/nowhere/at/all", "/proc/self/fd/1", "/proc/1/root/etc/x", "resolv.conf", "/dev/null"]
    {
        let jetpack = or_skip!(store(or_skip!(plain()).symlink("etc/resolv.conf", target)));
        let output = on_host(&jetpack, &[], "nameserver 192.0.2.1\n", None).success();
        assert_eq!(output.stdout, "regular file 644 0\nnameserver 192.0.2.1\n", "{target}");
    }
    let image = or_skip!(Image::new(Some(&shell("0", "")), &["etc"]))
        .symlink("etc", &victim.parent().map_or_else(String::new, |p| p.to_string_lossy().into_owned()));
    let jetpack = or_skip!(store(image));
    let name = victim.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let before = listing(&std::env::temp_dir());
    let run = jetpack.run([
        "-o",
        "ace.dns-servers=192.0.2.1",
        "run",
        "--destroy",
        NAME,
        "--",
        &format!("ls /etc/{name} 2>/dev/null; cat /etc/resolv.conf"),
    ]);
    assert!(run.code == 125 || run.stdout == "nameserver 192.0.2.1\n", "{run:?}");
    assert!(!Path::new("/tmp/resolv.conf").exists() || before.contains(&"resolv.conf".to_owned()));
    let kept = fs::read_to_string(&victim);
    let _ = fs::remove_file(&victim);
    assert_eq!(kept.expect("the file"), "precious");
}

fn listing(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory").flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn something_else_in_its_place_is_an_error_that_names_it() {
    let jetpack =
        or_skip!(store(or_skip!(plain()).directory("etc/resolv.conf", 0o755).file("etc/resolv.conf/x", 0o644, b"")));
    let output = on_host(&jetpack, &[], "nameserver 192.0.2.1\n", None);
    let error = output.failure(125);
    assert!(error.contains("cannot write the pod's /etc/resolv.conf"), "{error}");
}
