//! `remove-user`

use super::ask::ask_one;
use super::server;
use crate::cli::RemoveUserRequest;
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Config;
use crate::exit::Exit;
use crate::local::Overrides;
use crate::names::UserName;
use crate::server::accounts::{Removal, SessionsOfUser, remove};
use crate::server::admin::{AdminRequest, Removed};
use crate::system::Host;
use crate::ui::Ui;

/// Removes a container user.
pub(super) fn run(
    RemoveUserRequest { user, force, purge }: RemoveUserRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    server::only_root("remove-user", host)?;
    let place = server::open(overrides, host, ui)?;
    let mut sessions = OfBroker { config: &place.config, overrides, host };
    let removed = remove(&place, Removal { user: &user, force, purge }, &mut sessions)?;
    ui.note(&match removed.destroyed {
        0 => format!("removed user {user}"),
        destroyed => format!("removed user {user} ({destroyed} session(s) destroyed)"),
    });
    if let Some(home) = removed.home_left {
        ui.note(&format!("NOTE: persistent home dir exists at {}; use --purge to delete it", home.display()));
    }
    Ok(Exit::Success)
}

/// Sessions by way of the broker.
struct OfBroker<'a> {
    config: &'a Config,
    overrides: &'a Overrides,
    host: &'a Host,
}

impl OfBroker<'_> {
    /// Whether there can be any: without a store there never was one, and looking must not start a broker that makes it.
    fn may_exist(&self) -> bool {
        self.config.state.db_path.exists()
    }
}

impl SessionsOfUser for OfBroker<'_> {
    type Error = CommandError;

    fn count(&mut self, user: &UserName) -> Result<usize, CommandError> {
        if !self.may_exist() {
            return Ok(0);
        }
        ask_one(self.config, self.overrides, self.host, &AdminRequest::Count { user: user.to_string() })
    }

    fn destroy_all(&mut self, user: &UserName) -> Result<usize, CommandError> {
        if !self.may_exist() {
            return Ok(0);
        }
        let request = AdminRequest::Remove { user: user.to_string() };
        let removed: Removed = ask_one(self.config, self.overrides, self.host, &request)?;
        for container in &removed.containers {
            tracing::info!(%user, container, "destroying session");
        }
        if !removed.failures.is_empty() {
            let text = format!("failed to remove every session of {user}: {}", removed.failures.join("; "));
            return Err(CommandError::new(ErrorKind::Engine, text).hint("`podspawn cleanup` tries again"));
        }
        Ok(removed.containers.len())
    }
}
