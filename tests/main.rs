//! The tests of the `jetpack` command, from outside: without root on backends that touch nothing, with root in real pods.

#![allow(clippy::print_stdout, reason = "tests say why they skip")]

mod cli;
mod privileged;
mod support;
