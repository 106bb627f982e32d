//! `prebuild`

use std::path::PathBuf;

use clap::Args;

use super::UsageError;
use crate::names::ImageRef;

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn prebuild --tag team/api:dev")]
pub struct PrebuildArgs {
    /// Podfile to use [default: the one of this directory].
    #[arg(long, value_name = "FILE")]
    pub podfile: Option<PathBuf>,
    /// A further name for the image [default: none].
    #[arg(long, value_name = "TAG")]
    pub tag: Option<String>,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrebuildRequest {
    /// Podfile, if one was named.
    pub podfile: Option<PathBuf>,
    /// Further name.
    pub tag: Option<ImageRef>,
}

impl TryFrom<PrebuildArgs> for PrebuildRequest {
    type Error = UsageError;

    fn try_from(args: PrebuildArgs) -> Result<Self, UsageError> {
        let PrebuildArgs { podfile, tag } = args;
        Ok(Self { podfile, tag: tag.map(|tag| tag.parse()).transpose()? })
    }
}
