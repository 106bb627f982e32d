//! `schema`

use clap::{Args, ValueEnum};

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn schema podfile")]
pub struct SchemaArgs {
    /// Of which file.
    #[arg(value_enum)]
    pub of: SchemaArg,
}

/// Files that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaArg {
    /// `podfile.yaml` of a repository.
    Podfile,
    /// `config.yaml`.
    Config,
}
