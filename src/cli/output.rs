//! What people and programs read: lines, tables, JSON on standard output; warnings and errors on standard error.
//!
//! Names, labels, commands and paths come from images, which anybody may have made: a control character in one would move
//! the cursor, clear the screen or forge a line. So whatever is laid out for people goes through [`escape`] here, and JSON
//! through [`escape_json`].

use std::borrow::Cow;
use std::io::{IsTerminal, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::error::{Context, Error, Result};

/// Prints text.
pub(super) fn print(text: &str) -> Result<()> {
    write(text.as_bytes())
}

/// Whoever reads may stop reading early; that is no error of ours.
fn write(bytes: &[u8]) -> Result<()> {
    match std::io::stdout().lock().write_all(bytes).and_then(|()| std::io::stdout().flush()) {
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
    json_text(&serde_json::to_string_pretty(value).context(|| "cannot write JSON")?)
}

/// A value as JSON on one line.
pub(super) fn compact_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).context(|| "cannot write JSON")
}

/// Prints what is JSON already.
pub(super) fn json_text(text: &str) -> Result<()> {
    line(escape_json(text))
}

/// Prints JSON as somebody else has written it: to a terminal made harmless, elsewhere byte for byte.
pub(super) fn foreign_json(bytes: &[u8]) -> Result<()> {
    if std::io::stdout().is_terminal() {
        return json_text(String::from_utf8_lossy(bytes).trim_end());
    }
    write(bytes)?;
    if bytes.ends_with(b"\n") { Ok(()) } else { write(b"\n") }
}

/// Prints rows under a head (left out if `bare`), in columns as wide as they must be. On a terminal that is narrower, the
/// widest columns but the first, by which things are named, are cut short; whatever else reads gets all of it.
pub(super) fn table(head: &[&str], rows: &[Vec<String>], bare: bool) -> Result<()> {
    let terminal = terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| usize::from(width.0));
    print(&lay_out(head, rows, bare, terminal))
}

/// What stands between two columns.
const GAP: &str = "  ";

/// The same as text, for a terminal of so many columns, if it is one.
pub(super) fn lay_out(head: &[&str], rows: &[Vec<String>], bare: bool, room: Option<usize>) -> String {
    let head: Vec<Cow<'_, str>> = head.iter().map(|h| Cow::Borrowed(*h)).collect();
    let rows: Vec<Vec<Cow<'_, str>>> = rows.iter().map(|row| row.iter().map(|cell| escape(cell)).collect()).collect();
    let shown = || (!bare).then_some(&head).into_iter().chain(&rows);
    let width = |column: usize| shown().filter_map(|row| row.get(column)).map(|c| c.width()).max().unwrap_or(0);
    let mut widths: Vec<usize> = (0..head.len()).map(width).collect();
    if let Some(room) = room {
        narrow(&mut widths, room);
    }
    let mut text = String::new();
    for row in shown() {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| fit(cell, *width)).collect();
        text.push_str(cells.join(GAP).trim_end());
        text.push('\n');
    }
    text
}

/// The fewest columns of the terminal that a cell is cut down to.
const NARROWEST: usize = 8;

/// Takes from the widest columns, the first excepted, until all fit into `room` or none can give more.
fn narrow(widths: &mut [usize], room: usize) {
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > room {
        match widths.iter_mut().skip(1).max() {
            Some(widest) if *widest > NARROWEST => *widest -= 1,
            _ => return,
        }
    }
}

/// The cell in exactly `width` columns of the terminal; what is too long for them ends with a sign that it is.
pub(super) fn fit(cell: &str, width: usize) -> String {
    let mut text = String::new();
    let mut taken = 0;
    let all = cell.width() <= width;
    // Marks that stand on other characters take no room, however many there are.
    for c in cell.chars().take(8 * width) {
        let needs = c.width().unwrap_or(0);
        if !all && taken + needs >= width {
            text.push('…');
            taken += 1;
            break;
        }
        text.push(c);
        taken += needs;
    }
    text + &" ".repeat(width.saturating_sub(taken))
}

/// Prints names and their values, a line each.
pub(super) fn fields(fields: &[(&str, String)]) -> Result<()> {
    print(&lay_out_fields(fields))
}

/// The same on standard error: for a person who is about to be asked, or told.
pub(super) fn fields_aside(fields: &[(&str, String)]) {
    say(&lay_out_fields(fields));
}

fn lay_out_fields(fields: &[(&str, String)]) -> String {
    let width = fields.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let line = |(name, value): &(&str, String)| format!("{name:width$}  {}\n", escape(value));
    fields.iter().map(line).collect()
}

/// Puts a question on standard error, without the end of the line.
pub(super) fn question(text: &str) {
    say(&format!("{} ", escape(text)));
}

/// Text without control characters (C0, DEL and C1) and without those that reorder others, which are shown as `\n`, `\x1b` or
/// `\u202e`. It stays on its line.
pub(super) fn escape(text: &str) -> Cow<'_, str> {
    replace_controls(text, |c| match c {
        '\n' => Some("\\n".to_owned()),
        '\r' => Some("\\r".to_owned()),
        '\t' => Some("\\t".to_owned()),
        c if c.is_control() => Some(format!("\\x{:02x}", u32::from(c))),
        c => Some(format!("\\u{:04x}", u32::from(c))),
    })
}

/// JSON without control characters but those that lay it out. Where it allows others, in strings, these escapes mean them.
fn escape_json(text: &str) -> Cow<'_, str> {
    replace_controls(text, |c| (!matches!(c, '\n' | '\t')).then(|| format!("\\u{:04x}", u32::from(c))))
}

/// Whether a character does something to the terminal, or to the order in which others are shown, in place of being shown.
fn is_hidden(c: char) -> bool {
    let reorders = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || reorders
}

fn replace_controls(text: &str, replacement: impl Fn(char) -> Option<String>) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let replaced = |c: char| is_hidden(c).then(|| replacement(c)).flatten().unwrap_or_else(|| c.to_string());
    Cow::Owned(text.chars().map(replaced).collect())
}

/// Prints a warning.
pub(super) fn warning(text: &str) {
    say(&format!("jetpack: warning: {}\n", escape(text)));
}

/// Prints what is being done.
pub(super) fn note(text: &str) {
    say(&format!("jetpack: {}\n", escape(text)));
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
    let mut text = format!("jetpack: {}\n", escape(&error.one_line()));
    for undo in error.undo_errors() {
        text.push_str(&format!("jetpack: and then: {}\n", escape(&undo.one_line())));
    }
    if let Some(help) = error.help_line() {
        text.push_str(&format!("help: {}\n", escape(help)));
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
        assert_eq!(lay_out(&["ID", "NAME"], &rows, false, None), "ID    NAME\na     long cell\nbbbb\n");
        assert_eq!(lay_out(&["ID", "NAME"], &rows, true, None), "a     long cell\nbbbb\n");
        assert_eq!(lay_out(&["ID"], &[], false, None), "ID\n");
    }

    #[test]
    fn a_narrow_terminal_cuts_the_widest_columns_but_not_the_first() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = vec![row(["0123456789", "a rather long name", "1 min"]), row(["x", "日本語日本語", "2 min"])];
        let cut = lay_out(&["ID", "NAME", "AGE"], &rows, true, Some(29));
        assert_eq!(cut, "0123456789  a rather …  1 min\nx           日本語日…   2 min\n");
        for line in cut.lines() {
            assert!(line.width() <= 29, "{line}");
        }
        // Where not even that is enough, nothing becomes unreadable.
        let cut = lay_out(&["ID", "NAME", "AGE"], &rows, true, Some(5));
        assert_eq!(cut, "0123456789  a rathe…  1 min\nx           日本語…   2 min\n");
        assert_eq!(lay_out(&["ID"], &[row(["0123456789", "", ""])], true, Some(4)), "0123456789\n");
        assert!(fit(&"\u{301}".repeat(1000), 8).len() < 200);
    }

    #[test]
    fn control_characters_are_shown_and_do_nothing() {
        let table = [
            ("plain, caf\u{e9} \\ \u{1f980}", "plain, caf\u{e9} \\ \u{1f980}"),
            ("a\u{1b}[2J\nb", "a\\x1b[2J\\nb"),
            ("\0\t\r\u{7f}", "\\x00\\t\\r\\x7f"),
            ("\u{9b}2J\u{85}\u{a0}", "\\x9b2J\\x85\u{a0}"),
            ("gpj\u{202e}exe\u{2066}", "gpj\\u202eexe\\u2066"),
        ];
        for (text, shown) in table {
            assert_eq!(escape(text), shown);
        }
        let rows = vec![vec!["1\n2".to_owned(), "x".to_owned()]];
        assert_eq!(lay_out(&["A", "B"], &rows, false, None), "A     B\n1\\n2  x\n");
        let hostile = Error::new("no image \u{1b}c").help("a\nhelp: b").and_undo(Error::new("\u{8}"));
        assert_eq!(describe(&hostile), "jetpack: no image \\x1bc\njetpack: and then: \\x08\nhelp: a\\nhelp: b\n");
    }

    #[test]
    fn json_means_the_same_without_control_characters() {
        let value = serde_json::json!({ "a": "\u{9b}2J \u{7f} \u{1b}c \n", "b": [1, "plain"] });
        let text = serde_json::to_string_pretty(&value).unwrap();
        assert!(text.contains('\u{9b}'));
        let escaped = escape_json(&text);
        assert!(escaped.chars().all(|c| c == '\n' || !c.is_control()), "{escaped:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
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
