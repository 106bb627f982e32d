//! `spec`

use clap::Args;

use super::{OutputArg, UsageError};
use crate::names::{ImageRef, MachineName};

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn spec dev --output json")]
pub struct SpecArgs {
    /// Name of the machine [default: a name that stands for any].
    pub target: Option<String>,
    /// Image of the machine [default: `local.image` of the configuration].
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Text for people or JSON for programs.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputArg,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecRequest {
    /// Which machine, if one was named.
    pub target: Option<MachineName>,
    /// Image, if one was named.
    pub image: Option<ImageRef>,
    /// How to write it.
    pub output: OutputArg,
}

impl TryFrom<SpecArgs> for SpecRequest {
    type Error = UsageError;

    fn try_from(args: SpecArgs) -> Result<Self, UsageError> {
        let SpecArgs { target, image, output } = args;
        Ok(Self {
            target: target.map(|name| name.parse()).transpose()?,
            image: image.map(|image| image.parse()).transpose()?,
            output,
        })
    }
}
