//! The `jetpack` command.

fn main() {}
