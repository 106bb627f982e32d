//! `down`

use super::dev::{INIT, directory, podfile_here};
use super::report::Shown;
use super::stop::LIMIT;
use super::{Logs, explain, explain_project, open};
use crate::cli::DownRequest;
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{Overrides, session_name};
use crate::names::SessionKey;
use crate::podfile::Missing;
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
    let made_here = || context.sessions_of(&directory);
    let name = match name {
        Some(name) => name,
        // The Podfile tells the name, and nothing else.
        None => match podfile_here(&context, &directory, None, &Missing) {
            Ok(loaded) => session_name(loaded.podfile.name.as_deref(), &directory),
            Err(error) => return Err(without_podfile(error, &made_here()?)),
        },
    };
    let key = SessionKey::machine(context.owner().clone(), name.clone());
    let found = context.core.store.find(&key).map_err(crate::local::LocalError::from)?;
    if found.is_some_and(|record| record.kind != Kind::Session) {
        let text = format!("the name `{name}` belongs to a machine");
        return Err(CommandError::new(ErrorKind::State, text).hint(format!("podspawn stop {name}")));
    }
    if clean && context.workspace(&key).map_err(|error| explain_project(&context, error))?.is_some() {
        // One that is stopped has no session, and its volumes are there for when it runs again.
        let text = format!("the volumes of `{name}` belong to a machine");
        return Err(CommandError::new(ErrorKind::State, text)
            .hint(format!("`podspawn rm {name}` removes the machine with its checkout and its volumes")));
    }
    let mut shown = Shown(Steps::new(ui, &format!("Stopping {name}")));
    let destroyed = context.destroy(&key, Reason::Stop, LIMIT, &mut shown);
    let destroyed = destroyed.map_err(|error| explain(&context, error))?;
    drop(shown);
    if destroyed.is_some() {
        ui.note(&format!("Stopped {name}"));
    }
    let nothing = format!("no session {name} is running");
    if clean {
        let volumes = context.remove_volumes(&key).map_err(|error| explain(&context, error))?;
        volumes.iter().for_each(|volume| ui.note(&format!("Removed volume {volume}")));
        if destroyed.is_none() && volumes.is_empty() {
            ui.note(&format!("{nothing}, and it has no volumes"));
        }
    } else if destroyed.is_none() {
        let error = CommandError::new(ErrorKind::State, nothing);
        return Err(by_name(error, &made_here()?));
    }
    Ok(Exit::Success)
}

/// The session is known by its name alone where there is no Podfile to make that of.
fn without_podfile(mut error: CommandError, made_here: &[String]) -> CommandError {
    // To write a Podfile in order to remove something is no way.
    error.hints.retain(|hint| hint != INIT);
    by_name(error, made_here)
}

/// How a session is removed that the directory's Podfile does not lead to.
fn by_name(error: CommandError, made_here: &[String]) -> CommandError {
    match made_here {
        [] => {
            error.hint("`podspawn list` shows what there is; `podspawn down --name <name>` needs no Podfile")
        }
        names => names.iter().fold(error, |error, name| error.hint(format!("podspawn down --name {name}"))),
    }
}
