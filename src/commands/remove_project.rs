//! `remove-project`

use podspawn_runtimes::EngineKind;

use super::report::Shown;
use super::{explain_project, open_projects, server_project};
use crate::cli::RemoveProjectRequest;
use crate::command_error::CommandError;
use crate::config::EngineChoice;
use crate::exit::Exit;
use crate::local::{Overrides, Removed};
use crate::system::Host;
use crate::system::accounts::user_by_name;
use crate::ui::{Steps, Ui};

/// The command that removes an image from the engine in use.
type Removing = Box<dyn Fn(&str) -> String>;

/// Forgets a project.
pub(super) fn run(
    request: RemoveProjectRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let RemoveProjectRequest { name } = request;
    let (image, left, removing) = match server_project::server(host, overrides)? {
        Some(settings) => {
            let config = &settings.layers.config;
            let account = config.server.account.as_ref().and_then(|name| user_by_name(name.as_str()).ok()?);
            let removing: Removing = match (config.engine(), account) {
                (Some(EngineChoice::Podman), Some(account)) => {
                    Box::new(move |image| account.with_its_engine(&format!("podman rmi {image}")))
                }
                (Some(EngineChoice::Podman), None) => Box::new(|image| format!("podman rmi {image}")),
                _ => Box::new(|image| format!("docker rmi {image}")),
            };
            let (image, left) = server_project::remove(&name, &settings, overrides, ui)?;
            (image, left, removing)
        }
        None => {
            let context = open_projects(host, overrides, ui)?;
            let removed = context.remove_project(&name, &mut Shown(Steps::plain(ui)));
            let Removed { image, left } = removed.map_err(|error| explain_project(&context, error))?;
            let tool = if context.engine_kind() == Some(EngineKind::Podman) { "podman" } else { "docker" };
            let removing: Removing = Box::new(move |image| format!("{tool} rmi {image}"));
            (image, left, removing)
        }
    };
    ui.note(&format!("removed project {name}"));
    if let Some(image) = image.filter(|image| image.starts_with("podspawn/")) {
        ui.note(&format!("note: image {image} still exists; run '{}' to remove it", removing(&image)));
    }
    if let Some(left) = left {
        ui.warn(&format!("the clone is still there: failed to {left}"));
    }
    Ok(Exit::Success)
}
