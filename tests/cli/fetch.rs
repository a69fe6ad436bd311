//! `jetpack fetch`, and `import` of URLs.

use std::time::Duration;

use super::versioned;
use crate::support::archive::{Archive, manifest};
use crate::support::command::{Jetpack, Output};
use crate::support::server::{Out, Request, Server, file, page, reply};

/// The host's labels in `versioned` images are those of Linux.
const APP: &str = "example.com/app,os=linux,arch=amd64";

/// Where the images are that the page of example.com tells of.
const TEMPLATE: &str = "example.com https://get.example.com/{name}-{version}-{os}-{arch}.{ext}";

const ACI: &str = "https://get.example.com/example.com/app-latest-linux-amd64.aci";

const NAMES: [&str; 2] = ["example.com", "get.example.com"];

/// A host that has the image at [`ACI`], in a version, and tells of it at its top.
fn publisher(version: &'static str) -> Server {
    Server::new(&NAMES, move |request, out| publish(request, out, version))
}

fn publish(request: &Request, out: Out<'_>, version: &str) -> std::io::Result<()> {
    match request.url.as_str() {
        "https://example.com/?ac-discovery=1" => reply(out, "200 OK", "", &page(&[("ac-discovery", TEMPLATE)])),
        ACI => file(request, out, &versioned("example.com/app", version)),
        _ => reply(out, "404 Not Found", "", b"nothing"),
    }
}

fn id(output: Output) -> String {
    let stdout = output.success().stdout;
    assert!(stdout.starts_with("sha512-") && stdout.lines().count() == 1, "{stdout}");
    stdout.trim().to_owned()
}

#[test]
fn an_image_is_found_by_its_name() {
    let (jetpack, server) = (Jetpack::fake(), publisher("1"));
    let fetched = id(server.run(&jetpack, &["fetch", APP]));
    let requests = server.requests();
    let urls: Vec<&str> = requests.iter().map(|request| request.url.as_str()).collect();
    let asc = format!("{ACI}.asc");
    assert_eq!(urls, ["https://example.com/app?ac-discovery=1", "https://example.com/?ac-discovery=1", ACI, &asc]);
    for request in &requests {
        assert_eq!(request.header("user-agent"), Some(concat!("jetpack/", env!("CARGO_PKG_VERSION"))));
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert_eq!((request.header("range"), request.header("if-none-match")), (None, None));
    }
    let shown = jetpack.run(["show-image", "example.com/app"]).success().stdout;
    assert!(shown.contains(&fetched) && shown.contains(&format!(" from {ACI}\n")), "{shown}");
    assert_eq!(jetpack.contents(), [format!("images/{fetched}"), format!("layers/{fetched}")]);
}

#[test]
fn pull_says_when_to_ask() {
    let (jetpack, server) = (Jetpack::fake(), publisher("1"));
    let said = server.run(&jetpack, &["fetch", "--pull", "never", APP]).failure(125);
    assert!(said.starts_with(&format!("jetpack: {APP} is not in the store\nhelp: ")), "{said}");
    assert_eq!(server.urls(), [""; 0]);
    let fetched = id(server.run(&jetpack, &["fetch", APP]));
    server.requests();
    for pull in ["new", "never"] {
        assert_eq!(id(server.run(&jetpack, &["fetch", "--pull", pull, APP])), fetched);
        assert_eq!(id(server.run(&jetpack, &["fetch", "--pull", pull, ACI])), fetched);
        assert_eq!(server.urls(), [""; 0]);
    }
    // What has not changed is asked for once, and not sent.
    for (name, requests) in [(APP, 3), (ACI, 1)] {
        assert_eq!(id(server.run(&jetpack, &["fetch", "--pull=always", name])), fetched);
        let asked = server.requests();
        assert_eq!((asked.len(), asked.last().map(|r| r.url.as_str())), (requests, Some(ACI)), "{asked:?}");
        assert!(asked.last().is_some_and(|request| request.header("if-none-match").is_some()), "{asked:?}");
    }
    // What is no longer here is fetched again, though it has not changed.
    jetpack.run(["destroy-image", &fetched]).success();
    assert_eq!(id(server.run(&jetpack, &["fetch", "--pull=always", ACI])), fetched);
    assert_eq!(jetpack.contents().len(), 2);
}

#[test]
fn a_newer_image_is_fetched_if_it_is_asked_for() {
    let jetpack = Jetpack::fake();
    let first = id(publisher("1").run(&jetpack, &["fetch", APP]));
    let newer = publisher("2");
    assert_eq!(id(newer.run(&jetpack, &["fetch", APP])), first);
    let second = id(newer.run(&jetpack, &["fetch", "--pull=always", APP]));
    assert_ne!(first, second);
    assert_eq!(jetpack.contents().len(), 4);
    // That of the version that is here already has to be looked for.
    let said = newer.run(&jetpack, &["fetch", &format!("{APP},version=3")]).failure(125);
    assert!(said.contains("app-3-linux-amd64.aci: 404 Not Found"), "{said}");
}

#[test]
fn templates_are_tried_in_the_order_of_the_page() {
    let jetpack = Jetpack::fake();
    let server = Server::new(&NAMES, |request, out| match request.url.as_str() {
        "https://example.com/app?ac-discovery=1" => {
            let names = ["broken", "missing", "good", "never"];
            let contents = names.map(|name| format!("example.com https://get.example.com/{name}.{{ext}}"));
            let hdfs = "example.com hdfs://get.example.com/{name}.{ext}";
            let tags: Vec<_> = std::iter::once(hdfs).chain(contents.iter().map(String::as_str)).collect();
            reply(out, "200 OK", "", &page(&tags.into_iter().map(|tag| ("ac-discovery", tag)).collect::<Vec<_>>()))
        }
        "https://get.example.com/broken.aci" => reply(out, "403 Forbidden", "", b""),
        "https://get.example.com/good.aci" => file(request, out, &versioned("example.com/app", "1")),
        _ => reply(out, "404 Not Found", "", b""),
    });
    id(server.run(&jetpack, &["fetch", APP]));
    let urls = server.urls();
    let expected = ["app?ac-discovery=1", "broken.aci", "missing.aci", "good.aci", "good.aci.asc"];
    assert_eq!(urls.iter().map(|url| url.rsplit('/').next().unwrap_or_default()).collect::<Vec<_>>(), expected);
    let said = server.run(&jetpack, &["fetch", "example.com/app/x"]).failure(125);
    assert!(said.contains("good.aci: the image is called example.com/app, not example.com/app/x"), "{said}");
}

#[test]
fn only_the_image_that_was_asked_for_is_taken() {
    let (jetpack, server) = (Jetpack::fake(), publisher("1"));
    let other = Server::new(&NAMES, |request, out| match request.url.as_str() {
        "https://example.com/app?ac-discovery=1" => {
            reply(out, "200 OK", "", &page(&[("ac-discovery", "example.com https://get.example.com/a.{ext}")]))
        }
        "https://get.example.com/a.aci" => file(request, out, &versioned("example.com/other", "1")),
        _ => reply(out, "404 Not Found", "", b""),
    });
    let said = other.run(&jetpack, &["fetch", APP]).failure(125);
    let expected = "jetpack: warning: https://get.example.com/a.aci is not signed: nobody knows who made it\n\
                    jetpack: cannot import https://get.example.com/a.aci: the image is called example.com/other, not \
                    example.com/app\n";
    assert_eq!(said, expected);
    // `latest` is no label: the image may have any version.
    id(server.run(&jetpack, &["fetch", APP]));
    jetpack.run(["destroy-image", "example.com/app"]).success();
    let table = [
        ("example.com/app:2,os=linux,arch=amd64", "404 Not Found"),
        ("example.com/app,os=freebsd", "404 Not Found"),
        ("example.com/app,os=linux,arch=amd64,channel=x", "the image has no label channel, which is to be \"x\""),
    ];
    for (name, expected) in table {
        let said = server.run(&jetpack, &["fetch", name]).failure(125);
        assert!(said.contains(expected), "{said}");
    }
    assert_eq!(jetpack.contents(), [""; 0]);
}

#[test]
fn what_nobody_has_signed_is_not_even_fetched() {
    let (jetpack, server) = (Jetpack::fake(), publisher("1"));
    let said = Output::of_command(&mut server.command(&jetpack, &["fetch", ACI]), b"").failure(125);
    let expected =
        format!("jetpack: cannot fetch {ACI}: cannot fetch {ACI}.asc: 404 Not Found\nhelp: to import it without");
    assert!(said.starts_with(&expected), "{said}");
    let part = std::fs::read_dir(jetpack.store().join("cache")).expect("a cache").flatten();
    assert!(part.into_iter().all(|entry| !entry.path().join("part").exists()));
    assert_eq!(jetpack.contents(), [""; 0]);
}

#[test]
fn where_one_name_fails_the_others_are_fetched() {
    let (jetpack, server) = (Jetpack::fake(), publisher("1"));
    let saved = jetpack.path("ids");
    let aci = jetpack.file("own.aci", &Archive::with_manifest(&manifest("own", None)).finish());
    let [saved_to, aci] = [&saved, &aci].map(|path| path.to_str().expect("a plain path"));
    let names = ["app", "example.com/none", APP, "docker://x/y", aci];
    let all: Vec<&str> = ["fetch", "--saveid", saved_to].into_iter().chain(names).collect();
    let output = server.run(&jetpack, &all);
    assert_eq!((output.code, output.stdout.lines().count()), (125, 2), "{output:?}");
    assert_eq!(std::fs::read_to_string(saved).expect("the ids"), output.stdout);
    for expected in [
        "\"app\" is no name of a host, where one would have to ask for app\nhelp: only images whose names begin with",
        "example.com/none-latest-",
        "cannot fetch docker://x/y: cannot read from docker: URLs",
    ] {
        assert!(output.stderr.contains(expected), "{}", output.stderr);
    }
}

#[test]
fn import_takes_urls() {
    let (jetpack, server) = (Jetpack::fake(), publisher("1"));
    let said = server.run(&jetpack, &["import", "--name", "example.com/b", ACI]).failure(125);
    let unsigned = format!("jetpack: warning: {ACI} is not signed: nobody knows who made it\n");
    let other = format!("jetpack: cannot import {ACI}: the image is called example.com/app, not example.com/b\n");
    assert_eq!(said, unsigned.clone() + &other);
    assert_eq!(jetpack.contents(), [""; 0]);
    let imported = id(server.run(&jetpack, &["import", "--name", "example.com/app", ACI]));
    let again = server.run(&jetpack, &["import", ACI]).success();
    assert_eq!(
        (again.stdout.trim(), again.stderr.as_str()),
        (&*imported, "jetpack: warning: this image was in the store already\n")
    );
    let path = jetpack.file("a b.aci", &versioned("a", "1")).display().to_string().replace(' ', "%20");
    id(server.run(&jetpack, &["import", &format!("file://{path}")]));
    for (location, expected) in [
        ("https://me:secret@example.com/", "cannot use a URL with a user's name or password in it"),
        ("ftp://example.com/a", "cannot read from ftp: URLs"),
    ] {
        let said = server.run(&jetpack, &["import", location]).failure(125);
        assert!(said.contains(expected), "{said}");
    }
}

#[test]
fn a_signature_that_may_be_there_is_not_left_out() {
    let jetpack = Jetpack::fake();
    let server = Server::new(&NAMES, |request, out| match request.url.as_str() {
        ACI => file(request, out, &versioned("example.com/app", "1")),
        _ => reply(out, "503 Service Unavailable", "", b""),
    });
    let allowed = ["-o", "allow.no-signature=on", "fetch", ACI];
    let said = Output::of_command(&mut server.command(&jetpack, &allowed), b"").failure(125);
    let failed = format!("cannot fetch {ACI}.asc: 503 Service Unavailable");
    assert_eq!((said, jetpack.contents()), (format!("jetpack: cannot fetch {ACI}: {failed}\n"), vec![]));
    let warned = server.run(&jetpack, &["fetch", ACI]).success().stderr;
    assert!(warned.starts_with(&format!("jetpack: warning: {failed}; that is ignored\n")), "{warned}");
}

#[test]
fn plain_http_has_to_be_allowed() {
    let jetpack = Jetpack::fake();
    let server = Server::new(&NAMES, |request, out| match request.url.as_str() {
        "http://example.com/app?ac-discovery=1" => {
            reply(out, "200 OK", "", &page(&[("ac-discovery", "example.com http://example.com/a.{ext}")]))
        }
        "http://example.com/a.aci" => file(request, out, &versioned("example.com/app", "1")),
        "https://example.com/down.aci" => reply(out, "302 Found", "Location: http://example.com/a.aci\r\n", b""),
        _ => reply(out, "404 Not Found", "", b""),
    });
    for location in [APP, "http://example.com/a.aci", "https://example.com/down.aci"] {
        server.requests();
        let said = server.run(&jetpack, &["fetch", location]).failure(125);
        let why = [
            "plain HTTP is not allowed",
            "redirects to http://example.com/a.aci, which is not allowed",
            "404 Not Found",
        ];
        assert!(why.iter().any(|why| said.contains(why)), "{said}");
        assert!(server.urls().iter().all(|url| url.starts_with("https:")), "{location}");
        let allowed = ["-o", "allow.http", "fetch", location];
        id(server.run(&jetpack, &allowed));
        jetpack.run(["destroy-image", "example.com/app"]).success();
        id(server.run(&jetpack, &["--insecure-options=http", "import", "http://example.com/a.aci"]));
        jetpack.run(["destroy-image", "example.com/app"]).success();
    }
}

#[test]
fn redirects_are_followed_to_an_end() {
    let jetpack = Jetpack::fake();
    let server = Server::new(&NAMES, |request, out| {
        let to = |url: &str, out: Out<'_>| reply(out, "301 Moved Permanently", &format!("Location: {url}\r\n"), b"");
        let steps = request.url.strip_prefix("https://example.com/steps/").and_then(|steps| steps.parse::<u32>().ok());
        match (steps, request.url.as_str()) {
            (Some(0), _) => file(request, out, &versioned("a", "1")),
            (Some(steps), _) => to(&format!("https://example.com/steps/{}", steps - 1), out),
            (_, "https://example.com/app?ac-discovery=1") => to("https://get.example.com/page", out),
            (_, "https://get.example.com/page") => {
                let tag = "example.com https://example.com/{version}.{ext}";
                reply(out, "200 OK", "", &page(&[("ac-discovery", tag)]))
            }
            (_, "https://example.com/1.aci") => to("/2.aci", out),
            (_, "https://example.com/2.aci") => file(request, out, &versioned("example.com/app", "1")),
            (_, "https://example.com/loop") => to("loop", out),
            (_, "https://example.com/file") => to("file:///etc/passwd", out),
            _ => reply(out, "404 Not Found", "", b""),
        }
    });
    id(server.run(&jetpack, &["fetch", "example.com/app:1,os=linux,arch=amd64"]));
    id(server.run(&jetpack, &["import", "https://example.com/steps/10"]));
    for (location, expected) in [
        ("https://example.com/steps/11", "the server redirects more than 10 times"),
        ("https://example.com/loop", "the server redirects more than 10 times"),
        ("https://example.com/file", "301 Moved Permanently"),
    ] {
        let said = server.run(&jetpack, &["import", location]).failure(125);
        assert!(said.starts_with(&format!("jetpack: cannot fetch {location}: {expected}\n")), "{said}");
    }
}

#[test]
fn two_that_fetch_the_same_fetch_it_once() {
    let jetpack = Jetpack::fake();
    let server = Server::new(&NAMES, |request, out| {
        if request.url == ACI {
            std::thread::sleep(Duration::from_millis(500));
        }
        publish(request, out, "1")
    });
    let all = ["--insecure-options", "image", "fetch", ACI];
    let [one, other] = [(), ()].map(|()| {
        let mut command = server.command(&jetpack, &all);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("it starts")
    });
    let ids = [one, other].map(|child| id(Output::of(child.wait_with_output().expect("it ends"))));
    assert_eq!(ids[0], ids[1]);
    let archives = server.requests().into_iter().filter(|request| request.url == ACI);
    assert_eq!(archives.filter(|request| request.header("if-none-match").is_none()).count(), 1);
}

#[test]
fn the_most_that_an_archive_may_have_is_a_size() {
    let (jetpack, server) = (Jetpack::fake(), publisher("1"));
    let said = server.run(&jetpack, &["-o", "fetch.max-size=much", "fetch", ACI]).failure(125);
    assert!(said.contains("fetch.max-size must be a size: write a size such as 512M or 10G"), "{said}");
    let said = server.run(&jetpack, &["-o", "fetch.max-size=1K", "fetch", ACI]).failure(125);
    assert!(said.contains("it has more than 1024 bytes"), "{said}");
    id(server.run(&jetpack, &["-o", "fetch.max-size=1M", "fetch", ACI]));
}
