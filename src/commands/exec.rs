//! `exec`

use podspawn_wire::Program;

use super::enter::enter;
use super::{Logs, explain, open};
use crate::cli::{ExecRequest, GlobalRequest};
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::Streams;
use crate::system::Host;
use crate::ui::{Steps, Ui};

/// Runs one command in a machine.
pub(super) fn run(
    request: ExecRequest,
    global: &GlobalRequest,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let ExecRequest { target, interactive, tty, command } = request;
    let streams = match (interactive, tty) {
        (true, true) => Streams::Terminal,
        (false, true) => Streams::TerminalOutputOnly,
        (true, false) => Streams::Pipes,
        (false, false) => Streams::OutputOnly,
    };
    if tty && Streams::for_a_person() != Streams::Terminal {
        let text = "`--tty` needs a terminal as standard input and output";
        return Err(CommandError::new(ErrorKind::Usage, text).hint("leave `--tty` out"));
    }
    let context = open(host, global, Reach::AlwaysLocal, Logs::Quiet, ui)?;
    let key = target.key(&context.owner);
    let joined = context.join(&key, &mut Steps::plain(ui));
    let machine = joined.map_err(|error| explain(&context, error))?;
    enter(&context, machine, Program::Argv(command), streams, ui)
}
