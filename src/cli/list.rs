//! `list`

use clap::Args;

use super::{OutputArg, UsageError};

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn list --output json")]
pub struct ListArgs {
    /// Text for people or JSON for programs.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputArg,
    /// Only machines that were made of a project; not on a server [default: off].
    #[arg(long)]
    pub machines: bool,
}

/// Valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListRequest {
    /// How to write it.
    pub output: OutputArg,
    /// Only machines that were made of a project.
    pub machines: bool,
}

impl TryFrom<ListArgs> for ListRequest {
    type Error = UsageError;

    fn try_from(args: ListArgs) -> Result<Self, UsageError> {
        let ListArgs { output, machines } = args;
        Ok(Self { output, machines })
    }
}
