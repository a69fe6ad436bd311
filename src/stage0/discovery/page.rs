//! The `ac-…` tags of an HTML page.
//!
//! Only the tokenizer of the HTML parser is used, and the page is read in pieces that are forgotten at once: no tree is built
//! of what a stranger's server sends. Like Go's remote import paths, which discovery is made after, this looks at the head of
//! a page only: whoever may write into its body, such as a visitor who leaves a comment, has no say in where images are.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::io::{self, Read};

use html5ever::tendril::stream::{TendrilSink, Utf8LossyDecoder};
use html5ever::tendril::{ByteTendril, StrTendril, fmt};
use html5ever::tokenizer::states::RawKind;
use html5ever::tokenizer::{BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts};

/// The most of a page that is looked at, in bytes.
pub(super) const LONGEST_PAGE: u64 = 1 << 20;

/// The most tags that are taken from one page.
const MOST_TAGS: usize = 1000;

/// How much is read at a time, in bytes: between two pieces the reader may say that it takes too long.
const PIECE: usize = 4096;

/// What a tag says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `ac-discovery`: a template of the URLs of images.
    Template,
    /// `ac-discovery-pubkeys`: the URL of keys.
    Keys,
}

/// `<meta name="ac-discovery" content="PREFIX URL">`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) kind: Kind,
    /// What the names begin with that it is about.
    pub(super) prefix: String,
    /// A URL, or a template of one.
    pub(super) url: String,
}

/// The tags in the head of the page that `reader` gives, in order. What comes behind [`LONGEST_PAGE`] does not count.
///
/// # Errors
/// What `reader` fails with.
pub(super) fn tags(reader: impl Read) -> io::Result<Vec<Meta>> {
    let tokenizer = Tokenizer::new(Head::default(), TokenizerOpts::default());
    let mut text = Utf8LossyDecoder::new(Feed(&tokenizer));
    let mut page = reader.take(LONGEST_PAGE);
    let mut piece = [0; PIECE];
    while !tokenizer.sink.ended.get() {
        match page.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => text.process(ByteTendril::from_slice(&piece[..count])),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    text.finish();
    Ok(tokenizer.sink.found.take())
}

/// Gives decoded text to the tokenizer.
struct Feed<'a>(&'a Tokenizer<Head>);

impl TendrilSink<fmt::UTF8> for Feed<'_> {
    type Output = ();

    fn process(&mut self, text: StrTendril) {
        let queue = BufferQueue::default();
        queue.push_back(text);
        // Nothing here makes the tokenizer stop before all of it is read.
        let _ = self.0.feed(&queue);
    }

    fn error(&mut self, _description: Cow<'static, str>) {}

    fn finish(self) {
        self.0.end();
    }
}

/// Collects tags until the head of the page has ended.
#[derive(Default)]
struct Head {
    found: RefCell<Vec<Meta>>,
    ended: Cell<bool>,
}

impl TokenSink for Head {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let Token::TagToken(tag) = token else { return TokenSinkResult::Continue };
        match (tag.kind, &*tag.name) {
            (TagKind::EndTag, "head") | (TagKind::StartTag, "body") => self.ended.set(true),
            (TagKind::StartTag, "meta") if !self.ended.get() => self.found.borrow_mut().extend(meta(&tag)),
            // What stands in these is text, whatever it looks like.
            (TagKind::StartTag, "script") => return TokenSinkResult::RawData(RawKind::ScriptData),
            (TagKind::StartTag, "title" | "textarea") => return TokenSinkResult::RawData(RawKind::Rcdata),
            (TagKind::StartTag, "style" | "xmp" | "iframe" | "noembed" | "noframes") => {
                return TokenSinkResult::RawData(RawKind::Rawtext);
            }
            _ => {}
        }
        if self.found.borrow().len() >= MOST_TAGS {
            self.ended.set(true);
        }
        TokenSinkResult::Continue
    }
}

/// What a `meta` tag says, if it is one of ours and says it.
fn meta(tag: &Tag) -> Option<Meta> {
    let value = |name: &str| tag.attrs.iter().find(|a| &*a.name.local == name).map(|a| a.value.trim());
    let kind = match value("name")? {
        "ac-discovery" => Kind::Template,
        "ac-discovery-pubkeys" => Kind::Keys,
        _ => return None,
    };
    let (prefix, url) = value("content")?.split_once(char::is_whitespace)?;
    Some(Meta { kind, prefix: prefix.to_owned(), url: url.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn template(url: &str) -> Meta {
        Meta { kind: Kind::Template, prefix: "example.com".to_owned(), url: url.to_owned() }
    }

    fn tag(url: &str) -> String {
        format!("<meta name=\"ac-discovery\" content=\"example.com {url}\">")
    }

    #[test]
    fn tags_are_found_where_a_browser_would_find_them() {
        let (a, b) = (tag("a"), tag("b"));
        let keys = Meta { kind: Kind::Keys, prefix: "example.com".to_owned(), url: "k".to_owned() };
        let table: [(String, Vec<Meta>); 12] = [
            (
                format!("<!DOCTYPE html><html><head><title>x</title>{a}{b}</head><body>"),
                vec![template("a"), template("b")],
            ),
            (a.clone(), vec![template("a")]),
            ("<META CONTENT=' example.com \n a ' NAME=ac-discovery />".to_owned(), vec![template("a")]),
            (
                "<meta name=ac-discovery content='example.com https://x/?a=1&amp;b=2'>".to_owned(),
                vec![template("https://x/?a=1&b=2")],
            ),
            ("<meta name=\"ac-discovery-pubkeys\" content=\"example.com k\">".to_owned(), vec![keys]),
            (format!("<head></head>{a}"), vec![]),
            (format!("<body>{a}"), vec![]),
            (format!("<!-- {a} --><script>'{a}'</script><style>{a}</style><title>{a}</title>{b}"), vec![template("b")]),
            (
                "<meta name=ac-discovery content=example.com><meta name=ac-discovery><meta content='example.com a'>"
                    .to_owned(),
                vec![],
            ),
            ("<meta name=ac-other content='example.com a'><meta name=viewport>".to_owned(), vec![]),
            (String::new(), vec![]),
            ("{\"json\": true}".to_owned(), vec![]),
        ];
        for (page, expected) in table {
            assert_eq!(tags(page.as_bytes()).unwrap(), expected, "{page}");
        }
    }

    /// Gives one byte at a time.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut buffer[..1])
        }
    }

    #[test]
    fn pieces_and_bytes_that_are_no_text_change_nothing() {
        let mut page = b"<head>\xff\xfe caf\xc3\xa9 \x00".to_vec();
        page.extend(tag("h\u{e9}").bytes());
        assert_eq!(tags(&page[..]).unwrap(), [template("h\u{e9}")]);
        assert_eq!(tags(Slow(&page)).unwrap(), [template("h\u{e9}")]);
    }

    #[test]
    fn what_comes_late_does_not_count() {
        let filler = |bytes: u64| "x".repeat(usize::try_from(bytes).unwrap());
        let late = format!("{}{}", filler(LONGEST_PAGE), tag("a"));
        assert_eq!(tags(late.as_bytes()).unwrap(), []);
        let just = format!("{}{}", filler(LONGEST_PAGE - tag("a").len() as u64), tag("a"));
        assert_eq!(tags(just.as_bytes()).unwrap(), [template("a")]);
        assert_eq!(tags(tag("a").repeat(5000).as_bytes()).unwrap().len(), MOST_TAGS);
        // An endless page ends.
        assert_eq!(tags(io::repeat(b'<')).unwrap(), []);
    }

    /// Fails when its time is up.
    struct Until<'a>(Instant, &'a [u8]);

    impl Read for Until<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if Instant::now() > self.0 { Err(io::ErrorKind::TimedOut.into()) } else { self.1.read(buffer) }
        }
    }

    #[test]
    fn a_tag_that_takes_long_to_read_ends_when_the_time_is_up() {
        // Each attribute is compared with all before it.
        let many: String = (0..200_000).map(|n| format!("{n:x} ")).collect();
        let page = format!("<meta {many}>");
        let begun = Instant::now();
        let _ = tags(Until(begun + Duration::from_secs(1), page.as_bytes()));
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}
