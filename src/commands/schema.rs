//! `schema`: what editors need to complete and check podspawn's files.

use crate::cli::{SchemaArg, SchemaArgs};
use crate::command_error::CommandError;
use crate::config;
use crate::exit::Exit;
use crate::podfile;
use crate::ui::Ui;

/// Prints a JSON Schema.
pub(super) fn run(SchemaArgs { of }: SchemaArgs, ui: Ui) -> Result<Exit, CommandError> {
    ui.json(&match of {
        SchemaArg::Podfile => podfile::schema(),
        SchemaArg::Config => config::schema(),
    })?;
    Ok(Exit::Success)
}
