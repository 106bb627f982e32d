//! `rm`

use super::report::Shown;
use super::stop::LIMIT;
use super::{Logs, explain, explain_project, open};
use crate::cli::RmRequest;
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{Context, MachineError, Overrides};
use crate::names::{MachineName, SessionKey};
use crate::session::{Reason, SessionError};
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
    let removed = remove(&context, &name, &key, force, ui)?;
    ui.done(&format!("Removed {removed} {name}"));
    Ok(Exit::Success)
}

/// What was removed, in one word.
fn remove(
    context: &Context,
    name: &MachineName,
    key: &SessionKey,
    force: bool,
    ui: Ui,
) -> Result<&'static str, CommandError> {
    let refuse_if_it_runs = || match !force && context.is_running(key).map_err(|e| explain(context, e))? {
        true => Err(CommandError::new(ErrorKind::State, format!("the machine `{name}` is running"))
            .hint(format!("podspawn rm {name} --force"))),
        false => Ok(()),
    };
    refuse_if_it_runs()?;
    let meant = id_of(context, key)?;
    let mut steps = Shown(Steps::new(ui, &format!("Removing {name}")));
    let _held = context.hold(name, &mut steps).map_err(|error| explain_project(context, error))?;
    // Whoever had the name may have started the machine, or removed it and made another one.
    refuse_if_it_runs()?;
    let found = id_of(context, key)?;
    if found.is_some() && found != meant {
        return Err(explain(context, MachineError::Unknown(key.clone())));
    }
    let workspace = context.workspace(key).map_err(|error| explain_project(context, error))?;
    if let Some(workspace) = workspace {
        context
            .remove_workspace(&workspace, LIMIT, &mut steps)
            .map_err(|error| explain_project(context, error))?;
        return Ok("workspace");
    }
    let removed =
        context.destroy(key, Reason::Remove, LIMIT, &mut steps).map_err(|error| explain(context, error))?;
    // Its volumes outlive `stop`: they may be all that is left of it.
    let volumes = match removed {
        Some(_) => context.remove_volumes(key).map_err(|error| explain(context, error))?,
        None => context.remove_volumes(key).unwrap_or_default(),
    };
    match removed.is_none() && volumes.is_empty() {
        true => Err(explain(context, MachineError::Unknown(key.clone()))),
        false => Ok("machine"),
    }
}

/// What tells a machine from another one of its name: the id of its checkout, or else of its session.
fn id_of(context: &Context, key: &SessionKey) -> Result<Option<String>, CommandError> {
    if let Some(workspace) = context.workspace(key).map_err(|error| explain_project(context, error))? {
        return Ok(Some(workspace.id));
    }
    let record =
        context.core.store.find(key).map_err(|error| explain(context, SessionError::from(error).into()))?;
    Ok(record.map(|record| record.id))
}
