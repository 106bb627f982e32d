//! `version`

use clap::Args;

/// As typed; there is nothing to say.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn version")]
pub struct VersionArgs {}
