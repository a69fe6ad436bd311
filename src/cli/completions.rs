//! `jetpack completions`

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::aot::{self, generate};

use super::{Cli, output};
use crate::error::Result;

/// Print a script that completes commands and options in a shell
///
/// The script goes where the shell looks for such, under PREFIX/share:
/// bash-completion/completions/jetpack, zsh/site-functions/_jetpack, fish/vendor_completions.d/jetpack.fish.
/// `make install` puts them there.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// A shell that can complete.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Fish,
    Zsh,
}

impl Completions {
    pub(super) fn run(&self) -> Result<u8> {
        let shell = match self.shell {
            Shell::Bash => aot::Shell::Bash,
            Shell::Fish => aot::Shell::Fish,
            Shell::Zsh => aot::Shell::Zsh,
        };
        let mut script = Vec::new();
        generate(shell, &mut Cli::command(), "jetpack", &mut script);
        output::print(&String::from_utf8_lossy(&script))?;
        Ok(0)
    }
}
