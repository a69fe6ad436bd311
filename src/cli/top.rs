//! `jetpack top`

use std::collections::HashMap;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::Serialize;

use super::ps::{Shown, row, show};
use super::{Host, kill, output};
use crate::error::Result;
use crate::stage1::control::Watch;
use crate::stage1::lifecycle::Engine;
use crate::stage1::processes::Process;
use crate::stage1::screen::{INTERRUPT, Screen, Woken};

/// Where the share of the processor stands among the columns of ps.
const SHARE: usize = 3;

const HEAD: [&str; 7] = ["PID", "UID", "STATE", "%CPU", "TIME", "RSS", "COMMAND"];

/// Keys that end it.
const END: [u8; 2] = [b'q', INTERRUPT];

/// Watch the processes of a pod
///
/// Shows what `jetpack ps` does again and again, with the share of a processor that each process has had since the last time,
/// the busiest first: on a terminal until q or Ctrl-C is pressed, elsewhere one block after another. Ends when the pod does.
#[derive(Debug, Args)]
pub(super) struct Top {
    /// End after so many times [default: 1, on a terminal no end]
    #[arg(short = 'n', value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    count: Option<u32>,
    /// How long to wait between two times
    #[arg(short = 'd', value_name = "SECONDS", value_parser = delay, default_value = "2")]
    delay: Duration,
    /// The pod: a UUID or the beginning of one
    #[arg(value_name = "POD")]
    pod: String,
}

/// The shortest time between two looks (seconds): processors count in hundredths.
const SHORTEST: f64 = 0.1;

fn delay(text: &str) -> std::result::Result<Duration, String> {
    let delay = kill::seconds(text)?;
    if delay.as_secs_f64() < SHORTEST {
        return Err(format!("less than {SHORTEST} seconds"));
    }
    Ok(delay)
}

/// Why it ends.
enum End {
    /// Enough has been shown, or the person has seen enough.
    Enough,
    /// The pod has ended.
    Pod,
    /// A signal with this number.
    Signal(i32),
}

impl Top {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let warn = |text: &str| host.warn(text);
        let engine = Engine::new(&store, &host.config, &warn)?;
        engine.reap()?;
        let mut view = View::new(engine.watch(&store.find_pod(&self.pod)?)?);
        let on_terminal = std::io::stdout().is_terminal() && !host.json();
        let end = match (view.look(&engine)?, on_terminal) {
            (false, _) => End::Pod,
            (true, true) => self.redraw(&engine, &mut view)?,
            (true, false) => self.print(&engine, &mut view, host.json())?,
        };
        match end {
            End::Enough => Ok(0),
            End::Pod => {
                if !host.global.quiet {
                    output::note(&format!("pod {} has ended", view.watch.pod()));
                }
                Ok(0)
            }
            End::Signal(number) => Ok(u8::try_from(128 + number).unwrap_or(u8::MAX)),
        }
    }

    /// One block after another. The first comes after a while, so that there are shares to show.
    fn print(&self, engine: &Engine<'_>, view: &mut View, json: bool) -> Result<End> {
        for count in 0..self.count.unwrap_or(1) {
            if view.watch.ends_before(Instant::now() + self.delay)? || !view.look(engine)? {
                return Ok(End::Pod);
            }
            if json {
                output::json_text(&view.json()?)?;
            } else {
                output::print(if count > 0 { "\n" } else { "" })?;
                output::print(&view.text(None))?;
            }
        }
        Ok(End::Enough)
    }

    /// One page over another.
    fn redraw(&self, engine: &Engine<'_>, view: &mut View) -> Result<End> {
        let screen = Screen::begin()?;
        let mut left = self.count;
        loop {
            view.draw(&screen)?;
            left = left.map(|left| left - 1);
            // The last page is shown as long as any.
            let until = Instant::now() + self.delay;
            loop {
                match screen.wait(view.watch.as_fd(), until)? {
                    Woken::Time => break,
                    Woken::Again => view.draw(&screen)?,
                    Woken::Other if view.watch.ends_before(Instant::now())? => return Ok(End::Pod),
                    Woken::Signal(number) => return Ok(End::Signal(number)),
                    Woken::Key(key) if END.contains(&key) => return Ok(End::Enough),
                    Woken::Key(_) | Woken::Other => {}
                }
            }
            if left == Some(0) {
                return Ok(End::Enough);
            }
            if !view.look(engine)? {
                return Ok(End::Pod);
            }
        }
    }
}

/// What was seen last.
struct View {
    watch: Watch,
    seen: Option<Instant>,
    /// Each with the share of a processor (percent) that it has had since the look before, if there was one.
    processes: Vec<(Process, Option<f64>)>,
}

/// What is seen at a time, for programs.
#[derive(Serialize)]
struct Block<'a> {
    pod: &'a str,
    /// Seconds since 1970.
    time: f64,
    processes: Vec<Shown>,
}

impl View {
    fn new(watch: Watch) -> View {
        View { watch, seen: None, processes: Vec::new() }
    }

    /// Looks again; false if the pod has ended.
    fn look(&mut self, engine: &Engine<'_>) -> Result<bool> {
        let Some(processes) = engine.processes(&mut self.watch)? else { return Ok(false) };
        let now = Instant::now();
        let elapsed = self.seen.map(|before| now - before);
        self.processes = shares(&self.processes, processes, elapsed);
        self.seen = Some(now);
        Ok(true)
    }

    fn json(&self) -> Result<String> {
        let shown = |(process, share): &(Process, Option<f64>)| show(&self.watch, process, *share);
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let processes = self.processes.iter().map(shown).collect();
        output::compact_json(&Block { pod: self.watch.pod(), time, processes })
    }

    /// A line about all, and a table; no wider than `columns`.
    fn text(&self, columns: Option<usize>) -> String {
        let shares: Option<f64> = self.processes.iter().map(|(_, share)| *share).sum();
        let resident = output::bytes(self.processes.iter().map(|(process, _)| process.resident).sum());
        let count = self.processes.len();
        let all =
            format!("pod {}: {count} processes, {} %CPU, {resident} resident\n", self.watch.pod(), percent(shares));
        let rows: Vec<Vec<String>> = self.processes.iter().map(|(process, share)| self.row(process, *share)).collect();
        all + &output::lay_out(&HEAD, &rows, false, columns)
    }

    fn row(&self, process: &Process, share: Option<f64>) -> Vec<String> {
        let mut cells = row(&self.watch, process);
        cells.insert(SHARE, percent(share));
        cells
    }

    fn draw(&self, screen: &Screen) -> Result<()> {
        let (_, columns) = screen.size();
        let text = self.text(Some(columns));
        let lines: Vec<String> = text.lines().map(|line| output::fit(line, columns)).collect();
        screen.show(lines.iter().map(|line| line.trim_end()))
    }
}

/// A share as people read it, if there is one.
fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{share:.1}"))
}

/// The processes of now with their shares of a processor since `before`, the busiest first. One that was not there then has
/// had all its time since.
fn shares(
    before: &[(Process, Option<f64>)],
    now: Vec<Process>,
    elapsed: Option<Duration>,
) -> Vec<(Process, Option<f64>)> {
    let times: HashMap<(i32, &str), Duration> =
        before.iter().map(|(process, _)| ((process.pid, process.started.as_str()), process.cpu)).collect();
    let share = |process: &Process| {
        let before = times.get(&(process.pid, process.started.as_str())).copied().unwrap_or_default();
        let used = process.cpu.saturating_sub(before).as_secs_f64();
        elapsed.filter(|elapsed| !elapsed.is_zero()).map(|elapsed| 100.0 * used / elapsed.as_secs_f64())
    };
    let with_share = |process: Process| {
        let share = share(&process);
        (process, share)
    };
    let mut shown: Vec<(Process, Option<f64>)> = now.into_iter().map(with_share).collect();
    let busier = |(a, x): &(Process, Option<f64>), (b, y): &(Process, Option<f64>)| {
        y.unwrap_or(0.0).total_cmp(&x.unwrap_or(0.0)).then(b.cpu.cmp(&a.cpu)).then(a.pid.cmp(&b.pid))
    };
    shown.sort_by(busier);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, started: &str, milliseconds: u64) -> Process {
        Process {
            pid,
            inside: None,
            uid: 0,
            state: "S".to_owned(),
            cpu: Duration::from_millis(milliseconds),
            started: started.to_owned(),
            resident: 0,
            name: "x".to_owned(),
            command: "x".to_owned(),
        }
    }

    #[test]
    fn shares_are_of_the_time_between_two_looks_and_the_busiest_comes_first() {
        let seen =
            |shown: &[(Process, Option<f64>)]| shown.iter().map(|(p, share)| (p.pid, *share)).collect::<Vec<_>>();
        let first = shares(&[], vec![process(1, "a", 100), process(2, "b", 5000), process(3, "c", 100)], None);
        assert_eq!(seen(&first), [(2, None), (1, None), (3, None)]);
        // 1 has used a second of two, 2 nothing; 3 is another process of the same number; 4 is new and has two processors.
        let now = vec![process(1, "a", 1100), process(2, "b", 5000), process(3, "d", 200), process(4, "e", 4000)];
        let second = shares(&first, now, Some(Duration::from_secs(2)));
        assert_eq!(seen(&second), [(4, Some(200.0)), (1, Some(50.0)), (3, Some(10.0)), (2, Some(0.0))]);
        assert_eq!(seen(&shares(&second, vec![process(1, "a", 0)], Some(Duration::ZERO))), [(1, None)]);
    }

    #[test]
    fn no_shorter_than_processors_count() {
        assert_eq!(delay("0.1"), Ok(Duration::from_millis(100)));
        for text in ["0", "0.09", "-1", "x", "nan"] {
            assert!(delay(text).is_err(), "{text}");
        }
    }
}
