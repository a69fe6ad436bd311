//! Servers that lie: an error in bounded time and memory, and nothing is left.

use std::process::Command;
use std::time::Instant;

use super::versioned;
use crate::support::command::{Jetpack, Output};
use crate::support::server::{Out, Server, cut, file, page, patience, reply, stall, trickle};

const ACI: &str = "https://example.com/a.aci";

/// How a server answers.
type Answer = fn(Out<'_>) -> std::io::Result<()>;

/// What comes of fetching from a server that answers so.
#[track_caller]
fn fetched(name: &str, more: &[&str], answer: Answer) -> Output {
    let jetpack = Jetpack::fake();
    let server = Server::new(&["example.com"], move |request, out| match request.url.ends_with(".asc") {
        true => reply(out, "404 Not Found", "", b""),
        false => answer(out),
    });
    let begun = Instant::now();
    let all: Vec<&str> = ["fetch"].iter().chain(more).chain(&[name]).copied().collect();
    let output = bounded(&server, &jetpack, &all);
    assert!(begun.elapsed() < 20 * patience(), "{:?}", begun.elapsed());
    assert_eq!(jetpack.contents(), [""; 0]);
    output
}

const NOWHERE: &str = "jetpack: cannot find out where example.com/a is: ";

/// Fetches from each of these servers, all at once; what is said begins so, and has in it what stands beside the server.
fn all<const N: usize>(table: [(&str, Answer); N], name: &str, more: &[&str], begins: &str) {
    std::thread::scope(|scope| {
        for (expected, answer) in table {
            scope.spawn(move || {
                let said = fetched(name, more, answer).failure(125);
                assert!(said.starts_with(begins) && said.contains(expected), "{expected}: {said}");
            });
        }
    });
}

/// Runs the command with 400 MiB of addresses, most of which its threads and libraries take without using them.
fn bounded(server: &Server, jetpack: &Jetpack, arguments: &[&str]) -> Output {
    let all: Vec<&str> = ["--insecure-options", "image"].iter().chain(arguments).copied().collect();
    let inner = server.command(jetpack, &all);
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "ulimit -v 409600 && exec \"$@\"", "sh"]).arg(inner.get_program()).args(inner.get_args());
    command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Output::of_command(&mut command, b"")
}

/// Sends bytes for as long as somebody takes them, at most a gigabyte.
fn endless(out: Out<'_>, head: &str) -> std::io::Result<()> {
    out.write_all(head.as_bytes())?;
    let piece = vec![b'x'; 1 << 20];
    (0..1024).try_for_each(|_| out.write_all(&piece))
}

#[test]
fn an_archive_that_does_not_come_is_an_error() {
    let table: [(&str, Answer); 4] = [
        ("the server took longer than", |_| stall()),
        ("the server took longer than", |out| {
            out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")?;
            out.flush()?;
            stall()
        }),
        ("the server took longer than", |out| trickle(out, "HTTP/1.1 200 OK\r\n", "X-A: b\r\n")),
        ("less than 1024 bytes come in a second", |out| {
            trickle(out, "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", "x")
        }),
    ];
    let timeout = format!("fetch.timeout={}", patience().as_secs());
    all(table, ACI, &["-o", &timeout], &format!("jetpack: cannot fetch {ACI}: "));
}

#[test]
fn an_archive_that_lies_is_an_error() {
    let table: [(&str, Answer); 8] = [
        ("end of file before message length reached", |out| {
            out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabc")
        }),
        ("cannot fetch", |_| cut()),
        ("invalid HTTP", |out| out.write_all(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")),
        ("cannot fetch", |out| endless(out, "HTTP/1.1 200 OK\r\nX-A: ")),
        ("it has more than 1048576 bytes", |out| endless(out, "HTTP/1.1 200 OK\r\n\r\n")),
        ("it has more than 1048576 bytes", |out| {
            endless(out, "HTTP/1.1 200 OK\r\nContent-Length: 9000000000000000\r\n\r\n")
        }),
        ("503 Service Unavailable", |out| reply(out, "503 Service Unavailable", "", b"")),
        ("401 Unauthorized: the server asks for a name and password", |out| reply(out, "401 Unauthorized", "", b"")),
    ];
    all(table, ACI, &["-o", "fetch.max-size=1M"], &format!("jetpack: cannot fetch {ACI}: "));
}

#[test]
fn an_archive_that_is_shorter_than_said_or_something_else_is_refused() {
    let table: [(&str, Answer); 3] = [
        // What comes behind the length that is said does not count.
        ("cannot import", |out| {
            let archive = versioned("a", "1");
            write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", archive.len() / 2)?;
            out.write_all(&archive)
        }),
        ("is not a tar archive", |out| reply(out, "200 OK", "", b"<html>come in</html>")),
        ("cannot import", |out| reply(out, "200 OK", "", b"")),
    ];
    for (expected, answer) in table {
        let said = fetched(ACI, &[], answer).failure(125);
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn an_archive_for_which_there_is_no_room_is_not_begun() {
    let said = fetched(ACI, &[], |out| out.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000000000000\r\n\r\nx"));
    let said = said.failure(125);
    assert_eq!(said, format!("jetpack: cannot fetch {ACI}: it has no room on the disk of the store\n"));
}

#[test]
fn a_page_that_lies_is_an_error() {
    let table: [(&str, Answer); 5] = [
        ("it has no such tags", |out| endless(out, "HTTP/1.1 200 OK\r\n\r\n<html>")),
        ("it has no such tags", |out| endless(out, "HTTP/1.1 200 OK\r\n\r\n<meta name=\"")),
        ("500 Internal Server Error", |out| reply(out, "500 Internal Server Error", "", b"")),
        ("401 Unauthorized: the server asks", |out| reply(out, "401 Unauthorized", "", b"")),
        ("redirects more than 10 times", |out| reply(out, "302 Found", "Location: https://example.com/x\r\n", b"")),
    ];
    all(table, "example.com/a", &[], NOWHERE);
}

#[test]
fn a_page_that_does_not_come_is_an_error() {
    let table: [(&str, Answer); 2] = [
        ("the server took longer than", |_| stall()),
        ("the server took longer than", |out| trickle(out, "HTTP/1.1 200 OK\r\n\r\n", "<p>")),
    ];
    let timeout = format!("fetch.timeout={}", patience().as_secs());
    all(table, "example.com/a", &["-o", &timeout], NOWHERE);
}

#[test]
fn a_signature_without_end_is_an_error() {
    let jetpack = Jetpack::fake();
    let server = Server::new(&["example.com"], |request, out| match request.url.as_str() {
        ACI => file(request, out, &versioned("a", "1")),
        _ => endless(out, "HTTP/1.1 200 OK\r\n\r\n"),
    });
    let said = Output::of_command(&mut server.command(&jetpack, &["fetch", ACI]), b"").failure(125);
    assert!(said.contains(&format!("cannot fetch {ACI}.asc: it has more than 262144 bytes")), "{said}");
}

#[test]
fn who_cannot_prove_to_be_the_server_is_not_trusted() {
    let serve = |names: &[&str]| {
        Server::new(names, |request, out| match request.url.as_str() {
            ACI => file(request, out, &versioned("a", "1")),
            "https://example.com/a?ac-discovery=1" => reply(out, "200 OK", "", &page(&[])),
            _ => reply(out, "404 Not Found", "", b""),
        })
    };
    let jetpack = Jetpack::fake();
    let other = serve(&["example.org"]);
    for name in [ACI, "example.com/a"] {
        let said = other.run(&jetpack, &["fetch", name]).failure(125);
        assert!(said.contains("certificate not valid for name \"example.com\""), "{said}");
        assert!(said.contains("help: name a file with the authority's certificate in SSL_CERT_FILE; or"), "{said}");
        assert_eq!(other.urls(), [""; 0]);
    }
    // Somebody else's authority.
    let server = serve(&["example.com"]);
    let foreign = other.authority(&jetpack);
    let mut command = server.command(&jetpack, &["--insecure-options", "image", "fetch", ACI]);
    std::fs::write(&foreign, "").expect("a file");
    let said = Output::of_command(command.env("SSL_CERT_FILE", &foreign), b"").failure(125);
    assert!(said.contains("help: install the system's certificates"), "{said}");
    let foreign = serve(&["example.com"]).authority(&jetpack);
    let text = std::fs::read(&foreign).expect("a certificate");
    let foreign = jetpack.file("foreign.pem", &text);
    let mut command = server.command(&jetpack, &["--insecure-options", "image", "fetch", ACI]);
    let said = Output::of_command(command.env("SSL_CERT_FILE", &foreign), b"").failure(125);
    assert!(said.contains("invalid peer certificate: "), "{said}");
    let mut command = server.command(&jetpack, &["--insecure-options", "image,tls", "fetch", ACI]);
    Output::of_command(command.env("SSL_CERT_FILE", &foreign), b"").success();
}

#[test]
fn a_host_that_is_not_there_is_told_at_once() {
    let jetpack = Jetpack::fake();
    let server = Server::new(&["example.com"], |_, out| reply(out, "404 Not Found", "", b""));
    let mut command = server.command(&jetpack, &["fetch", "https://127.0.0.1:9/a.aci"]);
    let begun = Instant::now();
    let said = Output::of_command(command.env("NO_PROXY", "127.0.0.1"), b"").failure(125);
    assert!(said.contains("cannot fetch https://127.0.0.1:9/a.aci: ") && said.contains("Connection refused"), "{said}");
    assert!(begun.elapsed() < 5 * patience());
    assert_eq!(server.urls(), [""; 0]);
}
