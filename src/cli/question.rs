//! Questions that the person at the terminal answers.

use std::io::IsTerminal;

use super::output;
use crate::error::{Context, Error, Result};

/// Asks, and gives whether the answer was yes. `otherwise` says how it can be answered on the command line.
///
/// # Errors
/// Nobody is there to answer.
pub(super) fn confirm(question: &str, otherwise: &str) -> Result<bool> {
    let stdin = std::io::stdin();
    // Who does not see the question cannot answer it.
    if !stdin.is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Error::new(format!("there is no terminal to ask: {question}")).help(otherwise));
    }
    loop {
        output::question(&format!("{question} (yes/no)"));
        let mut answer = String::new();
        if stdin.read_line(&mut answer).context(|| "cannot read the answer")? == 0 {
            return Ok(false);
        }
        match answer.trim().to_ascii_lowercase().as_str() {
            "yes" | "y" => return Ok(true),
            "no" | "n" => return Ok(false),
            _ => {}
        }
    }
}
