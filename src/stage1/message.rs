//! What runner and agent say to each other.

use serde::{Deserialize, Serialize};

use crate::error::{Context, Result, Told};
use crate::isolation::SandboxSpec;
use crate::stage2::AppSpec;
use crate::sys::channel::Channel;
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

/// What the runner says later.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Send this signal (by number) to the program that runs now.
    Signal(i32),
}

/// What the agent says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Event {
    /// The descriptor that comes with this message is the master of the app's terminal.
    Terminal,
    /// Something that the person should know, and that does not end the pod.
    Warning(String),
    /// The app did not run to its end because of this.
    Failed(Told),
    /// The app's program has ended like this, and its post-stop handler after it.
    Exited(Exit),
}

/// Sends `message`, with a descriptor if need be.
///
/// # Errors
/// The other side has gone.
pub fn send<T: Serialize>(channel: &Channel, message: &T, fd: Option<std::os::fd::BorrowedFd<'_>>) -> Result<()> {
    let bytes = serde_json::to_vec(message).context(|| "cannot write a message to the other half of the pod")?;
    channel.send(&bytes, fd).context(|| "cannot send a message to the other half of the pod")
}

/// Receives a message and the descriptor with it; `None` when the other side has gone.
///
/// # Errors
/// The message is not of the kind expected.
pub fn receive<T: for<'a> Deserialize<'a>>(channel: &Channel) -> Result<Option<(T, Option<std::os::fd::OwnedFd>)>> {
    let what = || "cannot understand the other half of the pod";
    match channel.receive().context(what)? {
        None => Ok(None),
        Some((bytes, fd)) => Ok(Some((serde_json::from_slice(&bytes).context(what)?, fd))),
    }
}
