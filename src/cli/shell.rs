//! `shell`

use clap::Args;

use super::UsageError;
use crate::names::Target;

/// As typed.
#[derive(Debug, Args)]
#[command(
    after_help = "Without a terminal the shell reads its commands from standard input.\n\nExample:\n  podspawn shell dev"
)]
pub struct ShellArgs {
    /// Name of the machine, or `user@name`.
    pub name: String,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellRequest {
    /// Which machine.
    pub target: Target,
}

impl TryFrom<ShellArgs> for ShellRequest {
    type Error = UsageError;

    fn try_from(args: ShellArgs) -> Result<Self, UsageError> {
        let ShellArgs { name } = args;
        Ok(Self { target: name.parse()? })
    }
}
