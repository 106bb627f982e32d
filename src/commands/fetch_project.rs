//! `fetch-project`: the broker's hand where git is needed.

use super::server_project;
use crate::cli::FetchProjectRequest;
use crate::command_error::{CommandError, ErrorKind};
use crate::exit::Exit;
use crate::local::Overrides;
use crate::system::Host;
use crate::ui::Ui;

/// Fetches the repository of a server's project if that has never been done.
pub(super) fn run(
    FetchProjectRequest { name }: FetchProjectRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    match server_project::server(host, overrides)? {
        Some(settings) => server_project::fetch(&name, &settings, overrides, ui),
        None => Err(CommandError::new(ErrorKind::State, "this host is no server")
            .hint("podspawn update-project fetches a project of yours")),
    }
}
