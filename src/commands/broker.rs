//! `broker`

use crate::cli::BrokerRequest;
use crate::command_error::{CommandError, ErrorKind};
use crate::exit::Exit;
use crate::local::Overrides;
use crate::server::Installation;
use crate::server::broker::{self, BrokerError, BrokerOptions};
use crate::system::Host;
use crate::ui::{Ui, log};

/// Serves the container users of this host.
pub(super) fn run(
    request: BrokerRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let BrokerRequest { detach, exit_when_idle, inherited } = request;
    let activated = host.var("LISTEN_FDS").is_some();
    let options = BrokerOptions {
        config_file: overrides.config.clone(),
        exit_when_idle: exit_when_idle || activated,
        inherited,
        program: program()?,
    };
    if detach {
        broker::start_detached(&program()?, &options, host)?;
        return Ok(Exit::Success);
    }
    let config = Installation::new(options.config_file.clone()).load()?.config;
    let target = match overrides.log_file.as_ref().or(config.log.file.as_ref()) {
        Some(file) => log::Target::append(file).unwrap_or_else(|error| {
            ui.warn(&format!("the log file `{}` cannot be opened: {error}", file.display()));
            log::Target::Stderr
        }),
        None => log::Target::Stderr,
    };
    log::start(target);
    broker::run(&options, host)?;
    Ok(Exit::Success)
}

/// This very program.
pub(super) fn program() -> Result<std::path::PathBuf, CommandError> {
    std::env::current_exe().map_err(|error| {
        CommandError::new(ErrorKind::Failure, format!("failed to find this program: {error}"))
    })
}

impl From<BrokerError> for CommandError {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Config(error) => error.into(),
            BrokerError::Store(error) => error.into(),
            BrokerError::NoGroup(_) | BrokerError::NoAccount(_) => {
                Self::new(ErrorKind::State, error.to_string()).hint("`podspawn server-setup` makes it")
            }
            BrokerError::Running(_) => Self::new(ErrorKind::State, error.to_string()),
            BrokerError::Displaced(_) => Self::new(ErrorKind::Failure, error.to_string()),
            BrokerError::Deaf(_) => Self::new(ErrorKind::State, error.to_string())
                .hint("end its process: the next login starts another, and no session ends"),
            BrokerError::Maintenance(_) => Self::new(ErrorKind::State, error.to_string())
                .hint("remove that file when the work on this server is done (docs/operations.md)"),
            BrokerError::NotRoot => Self::new(ErrorKind::State, error.to_string()).hint("sudo"),
            BrokerError::Io { .. } => Self::new(ErrorKind::Failure, error.to_string()),
        }
    }
}
