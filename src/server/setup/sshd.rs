//! sshd itself, asked what it makes of a configuration.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::error::SetupError;
use crate::system::process::output_within;

/// Longest that a program of the system may take; they take well below a second.
const LIMIT: Duration = Duration::from_secs(10);

/// Where sshd is looked for.
pub(super) const PLACES: [&str; 4] =
    ["/usr/sbin/sshd", "/usr/local/sbin/sshd", "/sbin/sshd", "/usr/bin/sshd"];

/// The program.
#[derive(Debug)]
pub(super) struct Sshd(PathBuf);

/// What a connection of one account gets, as `sshd -T` prints it: lines of a keyword in small letters and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Effective(Vec<String>);

impl Sshd {
    /// The one of this host.
    pub(super) fn find() -> Result<Self, SetupError> {
        let found = PLACES.iter().map(Path::new).find(|path| path.is_file());
        Ok(Self(found.ok_or(SetupError::NoSshd)?.to_owned()))
    }

    /// Whether it accepts a configuration; its own words if it does not.
    pub(super) fn test(&self, config: &Path) -> Result<Result<(), String>, SetupError> {
        Ok(self.run(&["-t", "-f"], config, None)?.map(drop))
    }

    /// What a connection of an account from this host gets.
    pub(super) fn effective(
        &self,
        config: &Path,
        user: &str,
    ) -> Result<Result<Effective, String>, SetupError> {
        // Everything that a `Match` may ask for: sshd ends where it is asked for something that it was not told.
        let connection = format!("user={user},host=localhost,addr=127.0.0.1,laddr=127.0.0.1,lport=22");
        let output = self.run(&["-T", "-f"], config, Some(&connection))?;
        Ok(output.map(|text| Effective::parse(&text)))
    }

    fn run(
        &self,
        mode: &[&str; 2],
        config: &Path,
        connection: Option<&str>,
    ) -> Result<Result<String, String>, SetupError> {
        let mut command = Command::new(&self.0);
        command.args(mode).arg(config);
        if let Some(connection) = connection {
            command.args(["-C", connection]);
        }
        Ok(output(&mut command)?.map(|text| text.replace('\r', "")))
    }
}

/// Runs a program of the system to its end: its output, or its words if it fails. Nothing of this process's environment
/// reaches it.
pub(super) fn output(command: &mut Command) -> Result<Result<String, String>, SetupError> {
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null());
    let output = output_within(command, LIMIT).map_err(|error| {
        let said = match error.kind() {
            io::ErrorKind::TimedOut => format!("it did not end within {} s", LIMIT.as_secs()),
            _ => error.to_string(),
        };
        SetupError::Tool { program, said }
    })?;
    if output.status.success() {
        return Ok(Ok(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Ok(Err(if said.is_empty() { output.status.to_string() } else { said.join("; ") }))
}

impl Effective {
    /// The value of a keyword that stands there once.
    pub(super) fn value(&self, keyword: &str) -> Option<&str> {
        self.0.iter().find_map(|line| line.strip_prefix(keyword)?.strip_prefix(' '))
    }

    /// All values of a keyword that may stand there several times.
    pub(super) fn values(&self, keyword: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(move |line| line.strip_prefix(keyword)?.strip_prefix(' '))
    }

    /// From what `sshd -T` prints.
    pub(super) fn parse(text: &str) -> Self {
        Self(text.lines().map(str::to_owned).collect())
    }

    /// The lines that the other one does not have, and the lines that only the other one has, but for some keywords.
    pub(super) fn differences(&self, other: &Self, but: &[&str]) -> Vec<String> {
        let counts = |line: &&String| {
            let keyword = line.split(' ').next().unwrap_or_default();
            !but.contains(&keyword)
        };
        let mine: Vec<&String> = self.0.iter().filter(counts).collect();
        let others: Vec<&String> = other.0.iter().filter(counts).collect();
        let lost = mine.iter().filter(|line| !others.contains(line)).map(|line| format!("-{line}"));
        let new = others.iter().filter(|line| !mine.contains(line)).map(|line| format!("+{line}"));
        let mut differences: Vec<String> = lost.chain(new).collect();
        if differences.is_empty() && mine != others {
            differences.push("the order of values".into());
        }
        differences
    }

    /// Those of the lines that are missing here.
    pub(super) fn missing(&self, lines: &[String]) -> Vec<String> {
        lines.iter().filter(|line| !self.0.contains(line)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn effective(text: &str) -> Effective {
        Effective::parse(text)
    }

    #[test]
    fn two_answers_are_compared_line_by_line() {
        let before = effective("port 22\nacceptenv A\nacceptenv B\nmaxstartups 10:30:100");
        let after = effective("port 22\nacceptenv B\nacceptenv A\nmaxstartups 20");
        assert_eq!(before.differences(&before, &[]), Vec::<String>::new());
        assert_eq!(before.differences(&after, &["maxstartups"]), ["the order of values"]);
        assert_eq!(
            before.differences(&effective("port 22"), &["maxstartups"]),
            ["-acceptenv A", "-acceptenv B"]
        );
        assert_eq!(before.value("maxstartups"), Some("10:30:100"));
        assert_eq!(before.value("max"), None);
        assert_eq!(before.missing(&["port 22".into(), "port 2".into()]), ["port 2"]);
    }
}
