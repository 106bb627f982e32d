//! The choice between text for people and JSON for programs.

use clap::ValueEnum;

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum OutputArg {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}
