//! `shell`

use podspawn_wire::Program;

use super::enter::{How, enter};
use super::report::Shown;
use super::{Logs, explain, explain_project, open};
use crate::cli::ShellRequest;
use crate::command_error::CommandError;
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{MachineError, Overrides};
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
    let machine = match context.join(&key, &mut Shown(Steps::plain(ui))) {
        Ok(machine) => machine,
        Err(error @ MachineError::Unknown(_)) => {
            let found = context.workspace(&key).map_err(|error| explain_project(&context, error))?;
            let Some(workspace) = found else { return Err(explain(&context, error)) };
            let title = format!("Creating {} again", workspace.name);
            let mut steps = Shown(Steps::new(ui, &title));
            let opened = context.reopen(&workspace, &mut steps);
            drop(steps);
            opened.map_err(|error| explain_project(&context, error))?
        }
        Err(error) => return Err(explain(&context, error)),
    };
    enter(&context, machine, Program::Shell { login: true }, How::SHELL, ui)
}
