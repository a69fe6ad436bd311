//! Long work on a terminal shows how far it has come; anywhere else it says nothing.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use nix::sys::stat::Mode;

use crate::support::archive::{Archive, manifest};
use crate::support::command::{Jetpack, skip};
use crate::support::pty::Terminal;
use crate::support::server::{Server, reply};

fn archive() -> Vec<u8> {
    Archive::with_manifest(&manifest("slow", None)).file("rootfs/data", 0o644, &vec![b'x'; 100_000]).finish()
}

/// Writes an archive into a fifo, taking a second.
fn feed(fifo: &Path) {
    let mut pipe = std::fs::File::options().write(true).open(fifo).expect("a reader");
    for part in archive().chunks(10_000) {
        pipe.write_all(part).expect("a reader");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_slow_import_shows_a_bar_that_goes_away() {
    if !cfg!(target_os = "linux") {
        skip!("needs setsid(1) of Linux");
    }
    let jetpack = Jetpack::fake();
    let fifo = jetpack.path("slow\u{1b}.aci");
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).expect("a fifo");
    let command = |more: &[&str]| jetpack.command(more.iter().copied().chain(["import", fifo.to_str().expect("text")]));
    std::thread::scope(|scope| {
        let mut terminal = Terminal::start(&command(&["--insecure-options", "image"]));
        scope.spawn(|| feed(&fifo));
        let seen = terminal.expect(" KiB");
        assert!(seen.contains("copying ") && seen.contains("slow\\x1b.aci"), "{seen:?}");
        // It is wiped out before the answer.
        let after = terminal.expect("sha512-");
        assert!(after.contains("\u{1b}[2K"), "{after:?}");
        assert_eq!(terminal.end().0, 0);
        let mut quiet = Terminal::start(&command(&["-q", "--insecure-options", "image"]));
        scope.spawn(|| feed(&fifo));
        let seen = quiet.expect("sha512-");
        assert!(!seen.contains("copying"), "{seen:?}");
    });
}

#[test]
fn a_pipe_gets_no_bar() {
    let jetpack = Jetpack::fake();
    let fifo = jetpack.path("slow.aci");
    nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).expect("a fifo");
    std::thread::scope(|scope| {
        scope.spawn(|| feed(&fifo));
        let output = jetpack.run(["--insecure-options", "image", "import", fifo.to_str().expect("text")]).success();
        let warning = format!("jetpack: warning: {} is not signed: nobody knows who made it\n", fifo.display());
        assert_eq!(output.stderr, warning);
    });
}

#[test]
fn a_slow_download_shows_rate_and_time_left() {
    if !cfg!(target_os = "linux") {
        skip!("needs setsid(1) of Linux");
    }
    let jetpack = Jetpack::fake();
    let server = Server::new(&["example.com"], |request, out| {
        if request.url.ends_with(".asc") {
            return reply(out, "404 Not Found", "", b"");
        }
        let archive = archive();
        write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", archive.len())?;
        archive.chunks(10_000).try_for_each(|part| {
            std::thread::sleep(Duration::from_millis(100));
            out.write_all(part).and_then(|()| out.flush())
        })
    });
    let arguments = ["--insecure-options", "image", "fetch", "https://example.com/a.aci"];
    let mut terminal = Terminal::start(&server.command(&jetpack, &arguments));
    let seen = terminal.expect(" left");
    assert!(seen.contains("fetching https://example.com/a.aci ") && seen.contains("/s "), "{seen:?}");
    let after = terminal.expect("sha512-");
    assert!(after.contains("\u{1b}[2K"), "{after:?}");
    assert_eq!(terminal.end().0, 0);
    jetpack.run(["destroy-image", "slow"]).success();
    let warning = "jetpack: warning: https://example.com/a.aci is not signed: nobody knows who made it\n";
    assert_eq!(server.run(&jetpack, &["fetch", "https://example.com/a.aci"]).success().stderr, warning);
}
