//! The HTTP client: what it allows, how long it waits, and how its errors read.

use std::error::Error as StdError;
use std::io::{self, Read};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use reqwest::blocking::{Client, Response};
use reqwest::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};
use reqwest::redirect::{self, Action, Attempt};
use reqwest::{StatusCode, Url};

use super::super::discovery::{Answer, Page, Pages};
use super::super::interruptible::Interruptible;
use crate::error::{Context, Error, Result};

/// How often a server may send us elsewhere.
const MOST_REDIRECTS: usize = 10;

/// What is allowed, and how long to wait.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether plain HTTP may be used: `allow.http`, or `--insecure-options http`.
    pub http: bool,
    /// Whether servers may have any certificate: `--insecure-options tls`.
    pub any_certificate: bool,
    /// `fetch.timeout`: how long a server may take to answer, and to go on.
    pub timeout: Duration,
    /// `fetch.max-size`: the most that an archive may have, in bytes.
    pub max_size: Option<u64>,
}

/// The web, as far as it may be used. Nothing is read or asked until it is needed.
#[derive(Debug)]
pub struct Web {
    settings: Settings,
    client: OnceLock<Client>,
}

impl Web {
    /// The web with these settings. Proxies come from the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`), and
    /// the authorities whose certificates count are the system's, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`.
    pub fn new(settings: Settings) -> Web {
        Web { settings, client: OnceLock::new() }
    }

    pub(super) fn settings(&self) -> &Settings {
        &self.settings
    }

    fn client(&self) -> Result<&Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = build(self.settings)?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Asks for `url`. The answer may be any status; its body is read as it comes.
    ///
    /// # Errors
    /// The server cannot be reached or trusted, or does not answer in time.
    pub(super) fn get(&self, url: &Url, headers: HeaderMap) -> Asked<Response> {
        let ask = || {
            self.check(url)?;
            Ok(self.client()?.get(url.clone()).headers(headers))
        };
        let request = ask().map_err(|error| Trouble { error, passing: false })?;
        request.send().map_err(|error| self.trouble(error))
    }

    /// A small file.
    ///
    /// # Errors
    /// The server cannot be reached, does not answer as it should or within the time, or the file is longer than `most` bytes.
    pub fn document(&self, url: &Url, most: u64) -> Result<Answer<Vec<u8>>> {
        let (_, body) = match self.page(url)? {
            Ok(found) => found,
            Err(why) => return Ok(Err(why)),
        };
        let mut bytes = Vec::new();
        body.take(most + 1).read_to_end(&mut bytes).context(|| format!("cannot fetch {url}"))?;
        if bytes.len() as u64 > most {
            return Err(Error::with_source(format!("cannot fetch {url}"), format!("it has more than {most} bytes")));
        }
        Ok(Ok(bytes))
    }

    /// What went wrong with a request, in words.
    fn trouble(&self, error: reqwest::Error) -> Trouble {
        let passing = !error.is_timeout() && !error.is_redirect() && !error.is_builder();
        let text = if error.is_timeout() { self.too_slow() } else { reason(&error) };
        let certificate = text.contains("certificate");
        let error = Error::new(text);
        if certificate {
            let help = "name a file with the authority's certificate in SSL_CERT_FILE; or, if anybody may be that server, pass \
                        `--insecure-options tls`";
            return Trouble { error: error.help(help), passing: false };
        }
        Trouble { error, passing }
    }

    /// The same of reading a body.
    pub(super) fn broken(&self, error: &io::Error) -> Trouble {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<reqwest::Error>());
        let slow = error.kind() == io::ErrorKind::TimedOut || inner.is_some_and(reqwest::Error::is_timeout);
        let text = if slow { self.too_slow() } else { reason(error) };
        Trouble { error: Error::new(text), passing: !slow }
    }

    pub(super) fn too_slow(&self) -> String {
        format!("the server took longer than {} seconds", self.settings.timeout.as_secs())
    }
}

impl Pages for Web {
    fn page(&self, url: &Url) -> Result<Answer<Page<'_>>> {
        let what = || format!("cannot fetch {url}");
        let deadline = Instant::now() + self.settings.timeout;
        let answer = self.get(url, HeaderMap::new()).map_err(|trouble| trouble.error).context(what)?;
        let status = answer.status();
        if status.is_client_error() {
            return Ok(Err(refusal(status)));
        }
        if status != StatusCode::OK {
            return Err(Error::with_source(what(), refusal(status)));
        }
        let at = answer.url().clone();
        Ok(Ok((at, Box::new(Until { deadline, body: Interruptible(answer), web: self }))))
    }

    fn schemes(&self) -> &[&'static str] {
        if self.settings.http { &["https", "http"] } else { &["https"] }
    }

    fn check(&self, url: &Url) -> Result<()> {
        if self.settings.http || url.scheme() == "https" {
            return Ok(());
        }
        Err(Error::new(format!("plain HTTP is not allowed, as for {url}")).help(
            "anybody on the way can read and change what comes by it; to allow it, pass `--insecure-options http`, or set \
             `allow.http = on` in jetpack.conf",
        ))
    }
}

/// What comes of asking.
pub(super) type Asked<T> = std::result::Result<T, Trouble>;

/// Why a request or an answer failed, and whether to ask again may help.
pub(super) struct Trouble {
    pub(super) error: Error,
    pub(super) passing: bool,
}

/// A body that must have come by a deadline.
struct Until<'a> {
    deadline: Instant,
    body: Interruptible<Response>,
    web: &'a Web,
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let error = match self.body.read(buffer) {
            Ok(_) if Instant::now() > self.deadline => Error::new(self.web.too_slow()),
            Ok(count) => return Ok(count),
            Err(error) => self.web.broken(&error).error,
        };
        Err(io::Error::other(error))
    }
}

fn build(settings: Settings) -> Result<Client> {
    // Another one that is there already does as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut headers = HeaderMap::new();
    // Archives are compressed already, and what is verified are the bytes as they come.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let client = Client::builder()
        .user_agent(concat!("jetpack/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .referer(false)
        .connect_timeout(settings.timeout)
        // Of an answer's head, and of each piece of its body.
        .timeout(settings.timeout)
        .redirect(redirect::Policy::custom(move |attempt| follow(attempt, settings.http)))
        .tls_danger_accept_invalid_certs(settings.any_certificate);
    client.build().map_err(|error| {
        let certificates = reason(&error).contains("CA certificates");
        let error = Error::with_source("cannot make an HTTP client", reason(&error));
        let help =
            "install the system's certificates (Debian: ca-certificates), or name a file of them in SSL_CERT_FILE";
        if certificates { error.help(help) } else { error }
    })
}

/// Whether to go where the server sends us.
fn follow(attempt: Attempt<'_>, http: bool) -> Action {
    if attempt.previous().len() > MOST_REDIRECTS {
        return attempt.error(format!("the server redirects more than {MOST_REDIRECTS} times"));
    }
    let allowed = attempt.url().scheme() == "https" || (http && attempt.url().scheme() == "http");
    if allowed {
        return attempt.follow();
    }
    let error = format!("the server redirects to {}, which is not allowed", attempt.url());
    attempt.error(error)
}

/// What a status that is no success means.
pub(super) fn refusal(status: StatusCode) -> String {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            format!("{status}: the server asks for a name and password, and Jetpack has none to give")
        }
        _ => status.to_string(),
    }
}

/// What the outer errors of the client say: no more than that there was one.
const EMPTY_WORDS: [&str; 7] = [
    "builder error",
    "error sending request",
    "error following redirect",
    "client error",
    "request or response body error",
    "error reading a body",
    "error decoding response body",
];

/// The causes that say something, each once.
fn reason(error: &(dyn StdError + 'static)) -> String {
    let mut told: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let says = !EMPTY_WORDS.iter().any(|words| text.starts_with(words));
        if says && !told.iter().any(|before| before.contains(&text)) {
            told.push(text);
        }
        next = error.source();
    }
    if told.is_empty() { error.to_string() } else { told.join(": ") }
}
