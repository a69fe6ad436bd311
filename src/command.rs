//! External programs: the only place that starts any.
//!
//! A program is named by its absolute path and gets no shell, no input, and an environment of one variable, `LC_ALL=C`. For
//! each there are a pure function that reads its output and one that runs it.

use std::process::{Command, Stdio};

use crate::error::{Context, Error, Result};

/// Runs `program` and gives its standard output.
///
/// # Errors
/// It cannot be started, or its exit code is not 0; what it said on standard error is then the cause.
pub fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let what = || format!("cannot run {program} {}", arguments.join(" "));
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("LC_ALL", "C").stdin(Stdio::null());
    let output = command.output().context(what)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::with_source(what(), format!("{}: {}", output.status, said.trim())))
}

/// How many rules the devfs ruleset `number` has (devfs(8)). An empty one hides nothing.
///
/// # Errors
/// devfs(8) cannot be run.
pub fn devfs_rules(number: &str) -> Result<usize> {
    Ok(count_lines(&output("/sbin/devfs", &["rule", "-s", number, "show"])?))
}

fn count_lines(text: &str) -> usize {
    text.lines().filter(|line| !line.trim().is_empty()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_given_and_failure_is_told() {
        assert_eq!(output("/bin/sh", &["-c", "echo $LC_ALL; read x; echo end"]).unwrap(), "C\nend\n");
        let error = output("/bin/sh", &["-c", "echo no >&2; exit 3"]).unwrap_err();
        assert!(error.one_line().ends_with("exit status: 3: no"), "{}", error.one_line());
        assert!(output("/nonexistent", &[]).is_err());
    }

    #[test]
    fn rules_are_counted() {
        assert_eq!(count_lines(""), 0);
        assert_eq!(count_lines("100 include 1\n200 include 2\n\n"), 2);
    }
}
