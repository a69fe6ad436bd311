//! The one error type of everything above `sys`, `appc` and `config`.
//!
//! An [`Error`] says which operation failed on which thing, in lower case and without a full stop; what the system said
//! stands in its source and is never repeated in the text. Where the person can do something about it, it carries a help
//! line. Errors met while undoing are attached beside the first one and never replace it.

use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

/// How the process that met an error should exit (DESIGN of the exit codes: 125 the runtime failed, 126 the command cannot be
/// run, 127 it is not there).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blame {
    /// Jetpack, its store or its host: 125.
    Runtime,
    /// The program is there but cannot be executed: 126.
    CannotExecute,
    /// The program is not there: 127.
    NotFound,
}

impl Blame {
    /// The exit code that tells a caller whose fault it was.
    pub fn exit_code(self) -> u8 {
        match self {
            Blame::Runtime => 125,
            Blame::CannotExecute => 126,
            Blame::NotFound => 127,
        }
    }
}

/// An operation that failed, with its cause.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    what: String,
    help: Option<String>,
    blame: Blame,
    source: Option<Box<dyn StdError + Send + Sync>>,
    undo: Vec<Error>,
}

impl Error {
    /// An error without a deeper cause; `what` is operation and noun, such as `cannot clone zroot/jetpack/images/…`.
    pub fn new(what: impl Into<String>) -> Self {
        Error(Box::new(Inner { what: what.into(), help: None, blame: Blame::Runtime, source: None, undo: Vec::new() }))
    }

    /// The same with the cause below it.
    pub fn with_source(what: impl Into<String>, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let mut error = Error::new(what);
        error.0.source = Some(source.into());
        error
    }

    /// Adds the line that says what the person can do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.0.help = Some(help.into());
        self
    }

    /// Says whose fault it is, for the exit code.
    #[must_use]
    pub fn blame(mut self, blame: Blame) -> Self {
        self.0.blame = blame;
        self
    }

    /// Attaches an error that an undo met after this one.
    #[must_use]
    pub fn and_undo(mut self, undo: Error) -> Self {
        self.0.undo.push(undo);
        self
    }

    /// The exit code of a process that ends with this error: the innermost blame that is not the runtime's decides.
    pub fn exit_code(&self) -> u8 {
        self.blamed().exit_code()
    }

    fn blamed(&self) -> Blame {
        self.chain().map(|e| e.0.blame).find(|b| *b != Blame::Runtime).unwrap_or(Blame::Runtime)
    }

    /// The first help line found from the outside in.
    pub fn help_line(&self) -> Option<&str> {
        self.chain().find_map(|e| e.0.help.as_deref())
    }

    /// The errors met while undoing, after this one and those below it.
    pub fn undo_errors(&self) -> impl Iterator<Item = &Error> {
        self.chain().flat_map(|error| &error.0.undo)
    }

    /// This error and the errors of this type below it.
    fn chain(&self) -> impl Iterator<Item = &Error> {
        std::iter::successors(Some(self), |e| e.0.source.as_deref().and_then(|s| s.downcast_ref::<Error>()))
    }

    /// The whole chain in one line: `operation: cause: cause`.
    pub fn one_line(&self) -> String {
        let mut line = self.to_string();
        let mut next = self.source();
        while let Some(cause) = next {
            line.push_str(": ");
            line.push_str(&cause.to_string());
            next = cause.source();
        }
        line
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.what)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|s| s as &(dyn StdError + 'static))
    }
}

/// An error on its way from one process to another: the whole chain in one line, and those of the first errors met while undoing.
/// It always fits into a pipe, so that whoever tells it need not wait for whoever hears it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Told {
    text: String,
    help: Option<String>,
    blame: Blame,
    #[serde(default)]
    undo: Vec<String>,
}

/// How many errors that were met while undoing are told, and the most of each, in characters.
const UNDO: (usize, usize) = (3, 200);

/// The most of a text that is told, in characters: an image chooses the names in it.
const LONGEST: usize = 600;

impl From<&Error> for Told {
    fn from(error: &Error) -> Told {
        let bounded = |text: &str, most: usize| match text.char_indices().nth(most) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        };
        let (count, most) = UNDO;
        Told {
            text: bounded(&error.one_line(), LONGEST),
            help: error.help_line().map(|help| bounded(help, LONGEST)),
            blame: error.blamed(),
            undo: error.undo_errors().take(count).map(|undo| bounded(&undo.one_line(), most)).collect(),
        }
    }
}

impl From<Told> for Error {
    fn from(told: Told) -> Error {
        let error = Error::new(told.text).blame(told.blame);
        let error = told.undo.into_iter().fold(error, |error, undo| error.and_undo(Error::new(undo)));
        match told.help {
            Some(help) => error.help(help),
            None => error,
        }
    }
}

/// Puts the operation over the cause.
pub trait Context<T> {
    /// Wraps an error under `what()`.
    ///
    /// # Errors
    /// The same failure with `what()` over it.
    fn context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|e| Error::with_source(what(), e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_is_one_line_without_repetition() {
        let io = std::io::Error::other("disk on fire");
        let error = Error::with_source("cannot read x", Error::with_source("cannot open y", io));
        assert_eq!(error.one_line(), "cannot read x: cannot open y: disk on fire");
    }

    #[test]
    fn what_is_told_arrives_as_an_error() {
        let inner = Error::new("no x").blame(Blame::NotFound).help("make one").and_undo(Error::new("cannot clean"));
        let error = Error::with_source("cannot run", inner).and_undo(Error::with_source("cannot undo", "no y"));
        let told = Error::from(Told::from(&error));
        let undone: Vec<String> = told.undo_errors().map(Error::one_line).collect();
        assert_eq!(undone, ["cannot undo: no y", "cannot clean"]);
        assert_eq!(
            (told.to_string().as_str(), told.help_line(), told.exit_code()),
            ("cannot run: no x", Some("make one"), 127)
        );
    }

    #[test]
    fn what_is_told_is_bounded() {
        // A character that JSON writes with six.
        let long = || "\u{1}".repeat(100_000);
        let error = (0..100).fold(Error::new(long()).help(long()), |error, _| error.and_undo(Error::new(long())));
        assert!(serde_json::to_vec(&Told::from(&error)).unwrap().len() < 12_000);
        let exact = "é".repeat(LONGEST);
        assert_eq!(Error::from(Told::from(&Error::new(&*exact))).to_string(), exact);
        assert_eq!(Error::from(Told::from(&Error::new(format!("{exact}x")))).to_string(), format!("{exact}…"));
    }

    #[test]
    fn innermost_blame_and_outermost_help_are_found() {
        let inner = Error::new("no such program").blame(Blame::NotFound).help("inner");
        let error = Error::with_source("cannot run", inner);
        assert_eq!((error.exit_code(), error.help_line()), (127, Some("inner")));
        assert_eq!(Error::new("x").exit_code(), 125);
    }
}
