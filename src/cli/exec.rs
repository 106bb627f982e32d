//! `exec`

use clap::Args;

use super::UsageError;
use crate::names::Target;

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn exec dev -- ls -la /workspace")]
pub struct ExecArgs {
    /// Connect standard input [default: off, it is empty].
    #[arg(short, long)]
    pub interactive: bool,
    /// Run the command on a terminal [default: off].
    #[arg(short, long)]
    pub tty: bool,
    /// Name of the machine, or `user@name`.
    #[arg(value_name = "MACHINE")]
    pub name: String,
    /// Program and its arguments, with no shell in between.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecRequest {
    /// Which machine.
    pub target: Target,
    /// Connect standard input.
    pub interactive: bool,
    /// Run it on a terminal.
    pub tty: bool,
    /// Program and arguments; never empty.
    pub command: Vec<String>,
}

impl TryFrom<ExecArgs> for ExecRequest {
    type Error = UsageError;

    fn try_from(args: ExecArgs) -> Result<Self, UsageError> {
        let ExecArgs { interactive, tty, name, command } = args;
        if command.first().is_none_or(String::is_empty) {
            return Err(UsageError::argument("the command is empty", "podspawn exec <machine> -- ls -la"));
        }
        Ok(Self { target: name.parse()?, interactive, tty, command })
    }
}
