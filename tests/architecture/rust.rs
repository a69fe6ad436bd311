//! As much of Rust's syntax as it takes to find the paths in a source.

use std::collections::BTreeMap;

/// Identifiers, `::`, and single characters of punctuation; no comments, strings, characters and lifetimes.
pub(crate) fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let skipped = comment(rest).or_else(|| string(rest)).or_else(|| character(rest));
        if let Some(length) = skipped {
            at += length;
        } else if is_word(chars[at]) {
            let length = rest.iter().take_while(|c| is_word(**c)).count();
            tokens.push(rest[..length].iter().collect());
            at += length;
        } else if rest.starts_with(&[':', ':']) {
            tokens.push("::".to_owned());
            at += 2;
        } else {
            if !chars[at].is_whitespace() {
                tokens.push(chars[at].to_string());
            }
            at += 1;
        }
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the comment that begins here, if one does.
fn comment(rest: &[char]) -> Option<usize> {
    if rest.starts_with(&['/', '/']) {
        return Some(rest.iter().take_while(|c| **c != '\n').count());
    }
    if !rest.starts_with(&['/', '*']) {
        return None;
    }
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        match (rest[at], rest.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) if depth == 1 => return Some(at + 2),
            ('*', Some('/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    Some(rest.len())
}

/// The length of the string literal that begins here, with its prefix, if one does.
fn string(rest: &[char]) -> Option<usize> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        let after = &rest[prefix.len().min(rest.len())..];
        let hashes = if prefix.ends_with('r') { after.iter().take_while(|c| **c == '#').count() } else { 0 };
        rest.iter().zip(prefix.chars()).filter(|(a, b)| **a == *b).count() == prefix.len()
            && after.get(hashes) == Some(&'"')
    })?;
    let after = &rest[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = after.iter().take_while(|c| **c == '#').count();
        let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
        let body = &after[hashes + 1..];
        let length = body.windows(end.len()).position(|w| w == end).unwrap_or(body.len());
        return Some((prefix.len() + hashes + 1 + length + end.len()).min(rest.len()));
    }
    let mut at = 1;
    while at < after.len() && after[at] != '"' {
        at += if after[at] == '\\' { 2 } else { 1 };
    }
    Some((prefix.len() + at + 1).min(rest.len()))
}

/// The length of the character literal or lifetime that begins here, if one does.
fn character(rest: &[char]) -> Option<usize> {
    match rest {
        ['\'', '\\', _, more @ ..] => Some(3 + more.iter().take_while(|c| **c != '\'').count() + 1),
        ['\'', _, '\'', ..] => Some(3),
        ['\'', ..] => Some(1 + rest[1..].iter().take_while(|c| is_word(**c)).count()),
        _ => None,
    }
}

/// A path from the crate's root.
type CratePath = Vec<String>;

/// All paths in a source of the module `module` that lead to things of this crate through `crate`, `super` or `self`, or
/// through a name that such a path was given by `use`.
pub(crate) fn paths(module: &[String], text: &str) -> Vec<CratePath> {
    let mut reader =
        Reader { tokens: tokens(text), at: 0, module: module.to_vec(), found: Vec::new(), names: BTreeMap::new() };
    reader.read();
    let mut all = reader.found.clone();
    all.extend(reader.uses_of_names());
    all
}

struct Reader {
    tokens: Vec<String>,
    at: usize,
    module: Vec<String>,
    found: Vec<CratePath>,
    /// What `use` gave a name to.
    names: BTreeMap<String, CratePath>,
}

impl Reader {
    fn token(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", String::as_str)
    }

    fn read(&mut self) {
        // How deep the braces are, and at which depths a module within the file began.
        let (mut depth, mut modules) = (0_i32, Vec::new());
        while self.at < self.tokens.len() {
            let (word, follows) = (self.token(0).to_owned(), self.token(1).to_owned());
            let begins = self.at == 0 || self.tokens[self.at - 1] != "::";
            match word.as_str() {
                "mod" if self.token(2) == "{" => {
                    self.module.push(follows);
                    modules.push(depth);
                    self.at += 1;
                }
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    if modules.last() == Some(&depth) {
                        modules.pop();
                        self.module.pop();
                    }
                }
                "crate" | "super" | "self" if begins && follows == "::" => {
                    self.tree(Vec::new());
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Reads a path, or a tree of them, that goes on from `path`.
    fn tree(&mut self, mut path: CratePath) {
        loop {
            match self.token(0).to_owned().as_str() {
                "crate" => path.clear(),
                "super" if path.is_empty() => path = self.parent_of(self.module.clone()),
                "super" => path = self.parent_of(path),
                "self" if path.is_empty() => path = self.module.clone(),
                "{" => return self.group(&path),
                "self" => {}
                word => path.push(word.to_owned()),
            }
            self.at += 1;
            if self.token(0) != "::" {
                break;
            }
            self.at += 1;
        }
        let renamed = self.token(0) == "as";
        let name = if renamed { self.token(1).to_owned() } else { path.last().cloned().unwrap_or_default() };
        self.names.insert(name, path.clone());
        self.found.push(path);
    }

    /// Reads `{a, b::c}` after `path`.
    fn group(&mut self, path: &CratePath) {
        self.at += 1;
        while self.at < self.tokens.len() && self.token(0) != "}" {
            match self.token(0) {
                "," => self.at += 1,
                "as" => self.at += 2,
                _ => self.tree(path.clone()),
            }
        }
        self.at += 1;
    }

    fn parent_of(&self, mut path: CratePath) -> CratePath {
        path.pop();
        path
    }

    /// Paths that begin with a name that `use` gave to a path of one part: a top-level module.
    fn uses_of_names(&self) -> Vec<CratePath> {
        let mut all = Vec::new();
        for (i, token) in self.tokens.iter().enumerate() {
            let begins = i == 0 || self.tokens[i - 1] != "::";
            let Some(target) = self.names.get(token).filter(|path| begins && path.len() == 1) else { continue };
            let mut path = target.clone();
            let mut rest = self.tokens[i + 1..].iter();
            while rest.next().is_some_and(|t| t == "::") {
                path.extend(rest.next().filter(|t| t.chars().all(is_word)).cloned());
            }
            if path.len() > 1 {
                all.push(path);
            }
        }
        all
    }
}
