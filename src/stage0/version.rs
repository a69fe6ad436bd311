//! The order of versions, as people read them.
//!
//! appc has a `version` label and no order for it: whatever its author wrote is a version. So this knows the ways that are
//! usual, of semantic versions, of packages and of FreeBSD's releases, and any two texts have an order:
//!
//! * numbers are compared as numbers, however long they are: `1.10` is later than `1.9`; zeros at the end mean nothing, and
//!   neither does a `v` before the first number;
//! * what is known as the name of something unfinished (`alpha`, `beta`, `rc`…), any word behind a dash and anything behind a
//!   tilde are earlier than the same without it: `1.0-rc1` and `1.0~1` than `1.0`;
//! * other words are later, such as those of patches (`1.0a`, `14.2-RELEASE-p1`), and so are numbers behind a dash, an
//!   underline or a plus sign (`1.0-2`, `1.0_1`): revisions of a package;
//! * what begins with no number is earlier than all that do, and no version at all is the earliest.

#![forbid(unsafe_code)]

/// Words of what is not finished, wherever they stand.
const UNFINISHED: [&str; 8] = ["alpha", "beta", "dev", "nightly", "pre", "preview", "rc", "snapshot"];

/// Words of what comes after, behind a dash, too.
const LATER: [&str; 6] = ["p", "patch", "pl", "post", "r", "rev"];

/// A version in a form that can be compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(Vec<Part>);

/// A part of a version, the earliest kind first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    /// There is no version.
    None,
    /// A word, in lower case, that makes what it stands behind earlier.
    Before(String),
    /// Nothing follows; every version ends so.
    End,
    /// Any other word, in lower case.
    Word(String),
    /// A number of a package's revision.
    Revision(Number),
    Number(Number),
}

/// A number of any length: how many digits it has, without zeros before them, and which.
type Number = (usize, String);

impl Version {
    /// Reads a version. There is none that cannot be read.
    pub fn new(text: &str) -> Version {
        if text.is_empty() {
            return Version(vec![Part::None]);
        }
        let mut rest = match text.strip_prefix(['v', 'V']) {
            Some(rest) if rest.starts_with(|c: char| c.is_ascii_digit()) => rest,
            _ => text,
        };
        let mut parts = Vec::new();
        let mut before = None;
        while let Some(first) = rest.chars().next() {
            let same_kind = |c: char| c.is_ascii_digit() == first.is_ascii_digit() && c.is_alphanumeric();
            let end = match same_kind(first) {
                true => rest.find(|c| !same_kind(c)).unwrap_or(rest.len()),
                false => first.len_utf8(),
            };
            let (piece, remaining) = rest.split_at(end);
            rest = remaining;
            match same_kind(first) {
                true => add(&mut parts, part(before.take(), piece)),
                false if first == '~' => add(&mut parts, Part::Before(String::new())),
                false => before = Some(first),
            }
        }
        add(&mut parts, Part::End);
        Version(parts)
    }
}

/// What a number or word is that stands behind the separator `before`.
fn part(before: Option<char>, piece: &str) -> Part {
    if piece.starts_with(|c: char| c.is_ascii_digit()) {
        let digits = piece.trim_start_matches('0');
        let number = (digits.len(), digits.to_owned());
        return if matches!(before, Some('-' | '_' | '+')) { Part::Revision(number) } else { Part::Number(number) };
    }
    let word = piece.to_lowercase();
    let is_before = match before {
        Some('-') => !LATER.contains(&&*word),
        _ => UNFINISHED.contains(&&*word),
    };
    if is_before { Part::Before(word) } else { Part::Word(word) }
}

fn add(parts: &mut Vec<Part>, part: Part) {
    if !matches!(part, Part::Number(_)) {
        drop_zeros(parts);
    }
    parts.push(part);
}

/// Takes zeros from the end of the numbers that the version begins with.
fn drop_zeros(parts: &mut Vec<Part>) {
    if parts.iter().all(|part| matches!(part, Part::Number(_))) {
        let last = parts.iter().rposition(|part| !matches!(part, Part::Number((0, _))));
        parts.truncate(last.map_or(1, |last| last + 1));
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;

    /// Lists of versions, each later than all before it.
    const ORDERS: [&[&str]; 10] = [
        &["", "latest", "0", "0.1", "0.9", "0.10", "1", "1.0.1", "1.2", "1.9", "1.10", "1.100", "2", "10"],
        // As semantic versions have it, but for a single number behind the dash.
        &["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"],
        &["1.0.0-beta.11", "1.0.0-rc.1", "1.0.0-rc.2", "1.0.0-rc.10", "1.0.0", "1.0.1-rc.1", "1.0.1"],
        &["1.0-dev", "1.0-rc1", "1.0-rc2", "1.0-rc10", "1.0", "1.0.1"],
        &["1.0rc1", "1.0rc2", "1.0", "1.0a", "1.0b", "1.0.1", "1.1beta", "1.1"],
        // As OpenSSL has them; a single letter is a milestone only behind a dash.
        &["1.0.2-m1", "1.0.2", "1.0.2a", "1.0.2l", "1.0.2m", "1.0.2n", "1.0.2zh", "1.1.0"],
        &["1.0~beta1", "1.0~rc1", "1.0", "1.0-1", "1.0-2", "1.0-10", "1.0.1"],
        &["1.0", "1.0_1", "1.0_2", "1.0.1", "1.0.1_1"],
        &[
            "14.2-BETA1",
            "14.2-RC1",
            "14.2-RELEASE",
            "14.2-RELEASE-p1",
            "14.2-RELEASE-p10",
            "14.3-RELEASE",
            "15.0-CURRENT",
        ],
        &["2023.12.31", "2024.01.02", "2024.1.10", "2024.10.1", "99999999999999999999", "100000000000000000000"],
    ];

    #[test]
    fn each_is_later_than_those_before_it() {
        for order in ORDERS {
            for (n, text) in order.iter().enumerate() {
                for (m, other) in order.iter().enumerate() {
                    assert_eq!(Version::new(text).cmp(&Version::new(other)), n.cmp(&m), "{text} and {other}");
                }
            }
        }
    }

    #[test]
    fn some_are_the_same() {
        for (one, other) in [
            ("1", "1.0"),
            ("1.0", "1.0.0"),
            ("1-1", "1.0-1"),
            ("v1.2", "1.2"),
            ("1.0-RC1", "1.0.0-rc1"),
            ("0", "0.0"),
            ("01.2", "1.02"),
        ] {
            assert_eq!(Version::new(one).cmp(&Version::new(other)), Ordering::Equal, "{one} and {other}");
        }
    }

    #[test]
    fn any_text_is_a_version() {
        let texts = ["-", "~", "v", "vv1", "é1", "1é", "1..2", "...", "~~1", "1-", "-1", "٣", "\0", "+", "a-b-c"];
        for text in texts {
            for other in texts {
                let (one, other) = (Version::new(text), Version::new(other));
                assert_eq!(one.cmp(&other), other.cmp(&one).reverse());
            }
        }
    }
}
