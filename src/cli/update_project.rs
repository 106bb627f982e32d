//! `update-project`

use clap::Args;

use super::UsageError;
use crate::names::ProjectName;

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn update-project api")]
pub struct UpdateProjectArgs {
    /// Name of the project.
    pub name: String,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateProjectRequest {
    /// Which project.
    pub name: ProjectName,
}

impl TryFrom<UpdateProjectArgs> for UpdateProjectRequest {
    type Error = UsageError;

    fn try_from(args: UpdateProjectArgs) -> Result<Self, UsageError> {
        let UpdateProjectArgs { name } = args;
        Ok(Self { name: name.parse()? })
    }
}
