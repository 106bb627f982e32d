//! `remove-user`

use clap::Args;

use super::UsageError;
use crate::names::UserName;

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn remove-user james --force")]
pub struct RemoveUserArgs {
    /// Login name.
    pub user: String,
    /// Destroy the user's sessions first [default: refuse while there are any].
    #[arg(long)]
    pub force: bool,
    /// Also delete the home of the user's persistent sessions [default: keep it].
    #[arg(long)]
    pub purge: bool,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoveUserRequest {
    /// Login name.
    pub user: UserName,
    /// Destroy sessions.
    pub force: bool,
    /// Delete the persistent home.
    pub purge: bool,
}

impl TryFrom<RemoveUserArgs> for RemoveUserRequest {
    type Error = UsageError;

    fn try_from(args: RemoveUserArgs) -> Result<Self, UsageError> {
        let RemoveUserArgs { user, force, purge } = args;
        Ok(Self { user: user.parse()?, force, purge })
    }
}
