//! `add-project`

use super::report::Shown;
use super::{explain_project, open_projects, server_project};
use crate::cli::AddProjectRequest;
use crate::command_error::CommandError;
use crate::exit::Exit;
use crate::local::{Built, Overrides};
use crate::system::Host;
use crate::ui::{Steps, Ui};

/// Registers a repository.
pub(super) fn run(
    request: AddProjectRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    if let Some(settings) = server_project::server(host, overrides)? {
        return server_project::add(request, &settings, overrides, ui);
    }
    let AddProjectRequest { name, repo, branch } = request;
    let context = open_projects(host, overrides, ui)?;
    let added = {
        context.heed_interrupts().map_err(|error| explain_project(&context, error.into()))?;
        let mut steps = Shown(Steps::new(ui, &format!("Registering {name}")));
        context.add_project(&name, &repo, branch.as_ref(), &mut steps)
    };
    let Built { image, .. } = added.map_err(|error| explain_project(&context, error))?;
    ui.note(&format!("project {name} registered, image: {image}"));
    Ok(Exit::Success)
}
