//! What `run`, `shell` and `exec` have in common: a program in a machine, and leaving the machine afterwards.

use podspawn_wire::Program;

use super::explain;
use crate::command_error::CommandError;
use crate::exit::{self, Exit};
use crate::local::{Context, EnterError, Machine, Streams};
use crate::session::attach::AttachError;
use crate::ui::Ui;

/// Runs the program and leaves the machine, whatever became of the program. The status is the program's.
pub(super) fn enter(
    context: &Context,
    machine: Machine<'_>,
    program: Program,
    streams: Streams,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let ended = context.enter(&machine.session, program, streams);
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
        Err(error) => Err(error.into()),
    }
}
