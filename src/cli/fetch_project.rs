//! `fetch-project`

use clap::Args;

use super::UsageError;
use crate::names::ProjectName;

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn fetch-project api")]
pub struct FetchProjectArgs {
    /// Name of the project.
    pub name: String,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchProjectRequest {
    /// Which project.
    pub name: ProjectName,
}

impl TryFrom<FetchProjectArgs> for FetchProjectRequest {
    type Error = UsageError;

    fn try_from(args: FetchProjectArgs) -> Result<Self, UsageError> {
        let FetchProjectArgs { name } = args;
        Ok(Self { name: name.parse()? })
    }
}
