//! The system's own programs for accounts.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, memfd_create};

use super::error::AccountError;
use super::lock::Lock;
use crate::names::printable;

/// Most that is repeated of a program's words, in bytes.
const MAX_WORDS: u64 = 4096;

/// Runs a program to its end. Nothing of this process's environment reaches it, and nothing that happens to this process
/// stops it half-way: neither Ctrl-C nor a pipe that nobody reads any more, which would leave the system's own files locked.
pub(super) fn run(
    lock: &Lock,
    program: &'static str,
    args: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<(), AccountError> {
    let failed = |reason: String| AccountError::Tool { program, reason };
    let io = |error: io::Error| failed(error.to_string());
    let mut words = File::from(memfd_create("words", MemfdFlags::CLOEXEC).map_err(|errno| io(errno.into()))?);
    let status = command(program)
        .args(args)
        .stdin(lock.stdin().map_err(io)?)
        .stdout(Stdio::null())
        .stderr(words.try_clone().map_err(io)?)
        .process_group(0)
        .status()
        .map_err(io)?;
    if status.success() {
        return Ok(());
    }
    let mut text = Vec::new();
    words.rewind().and_then(|()| words.take(MAX_WORDS).read_to_end(&mut text)).map_err(io)?;
    let text = String::from_utf8_lossy(&text);
    let text = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    Err(failed(if text.is_empty() { status.to_string() } else { text }))
}

/// The standard output of a program that only looks at something; if it fails, why.
pub(super) fn ask(program: &'static str, args: &[&str]) -> Result<String, String> {
    let output =
        command(program).args(args).stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let line = words.lines().map(str::trim).find(|line| !line.is_empty());
    Err(line.map_or_else(|| output.status.to_string(), printable))
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
