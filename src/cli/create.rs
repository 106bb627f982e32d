//! `create`

use clap::Args;

use super::{MadeOf, UsageError};
use crate::names::MachineName;

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn create dev")]
pub struct CreateArgs {
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
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRequest {
    /// Name of the machine.
    pub name: MachineName,
    /// What it is made of.
    pub made_of: MadeOf,
}

impl TryFrom<CreateArgs> for CreateRequest {
    type Error = UsageError;

    fn try_from(args: CreateArgs) -> Result<Self, UsageError> {
        let CreateArgs { name, image, project, branch } = args;
        Ok(Self { name: name.parse()?, made_of: MadeOf::new(image, project, branch)? })
    }
}
