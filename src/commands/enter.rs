//! What `create`, `run`, `shell` and `exec` have in common: setting a machine up, a program in it, and leaving it.

use std::borrow::Cow;

use podspawn_wire::Program;

use super::report::Shown;
use super::{explain, explain_project};
use crate::command_error::{CommandError, ErrorKind};
use crate::exit::{self, Exit};
use crate::local::{Context, EnterError, Machine, MachineError, Streams};
use crate::session::attach::AttachError;
use crate::spec::{Kind, Setup};
use crate::state::{SessionRecord, SetupState};
use crate::ui::{Stdio, Steps, Ui, log};

/// How the program is connected to this process's streams.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    /// On a terminal of its own; if not said, exactly where a person sits.
    pub(super) terminal: Option<bool>,
    /// With this process's input.
    pub(super) input: bool,
}

impl How {
    /// As a person or a script expects of a shell.
    pub(super) const SHELL: Self = Self { terminal: None, input: true };
}

impl How {
    /// Whether a person waits for it, who may be told what happens first.
    fn is_for_a_person(self, stdio: &Stdio) -> bool {
        self.terminal.unwrap_or_else(|| stdio.is_person())
    }
}

/// How the image of a Podfile is called.
const BUILT: &str = "podspawn/";

/// What is due in a machine before somebody works in it, as far as the command knows.
#[derive(Debug, Clone)]
pub(super) enum Due<'a> {
    /// The setup, if it has not come to its end, and the hooks of a connection.
    All(Cow<'a, Setup>),
    /// Nothing: the machine is set up, and what its hooks are cannot be read any more. Says why.
    Unreadable(String),
    /// A setup that only the command knows which made the session.
    Makers,
}

impl<'a> From<&'a Setup> for Due<'a> {
    fn from(setup: &'a Setup) -> Self {
        Self::All(Cow::Borrowed(setup))
    }
}

impl<'a> From<&Due<'a>> for Due<'a> {
    fn from(due: &Due<'a>) -> Self {
        due.clone()
    }
}

/// What is due in a machine that somebody connects to: of the Podfile in its checkout, or of the user's own. A machine of
/// neither is not looked into. One that is set up is not closed to anybody because its Podfile cannot be read any more.
pub(super) fn setup_of(context: &Context, machine: &Machine<'_>) -> Result<Due<'static>, CommandError> {
    let record = &machine.session.record;
    if record.kind != Kind::Machine {
        return Ok(match record.setup {
            SetupState::Pending => Due::Makers,
            SetupState::Done | SetupState::Failed => Due::All(Cow::default()),
        });
    }
    match read_setup(context, record) {
        Ok(setup) => Ok(Due::All(Cow::Owned(setup))),
        Err(error) if record.setup != SetupState::Pending => Ok(Due::Unreadable(error.text)),
        Err(error) => Err(error),
    }
}

fn read_setup(context: &Context, record: &SessionRecord) -> Result<Setup, CommandError> {
    if record.start_dir.is_some()
        && let Some(setup) = context.workspace_setup(&record.key).map_err(|e| explain_project(context, e))?
    {
        return Ok(setup);
    }
    match record.setup == SetupState::Pending || record.image.starts_with(BUILT) {
        true => Ok(context.settings.own_setup()?),
        false => Ok(Setup::default()),
    }
}

/// Writes down for a machine with a checkout whether its setup came to its end.
pub(super) fn note_setup(context: &Context, machine: &Machine<'_>) -> Result<(), CommandError> {
    match machine.session.record.start_dir {
        Some(_) => context.note_setup(machine).map_err(|error| explain_project(context, error)),
        None => Ok(()),
    }
}

/// Sets the machine up and runs the hooks of a connection to it, before anything else happens there. What fails inside is
/// said and no error; a machine that is not to be entered is left.
pub(super) fn prepared<'a, 'b>(
    context: &'a Context,
    machine: Machine<'a>,
    due: impl Into<Due<'b>>,
    how: How,
    ui: Ui,
) -> Result<Machine<'a>, CommandError> {
    let person = how.is_for_a_person(&Stdio::own());
    match due.into() {
        Due::All(setup) => prepared_for(context, machine, &setup, person, ui),
        Due::Unreadable(reason) => {
            ui.warn(&format!("{reason}; `on_start` did not run"));
            Ok(machine)
        }
        Due::Makers => awaited_for(context, machine, person, ui),
    }
}

/// Lets the command that made the session do its setup, if it is at it. A setup that nobody is at stays to be done.
fn awaited_for<'a>(
    context: &'a Context,
    mut machine: Machine<'a>,
    person: bool,
    ui: Ui,
) -> Result<Machine<'a>, CommandError> {
    let outcome = {
        let steps = if person { Steps::late(ui) } else { Steps::plain(ui) };
        context.await_setup(&mut machine, person, &mut Shown(steps))
    };
    if let Err(error) = outcome {
        return Err(left(context, machine, error, ui));
    }
    let record = &machine.session.record;
    if record.setup == SetupState::Pending {
        let name = record.key.project();
        let text = format!("the setup of `{name}` has not come to its end");
        ui.warn(&match record.kind {
            Kind::Session => format!("{text}: `podspawn dev --name {name}` in its directory does it"),
            Kind::Machine | Kind::Throwaway => text,
        });
    }
    Ok(machine)
}

/// As [`prepared`], for a person or a program.
pub(super) fn prepared_for<'a>(
    context: &'a Context,
    mut machine: Machine<'a>,
    setup: &Setup,
    person: bool,
    ui: Ui,
) -> Result<Machine<'a>, CommandError> {
    if !person {
        // Nobody is told what fails inside as it happens: the log's line has to be somewhere.
        log::warnings_of("podspawn::session::setup");
    }
    let outcome = {
        let steps = match (person, context.needs_setup(&machine, setup)) {
            (true, true) => Steps::new(ui, &format!("Setting up {}", machine.session.record.key.project())),
            (true, false) => Steps::late(ui),
            (false, _) => Steps::plain(ui),
        };
        context.prepare(&mut machine, setup, person, &mut Shown(steps))
    };
    match outcome {
        Ok(()) => Ok(machine),
        Err(error) => Err(left(context, machine, error, ui)),
    }
}

/// Leaves a machine that is not to be entered, and says why it is not.
fn left(context: &Context, machine: Machine<'_>, why: MachineError, ui: Ui) -> CommandError {
    let why = explain(context, why);
    if let Err(error) = machine.leave() {
        ui.warn(&explain(context, error).text);
    }
    why
}

/// Runs the program and leaves the machine, whatever became of the program. The status is the program's.
pub(super) fn enter(
    context: &Context,
    machine: Machine<'_>,
    program: Program,
    how: How,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let stdio = Stdio::own();
    let streams = Streams {
        terminal: how.is_for_a_person(&stdio),
        stdin: how.input.then(|| stdio.stdin()),
        stdout: stdio.stdout(),
        stderr: stdio.stderr(),
    };
    let ended = context.enter(&machine.session, program, streams);
    let key = machine.session.record.key.clone();
    let left = machine.leave().map_err(|error| explain(context, error));
    if let Err(error) = left {
        // The program's end is the answer; that something is left must be known nevertheless.
        ui.warn(&error.text);
        error.hints.iter().for_each(|hint| ui.hint(hint));
    }
    match ended {
        Ok(ended) => Ok(Exit::Session(ended.status())),
        // Whoever sent the signal knows.
        Err(EnterError::Attach(error @ AttachError::Interrupted(_))) => {
            Ok(Exit::Session(error.status().unwrap_or(exit::FAILURE)))
        }
        // However the end of the machine was noticed, that is what happened.
        Err(EnterError::Attach(AttachError::Lost | AttachError::Stopped | AttachError::NotRunning(_)))
            if !context.is_running(&key).unwrap_or(true) =>
        {
            let text = format!("the machine `{}` was stopped", key.project());
            Err(CommandError::new(ErrorKind::State, text))
        }
        Err(error) => Err(error.into()),
    }
}
