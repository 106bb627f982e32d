//! `down`

use super::dev::{directory, podfile_here};
use super::report::Shown;
use super::stop::LIMIT;
use super::{Logs, explain, open};
use crate::cli::DownRequest;
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{Overrides, session_name};
use crate::names::SessionKey;
use crate::session::Reason;
use crate::spec::Kind;
use crate::system::Host;
use crate::ui::{Steps, Ui};

/// Removes the session of this directory, and with `--clean` its named volumes.
pub(super) fn run(
    request: DownRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let DownRequest { clean, name } = request;
    let context = open(host, overrides, Reach::AlwaysLocal, Logs::Quiet, ui)?;
    let directory = directory(host)?;
    // The Podfile tells the name and the volumes: with a name and without volumes it is not needed.
    let loaded = match (&name, clean) {
        (Some(_), false) => None,
        _ => Some(podfile_here(&context, &directory, None)?),
    };
    let called = loaded.as_ref().and_then(|loaded| loaded.podfile.name.as_deref());
    let name = name.unwrap_or_else(|| session_name(called, &directory));
    let key = SessionKey::machine(context.owner().clone(), name.clone());
    let found = context.core.store.find(&key).map_err(crate::local::LocalError::from)?;
    if found.is_some_and(|record| record.kind != Kind::Session) {
        let text = format!("the name `{name}` belongs to a machine");
        return Err(CommandError::new(ErrorKind::State, text).hint(format!("podspawn stop {name}")));
    }
    let mut shown = Shown(Steps::new(ui, &format!("Stopping {name}")));
    let destroyed = context.destroy(&key, Reason::Stop, LIMIT, &mut shown);
    let destroyed = destroyed.map_err(|error| explain(&context, error))?;
    drop(shown);
    if destroyed.is_some() {
        ui.note(&format!("Stopped {name}"));
    } else if !clean {
        let text = format!("no session {name} is running");
        return Err(CommandError::new(ErrorKind::State, text).hint("podspawn dev"));
    }
    if let (true, Some(loaded)) = (clean, &loaded) {
        for volume in
            context.remove_volumes(&key, &loaded.podfile).map_err(|error| explain(&context, error))?
        {
            ui.note(&format!("Removed volume {volume}"));
        }
    }
    Ok(Exit::Success)
}
