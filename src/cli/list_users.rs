//! `list-users`

use clap::Args;

/// As typed, and valid as it is.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn list-users")]
pub struct ListUsersArgs {}
