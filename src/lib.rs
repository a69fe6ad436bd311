//! Jetpack runs signed, layered application images as isolated *pods*: jails on FreeBSD, namespaces on Linux, from one
//! program, without a daemon. It reads App Container images (appc specification 0.8.11).
//!
//! # How data flows
//!
//! ```text
//! argv ─cli→ request
//! ImageRef ─discovery→ ImageLocation ─fetch→ archive
//! archive ─keystore→ Verified ─import→ Image
//! PodRequest + Images ── plan ──→ PodPlan            pure
//! PodPlan ─storage→ Pod                              directories, overlay layers
//! Pod + Attachment ──── prepare ─→ SandboxSpec       pure
//! SandboxSpec ─isolation + network→ sandbox          a live jail or set of namespaces
//! sandbox + AppSpec ─── resolve ─→ ExecSpec          pure
//! ExecSpec ─stage2→ Exit
//! ```
//!
//! *Plans are values, backends interpret them.* The three pure functions ([`stage0::plan::plan`], [`stage1::prepare`],
//! [`stage2::resolve::resolve`]) carry the semantics of appc; they need no root and no kernel. Backends see mounts,
//! parameters and paths, never manifests.
//!
//! Two axes, never mixed. The kernel is chosen at *compile time*: `sys/linux` and `sys/freebsd` offer the same names. The
//! backends of [`storage`], [`isolation`] and [`network`] are small traits, chosen at *run time* from the configuration.
//!
//! # Two processes
//!
//! `jetpack run` is the *runner*: it prepares, launches, forwards signals, moves bytes between the person's side and the
//! pod's, and cleans up. In the sandbox it starts itself once more, from a protected copy and with a clean memory, as the
//! *agent*: the pod's first process, which mounts, starts the app and its handlers, and reaps. Whichever dies, the pod ends.
//! Other commands reach the agent over the pod's control socket ([`stage1::control`]); the runner has no part in that.
//!
//! # What keeps promises
//!
//! * A pod's state is the place of its directory and a lock in it ([`stage0::pod`]); no state file can lie.
//! * An image becomes visible by one rename, when all of it is on the disk ([`stage0::import`]).
//! * An import takes a [`stage0::keystore::Verified`], which only checks and one explicit decision of policy can make.
//! * Whatever makes things is a list of [`steps`] with their inverses.

pub mod appc;
pub mod cli;
pub mod command;
pub mod config;
pub mod error;
pub mod isolation;
pub mod network;
pub mod progress;
pub mod stage0;
pub mod stage1;
pub mod stage2;
pub mod steps;
pub mod storage;
pub mod sys;
