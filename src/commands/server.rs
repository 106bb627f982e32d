//! What the administrator's commands on a server share.

use std::path::Path;

use super::{Logs, log_to};
use crate::command_error::{CommandError, ErrorKind};
use crate::config::{self, Deployment, Flag, Sources};
use crate::local::Overrides;
use crate::server::accounts::Place;
use crate::system::Host;
use crate::ui::Ui;

/// Refuses everybody but root, before anything is looked at.
pub(super) fn only_root(command: &str, host: &Host) -> Result<(), CommandError> {
    if host.uid() == 0 {
        return Ok(());
    }
    let text = format!("`podspawn {command}` must be run as root");
    Err(CommandError::new(ErrorKind::Usage, text).hint(format!("sudo podspawn {command}")))
}

/// The installation that a command works for, and its log.
pub(super) fn open(overrides: &Overrides, host: &Host, ui: Ui) -> Result<Place, CommandError> {
    let mut flags = Vec::new();
    if let Some(log) = &overrides.log_file {
        let log = host.cwd().unwrap_or(Path::new("/")).join(log);
        flags.push(Flag { name: "--log-file", key: "log.file", value: log.display().to_string() });
    }
    let config = config::load(&Sources {
        deployment: Deployment::Server,
        local_root: "/root/.podspawn".into(),
        home: host.home().map(Path::to_owned),
        file: overrides.config.clone(),
        env: host.vars().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        flags,
    })?
    .config;
    log_to(config.log.file.as_deref(), Logs::Shown, ui);
    let file = overrides.config.as_deref().unwrap_or(Path::new(config::SERVER_CONFIG));
    let config_dir = file.parent().unwrap_or(Path::new("/")).to_owned();
    Ok(Place { config, config_dir })
}
