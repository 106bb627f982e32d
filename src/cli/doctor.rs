//! `doctor`

use clap::Args;

use super::{OutputArg, UsageError};

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn doctor --verbose")]
pub struct DoctorArgs {
    /// Show what each check found [default: off].
    #[arg(short, long)]
    pub verbose: bool,
    /// Text for people or JSON for programs.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputArg,
}

/// Valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DoctorRequest {
    /// Show what each check found.
    pub verbose: bool,
    /// How to write it.
    pub output: OutputArg,
}

impl TryFrom<DoctorArgs> for DoctorRequest {
    type Error = UsageError;

    fn try_from(args: DoctorArgs) -> Result<Self, UsageError> {
        let DoctorArgs { verbose, output } = args;
        Ok(Self { verbose, output })
    }
}
