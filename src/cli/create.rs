//! `create`

use clap::Args;

use crate::names::{ImageRef, MachineName};

use super::UsageError;

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn create dev")]
pub struct CreateArgs {
    /// Name of the machine.
    pub name: String,
    /// Image of the machine [default: `local.image` of the configuration].
    #[arg(long, value_name = "IMAGE")]
    pub image: Option<String>,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateRequest {
    /// Name of the machine.
    pub name: MachineName,
    /// Image, if one was named.
    pub image: Option<ImageRef>,
}

impl TryFrom<CreateArgs> for CreateRequest {
    type Error = UsageError;

    fn try_from(args: CreateArgs) -> Result<Self, UsageError> {
        let CreateArgs { name, image } = args;
        Ok(Self { name: name.parse()?, image: image.map(|image| image.parse()).transpose()? })
    }
}
