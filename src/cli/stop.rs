//! `stop`

use clap::Args;

use super::{TypedTarget, UsageError};

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
    /// What to stop.
    pub target: TypedTarget,
}

impl TryFrom<StopArgs> for StopRequest {
    type Error = UsageError;

    fn try_from(args: StopArgs) -> Result<Self, UsageError> {
        let StopArgs { target } = args;
        Ok(Self { target: TypedTarget::new(target) })
    }
}
