//! What the agent of a pod and the processes of the host say to each other: its runner on the one side, and on the other those
//! who connect to the pod's control socket.

use std::os::fd::{BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::error::{Context, Result, Told};
use crate::isolation::SandboxSpec;
use crate::stage2::AppSpec;
use crate::sys::channel::{Channel, Received};
use crate::sys::process::Exit;
use crate::sys::terminal::Size;

/// The runner's first message: everything that the agent does.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// The sandbox to enter.
    pub sandbox: SandboxSpec,
    /// The app to run in it.
    pub app: AppSpec,
    /// The size of the app's terminal, if it gets one and the person's has a size.
    pub size: Option<Size>,
}

/// What somebody who has connected to the pod asks for, once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Run a program in the pod: answered by [`Event::Started`] and [`Event::Exited`], or by [`Event::Failed`]. The message
    /// brings standard input, output and error, unless the program gets a terminal. Orders may follow.
    Exec(Box<Run>),
    /// Stay connected until the pod ends, and get orders through to its app meanwhile: answered by [`Event::Watched`], and
    /// each order by [`Event::Obeyed`].
    Watch,
}

/// A program to run beside the app.
#[derive(Debug, Serialize, Deserialize)]
pub struct Run {
    /// The program; its handlers are not looked at.
    pub app: AppSpec,
    /// The size of its terminal, if it gets one and the person's has a size.
    pub size: Option<Size>,
}

/// What the runner, or whoever has asked for something, says later.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Send this signal (by number) to the program that was asked for; from the runner and from those who watch, to the app, or
    /// to its handler if that is what runs now.
    Signal(i32),
}

/// What the agent says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The descriptor that comes with this message is the master of the program's terminal.
    Terminal,
    /// Something that the person should know, and that does not end the pod.
    Warning(String),
    /// The program that was asked for is about to begin. Not said of the app.
    Started,
    /// The app, or the program that was asked for, did not run to its end because of this.
    Failed(Told),
    /// The program has ended like this; of the app, its post-stop handler too.
    Exited(Exit),
    /// The pod is watched. The number is the agent's own, as it sees itself; where the kernel knows a pod by a descriptor, the
    /// message brings that.
    Watched(i32),
    /// What was ordered has been done. Said to those who watch.
    Obeyed,
}

/// Sends `message`, with descriptors if need be.
///
/// # Errors
/// The other side has gone.
pub fn send<T: Serialize>(channel: &Channel, message: &T, fds: &[BorrowedFd<'_>]) -> Result<()> {
    let bytes = serde_json::to_vec(message).context(|| "cannot write a message to the other half of the pod")?;
    channel.send(&bytes, fds).context(|| "cannot send a message to the other half of the pod")
}

/// What has been heard without waiting.
#[derive(Debug)]
pub enum Heard<T> {
    /// A message, and the descriptors with it.
    Message(T, Vec<OwnedFd>),
    /// Nothing yet, or only a part.
    Partial,
    /// The other side has gone.
    Closed,
}

const MISUNDERSTOOD: &str = "cannot understand the other half of the pod";

/// Waits for a message; `None` when the other side has gone.
///
/// # Errors
/// The message is not of the kind expected.
pub fn receive<T: for<'a> Deserialize<'a>>(channel: &mut Channel) -> Result<Option<T>> {
    let received = channel.receive().context(|| MISUNDERSTOOD)?;
    received.map(|(bytes, _)| serde_json::from_slice(&bytes).context(|| MISUNDERSTOOD)).transpose()
}

/// Hears what has been said.
///
/// # Errors
/// The message is not of the kind expected.
pub fn hear<T: for<'a> Deserialize<'a>>(channel: &mut Channel) -> Result<Heard<T>> {
    match channel.try_receive().context(|| MISUNDERSTOOD)? {
        Received::Message(bytes, fds) => {
            Ok(Heard::Message(serde_json::from_slice(&bytes).context(|| MISUNDERSTOOD)?, fds))
        }
        Received::Partial => Ok(Heard::Partial),
        Received::Closed => Ok(Heard::Closed),
    }
}
