//! `remove-project`

use super::report::Shown;
use super::{explain_project, open_projects, server_project};
use crate::cli::RemoveProjectRequest;
use crate::command_error::CommandError;
use crate::exit::Exit;
use crate::local::{Overrides, Removed};
use crate::system::Host;
use crate::ui::{Steps, Ui};

/// Forgets a project.
pub(super) fn run(
    request: RemoveProjectRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let RemoveProjectRequest { name } = request;
    let (image, left) = match server_project::server(host, overrides)? {
        Some(settings) => server_project::remove(&name, &settings, overrides, ui)?,
        None => {
            let context = open_projects(host, overrides, ui)?;
            let removed = context.remove_project(&name, &mut Shown(Steps::plain(ui)));
            let Removed { image, left } = removed.map_err(|error| explain_project(&context, error))?;
            (image, left)
        }
    };
    ui.note(&format!("removed project {name}"));
    if let Some(image) = image.filter(|image| image.starts_with("podspawn/")) {
        ui.note(&format!("note: image {image} still exists; run 'docker rmi {image}' to remove it"));
    }
    if let Some(left) = left {
        ui.warn(&format!("the clone is still there: failed to {left}"));
    }
    Ok(Exit::Success)
}
