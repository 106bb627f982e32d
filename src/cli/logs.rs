//! `logs`

use clap::Args;

use super::UsageError;
use crate::names::{ServiceName, Target};

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn logs dev --tail 20")]
pub struct LogsArgs {
    /// Go on as new output arrives [default: off].
    #[arg(short, long)]
    pub follow: bool,
    /// Only this many last lines [default: all].
    #[arg(short = 'n', long, value_name = "LINES")]
    pub tail: Option<u64>,
    /// Name of the machine, or `user@name`.
    #[arg(value_name = "MACHINE")]
    pub name: String,
    /// Name of a service; the machine's own first process if none.
    #[arg(value_name = "SERVICE")]
    pub service: Option<String>,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogsRequest {
    /// Which machine.
    pub target: Target,
    /// Which of its services, if not the machine itself.
    pub service: Option<ServiceName>,
    /// Go on as new output arrives.
    pub follow: bool,
    /// Only this many last lines.
    pub tail: Option<u64>,
}

impl TryFrom<LogsArgs> for LogsRequest {
    type Error = UsageError;

    fn try_from(args: LogsArgs) -> Result<Self, UsageError> {
        let LogsArgs { follow, tail, name, service } = args;
        let service = service.map(|service| service.parse()).transpose()?;
        Ok(Self { target: name.parse()?, service, follow, tail })
    }
}
