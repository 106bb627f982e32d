//! `status`

use clap::Args;

use super::{OutputArg, UsageError};

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn status --prometheus")]
pub struct StatusArgs {
    /// Metrics in Prometheus' text format [default: off].
    #[arg(long, conflicts_with = "output")]
    pub prometheus: bool,
    /// Text for people or JSON for programs.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputArg,
}

/// How to write the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusRequest {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For Prometheus' text collector.
    Prometheus,
}

impl TryFrom<StatusArgs> for StatusRequest {
    type Error = UsageError;

    fn try_from(args: StatusArgs) -> Result<Self, UsageError> {
        let StatusArgs { prometheus, output } = args;
        Ok(match (prometheus, output) {
            (true, _) => Self::Prometheus,
            (false, OutputArg::Text) => Self::Text,
            (false, OutputArg::Json) => Self::Json,
        })
    }
}
