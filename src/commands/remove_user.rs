//! `remove-user`

use super::report::Shown;
use super::stop::LIMIT;
use super::{Logs, explain, open, server};
use crate::cli::RemoveUserRequest;
use crate::command_error::CommandError;
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{Context, Overrides};
use crate::names::UserName;
use crate::server::accounts::{Removal, SessionsOfUser, remove};
use crate::session::{Filter, Reason};
use crate::system::Host;
use crate::ui::{Steps, Ui};

/// Removes a container user.
pub(super) fn run(
    RemoveUserRequest { user, force, purge }: RemoveUserRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    server::only_root("remove-user", host)?;
    let place = server::open(overrides, host, ui)?;
    // Without a store there never was a session; looking must not make one that the broker then cannot write.
    let context = if place.config.state.db_path.exists() {
        Some(open(host, overrides, Reach::ServerOnly, Logs::Shown, ui)?)
    } else {
        None
    };
    let mut sessions = InProcess { context, ui };
    let removed = remove(&place, Removal { user: &user, force, purge }, &mut sessions)?;
    ui.note(&format!("removed user {user} ({} session(s) destroyed)", removed.destroyed));
    if let Some(home) = removed.home_left {
        ui.note(&format!("NOTE: persistent home dir exists at {}; use --purge to delete it", home.display()));
    }
    Ok(Exit::Success)
}

/// Sessions by way of the store and the engine, in this process.
struct InProcess {
    context: Option<Context>,
    ui: Ui,
}

impl SessionsOfUser for InProcess {
    type Error = CommandError;

    fn count(&mut self, user: &UserName) -> Result<usize, CommandError> {
        let Some(context) = &self.context else { return Ok(0) };
        Ok(context.core.list(&Filter { user: Some(user.clone()) })?.len())
    }

    fn destroy_all(&mut self, user: &UserName) -> Result<usize, CommandError> {
        let Some(context) = &self.context else { return Ok(0) };
        let views = context.core.list(&Filter { user: Some(user.clone()) })?;
        // One limit for all of them.
        let share = LIMIT / u32::try_from(views.len().max(1)).unwrap_or(u32::MAX);
        let mut destroyed = 0;
        for view in views {
            let record = view.record;
            tracing::info!(user = %user, container = record.container_name, "destroying session");
            let mut shown = Shown(Steps::new(self.ui, &format!("Removing {}", record.key)));
            let gone = context
                .destroy(&record.key, Reason::Remove, share, &mut shown)
                .map_err(|error| explain(context, error))?;
            destroyed += usize::from(gone.is_some());
        }
        Ok(destroyed)
    }
}
