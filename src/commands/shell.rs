//! `shell`

use podspawn_wire::Program;

use super::enter::enter;
use super::{Logs, explain, open};
use crate::cli::{GlobalRequest, ShellRequest};
use crate::command_error::CommandError;
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::Streams;
use crate::system::Host;
use crate::ui::{Steps, Ui};

/// Opens a shell in a machine.
pub(super) fn run(
    request: ShellRequest,
    global: &GlobalRequest,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let ShellRequest { target } = request;
    let context = open(host, global, Reach::AlwaysLocal, Logs::Quiet, ui)?;
    let key = target.key(&context.owner);
    let joined = context.join(&key, &mut Steps::plain(ui));
    let machine = joined.map_err(|error| explain(&context, error))?;
    enter(&context, machine, Program::Shell { login: true }, Streams::for_a_person(), ui)
}
