//! External programs: the only place that starts any.
//!
//! A program is named by its absolute path and gets no shell, no input, and an environment of one variable, `LC_ALL=C`. For
//! each there are a pure function that reads its output and one that runs it.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;

use crate::error::{Context, Error, Result};
use crate::sys::processes::Process;

/// Runs `program` and gives its standard output.
///
/// # Errors
/// It cannot be started, or its exit code is not 0; what it said on standard error is then the cause.
pub fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let what = || format!("cannot run {program} {}", arguments.join(" "));
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("LC_ALL", "C").stdin(Stdio::null());
    let output = command.output().context(what)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::with_source(what(), format!("{}: {}", output.status, said.trim())))
}

/// How many rules the devfs ruleset `number` has (devfs(8)). An empty one hides nothing.
///
/// # Errors
/// devfs(8) cannot be run.
pub fn devfs_rules(number: &str) -> Result<usize> {
    Ok(count_lines(&output("/sbin/devfs", &["rule", "-s", number, "show"])?))
}

fn count_lines(text: &str) -> usize {
    text.lines().filter(|line| !line.trim().is_empty()).count()
}

/// The processes of a jail (ps(1)).
///
/// # Errors
/// There is no such jail, or ps(1) says what cannot be understood.
pub fn jail_processes(jail: &str) -> Result<Vec<Process>> {
    let columns = "pid,uid,state,time,rss,lstart,comm,args";
    processes(&output("/bin/ps", &["-J", jail, "-ww", "--libxo", "json", "-o", columns])?)
}

/// What `ps --libxo json` prints.
#[derive(Deserialize)]
struct Processes {
    #[serde(rename = "process-information")]
    information: Option<Information>,
}

#[derive(Deserialize)]
struct Information {
    process: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    pid: String,
    uid: String,
    state: String,
    cpu_time: String,
    rss: String,
    start_time: String,
    #[serde(default)]
    command: String,
    #[serde(default)]
    arguments: String,
}

fn processes(text: &str) -> Result<Vec<Process>> {
    let what = || "cannot understand ps(1)";
    // Names and arguments are a pod's own choice; bytes that JSON does not have in strings mean nothing between them.
    let text = text.replace(char::is_control, " ");
    let all: Processes = serde_json::from_str(&text).context(what)?;
    let rows = all.information.map(|information| information.process).unwrap_or_default();
    rows.into_iter().map(|row| process(row).ok_or_else(|| Error::new(what()))).collect()
}

fn process(row: Row) -> Option<Process> {
    let pid = row.pid.trim().parse().ok()?;
    Some(Process {
        pid,
        inside: Some(pid),
        uid: row.uid.trim().parse().ok()?,
        state: row.state,
        cpu: processor_time(&row.cpu_time)?,
        started: row.start_time,
        // In KiB.
        resident: row.rss.trim().parse::<u64>().ok()? << 10,
        command: if row.arguments.is_empty() { format!("[{}]", row.command) } else { row.arguments },
        name: row.command,
    })
}

/// Minutes, seconds and hundredths: `0:01.09`.
fn processor_time(text: &str) -> Option<Duration> {
    let (minutes, rest) = text.trim().split_once(':')?;
    let (seconds, hundredths) = rest.split_once('.')?;
    let number = |text: &str| text.parse::<u64>().ok();
    let seconds = number(minutes)?.checked_mul(60)?.checked_add(number(seconds)?)?;
    Some(Duration::from_secs(seconds) + Duration::from_millis(number(hundredths)?.checked_mul(10)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_given_and_failure_is_told() {
        assert_eq!(output("/bin/sh", &["-c", "echo $LC_ALL; read x; echo end"]).unwrap(), "C\nend\n");
        let error = output("/bin/sh", &["-c", "echo no >&2; exit 3"]).unwrap_err();
        assert!(error.one_line().ends_with("exit status: 3: no"), "{}", error.one_line());
        assert!(output("/nonexistent", &[]).is_err());
    }

    #[test]
    fn processes_of_a_jail_are_read() {
        // As FreeBSD 15.1 prints it.
        let text = r#"{"process-information": {"process": [
            {"pid":"94","uid":"0","state":"SC+J","cpu-time":"0:01.09","rss":"2160","start-time":"Sun Nov 22 09:50:10 2026","command":"sleep","arguments":"sleep 301"},
            {"pid":"101","uid":"65534","state":"R+J","cpu-time":"61:03.60","rss":"2692","start-time":"Sun Nov 22 09:50:11 2026","command":"averyveryverylongpr","arguments":"/tmp/averyveryverylongprogramnameindeed 300 (averyveryverylongpr)"},
            {"pid":"102","uid":"0","state":"ZJ","cpu-time":"0:00.00","rss":"0","start-time":"Sun Nov 22 09:50:11 2026","command":"a\"b)\n","arguments":""}]}}"#;
        let all = processes(text).unwrap();
        let numbers = |p: &Process| (p.pid, p.inside, p.uid, p.resident, p.cpu.as_millis());
        let numbers: Vec<_> = all.iter().map(numbers).collect();
        let expected = [
            (94, Some(94), 0, 2_211_840, 1090),
            (101, Some(101), 65534, 2_756_608, 3_663_600),
            (102, Some(102), 0, 0, 0),
        ];
        assert_eq!(numbers, expected);
        let names: Vec<_> = all.iter().map(|p| (p.name.as_str(), p.state.as_str(), p.command.as_str())).collect();
        assert_eq!(names[0], ("sleep", "SC+J", "sleep 301"));
        assert_eq!(names[1].0, "averyveryverylongpr");
        assert_eq!(names[2], ("a\"b)\n", "ZJ", "[a\"b)\n]"));
        assert_eq!(all[0].started, "Sun Nov 22 09:50:10 2026");
        assert_eq!(processes("{ }\n").unwrap(), []);
    }

    #[test]
    fn hostile_names_do_not_hide_others_and_nonsense_is_refused() {
        let row = |name: &str, time: &str| {
            format!(
                r#"{{"process-information": {{"process": [{{"pid":"1","uid":"0","state":"R","cpu-time":"{time}","rss":"1","start-time":"x","command":"{name}","arguments":"{name}"}}]}}}}"#
            )
        };
        assert_eq!(processes(&row("a\u{1b}[2J\nb\u{9b}", "0:00.01")).unwrap()[0].name, "a [2J b ");
        for time in ["", "0", "0:0", "x:00.00", "0:00.x", "18446744073709551615:00.00", "-1:00.00"] {
            assert!(processes(&row("a", time)).is_err(), "{time}");
        }
        for text in ["", "[]", "{\"process-information\": 1}", "ps: error"] {
            assert!(processes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rules_are_counted() {
        assert_eq!(count_lines(""), 0);
        assert_eq!(count_lines("100 include 1\n200 include 2\n\n"), 2);
    }
}
