//! `switch-branch`

use clap::Args;

use super::UsageError;
use crate::names::{BranchName, MachineName};

/// As typed.
#[derive(Debug, Args)]
#[command(
    after_help = "The machine has to be stopped, and its checkout must have no uncommitted changes.\n\nExample:\n  podspawn switch-branch dev feature"
)]
pub struct SwitchBranchArgs {
    /// Name of the machine.
    pub name: String,
    /// Branch of the repository.
    pub branch: String,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchBranchRequest {
    /// Which machine.
    pub name: MachineName,
    /// Which branch.
    pub branch: BranchName,
}

impl TryFrom<SwitchBranchArgs> for SwitchBranchRequest {
    type Error = UsageError;

    fn try_from(args: SwitchBranchArgs) -> Result<Self, UsageError> {
        let SwitchBranchArgs { name, branch } = args;
        Ok(Self { name: name.parse()?, branch: branch.parse()? })
    }
}
