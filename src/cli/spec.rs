//! `spec`

use clap::Args;

use super::{OutputArg, TypedTarget, UsageError};
use crate::names::ImageRef;

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn spec dev --output json")]
pub struct SpecArgs {
    /// Name of a machine, or `user@name`; on a server a user, or `user@project` [default: yourself].
    pub target: Option<String>,
    /// Image of the machine or session [default: what the configuration says].
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
    /// Text for people or JSON for programs.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputArg,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecRequest {
    /// Whose or which, if it was named.
    pub target: Option<TypedTarget>,
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
            target: target.map(TypedTarget::new),
            image: image.map(|image| image.parse()).transpose()?,
            output,
        })
    }
}
