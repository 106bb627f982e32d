//! `add-user`

use super::server;
use crate::cli::AddUserRequest;
use crate::command_error::CommandError;
use crate::exit::Exit;
use crate::local::Overrides;
use crate::server::accounts::{Addition, add};
use crate::server::key_sources::KeySources;
use crate::system::{Clock, Host, SystemClock};
use crate::ui::Ui;

/// Adds keys for a user, and makes the account if there is none.
pub(super) fn run(
    AddUserRequest { user, keys, key_files, github, existing }: AddUserRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    server::only_root("add-user", host)?;
    let place = server::open(overrides, host, ui)?;
    let github = github.as_ref().map(|login| (&place.config.github_url, login));
    // Every key is at hand before anything is made.
    let collected = KeySources { keys: &keys, files: &key_files, github }.collect()?;
    for skipped in &collected.skipped {
        ui.warn(skipped);
    }
    let added =
        add(&place, &Addition { user: &user, keys: &collected.keys, existing, now: SystemClock.now() })?;
    for warning in &added.warnings {
        ui.warn(warning);
    }
    ui.note(&format!("added {} key(s) for {user}", collected.keys.len()));
    Ok(Exit::Success)
}
