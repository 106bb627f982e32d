//! `version`

use crate::cli::VERSION;
use crate::command_error::CommandError;
use crate::exit::Exit;
use crate::ui::Ui;

/// Prints the version, as `podspawn v0.1.0 (a1b2c3d)`.
pub(super) fn run(ui: &Ui) -> Result<Exit, CommandError> {
    ui.report(&format!("podspawn {VERSION}\n"))?;
    Ok(Exit::Success)
}
