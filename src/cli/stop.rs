//! `stop`

use clap::Args;

use super::UsageError;
use crate::names::{SessionKey, Target, UserName};

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn stop dev")]
pub struct StopArgs {
    /// Name of the machine, or `user@name`; on a server a user, or `user@project`.
    pub target: String,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StopRequest {
    /// The target as typed.
    pub typed: String,
}

impl StopRequest {
    /// The machine that is meant when `owner` asks: `name` or `user@name`.
    pub fn machine(&self, owner: &UserName) -> Result<SessionKey, UsageError> {
        Ok(self.typed.parse::<Target>()?.key(owner))
    }

    /// The server's session that is meant: `user` (the default session) or `user@project`.
    pub fn session(&self) -> Result<SessionKey, UsageError> {
        match self.typed.parse::<Target>() {
            Ok(Target { user: Some(user), name }) => Ok(SessionKey { user, name: Some(name) }),
            Err(error) if self.typed.contains('@') => Err(error.into()),
            _ => Ok(SessionKey { user: self.typed.parse()?, name: None }),
        }
    }
}

impl TryFrom<StopArgs> for StopRequest {
    type Error = UsageError;

    fn try_from(args: StopArgs) -> Result<Self, UsageError> {
        let StopArgs { target } = args;
        Ok(Self { typed: target })
    }
}
