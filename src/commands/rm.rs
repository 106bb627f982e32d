//! `rm`

use super::report::Shown;
use super::stop::LIMIT;
use super::{Logs, explain, explain_project, open};
use crate::cli::RmRequest;
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{MachineError, Overrides};
use crate::names::SessionKey;
use crate::session::Reason;
use crate::system::Host;
use crate::ui::{Steps, Ui};

/// Removes a machine; one that runs only by force.
pub(super) fn run(
    request: RmRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let RmRequest { name, force } = request;
    let context = open(host, overrides, Reach::AlwaysLocal, Logs::Quiet, ui)?;
    let key = SessionKey::machine(context.owner().clone(), name.clone());
    if !force && context.is_running(&key).map_err(|error| explain(&context, error))? {
        return Err(CommandError::new(ErrorKind::State, format!("the machine `{name}` is running"))
            .hint(format!("podspawn rm {name} --force")));
    }
    let workspace = context.workspace(&key).map_err(|error| explain_project(&context, error))?;
    if let Some(workspace) = workspace {
        let removed = {
            let mut steps = Shown(Steps::new(ui, &format!("Removing {name}")));
            context.remove_workspace(&workspace, LIMIT, &mut steps)
        };
        removed.map_err(|error| explain_project(&context, error))?;
        ui.done(&format!("Removed workspace {name}"));
        return Ok(Exit::Success);
    }
    let removed = context
        .destroy(&key, Reason::Remove, LIMIT, &mut Shown(Steps::new(ui, &format!("Removing {name}"))))
        .map_err(|error| explain(&context, error))?;
    // Its volumes outlive `stop`: they may be all that is left of it.
    let volumes = match removed {
        Some(_) => context.remove_volumes(&key).map_err(|error| explain(&context, error))?,
        None => context.remove_volumes(&key).unwrap_or_default(),
    };
    if removed.is_none() && volumes.is_empty() {
        return Err(explain(&context, MachineError::Unknown(key)));
    }
    ui.done(&format!("Removed machine {name}"));
    Ok(Exit::Success)
}
