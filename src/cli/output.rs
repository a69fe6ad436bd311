//! What people and programs read: lines, tables, JSON on standard output; warnings and errors on standard error.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::error::{Context, Error, Result};

/// Prints text. Whoever reads may stop reading early; that is no error of ours.
pub(super) fn print(text: &str) -> Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(e).context(|| "cannot write to standard output"),
        _ => Ok(()),
    }
}

/// Prints one line.
pub(super) fn line(text: impl std::fmt::Display) -> Result<()> {
    print(&format!("{text}\n"))
}

/// Prints a value as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<()> {
    line(serde_json::to_string_pretty(value).context(|| "cannot write JSON")?)
}

/// Prints rows under a head (left out if `bare`), in columns as wide as they must be.
pub(super) fn table(head: &[&str], rows: &[Vec<String>], bare: bool) -> Result<()> {
    print(&lay_out(head, rows, bare))
}

fn lay_out(head: &[&str], rows: &[Vec<String>], bare: bool) -> String {
    let head: Vec<String> = head.iter().map(|h| (*h).to_owned()).collect();
    let shown = || (!bare).then_some(&head).into_iter().chain(rows);
    let width = |column: usize| shown().filter_map(|row| row.get(column)).map(|c| c.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in shown() {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Prints a warning.
pub(super) fn warning(text: &str) {
    say(&format!("jetpack: warning: {text}\n"));
}

/// Prints what is being done.
pub(super) fn note(text: &str) {
    say(&format!("jetpack: {text}\n"));
}

/// Prints a chain of errors, what was met while undoing, and what the person can do.
pub(super) fn error(error: &Error) {
    say(&describe(error));
}

/// Writes to standard error. Where that is full or closed there is nobody left to tell, and the exit code must still be right.
fn say(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn describe(error: &Error) -> String {
    let mut text = format!("jetpack: {}\n", error.one_line());
    for undo in error.undo_errors() {
        text.push_str(&format!("jetpack: and then: {}\n", undo.one_line()));
    }
    if let Some(help) = error.help_line() {
        text.push_str(&format!("help: {help}\n"));
    }
    text
}

/// Prints what clap(1) has to say of the arguments: help and version are answers, the rest is wrong usage.
pub(super) fn usage(usage: &clap::Error) -> u8 {
    // A closed pipe is the reader's own decision.
    let _ = usage.print();
    if usage.use_stderr() { super::FAILED } else { 0 }
}

/// A number of bytes as people write it: three digits and a unit of 1024.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    let mut tenths = count.saturating_mul(10);
    while tenths >= 10_240 && unit < UNITS.len() - 1 {
        tenths /= 1024;
        unit += 1;
    }
    if unit == 0 || tenths >= 1000 {
        format!("{} {}", tenths / 10, UNITS[unit])
    } else {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

/// How long ago something was.
pub(super) fn ago(then: Option<SystemTime>) -> String {
    let Some(age) = then.and_then(|then| SystemTime::now().duration_since(then).ok()) else { return "-".to_owned() };
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// Seconds since 1970 as a point in time.
pub(super) fn moment(seconds: u64) -> Option<SystemTime> {
    UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = vec![vec!["a".to_owned(), "long cell".to_owned()], vec!["bbbb".to_owned(), String::new()]];
        assert_eq!(lay_out(&["ID", "NAME"], &rows, false), "ID    NAME\na     long cell\nbbbb\n");
        assert_eq!(lay_out(&["ID", "NAME"], &rows, true), "a     long cell\nbbbb\n");
        assert_eq!(lay_out(&["ID"], &[], false), "ID\n");
    }

    #[test]
    fn sizes_have_three_digits() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10 << 20, "10.0 MiB"),
            (300 << 20, "300 MiB"),
        ];
        for (count, text) in table {
            assert_eq!(bytes(count), text);
        }
        assert_eq!(bytes(u64::MAX), "1638 PiB");
    }

    #[test]
    fn an_error_is_one_chain_with_its_help() {
        let error = Error::with_source("cannot run pod 1", Error::new("no memory").help("buy some"))
            .and_undo(Error::new("cannot unmount /x"));
        assert_eq!(
            describe(&error),
            "jetpack: cannot run pod 1: no memory\njetpack: and then: cannot unmount /x\nhelp: buy some\n"
        );
    }
}
