//! `run`

use clap::Args;

use super::{MadeOf, UsageError};
use crate::names::MachineName;

/// As typed.
#[derive(Debug, Args)]
#[command(
    after_help = "Without a terminal the shell reads its commands from standard input.\n\nExample:\n  podspawn run scratch"
)]
pub struct RunArgs {
    /// Name of the machine.
    pub name: String,
    /// Image of the machine [default: `local.image` of the configuration].
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Registered project whose repository the machine works on [default: none].
    #[arg(long, value_name = "PROJECT")]
    pub project: Option<String>,
    /// Branch of the project [default: the Podfile's, or the repository's].
    #[arg(long, value_name = "BRANCH")]
    pub branch: Option<String>,
    /// Command to run instead of a shell [default: a shell].
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRequest {
    /// Name of the machine.
    pub name: MachineName,
    /// What it is made of.
    pub made_of: MadeOf,
    /// Program and arguments; empty for a shell.
    pub command: Vec<String>,
}

impl TryFrom<RunArgs> for RunRequest {
    type Error = UsageError;

    fn try_from(args: RunArgs) -> Result<Self, UsageError> {
        let RunArgs { name, image, project, branch, command } = args;
        Ok(Self { name: name.parse()?, made_of: MadeOf::new(image, project, branch)?, command })
    }
}
