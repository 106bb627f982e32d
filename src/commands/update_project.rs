//! `update-project`

use super::report::Shown;
use super::{explain_project, open_projects, server_project};
use crate::cli::UpdateProjectRequest;
use crate::command_error::CommandError;
use crate::exit::Exit;
use crate::local::{Built, Overrides};
use crate::system::Host;
use crate::ui::{Steps, Ui};

/// Brings a project to what its repository has now.
pub(super) fn run(
    request: UpdateProjectRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let UpdateProjectRequest { name } = request;
    if let Some(settings) = server_project::server(host, overrides)? {
        return server_project::update(&name, &settings, overrides, ui);
    }
    let context = open_projects(host, overrides, ui)?;
    let updated = {
        context.heed_interrupts().map_err(|error| explain_project(&context, error.into()))?;
        let mut steps = Shown(Steps::new(ui, &format!("Updating {name}")));
        context.update_project(&name, &mut steps)
    };
    let Built { image, rebuilt } = updated.map_err(|error| explain_project(&context, error))?;
    ui.note(&match rebuilt {
        true => format!("project {name} rebuilt, image: {image}"),
        false => format!("project {name}: podfile unchanged, skipping rebuild"),
    });
    Ok(Exit::Success)
}
