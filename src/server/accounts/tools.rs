//! The system's own programs for accounts.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use super::error::AccountError;
use super::lock::Lock;

/// Runs a program to its end. Nothing of this process's environment reaches it.
pub(super) fn run(
    lock: &Lock,
    program: &'static str,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<(), AccountError> {
    let failed = |reason: String| AccountError::Tool { program, reason };
    let output = command(program)
        .args(args)
        .stdin(lock.stdin().map_err(|error| failed(error.to_string()))?)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let words = words.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    Err(failed(if words.is_empty() { output.status.to_string() } else { words }))
}

/// The standard output of a program that only looks at something; none if it fails.
pub(super) fn ask(program: &'static str, args: &[&str]) -> Option<String> {
    let output = command(program).args(args).stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/");
    command
}
