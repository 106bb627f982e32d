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
    /// Ask the engine how many containers there are [default: off, as recorded].
    #[arg(long)]
    pub check: bool,
    /// Text for people or JSON for programs.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputArg,
}

/// How to write the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatusFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For Prometheus' text collector.
    Prometheus,
}

/// Valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRequest {
    /// How to write it.
    pub format: StatusFormat,
    /// Ask the engine.
    pub check: bool,
}

impl TryFrom<StatusArgs> for StatusRequest {
    type Error = UsageError;

    fn try_from(args: StatusArgs) -> Result<Self, UsageError> {
        let StatusArgs { prometheus, check, output } = args;
        let format = match (prometheus, output) {
            (true, _) => StatusFormat::Prometheus,
            (false, OutputArg::Text) => StatusFormat::Text,
            (false, OutputArg::Json) => StatusFormat::Json,
        };
        Ok(Self { format, check })
    }
}
