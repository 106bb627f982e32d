//! `podfile`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::OutputArg;

/// As typed.
#[derive(Debug, Args)]
#[command(
    subcommand_required = true,
    after_help = "Example:\n  podspawn podfile check\n  podspawn podfile check examples/podfiles/node-api.yaml --output json"
)]
pub struct PodfileArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: PodfileCommand,
}

/// What can be done with a Podfile.
#[derive(Debug, Subcommand)]
pub enum PodfileCommand {
    /// Check a Podfile with all that it extends, and show what comes of it.
    Check(PodfileCheckArgs),
}

/// `podfile check`, as typed.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  podspawn podfile check\n  podspawn podfile check ~/src/api --output json"
)]
pub struct PodfileCheckArgs {
    /// A Podfile, or a directory that has one [default: the working directory].
    pub path: Option<PathBuf>,
    /// Text for people or JSON for programs.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputArg,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodfileCheckRequest {
    /// A Podfile or a directory, if one was named.
    pub path: Option<PathBuf>,
    /// How to write it.
    pub output: OutputArg,
}

impl From<PodfileArgs> for PodfileCheckRequest {
    fn from(args: PodfileArgs) -> Self {
        let PodfileArgs { command: PodfileCommand::Check(PodfileCheckArgs { path, output }) } = args;
        Self { path, output }
    }
}
