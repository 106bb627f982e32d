//! `run`

use podspawn_wire::Program;

use super::create::plain;
use super::enter::{How, enter, prepared};
use super::report::Shown;
use super::stop::LIMIT;
use super::{Logs, explain, explain_project, open};
use crate::cli::{MadeOf, RunRequest};
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{Context, MachineError, Overrides, ProjectError, Source};
use crate::names::MachineName;
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
    let RunRequest { name, made_of, command } = request;
    let context = open(host, overrides, Reach::AlwaysLocal, Logs::Quiet, ui)?;
    let program = if command.is_empty() { Program::Shell { login: true } } else { Program::Argv(command) };
    let image = match made_of {
        MadeOf::Image(image) => image,
        MadeOf::Project { project, branch } => {
            return of_project(&context, &name, &Source { project, branch }, program, ui);
        }
    };
    let spec = context.spec(Kind::Throwaway, &name, image)?;
    let acquired = {
        context.heed_interrupts().map_err(|error| explain(&context, error))?;
        let mut steps = Shown(Steps::new(ui, &format!("Creating {name} ({})", spec.image)));
        plain(&context, &spec, &name, Exists::Refuse, &mut steps)
    };
    let machine = acquired.map_err(|error| not_made(&context, &name, error))?;
    let machine = prepared(&context, machine, &spec.environment.setup, How::SHELL, ui)?;
    enter(&context, machine, program, How::SHELL, ui)
}

/// The same with a checkout that goes with it.
fn of_project(
    context: &Context,
    name: &MachineName,
    source: &Source,
    program: Program,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let made = {
        context.heed_interrupts().map_err(|error| explain(context, error))?;
        let mut steps = Shown(Steps::new(ui, &format!("Creating {name}")));
        context.run_workspace(name, source, &mut steps)
    };
    let (machine, setup, temporary) = made.map_err(|error| not_made(context, name, error))?;
    let ended = prepared(context, machine, &setup, How::SHELL, ui)
        .and_then(|machine| enter(context, machine, program, How::SHELL, ui));
    if let Err(error) = context.discard(temporary, LIMIT, &mut Shown(Steps::plain(ui))) {
        // The program's end is the answer; that something is left must be known nevertheless.
        let error = explain_project(context, error);
        ui.warn(&error.text);
        error.hints.iter().for_each(|hint| ui.hint(hint));
    }
    ended
}

fn not_made(context: &Context, name: &MachineName, error: ProjectError) -> CommandError {
    match error {
        ProjectError::InUse(_) | ProjectError::Machine(MachineError::Session(SessionError::InUse { .. })) => {
            CommandError::new(ErrorKind::State, format!("the name `{name}` is in use"))
                .hint(format!("podspawn shell {name}"))
        }
        error => explain_project(context, error),
    }
}
