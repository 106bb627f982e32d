//! What `run`, `shell` and `exec` have in common: a program in a machine, and leaving the machine afterwards.

use podspawn_wire::Program;

use super::explain;
use crate::command_error::{CommandError, ErrorKind};
use crate::exit::{self, Exit};
use crate::local::{Context, EnterError, Machine, Streams};
use crate::session::attach::AttachError;
use crate::ui::{Stdio, Ui};

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
        terminal: how.terminal.unwrap_or_else(|| stdio.is_person()),
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
