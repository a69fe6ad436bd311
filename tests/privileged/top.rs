//! `top` of real pods, on a terminal and on a pipe.

use std::io::{BufRead, BufReader};

use nix::sys::signal::Signal;
use serde_json::Value;
use unicode_width::UnicodeWidthStr;

use super::pods;
use super::processes::{Pod, SLEEPERS};
use crate::support::bounded::{ended, until};
use crate::support::command::{Output, or_skip};
use crate::support::pty::Terminal;

const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
const HOME: &str = "\u{1b}[H";
const EMPTY_LINE: &str = "\u{1b}[K";
const EMPTY_BELOW: &str = "\u{1b}[J";

fn top(pod: &Pod<'_>, arguments: &[&str]) -> Terminal {
    Terminal::start(&pod.jetpack.command([&["top", &pod.name], arguments].concat()))
}

/// The lines of the next page.
fn page(terminal: &mut Terminal) -> Vec<String> {
    terminal.expect(HOME);
    let shown = terminal.expect(EMPTY_BELOW);
    let lines = shown.trim_end_matches(EMPTY_BELOW).split("\r\n");
    lines.map(|line| line.strip_suffix(EMPTY_LINE).expect("the rest is emptied").to_owned()).collect()
}

#[test]
fn a_terminal_shows_a_page_and_is_as_before_afterwards() {
    let jetpack = or_skip!(pods("overlay"));
    let pod = Pod::start(&jetpack, &format!("while :; do :; done & {SLEEPERS}"));
    for (end, code) in [("q", 0), ("\u{3}", 0), ("INT", 0), ("TERM", 143), ("HUP", 129)] {
        let mut terminal = top(&pod, &["-d", "0.3"]);
        let before = terminal.mode();
        terminal.expect(ENTER);
        let first = page(&mut terminal);
        assert!(first[0].starts_with(&format!("pod {}: 5 processes, - %CPU, ", pod.name)), "{first:?}");
        let head: Vec<&str> = first[1].split_whitespace().collect();
        assert_eq!(head, ["PID", "UID", "STATE", "%CPU", "TIME", "RSS", "COMMAND"]);
        assert_eq!(first.len(), 7);
        // The busiest comes first.
        let second = page(&mut terminal);
        let busiest: Vec<&str> = second[2].split_whitespace().collect();
        assert!(busiest[2] == "R" && busiest[3].parse::<f64>().expect("a share") > 1.0, "{second:?}");
        assert!(terminal.mode() != before);
        match end {
            "INT" => terminal.kill(Signal::SIGINT),
            "TERM" => terminal.kill(Signal::SIGTERM),
            "HUP" => terminal.kill(Signal::SIGHUP),
            key => terminal.send(key),
        }
        assert_eq!(terminal.code(), code, "{end:?}");
        assert_eq!(terminal.mode(), before, "{end:?}");
        let (_, rest) = terminal.end();
        assert!(rest.ends_with(LEAVE), "{end:?}: {rest:?}");
    }
    // So many times and no more.
    let mut terminal = top(&pod, &["-d", "0.1", "-n", "3"]);
    (0..3).for_each(|_| drop(page(&mut terminal)));
    let (code, rest) = terminal.end();
    assert_eq!((code, rest.as_str()), (0, LEAVE));
    pod.end();
}

#[test]
fn the_page_fits_and_a_resize_is_heeded() {
    let jetpack = or_skip!(pods("overlay"));
    let long = "sh -c 'sleep 1000; :' a-long-argument-that-does-not-fit \"$(printf '\\033[2J\\n\\tend')\" & ";
    let pod = Pod::start(&jetpack, &format!("{long}{SLEEPERS}"));
    let mut terminal = top(&pod, &["-d", "600"]);
    assert!(page(&mut terminal).iter().all(|line| line.width() <= 80 && !line.contains(char::is_control)));
    for (rows, columns, lines) in [(4, 120, 4), (50, 40, 8), (2, 10, 2), (24, 200, 8)] {
        terminal.resize(rows, columns);
        // stty(1) changes one after the other; in the end it fits, and without that no page comes any more.
        let fits =
            |page: &[String]| page.len() == lines && page.iter().all(|line| line.width() <= usize::from(columns));
        while !fits(&page(&mut terminal)) {}
    }
    // A stop gives the terminal back, and the page comes again.
    let raw = terminal.mode();
    terminal.send("\u{1a}");
    terminal.expect(LEAVE);
    until("the mode is given back", || terminal.mode() != raw);
    // Again and again, since it may not have stopped yet.
    until("the terminal is raw again", || {
        terminal.kill(Signal::SIGCONT);
        terminal.mode() == raw
    });
    terminal.expect(ENTER);
    page(&mut terminal);
    terminal.send("q");
    assert_eq!(terminal.code(), 0);
    pod.end();
}

#[test]
fn it_ends_with_the_pod() {
    let jetpack = or_skip!(pods("overlay"));
    let pod = Pod::start(&jetpack, SLEEPERS);
    let mut terminal = top(&pod, &["-d", "600"]);
    let before = terminal.mode();
    page(&mut terminal);
    let mut piped = jetpack.spawn(["top", "-d", "0.1", "-n", "100000", &pod.name]);
    let mut line = String::new();
    BufReader::new(piped.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("a line");
    let said = format!("jetpack: pod {} has ended", pod.name);
    pod.end();
    assert_eq!(terminal.code(), 0);
    assert_eq!(terminal.mode(), before);
    let (_, rest) = terminal.end();
    assert!(rest.ends_with(&format!("{LEAVE}{said}\r\n")), "{rest:?}");
    assert_eq!(ended(&mut piped).code(), Some(0));
    let output = Output::of(piped.wait_with_output().expect("it ends"));
    assert_eq!(output.stderr, format!("{said}\n"));
}

#[test]
fn a_pipe_gets_blocks_and_programs_get_lines() {
    let jetpack = or_skip!(pods("overlay"));
    let pod = Pod::start(&jetpack, &format!("while :; do :; done & {SLEEPERS}"));
    let output = jetpack.run(["top", &pod.name, "-d", "0.3", "-n", "2"]).success();
    assert!(!output.stdout.contains('\u{1b}') && output.stderr.is_empty(), "{output:?}");
    let blocks: Vec<&str> = output.stdout.split("\n\n").collect();
    assert_eq!(blocks.len(), 2, "{output:?}");
    for block in blocks {
        let lines: Vec<&str> = block.lines().collect();
        assert_eq!(lines.len(), 7, "{block}");
        assert!(lines[0].starts_with(&format!("pod {}: 5 processes, ", pod.name)));
        let share = lines[2].split_whitespace().nth(3).expect("a share").parse::<f64>().expect("a number");
        assert!((1.0..200.0).contains(&share), "{block}");
    }
    assert_eq!(jetpack.run(["top", &pod.name, "-d", "0.1"]).success().stdout.lines().count(), 7);
    let json = jetpack.run(["--format", "json", "top", &pod.name, "-d", "0.1", "-n", "3"]).success().stdout;
    let looks: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!(looks.len(), 3);
    for look in &looks {
        assert_eq!(look["pod"], pod.name.as_str());
        let processes = look["processes"].as_array().expect("processes");
        assert_eq!(processes.len(), 5);
        assert!(processes.iter().all(|p| p["cpu_percent"].is_number()), "{look}");
    }
    assert!(looks[0]["time"].as_f64() < looks[2]["time"].as_f64());
    for wrong in [["-n", "0"], ["-d", "0"], ["-d", "x"]] {
        assert_eq!(jetpack.run([&["top", &pod.name], &wrong[..]].concat()).code, 125, "{wrong:?}");
    }
    pod.end();
}
