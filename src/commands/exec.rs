//! `exec`

use podspawn_wire::Program;

use super::enter::{How, enter, note_setup, prepared, setup_of};
use super::report::Shown;
use super::{Logs, explain_stopped, open};
use crate::cli::ExecRequest;
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::Overrides;
use crate::system::Host;
use crate::ui::{Stdio, Steps, Ui};

/// Runs one command in a machine.
pub(super) fn run(
    request: ExecRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let ExecRequest { target, interactive, tty, command } = request;
    if tty && !Stdio::own().is_person() {
        let text = "`--tty` needs a terminal as standard input and output";
        return Err(CommandError::new(ErrorKind::Usage, text).hint("leave `--tty` out"));
    }
    let context = open(host, overrides, Reach::AlwaysLocal, Logs::Quiet, ui)?;
    let key = target.key(context.owner());
    let joined = context.join(&key, &mut Shown(Steps::plain(ui)));
    let machine = joined.map_err(|error| explain_stopped(&context, &key, error))?;
    let how = How { terminal: Some(tty), input: interactive };
    let setup = setup_of(&context, &machine)?;
    let machine = prepared(&context, machine, &setup, how, ui)?;
    note_setup(&context, &machine)?;
    enter(&context, machine, Program::Argv(command), how, ui)
}
