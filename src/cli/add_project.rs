//! `add-project`

use clap::Args;

use super::UsageError;
use crate::names::{BranchName, GitUrl, ProjectName};

/// As typed.
#[derive(Debug, Args)]
#[command(
    after_help = "An address without a scheme means https://.\n\nExample:\n  podspawn add-project api --repo github.com/company/api"
)]
pub struct AddProjectArgs {
    /// Name of the project.
    pub name: String,
    /// Address of its repository: https://, ssh:// or git:// [default: none, it has to be given].
    #[arg(long, value_name = "URL")]
    pub repo: String,
    /// Branch to look for the Podfile on [default: the repository's].
    #[arg(long, value_name = "BRANCH")]
    pub branch: Option<String>,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddProjectRequest {
    /// Name of the project.
    pub name: ProjectName,
    /// Its repository.
    pub repo: GitUrl,
    /// Branch, if one was named.
    pub branch: Option<BranchName>,
}

impl TryFrom<AddProjectArgs> for AddProjectRequest {
    type Error = UsageError;

    fn try_from(args: AddProjectArgs) -> Result<Self, UsageError> {
        let AddProjectArgs { name, repo, branch } = args;
        let branch = branch.map(|branch| branch.parse()).transpose()?;
        Ok(Self { name: name.parse()?, repo: repo.parse()?, branch })
    }
}
