//! `version`

use crate::command_error::CommandError;
use crate::exit::Exit;
use crate::ui::Ui;

/// The commit that this program was built from, where it was known.
pub const COMMIT: &str = match option_env!("PODSPAWN_COMMIT") {
    Some(commit) => commit,
    None => "none",
};

/// Prints the version, as `podspawn v0.1.0 (a1b2c3d)`.
pub fn run(ui: &Ui) -> Result<Exit, CommandError> {
    ui.report(&format!("podspawn v{} ({COMMIT})\n", env!("CARGO_PKG_VERSION")))?;
    Ok(Exit::Success)
}
