//! `rm`

use clap::Args;

use super::UsageError;
use crate::names::MachineName;

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn rm dev --force")]
pub struct RmArgs {
    /// Name of the machine.
    pub name: String,
    /// Remove it even if it is running [default: off].
    #[arg(short, long)]
    pub force: bool,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RmRequest {
    /// Which machine.
    pub name: MachineName,
    /// Even if it is running.
    pub force: bool,
}

impl TryFrom<RmArgs> for RmRequest {
    type Error = UsageError;

    fn try_from(args: RmArgs) -> Result<Self, UsageError> {
        let RmArgs { name, force } = args;
        Ok(Self { name: name.parse()?, force })
    }
}
