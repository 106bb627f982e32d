//! `run`

use clap::Args;

use crate::names::{ImageRef, MachineName};

use super::UsageError;

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
    /// Command to run instead of a shell [default: a shell].
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRequest {
    /// Name of the machine.
    pub name: MachineName,
    /// Image, if one was named.
    pub image: Option<ImageRef>,
    /// Program and arguments; empty for a shell.
    pub command: Vec<String>,
}

impl TryFrom<RunArgs> for RunRequest {
    type Error = UsageError;

    fn try_from(args: RunArgs) -> Result<Self, UsageError> {
        let RunArgs { name, image, command } = args;
        Ok(Self { name: name.parse()?, image: image.map(|image| image.parse()).transpose()?, command })
    }
}
