//! Where a pod runs: from a prepared pod to a live sandbox with its app, and back.
//!
//! [`prepare`] makes plain values of the pod's manifest. [`run`] is the *runner*: it launches the sandbox, forwards signals,
//! moves bytes between the person's side and the pod's, and cleans up. [`agent`] is what runs inside: the first process
//! of the pod, which starts the app and its event handlers and reaps what they leave. The two speak [`message`]s over a
//! socket; when the runner dies, the agent sees the socket close, and the pod ends. Whoever wants something else of a pod that
//! runs speaks to its agent over the pod's [`control`] socket.

pub mod agent;
pub mod build;
pub mod control;
pub mod copy;
mod exec;
pub mod kill;
pub mod lifecycle;
pub mod message;
pub mod prepare;
pub mod processes;
mod relay;
pub mod resolv;
pub mod run;
pub mod screen;
mod session;
mod streams;
pub mod transfer;
pub mod watch;
