//! `remove-project`

use clap::Args;

use super::UsageError;
use crate::names::ProjectName;

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn remove-project api")]
pub struct RemoveProjectArgs {
    /// Name of the project.
    pub name: String,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveProjectRequest {
    /// Which project.
    pub name: ProjectName,
}

impl TryFrom<RemoveProjectArgs> for RemoveProjectRequest {
    type Error = UsageError;

    fn try_from(args: RemoveProjectArgs) -> Result<Self, UsageError> {
        let RemoveProjectArgs { name } = args;
        Ok(Self { name: name.parse()? })
    }
}
