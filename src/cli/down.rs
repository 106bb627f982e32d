//! `down`

use clap::Args;

use super::UsageError;
use crate::names::MachineName;

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn down --clean")]
pub struct DownArgs {
    /// Remove the volumes of the session and its services as well; what is in them is gone [default: off].
    #[arg(long)]
    pub clean: bool,
    /// Name of the session [default: made of the directory's name and path].
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownRequest {
    /// Volumes go as well.
    pub clean: bool,
    /// Name, if one was given.
    pub name: Option<MachineName>,
}

impl TryFrom<DownArgs> for DownRequest {
    type Error = UsageError;

    fn try_from(args: DownArgs) -> Result<Self, UsageError> {
        let DownArgs { clean, name } = args;
        Ok(Self { clean, name: name.map(|name| name.parse()).transpose()? })
    }
}
