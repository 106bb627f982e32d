//! `dev`

use std::path::PathBuf;

use clap::Args;

use super::UsageError;
use crate::names::MachineName;

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn dev -- make test")]
pub struct DevArgs {
    /// Remove the session when the last connection ends [default: off].
    #[arg(long)]
    pub ephemeral: bool,
    /// Remove a session of that name first [default: off].
    #[arg(long)]
    pub fresh: bool,
    /// Apply your own dotfiles, `local.dotfiles` of the configuration [default: off].
    #[arg(long)]
    pub dotfiles: bool,
    /// Name of the session [default: made of the directory's name and path].
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Further TCP ports to publish on 127.0.0.1, separated by commas [default: none].
    #[arg(long, value_name = "PORTS")]
    pub ports: Option<String>,
    /// Podfile to use [default: the one of this directory].
    #[arg(long, value_name = "FILE")]
    pub podfile: Option<PathBuf>,
    /// Command and arguments to run instead of a shell.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevRequest {
    /// Goes with its last connection.
    pub ephemeral: bool,
    /// A session of that name is removed first.
    pub fresh: bool,
    /// The user's own dotfiles are applied.
    pub dotfiles: bool,
    /// Name, if one was given.
    pub name: Option<MachineName>,
    /// Further ports, each once.
    pub ports: Vec<u16>,
    /// Podfile, if one was named.
    pub podfile: Option<PathBuf>,
    /// Command; a shell if empty.
    pub command: Vec<String>,
}

impl TryFrom<DevArgs> for DevRequest {
    type Error = UsageError;

    fn try_from(args: DevArgs) -> Result<Self, UsageError> {
        let DevArgs { ephemeral, fresh, dotfiles, name, ports, podfile, command } = args;
        Ok(Self {
            ephemeral,
            fresh,
            dotfiles,
            name: name.map(|name| name.parse()).transpose()?,
            ports: ports.map(|text| port_list(&text)).transpose()?.unwrap_or_default(),
            podfile,
            command,
        })
    }
}

/// `3000,5173`: each once, in the order given.
fn port_list(text: &str) -> Result<Vec<u16>, UsageError> {
    let mut ports = Vec::new();
    for part in text.split(',').map(str::trim) {
        let port = part.parse::<u16>().ok().filter(|port| *port > 0);
        let Some(port) = port else {
            let text = format!("invalid port {} in `--ports`", crate::names::quoted(part));
            return Err(UsageError::argument(text, "list numbers from 1 to 65535, such as `3000,5173`"));
        };
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_numbers_and_each_counts_once() {
        assert_eq!(port_list("3000, 80,3000").unwrap(), [3000, 80]);
        for bad in ["", "0", "65536", "80,", "http", "-1", "80;81", "8\u{1b}0"] {
            assert!(port_list(bad).is_err(), "{bad:?}");
        }
    }
}
