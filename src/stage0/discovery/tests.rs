use std::cell::RefCell;

use super::reference::testing::on;
use super::*;

/// Pages by their URLs; `!` is a host that is down. What was asked for is written down.
struct Fake {
    pages: Vec<(&'static str, String)>,
    schemes: &'static [&'static str],
    asked: RefCell<Vec<String>>,
}

impl Fake {
    fn new(schemes: &'static [&'static str], pages: &[(&'static str, &str)]) -> Fake {
        let pages = pages.iter().map(|(url, page)| (*url, (*page).to_owned())).collect();
        Fake { pages, schemes, asked: RefCell::default() }
    }
}

impl Pages for Fake {
    fn page(&self, url: &Url) -> Result<Answer<Page<'_>>> {
        self.asked.borrow_mut().push(url.to_string());
        let text = url.as_str().strip_suffix("?ac-discovery=1").unwrap();
        match self.pages.iter().find(|(at, _)| *at == text) {
            None => Ok(Err("404 Not Found".to_owned())),
            Some((_, page)) if page == "!" => Err(Error::new(format!("cannot ask {url}: it is down"))),
            Some((_, page)) => Ok(Ok((url.clone(), Box::new(page.as_bytes())))),
        }
    }

    fn schemes(&self) -> &[&'static str] {
        self.schemes
    }

    fn check(&self, url: &Url) -> Result<()> {
        match self.schemes.contains(&url.scheme()) {
            true => Ok(()),
            false => Err(Error::new("plain HTTP is not allowed")),
        }
    }
}

fn tag(name: &str, content: &str) -> String {
    format!("<meta name='{name}' content='{content}'>")
}

const TLS: &[&str] = &["https"];

fn found(pages: &Fake, reference: &str) -> Answer<Vec<String>> {
    let found = find_image(pages, &on(("linux", "amd64"), reference).unwrap()).map_err(|e| e.one_line())?;
    Ok(found.images.into_iter().map(|image| image.aci.to_string()).collect())
}

#[test]
fn the_nearest_page_with_a_tag_that_helps_counts() {
    let template = |url: &str| tag("ac-discovery", &format!("example.com {url}/{{name}}.{{ext}}"));
    let other = tag("ac-discovery", "example.com/a/bc https://other.org/{name}.{ext}");
    let unusable = tag("ac-discovery", "example.com https://other.org/{color}.{ext}");
    let keys = tag("ac-discovery-pubkeys", "example.com https://example.com/keys");
    let (near, far) = (template("https://near.org"), template("https://far.org"));
    let result = |host: &str| Ok(vec![format!("https://{host}/example.com/a/b.aci")]);
    let table = [
        (vec![("https://example.com/a/b", &*near), ("https://example.com/", &*far)], result("near.org"), 1),
        (vec![("https://example.com/a", &*near)], result("near.org"), 2),
        (vec![("https://example.com/", &*far)], result("far.org"), 3),
        (
            vec![("https://example.com/a/b", ""), ("https://example.com/a", &*other), ("https://example.com/", &*far)],
            result("far.org"),
            3,
        ),
        (vec![("https://example.com/a/b", &*unusable), ("https://example.com/", &*far)], result("far.org"), 3),
        (vec![("https://example.com/a/b", &*keys), ("https://example.com/", &*far)], result("far.org"), 3),
    ];
    for (pages, expected, asked) in table {
        let fake = Fake::new(TLS, &pages);
        assert_eq!(found(&fake, "example.com/a/b"), expected, "{pages:?}");
        assert_eq!(fake.asked.borrow().len(), asked, "{pages:?}");
    }
}

#[test]
fn every_place_of_a_page_is_kept_in_its_order() {
    let page = [
        tag("ac-discovery", "example.com hdfs://a.org/{name}.{ext}"),
        tag("ac-discovery", "example.com https://b.org/{name}-{version}.{ext}"),
        tag("ac-discovery", "example.com/ http://c.org/{name}.{ext}"),
        tag("ac-discovery", "example.com/a https://d.org/{os}/{arch}.{ext}"),
        tag("ac-discovery-pubkeys", "example.com https://example.com/keys.gpg"),
        tag("ac-discovery-pubkeys", "example.com/b https://example.com/other.gpg"),
    ]
    .concat();
    let pages = [("https://example.com/a", &*page)];
    let tls = ["https://b.org/example.com/a-latest.aci", "https://d.org/linux/amd64.aci"].map(str::to_owned);
    assert_eq!(found(&Fake::new(TLS, &pages), "example.com/a"), Ok(tls.to_vec()));
    let all = found(&Fake::new(&["https", "http"], &pages), "example.com/a").unwrap();
    assert_eq!(all, [&tls[0], "http://c.org/example.com/a.aci", &tls[1]]);
    let keys = find_keys(&Fake::new(TLS, &pages), &on(("linux", "amd64"), "example.com/a").unwrap()).unwrap();
    assert_eq!(keys.keys.iter().map(Url::as_str).collect::<Vec<_>>(), ["https://example.com/keys.gpg"]);
    assert_eq!(keys.images[0].asc.as_str(), "https://b.org/example.com/a-latest.aci.asc");
}

#[test]
fn what_was_tried_is_told() {
    let template = tag("ac-discovery", "example.com/other https://x.org/{name}.{ext}");
    let color = tag("ac-discovery", "example.com https://x.org/{color}.{ext}");
    let table = [
        (
            vec![("https://example.com/", &*color)],
            "https://example.com/a?ac-discovery=1: 404 Not Found; https://example.com/?ac-discovery=1: \
             https://x.org/{color}.{ext}: nothing was asked for {color}",
        ),
        (
            vec![("https://example.com/a", &*template), ("https://example.com/", "")],
            "https://example.com/a?ac-discovery=1: a tag is about example.com/other only; \
             https://example.com/?ac-discovery=1: it has no such tags",
        ),
        (vec![("https://example.com/a", "!")], "cannot ask https://example.com/a?ac-discovery=1: it is down"),
        (
            vec![("https://example.com/", "!")],
            "https://example.com/a?ac-discovery=1: 404 Not Found: cannot ask https://example.com/?ac-discovery=1: it is down",
        ),
    ];
    for (pages, expected) in table {
        let error = found(&Fake::new(TLS, &pages), "example.com/a").unwrap_err();
        assert_eq!(error, format!("cannot find out where example.com/a is: {expected}"));
    }
    let error = found(&Fake::new(TLS, &[]), "a").unwrap_err();
    assert!(error.contains("\"a\" is no name of a host"), "{error}");
}

#[test]
fn plain_http_is_asked_after_https_and_only_if_allowed() {
    let template = tag("ac-discovery", "example.com http://x.org/{name}.{ext}");
    for down in ["", "!"] {
        let pages = [("https://example.com/a", down), ("http://example.com/a", &*template)];
        let both = Fake::new(&["https", "http"], &pages);
        assert_eq!(found(&both, "example.com/a").unwrap(), ["http://x.org/example.com/a.aci"]);
        assert_eq!(both.asked.borrow().len(), 2);
        let tls = Fake::new(TLS, &pages);
        found(&tls, "example.com/a").unwrap_err();
        assert!(tls.asked.borrow().iter().all(|url| url.starts_with("https:")));
    }
}
