//! `stop`

use std::time::Duration;

use super::ask::ask_one;
use super::report::Shown;
use super::{Logs, explain, open};
use crate::cli::StopRequest;
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{Overrides, Settings};
use crate::server::admin::AdminRequest;
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
    let settings = Settings::load(host, overrides, Reach::Either)?;
    if settings.is_server() {
        let key = target.session()?;
        let request = AdminRequest::Stop { user: key.user.to_string(), project: key.project().to_owned() };
        let container: Option<String> = ask_one(&settings.layers.config, overrides, host, &request)?;
        let Some(container) = container else {
            let text = format!("no active session for {}", target.as_str());
            return Err(CommandError::new(ErrorKind::State, text).hint("podspawn list"));
        };
        ui.note(&format!("Destroyed session: {} (container {container})", target.as_str()));
        return Ok(Exit::Success);
    }
    let context = open(host, overrides, Reach::Either, Logs::Quiet, ui)?;
    let key = target.machine(context.owner())?;
    let mut shown = Shown(Steps::new(ui, &format!("Stopping {}", target.as_str())));
    let destroyed =
        context.destroy(&key, Reason::Stop, LIMIT, &mut shown).map_err(|error| explain(&context, error))?;
    if destroyed.is_none() {
        let text = format!("no active machine {} of {}", key.project(), key.user);
        return Err(CommandError::new(ErrorKind::State, text).hint("podspawn list"));
    }
    ui.done(&format!("Stopped machine {}", target.as_str()));
    Ok(Exit::Success)
}
