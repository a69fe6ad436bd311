//! The `jetpack` command: parses, runs, prints what went wrong, and chooses the exit code.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(jetpack::cli::main(std::env::args_os().collect()))
}
