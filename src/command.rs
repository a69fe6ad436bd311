//! External programs: the only place that starts any.
//!
//! A program is named by its absolute path and gets no shell, no input, and an environment of one variable, `LC_ALL=C`. For
//! each there are a pure function that reads its output and one that runs it.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Deserialize;

use crate::error::{Context, Error, Result};
use crate::sys::processes::Process;

pub mod user;
pub mod zfs;

/// How long a program may take that has little to do.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs `program` and gives its standard output.
///
/// # Errors
/// It cannot be started, it hangs, or its exit code is not 0; what it said on standard error is then the cause.
pub fn output(program: &str, arguments: &[&str]) -> Result<String> {
    output_within(LIMIT, program, arguments)
}

/// The same for a program that may take this long, and is killed then.
///
/// # Errors
/// As [`output`].
pub fn output_within(limit: Duration, program: &str, arguments: &[&str]) -> Result<String> {
    said_within(limit, program, arguments).map(|[stdout, _]| String::from_utf8_lossy(&stdout).into_owned())
}

/// The same where what it says need not be text: on standard output, and on standard error.
fn said_within(limit: Duration, program: &str, arguments: &[&str]) -> Result<[Vec<u8>; 2]> {
    let done = run(limit, program, arguments, (Stdio::null(), Stdio::piped()), &|| Ok(()))?;
    done.success()?;
    Ok([done.stdout, done.stderr])
}

/// What a program did.
struct Done {
    what: String,
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Done {
    /// That its exit code is 0.
    fn success(&self) -> Result<()> {
        if self.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&self.stderr);
        Err(Error::with_source(&self.what, format!("{}: {}", self.status, said.trim())))
    }
}

/// Runs `program` with this standard input and output to its end. It is killed when it has not ended in time, or when `go_on`
/// fails, which is asked now and then.
fn run(
    limit: Duration,
    program: &str,
    arguments: &[&str],
    (stdin, stdout): (Stdio, Stdio),
    go_on: &dyn Fn() -> io::Result<()>,
) -> Result<Done> {
    let what = format!("cannot run {program} {}", arguments.join(" "));
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("LC_ALL", "C");
    command.stdin(stdin).stdout(stdout).stderr(Stdio::piped());
    let mut child = command.spawn().context(|| &what)?;
    let found = ended(&mut child, Instant::now() + limit, go_on);
    if !matches!(found, Ok(Some(_))) {
        // What the kernel itself holds dies later, and is nobody's to wait for.
        let _ = child.kill();
        let _ = child.try_wait();
    }
    match found.context(|| &what)? {
        Some((status, [stdout, stderr])) => Ok(Done { what, status, stdout, stderr }),
        None => Err(Error::with_source(what, format!("it did not end in {} seconds", limit.as_secs_f32()))),
    }
}

/// The longest time between two questions whether to go on.
const ASK: Duration = Duration::from_millis(500);

/// How a child ended, and what it said on standard output and standard error, where those are pipes; none if it does not end in
/// time. No thread is made, since this process may have to fork.
fn ended(
    child: &mut Child,
    until: Instant,
    go_on: &dyn Fn() -> io::Result<()>,
) -> io::Result<Option<(ExitStatus, [Vec<u8>; 2])>> {
    let pipes = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
    let mut open: Vec<(usize, File)> =
        pipes.into_iter().enumerate().filter_map(|(n, pipe)| Some((n, File::from(pipe?)))).collect();
    let mut said = [Vec::new(), Vec::new()];
    while !open.is_empty() {
        go_on()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        let mut interests: Vec<PollFd<'_>> =
            open.iter().map(|(_, pipe)| PollFd::new(pipe.as_fd(), PollFlags::POLLIN)).collect();
        match poll(&mut interests, PollTimeout::try_from(left.min(ASK)).unwrap_or(PollTimeout::MAX)) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let ready: Vec<bool> = interests.iter().map(|interest| interest.any().unwrap_or(false)).collect();
        let mut still = Vec::new();
        for ((number, mut pipe), ready) in open.into_iter().zip(ready) {
            let mut bytes = [0; 16384];
            let count = if ready { Some(pipe.read(&mut bytes)?) } else { None };
            said[number].extend_from_slice(&bytes[..count.unwrap_or(0)]);
            if count != Some(0) {
                still.push((number, pipe));
            }
        }
        open = still;
    }
    loop {
        match child.try_wait()? {
            Some(status) => return Ok(Some((status, said))),
            None if Instant::now() > until => return Ok(None),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// How many rules the devfs ruleset `number` has (devfs(8)). An empty one hides nothing.
///
/// # Errors
/// devfs(8) cannot be run.
pub fn devfs_rules(number: u16) -> Result<usize> {
    Ok(count_lines(&output("/sbin/devfs", &["rule", "-s", &number.to_string(), "show"])?))
}

/// Shows an entry of a devfs(5) that its ruleset hides.
///
/// # Errors
/// devfs(8) cannot be run.
pub fn devfs_unhide(mountpoint: &Path, entry: &str) -> Result<()> {
    let mountpoint = mountpoint.to_string_lossy();
    output("/sbin/devfs", &["-m", &mountpoint, "rule", "apply", "path", entry, "unhide"]).map(drop)
}

fn count_lines(text: &str) -> usize {
    text.lines().filter(|line| !line.trim().is_empty()).count()
}

/// The processes that use files of what is mounted at a directory, as people call them: `12 (sleep)`. Where there is no fuser(1)
/// to tell, there are none.
pub fn users_of(mount_point: &Path) -> Vec<String> {
    let mount_point = mount_point.to_string_lossy();
    let found = output("/usr/bin/fuser", &["-c", &mount_point]).unwrap_or_default();
    let numbers: Vec<&str> = found.split_whitespace().collect();
    if numbers.is_empty() {
        return Vec::new();
    }
    // Some may have ended since, which makes ps(1) fail where it finds no other.
    let named = output("/bin/ps", &["-o", "pid=,comm=", "-p", &numbers.join(",")]).unwrap_or_default();
    let called = |line: &str| line.trim().split_once(' ').map(|(pid, name)| format!("{pid} ({})", name.trim()));
    named.lines().filter_map(called).collect()
}

/// The processes of a jail (ps(1)).
///
/// # Errors
/// There is no such jail, or ps(1) says what cannot be understood.
pub fn jail_processes(jail: &str) -> Result<Vec<Process>> {
    let columns = "pid,uid,state,time,rss,lstart,comm,args";
    processes(&output("/bin/ps", &["-J", jail, "-ww", "--libxo", "json", "-o", columns])?)
}

/// The numbers of the jails that processes are in, those that are dying too, which ps(1) cannot be asked about by number; 0 for the
/// host.
///
/// # Errors
/// ps(1) cannot be run.
pub fn jails_with_processes() -> Result<Vec<i32>> {
    Ok(numbers(&output("/bin/ps", &["-ax", "-o", "jid="])?))
}

fn numbers(text: &str) -> Vec<i32> {
    text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
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
        // More than a pipe holds, on both at once.
        let much = output(
            "/bin/sh",
            &["-c", "i=0; while [ $i -lt 9999 ]; do echo 0123456789; echo 0123456789 >&2; i=$((i+1)); done"],
        );
        assert_eq!(much.unwrap().len(), 11 * 9999);
    }

    #[test]
    fn what_hangs_is_killed() {
        let scratch = crate::sys::testing::Scratch::new();
        let pid = scratch.path().join("pid");
        for how in ["exec sleep 300", "exec >/dev/null 2>&1; exec sleep 300"] {
            let script = format!("echo $$ >{}; {how}", pid.display());
            let error = output_within(Duration::from_secs(3), "/bin/sh", &["-c", &script]).unwrap_err();
            assert!(error.one_line().ends_with("it did not end in 3 seconds"), "{}", error.one_line());
            let pid = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
            // It is a child of this process: gone, or waiting to be asked how it ended.
            let pid = nix::unistd::Pid::from_raw(pid);
            assert!(
                nix::sys::wait::waitpid(pid, None)
                    .is_ok_and(|how| matches!(how, nix::sys::wait::WaitStatus::Signaled(..)))
            );
        }
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
    fn jails_are_numbered() {
        assert_eq!(numbers("    0\n   12\n    0\n"), [0, 12, 0]);
    }

    #[test]
    fn rules_are_counted() {
        assert_eq!(count_lines(""), 0);
        assert_eq!(count_lines("100 include 1\n200 include 2\n\n"), 2);
    }
}
