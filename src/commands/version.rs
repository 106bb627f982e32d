//! `version`

use crate::command_error::CommandError;
use crate::exit::Exit;
use crate::ui::Ui;

/// Version and the commit that this program was built from, as `v0.1.0 (a1b2c3d)`.
pub const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"), " (", env!("PODSPAWN_COMMIT"), ")");

/// Prints the version, as `podspawn v0.1.0 (a1b2c3d)`.
pub fn run(ui: &Ui) -> Result<Exit, CommandError> {
    ui.report(&format!("podspawn {VERSION}\n"))?;
    Ok(Exit::Success)
}
