//! `run`

use podspawn_wire::Program;

use super::enter::{How, enter, prepared};
use super::report::Shown;
use super::{Logs, explain, open};
use crate::cli::RunRequest;
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{MachineError, Overrides};
use crate::session::{Exists, SessionError};
use crate::spec::Kind;
use crate::system::Host;
use crate::ui::{Steps, Ui};

/// Makes a throwaway machine, runs a shell or a command in it and removes it.
pub(super) fn run(
    request: RunRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let RunRequest { name, image, command } = request;
    let context = open(host, overrides, Reach::AlwaysLocal, Logs::Quiet, ui)?;
    let spec = context.spec(Kind::Throwaway, &name, image)?;
    let acquired = {
        let mut steps = Shown(Steps::new(ui, &format!("Creating {name} ({})", spec.image)));
        context.acquire(&spec, Exists::Refuse, &mut steps)
    };
    let machine = acquired.map_err(|error| match error {
        MachineError::Session(SessionError::InUse { .. }) => {
            CommandError::new(ErrorKind::State, format!("the name `{name}` is in use"))
                .hint(format!("podspawn shell {name}"))
        }
        error => explain(&context, error),
    })?;
    let machine = prepared(&context, machine, &spec.environment.setup, How::SHELL, ui)?;
    let program = if command.is_empty() { Program::Shell { login: true } } else { Program::Argv(command) };
    enter(&context, machine, program, How::SHELL, ui)
}
