//! A web server of the test's own, which can lie. It speaks HTTP and HTTPS on one port, with a certificate that the test makes, and
//! is a proxy, too: asked for any host by way of it, it answers as that host. So names need no resolver and no root.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sha2::{Digest, Sha256};

use super::bounded::LONG;
use super::command::{Jetpack, Output};

/// What a client has asked for.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The whole URL.
    pub(crate) url: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// The value of a header, whose name is given in small letters.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// Where the answer goes, byte by byte as the test wants it. An error breaks the connection off.
pub(crate) type Out<'a> = &'a mut dyn Write;

type Handler = dyn Fn(&Request, Out<'_>) -> io::Result<()> + Send + Sync;

/// Answers in the ordinary way.
pub(crate) fn reply(out: Out<'_>, status: &str, headers: &str, body: &[u8]) -> io::Result<()> {
    write!(out, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len())?;
    out.write_all(body)
}

/// Breaks the connection off.
pub(crate) fn cut() -> io::Result<()> {
    Err(io::Error::other("cut"))
}

/// A file as a good server gives it: whole, the part that is asked for, or that it has not changed.
pub(crate) fn file(request: &Request, out: Out<'_>, contents: &[u8]) -> io::Result<()> {
    let digest: String = Sha256::digest(contents).iter().map(|byte| format!("{byte:02x}")).collect();
    let tag = format!("\"{digest}\"");
    let headers = format!("ETag: {tag}\r\n");
    if request.header("if-none-match") == Some(&tag) {
        return write!(out, "HTTP/1.1 304 Not Modified\r\n{headers}Connection: close\r\n\r\n");
    }
    let start = request.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    match start {
        Some(start) if request.header("if-range") == Some(&tag) => {
            let (total, last) = (contents.len(), contents.len() - 1);
            let headers = format!("{headers}Content-Range: bytes {start}-{last}/{total}\r\n");
            reply(out, "206 Partial Content", &headers, &contents[start..])
        }
        _ => reply(out, "200 OK", &headers, contents),
    }
}

/// A page with these tags: the name of each, and its content.
pub(crate) fn page(tags: &[(&str, &str)]) -> Vec<u8> {
    let tags = tags.iter().map(|(name, content)| format!("<meta name=\"{name}\" content=\"{content}\">\n"));
    format!("<!DOCTYPE html>\n<html><head>{}</head><body>x</body></html>", tags.collect::<String>()).into_bytes()
}

/// What the threads of a server share.
struct Shared {
    tls: Arc<ServerConfig>,
    handler: Arc<Handler>,
    requests: Mutex<Vec<Request>>,
    ended: AtomicBool,
}

/// A server, until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    authority: String,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// A server whose certificate is for these names.
    pub(crate) fn new(
        names: &[&str],
        handler: impl Fn(&Request, Out<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Server {
        Server::at("127.0.0.1:0", names, handler)
    }

    /// The same at this address.
    pub(crate) fn at(
        address: &str,
        names: &[&str],
        handler: impl Fn(&Request, Out<'_>) -> io::Result<()> + Send + Sync + 'static,
    ) -> Server {
        let (authority, tls) = certificates(names);
        Server::start(address, authority, Arc::new(tls), Arc::new(handler))
    }

    /// The same server at another address, too.
    #[cfg(target_os = "linux")]
    pub(crate) fn again(&self, address: &str) -> Server {
        let Shared { tls, handler, .. } = &*self.shared;
        Server::start(address, self.authority.clone(), Arc::clone(tls), Arc::clone(handler))
    }

    fn start(address: &str, authority: String, tls: Arc<ServerConfig>, handler: Arc<Handler>) -> Server {
        let (requests, ended) = (Mutex::default(), AtomicBool::new(false));
        let shared = Arc::new(Shared { tls, handler, requests, ended });
        let listener = TcpListener::bind(address).expect("a port");
        let address = listener.local_addr().expect("an address");
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Server { address, authority, shared, thread: Some(thread) }
    }

    /// The certificate of who has signed the server's, for `SSL_CERT_FILE`.
    pub(crate) fn authority(&self, jetpack: &Jetpack) -> PathBuf {
        jetpack.file("authority.pem", self.authority.as_bytes())
    }

    /// A command that asks this server for everything and trusts its certificate.
    pub(crate) fn command(&self, jetpack: &Jetpack, arguments: &[&str]) -> std::process::Command {
        let mut command = jetpack.command(arguments);
        let proxy = format!("http://{}", self.address);
        command.env("HTTPS_PROXY", &proxy).env("HTTP_PROXY", &proxy).env("SSL_CERT_FILE", self.authority(jetpack));
        command
    }

    /// Runs such a command, which may bring unsigned images in.
    pub(crate) fn run(&self, jetpack: &Jetpack, arguments: &[&str]) -> Output {
        let all: Vec<&str> = ["--insecure-options", "image"].iter().chain(arguments).copied().collect();
        Output::of_command(&mut self.command(jetpack, &all), b"")
    }

    /// What was asked for since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut *self.shared.requests.lock().expect("the list"))
    }

    /// The URLs of that.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.url).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes it up.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// An authority's certificate, and what a server with one of its certificates needs.
fn certificates(names: &[&str]) -> (String, ServerConfig) {
    let mut params = CertificateParams::new([]).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("a certificate").pem();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let leaf = CertificateParams::new(names).expect("names").signed_by(&key, &issuer).expect("a certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
    let config = config.with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key);
    (authority, config.expect("a certificate and its key"))
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.ended.load(Ordering::Relaxed) {
            return;
        }
        let shared = Arc::clone(shared);
        // A client that goes away, or does not like the certificate, is no failure of the test.
        std::thread::spawn(move || stream.and_then(|stream| serve(&shared, stream, None)));
    }
}

/// Answers the one request of a connection; `host` is whom the client thinks to talk to.
fn serve(shared: &Shared, mut stream: TcpStream, host: Option<&str>) -> io::Result<()> {
    stream.set_read_timeout(Some(LONG))?;
    stream.set_write_timeout(Some(LONG))?;
    let mut first = [0];
    stream.peek(&mut first)?;
    if first[0] == 0x16 {
        let connection = ServerConnection::new(Arc::clone(&shared.tls)).map_err(io::Error::other)?;
        let socket = stream.try_clone()?;
        let mut stream = StreamOwned::new(connection, stream);
        let (target, headers) = head(&mut stream)?;
        let answered =
            answer(shared, &format!("https://{}{target}", host.unwrap_or(&named(&headers))), headers, &mut stream);
        if answered.is_ok() {
            stream.conn.send_close_notify();
            stream.flush()?;
        }
        // Whoever asked may not have read all; a reset would take it away.
        let _ = socket.shutdown(Shutdown::Write);
        return answered;
    }
    let (target, headers) = head(&mut stream)?;
    if let Some(host) = target.strip_suffix(":443") {
        stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        return serve(shared, stream, Some(host));
    }
    let url = if target.starts_with('/') { format!("http://{}{target}", named(&headers)) } else { target };
    answer(shared, &url, headers, &mut stream)
}

fn named(headers: &[(String, String)]) -> String {
    headers.iter().find(|(name, _)| name == "host").map_or_else(String::new, |(_, host)| host.clone())
}

fn answer(shared: &Shared, url: &str, headers: Vec<(String, String)>, out: Out<'_>) -> io::Result<()> {
    let request = Request { url: url.to_owned(), headers };
    shared.requests.lock().expect("the list").push(request.clone());
    (shared.handler)(&request, out)?;
    out.flush()
}

/// What a request asks for, and its headers.
fn head(stream: &mut impl Read) -> io::Result<(String, Vec<(String, String)>)> {
    let mut text = Vec::new();
    let begun = Instant::now();
    while !text.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 || begun.elapsed() > LONG {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        text.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    let mut lines = text.lines();
    let target = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or_default().to_owned();
    let headers = lines.filter_map(|line| line.split_once(": "));
    Ok((target, headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect()))
}

/// How long a client of a server that is slow on purpose waits for an answer: two seconds, or what `JETPACK_TEST_PATIENCE` says,
/// in seconds, where the host is slow.
pub(crate) fn patience() -> Duration {
    let said = std::env::var("JETPACK_TEST_PATIENCE").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(said.unwrap_or(2))
}

/// Says nothing for longer than a client may wait.
pub(crate) fn stall() -> io::Result<()> {
    std::thread::sleep(6 * patience());
    cut()
}

/// Sends some text, and then a little now and then, for longer than a client may wait.
pub(crate) fn trickle(out: Out<'_>, first: &str, then: &str) -> io::Result<()> {
    out.write_all(first.as_bytes())?;
    (0..60).try_for_each(|_| {
        std::thread::sleep(patience() / 10);
        out.write_all(then.as_bytes()).and_then(|()| out.flush())
    })
}
