//! `cleanup`

use std::time::Duration;

use clap::Args;

use super::UsageError;
use crate::config::TimeSpan;

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn cleanup")]
pub struct CleanupArgs {
    /// Go on until SIGINT or SIGTERM [default: off, one pass].
    #[arg(long)]
    pub daemon: bool,
    /// Pause between two passes of the daemon.
    #[arg(long, value_name = "DURATION", default_value = "60s", allow_hyphen_values = true)]
    pub interval: String,
}

/// Valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanupRequest {
    /// Pause between passes; one pass only if none.
    pub daemon: Option<Duration>,
}

impl TryFrom<CleanupArgs> for CleanupRequest {
    type Error = UsageError;

    fn try_from(args: CleanupArgs) -> Result<Self, UsageError> {
        let CleanupArgs { daemon, interval } = args;
        let pause = interval.parse::<TimeSpan>().map_err(|error| {
            UsageError::argument(
                format!("invalid value {interval:?} for `--interval`: {error}"),
                "--interval 60s",
            )
        })?;
        let pause = pause.get();
        if pause.is_zero() {
            return Err(UsageError::argument("`--interval` must not be zero", "--interval 60s"));
        }
        Ok(Self { daemon: daemon.then_some(pause) })
    }
}
