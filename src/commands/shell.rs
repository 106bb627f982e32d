//! `shell`

use podspawn_wire::Program;

use super::enter::{How, enter, note_setup, prepared, setup_of};
use super::report::Shown;
use super::{Logs, explain, explain_project, open};
use crate::cli::ShellRequest;
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{Context, Machine, MachineError, Overrides};
use crate::names::SessionKey;
use crate::spec::Kind;
use crate::system::Host;
use crate::ui::{Steps, Ui};

/// Opens a shell in a machine; one of a project that was stopped is made again from its checkout.
pub(super) fn run(
    request: ShellRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let ShellRequest { target } = request;
    let context = open(host, overrides, Reach::AlwaysLocal, Logs::Quiet, ui)?;
    let key = target.key(context.owner());
    let machine = match context.join(&key, &mut Shown(Steps::late(ui))) {
        Ok(machine) if is_helper(&context, &machine, &key)? => {
            let _ = machine.leave().map_err(|error| explain(&context, error))?;
            let text = format!("another podspawn command is at work on the checkout of `{}`", key.project());
            return Err(CommandError::new(ErrorKind::State, text).hint("try again when it is done"));
        }
        Ok(machine) => machine,
        Err(error @ MachineError::Unknown(_)) => {
            let found = context.workspace(&key).map_err(|error| explain_project(&context, error))?;
            let Some(workspace) = found else { return Err(explain(&context, error)) };
            let title = format!("Creating {} again", workspace.name);
            context.heed_interrupts().map_err(|error| explain(&context, error))?;
            let mut steps = Shown(Steps::new(ui, &title));
            let opened = context.reopen(&workspace, &mut steps);
            drop(steps);
            opened.map_err(|error| explain_project(&context, error))?.0
        }
        Err(error) => return Err(explain(&context, error)),
    };
    let setup = setup_of(&context, &machine)?;
    let machine = prepared(&context, machine, &setup, How::SHELL, ui)?;
    note_setup(&context, &machine)?;
    enter(&context, machine, Program::Shell { login: true }, How::SHELL, ui)
}

/// Whether it is the throwaway machine in which a command works on the checkout of a machine of that name.
fn is_helper(context: &Context, machine: &Machine<'_>, key: &SessionKey) -> Result<bool, CommandError> {
    if machine.session.record.kind != Kind::Throwaway {
        return Ok(false);
    }
    Ok(context.workspace(key).map_err(|error| explain_project(context, error))?.is_some())
}
