//! Fetching by the host's own names, and onto a small disk.

use std::path::Path;
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::cli::versioned;
use crate::support::command::{Jetpack, Output, or_skip};
use crate::support::server::{Out, Request, Server, file, page, reply};

const NONE: Option<&str> = None;

/// Does `what` in namespaces of its own, where these are the host's names, and where only their loopback is the network. What it
/// starts is there, too. Tells why it cannot be.
fn in_own_world(hosts: &Path, what: impl FnOnce() + Send) -> Result<(), String> {
    let enter = || -> nix::Result<()> {
        unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET)?;
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)?;
        mount(Some(hosts), "/etc/hosts", NONE, MsFlags::MS_BIND, NONE)
    };
    // A thread has namespaces of its own, which go with it.
    let work = move || {
        enter().map_err(|error| format!("needs namespaces: {error}"))?;
        let up = Command::new("busybox").args(["ip", "link", "set", "lo", "up"]).status();
        if !up.is_ok_and(|status| status.success()) {
            return Err("needs busybox".to_owned());
        }
        what();
        Ok(())
    };
    std::thread::scope(|scope| scope.spawn(work).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
}

const HOSTS: &str = "127.0.0.1 localhost\n127.0.0.2 example.com\n127.0.0.3 get.example.com\n";

fn publish(request: &Request, out: Out<'_>) -> std::io::Result<()> {
    match request.url.as_str() {
        "https://example.com/?ac-discovery=1" => {
            let tag = ("ac-discovery", "example.com https://get.example.com/{name}-{version}.{ext}");
            reply(out, "200 OK", "", &page(&[tag]))
        }
        "https://get.example.com/example.com/app-1.aci" => file(request, out, &versioned("example.com/app", "1")),
        _ => reply(out, "404 Not Found", "", b""),
    }
}

#[test]
fn names_are_the_hosts_and_the_port_is_that_of_https() {
    let jetpack = or_skip!(Jetpack::real("overlay"));
    let hosts = jetpack.file("hosts", HOSTS.as_bytes());
    let world = in_own_world(&hosts, || {
        let names = ["example.com", "get.example.com"];
        let server = Server::at("127.0.0.2:443", &names, publish);
        let authority = server.authority(&jetpack);
        let fetch = |name: &str| {
            let options = ["-o", "fetch.timeout=5", "--insecure-options", "image", "fetch", name];
            Output::of_command(jetpack.command(options).env("SSL_CERT_FILE", &authority), b"")
        };
        // Nobody listens there yet.
        let said = fetch("example.com/app:1,os=linux,arch=amd64").failure(125);
        assert!(said.contains("Connection refused"), "{said}");
        let both = server.again("127.0.0.3:443");
        fetch("example.com/app:1,os=linux,arch=amd64").success();
        assert_eq!((server.urls().len(), both.urls().len()), (4, 2));
        let said = fetch("other.example.com/app").failure(125);
        assert!(said.starts_with("jetpack: cannot find out where other.example.com/app is: "), "{said}");
    });
    or_skip!(world);
    jetpack.run(["show-image", "example.com/app:1"]).success();
}

/// Sends more than the disk has.
fn endless(out: Out<'_>) -> std::io::Result<()> {
    out.write_all(b"HTTP/1.1 200 OK\r\nETag: \"x\"\r\n\r\n")?;
    (0..1024).try_for_each(|_| out.write_all(&vec![b'x'; 1 << 20]))
}

#[test]
fn an_archive_without_end_leaves_room_on_the_disk() {
    let jetpack = or_skip!(Jetpack::real("dir"));
    let hosts = jetpack.file("hosts", HOSTS.as_bytes());
    let small = jetpack.path("small");
    std::fs::create_dir(&small).expect("a directory");
    let world = in_own_world(&hosts, || {
        mount(Some("tmpfs"), &small, Some("tmpfs"), MsFlags::empty(), Some("size=100m,mode=0700")).expect("a tmpfs");
        let server = Server::new(&["example.com"], |request, out| match request.url.ends_with(".aci") {
            true => endless(out),
            false => reply(out, "404 Not Found", "", b""),
        });
        let root = format!("root.path={}", small.display());
        let own = |arguments: &[&str]| server.run(&jetpack, &[&["-o", &root, "-o", "storage=dir"], arguments].concat());
        own(&["init"]).success();
        let said = own(&["fetch", "https://example.com/a.aci"]).failure(125);
        assert!(said.contains("it has no room on the disk of the store"), "{said}");
        let left = Command::new("du").args(["-sk"]).arg(&small).output().expect("du").stdout;
        let left = String::from_utf8_lossy(&left).split_whitespace().next().and_then(|kib| kib.parse::<u32>().ok());
        assert!(left.is_some_and(|kib| kib < 1000), "{left:?}");
    });
    or_skip!(world);
}
