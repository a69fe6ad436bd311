//! `jetpack ps`

use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::{Host, output};
use crate::error::Result;
use crate::stage1::control::Watch;
use crate::stage1::lifecycle::Engine;
use crate::stage1::processes::{Process, just_ended};

/// List the processes of a pod
///
/// They are shown as the host sees them, with the host's numbers. Nothing is asked of the pod, which needs no ps(1) of its own.
#[derive(Debug, Args)]
pub(super) struct Ps {
    /// Print no head line
    #[arg(short = 'H')]
    bare: bool,
    /// The pod: a UUID or the beginning of one
    #[arg(value_name = "POD")]
    pod: String,
}

/// A process, for programs.
#[derive(Debug, Serialize)]
pub(super) struct Shown {
    pub(super) pid: i32,
    /// In the pod; missing in PID namespaces that the pod has made itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pid_in_pod: Option<i32>,
    uid: u32,
    state: String,
    cpu_seconds: f64,
    /// Between two looks; only where there were two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cpu_percent: Option<f64>,
    /// In bytes.
    resident: u64,
    name: String,
    command: String,
    /// Whether this is not the pod's but Jetpack's own.
    agent: bool,
}

impl Ps {
    pub(super) fn run(&self, host: &Host) -> Result<u8> {
        let store = host.store()?;
        let warn = |text: &str| host.warn(text);
        let engine = Engine::new(&store, &host.config, &warn)?;
        engine.reap()?;
        let mut watch = engine.watch(&store.find_pod(&self.pod)?)?;
        let processes = engine.processes(&mut watch)?;
        let processes = processes.ok_or_else(|| just_ended(&watch))?;
        let shown: Vec<Shown> = processes.iter().map(|process| show(&watch, process, None)).collect();
        if host.json() {
            output::json(&shown)?;
        } else if host.global.quiet {
            output::print(&shown.iter().map(|process| format!("{}\n", process.pid)).collect::<String>())?;
        } else {
            let rows: Vec<Vec<String>> = processes.iter().map(|process| row(&watch, process)).collect();
            output::table(&["PID", "UID", "STATE", "TIME", "RSS", "COMMAND"], &rows, self.bare)?;
        }
        Ok(0)
    }
}

pub(super) fn show(watch: &Watch, process: &Process, cpu_percent: Option<f64>) -> Shown {
    Shown {
        pid: process.pid,
        pid_in_pod: process.inside,
        uid: process.uid,
        state: process.state.clone(),
        cpu_seconds: process.cpu.as_secs_f64(),
        cpu_percent,
        resident: process.resident,
        name: process.name.clone(),
        command: process.command.clone(),
        agent: watch.is_agent(process),
    }
}

/// The cells of a process: number, user, state, time, memory, arguments.
pub(super) fn row(watch: &Watch, process: &Process) -> Vec<String> {
    vec![
        process.pid.to_string(),
        process.uid.to_string(),
        process.state.clone(),
        processor_time(process.cpu),
        output::bytes(process.resident),
        command(watch, process),
    ]
}

/// What a process runs. The agent has another name for the kernel, and arguments that are nobody's business.
fn command(watch: &Watch, process: &Process) -> String {
    if watch.is_agent(process) { "jetpack agent".to_owned() } else { process.command.clone() }
}

/// Minutes, seconds and hundredths.
fn processor_time(time: Duration) -> String {
    let (seconds, hundredths) = (time.as_secs(), time.subsec_millis() / 10);
    format!("{}:{:02}.{hundredths:02}", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (milliseconds, text) in
            [(0, "0:00.00"), (59_999, "0:59.99"), (61_050, "1:01.05"), (36_000_000, "600:00.00")]
        {
            assert_eq!(processor_time(Duration::from_millis(milliseconds)), text);
        }
    }
}
