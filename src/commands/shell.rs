//! `shell`

use podspawn_wire::Program;

use super::enter::{How, enter, plain_setup, prepared};
use super::report::Shown;
use super::{Logs, explain, open};
use crate::cli::ShellRequest;
use crate::command_error::CommandError;
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::Overrides;
use crate::system::Host;
use crate::ui::{Steps, Ui};

/// Opens a shell in a machine.
pub(super) fn run(
    request: ShellRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let ShellRequest { target } = request;
    let context = open(host, overrides, Reach::AlwaysLocal, Logs::Quiet, ui)?;
    let key = target.key(context.owner());
    let joined = context.join(&key, &mut Shown(Steps::plain(ui)));
    let machine = joined.map_err(|error| explain(&context, error))?;
    let setup = plain_setup(&context, &machine)?;
    let machine = prepared(&context, machine, &setup, How::SHELL, ui)?;
    enter(&context, machine, Program::Shell { login: true }, How::SHELL, ui)
}
