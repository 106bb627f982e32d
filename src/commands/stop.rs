//! `stop`

use std::time::Duration;

use super::report::Shown;
use super::{Logs, explain, open};
use crate::cli::StopRequest;
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::Overrides;
use crate::session::Reason;
use crate::system::Host;
use crate::ui::{Steps, Ui};

/// Longest that removing a session may take.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// Removes a machine's container and everything that belongs to it; on a server, a session's.
pub(super) fn run(
    StopRequest { target }: StopRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let context = open(host, overrides, Reach::Either, Logs::Quiet, ui)?;
    let server = context.is_server();
    let key = if server { target.session()? } else { target.machine(context.owner())? };
    let destroyed = context
        .destroy(
            &key,
            Reason::Stop,
            LIMIT,
            &mut Shown(Steps::new(ui, &format!("Stopping {}", target.as_str()))),
        )
        .map_err(|error| explain(&context, error))?;
    match (destroyed, server) {
        (Some(record), true) => {
            ui.note(&format!("Destroyed session: {} (container {})", target.as_str(), record.container_name))
        }
        (Some(_), false) => ui.done(&format!("Stopped machine {}", target.as_str())),
        (None, true) => {
            let text = format!("no active session for {}", target.as_str());
            return Err(CommandError::new(ErrorKind::State, text).hint("podspawn list"));
        }
        (None, false) => {
            let text = format!("no active machine {} of {}", key.project(), key.user);
            return Err(CommandError::new(ErrorKind::State, text).hint("podspawn list"));
        }
    }
    Ok(Exit::Success)
}
