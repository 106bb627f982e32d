//! Asking the broker, on a server.

use serde::de::DeserializeOwned;

use super::broker::program;
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Config;
use crate::local::Overrides;
use crate::server::admin::{self, AdminRequest, AskError};
use crate::server::broker::{self, BrokerOptions};
use crate::server::installation::socket;
use crate::system::Host;

/// The broker's answers. Where nobody listens, root starts it.
pub(super) fn ask<T: DeserializeOwned>(
    config: &Config,
    overrides: &Overrides,
    host: &Host,
    request: &AdminRequest,
) -> Result<Vec<T>, CommandError> {
    let socket = socket(config);
    match admin::ask(&socket, request) {
        Err(AskError::NoBroker { .. }) if host.uid() == 0 => {
            let options = BrokerOptions {
                config_file: overrides.config.clone(),
                exit_when_idle: true,
                inherited: false,
                program: program()?,
            };
            broker::start_detached(&options.program, &options, host)?;
            Ok(admin::ask(&socket, request)?)
        }
        // Whoever is not root cannot start it.
        Err(error @ AskError::NoBroker { .. }) if host.uid() != 0 => {
            Err(CommandError::new(ErrorKind::State, error.to_string()).hint("sudo"))
        }
        outcome => Ok(outcome?),
    }
}

/// As [`ask`], where there is one answer.
pub(super) fn ask_one<T: DeserializeOwned>(
    config: &Config,
    overrides: &Overrides,
    host: &Host,
    request: &AdminRequest,
) -> Result<T, CommandError> {
    let mut answers = ask(config, overrides, host, request)?;
    answers.pop().ok_or_else(|| AskError::Answer.into())
}

impl From<AskError> for CommandError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::NoBroker { .. } => Self::new(ErrorKind::State, error.to_string())
                .hint("start it: `podspawn broker --detach`, or `systemctl start podspawn-broker.socket`"),
            AskError::Refused { text, hints } => Self { kind: ErrorKind::Failure, text, hints },
            AskError::Wire(_) | AskError::Answer => {
                Self::new(ErrorKind::Failure, error.to_string()).hint("the broker's log says more")
            }
        }
    }
}
