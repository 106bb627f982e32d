//! `verify-image`

use clap::Args;

use super::UsageError;
use crate::names::ImageRef;

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn verify-image ubuntu:24.04")]
pub struct VerifyImageArgs {
    /// Image to check; pulled if the engine does not have it.
    pub image: String,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyImageRequest {
    /// Which image.
    pub image: ImageRef,
}

impl TryFrom<VerifyImageArgs> for VerifyImageRequest {
    type Error = UsageError;

    fn try_from(args: VerifyImageArgs) -> Result<Self, UsageError> {
        let VerifyImageArgs { image } = args;
        Ok(Self { image: image.parse()? })
    }
}
