//! Downloads that break off.

use std::process::{Command, Stdio};
use std::sync::Mutex;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::archive::{Archive, manifest};
use crate::support::bounded::{ended, until};
use crate::support::command::{Jetpack, Output};
use crate::support::server::{Out, Request, Server, cut, file, reply, stall};

const ACI: &str = "https://example.com/a.aci";

/// An archive that does not fit into any buffer on its way; what is in it depends on `seed`.
fn archive(seed: u8) -> Vec<u8> {
    let data: Vec<u8> = (0..3_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 ^ seed).collect();
    Archive::with_manifest(&manifest("a", None)).file("rootfs/data", 0o644, &data).finish()
}

/// An answer of which so many bytes come before it is cut.
struct Short<'a>(Out<'a>, usize);

impl std::io::Write for Short<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = bytes.len().min(self.1);
        self.0.write_all(&bytes[..count])?;
        self.1 -= count;
        if self.1 == 0 {
            self.0.flush()?;
            cut()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// A server that cuts its first answers, `cuts` in number, after `bytes` bytes, and then does what is asked.
fn unsteady(cuts: u32, bytes: usize, archive: Vec<u8>) -> Server {
    let left = Mutex::new(cuts);
    Server::new(&["example.com"], move |request: &Request, out| {
        if request.url != ACI {
            return reply(out, "404 Not Found", "", b"");
        }
        let is_cut = {
            let mut left = left.lock().expect("a number");
            let is_cut = *left > 0;
            *left = left.saturating_sub(1);
            is_cut
        };
        if is_cut { file(request, &mut Short(out, bytes), &archive) } else { file(request, out, &archive) }
    })
}

fn parts(jetpack: &Jetpack) -> Vec<u64> {
    let entries = std::fs::read_dir(jetpack.store().join("cache")).expect("a cache").flatten();
    entries.filter_map(|entry| entry.path().join("part").metadata().ok()).map(|found| found.len()).collect()
}

/// Where each request for the archive wanted to begin.
fn beginnings(server: &Server) -> Vec<Option<u64>> {
    let asked = server.requests().into_iter().filter(|request| request.url == ACI);
    let start = |request: &Request| request.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok();
    asked.map(|request| start(&request)).collect()
}

#[test]
fn a_download_that_is_cut_goes_on_where_it_was() {
    let jetpack = Jetpack::fake();
    let server = unsteady(2, 1_000_000, archive(1));
    let fetched = server.run(&jetpack, &["fetch", ACI]).success();
    let asked = beginnings(&server);
    let [None, Some(second), Some(third)] = asked[..] else { panic!("{asked:?}") };
    assert!(0 < second && second < third && third < 2_000_000, "{asked:?}");
    // The very same bytes as in one piece.
    let whole = Jetpack::fake();
    assert_eq!(whole.import(&archive(1)), fetched.stdout.trim());
    assert_eq!(parts(&jetpack), [0; 0]);
}

#[test]
fn the_next_command_goes_on_with_what_the_last_one_got() {
    let jetpack = Jetpack::fake();
    let server = unsteady(5, 300_000, archive(1));
    let said = server.run(&jetpack, &["fetch", ACI]).failure(125);
    assert!(said.starts_with(&format!("jetpack: cannot fetch {ACI}: ")), "{said}");
    assert_eq!(beginnings(&server).len(), 5);
    assert_eq!(jetpack.contents(), [""; 0]);
    let [kept] = parts(&jetpack)[..] else { panic!("nothing is kept") };
    server.run(&jetpack, &["fetch", ACI]).success();
    assert_eq!(beginnings(&server), [Some(kept)]);
}

#[test]
fn what_a_killed_command_got_is_gone_on_with() {
    let jetpack = Jetpack::fake();
    let server = Server::new(&["example.com"], |request, out| {
        let archive = archive(1);
        match request.header("range") {
            _ if request.url != ACI => reply(out, "404 Not Found", "", b""),
            Some(_) => file(request, out, &archive),
            None => {
                file(request, &mut Short(&mut *out, 300_000), &archive).unwrap_or_default();
                stall()
            }
        }
    });
    let arguments = ["-o", "fetch.timeout=20", "--insecure-options", "image", "fetch", ACI];
    let mut fetching = server.command(&jetpack, &arguments).stdout(Stdio::null()).spawn().expect("it starts");
    until("something has come", || {
        jetpack.store().join("cache").exists() && parts(&jetpack).iter().any(|size| *size > 0)
    });
    let pid = Pid::from_raw(fetching.id().cast_signed());
    kill(pid, Signal::SIGINT).expect("it is there");
    assert!(!ended(&mut fetching).success());
    let [kept] = parts(&jetpack)[..] else { panic!("nothing is kept") };
    server.requests();
    server.run(&jetpack, &["fetch", ACI]).success();
    assert_eq!(beginnings(&server), [Some(kept)]);
}

#[test]
fn a_file_that_has_changed_meanwhile_is_fetched_anew() {
    let jetpack = Jetpack::fake();
    unsteady(5, 300_000, archive(1)).run(&jetpack, &["fetch", ACI]).failure(125);
    let server = unsteady(0, 0, archive(2));
    let fetched = server.run(&jetpack, &["fetch", ACI]).success();
    assert!(matches!(beginnings(&server)[..], [Some(_)]));
    assert_eq!(Jetpack::fake().import(&archive(2)), fetched.stdout.trim());
}

#[test]
fn without_a_strong_etag_nothing_is_gone_on_with() {
    for etag in ["", "ETag: W/\"x\"\r\n", "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT\r\n"] {
        let jetpack = Jetpack::fake();
        let first = Mutex::new(true);
        let server = Server::new(&["example.com"], move |request, out| {
            let is_first = std::mem::take(&mut *first.lock().expect("a switch"));
            match request.url.as_str() {
                ACI if is_first => reply(&mut Short(out, 300_000), "200 OK", etag, &archive(1)),
                ACI => reply(out, "200 OK", etag, &archive(1)),
                _ => reply(out, "404 Not Found", "", b""),
            }
        });
        server.run(&jetpack, &["fetch", ACI]).success();
        assert_eq!(beginnings(&server), [None, None], "{etag}");
    }
}

#[test]
fn a_part_that_does_not_fit_is_not_taken() {
    let lies: [fn(usize) -> String; 3] = [
        // Another file's.
        |total| format!("ETag: \"other\"\r\nContent-Range: bytes 0-1/{total}\r\n"),
        |total| format!("Content-Range: bytes 7-{}/{total}\r\n", total - 1),
        |_| String::new(),
    ];
    for lie in lies {
        let jetpack = Jetpack::fake();
        unsteady(5, 300_000, archive(1)).run(&jetpack, &["fetch", ACI]).failure(125);
        let server = Server::new(&["example.com"], move |request, out| {
            let archive = archive(1);
            match request.header("range") {
                Some(_) => reply(out, "206 Partial Content", &lie(archive.len()), &archive[7..]),
                None if request.url == ACI => file(request, out, &archive),
                None => reply(out, "404 Not Found", "", b""),
            }
        });
        let fetched = server.run(&jetpack, &["fetch", ACI]).success();
        assert_eq!(Jetpack::fake().import(&archive(1)), fetched.stdout.trim());
    }
}

#[test]
fn what_broke_off_long_ago_goes_with_gc() {
    let jetpack = Jetpack::fake();
    let server = unsteady(6, 300_000, archive(1));
    server.run(&jetpack, &["fetch", ACI]).failure(125);
    jetpack.run(["gc"]).success();
    assert_eq!(parts(&jetpack).len(), 1);
    let cache = jetpack.store().join("cache");
    let mut age = Command::new("find");
    age.arg(&cache).args(["-type", "f", "-exec", "touch", "-t", "202001010000", "{}", "+"]);
    Output::of_command(&mut age, b"").success();
    jetpack.run(["gc"]).success();
    assert_eq!(std::fs::read_dir(cache).expect("a cache").count(), 0);
}
