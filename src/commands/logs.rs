//! `logs`

use futures_util::StreamExt;
use podspawn_runtimes::{ExecOutput, LogOptions};

use super::{Logs, explain, explain_stopped, open};
use crate::cli::LogsRequest;
use crate::command_error::CommandError;
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{MachineError, Overrides};
use crate::session::SessionError;
use crate::system::Host;
use crate::ui::{Foreign, Ui};

/// Shows what a machine's first process has written, or one of its services.
pub(super) fn run(
    request: LogsRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let LogsRequest { target, service, follow, tail } = request;
    let context = open(host, overrides, Reach::AlwaysLocal, Logs::Quiet, ui)?;
    let key = target.key(context.owner());
    let found = context.core.store.find(&key).map_err(SessionError::from);
    let record = found
        .map_err(MachineError::from)
        .and_then(|record| record.ok_or_else(|| MachineError::Unknown(key.clone())))
        .map_err(|error| explain_stopped(&context, &key, error))?;
    let options = LogOptions { follow, tail };
    let shown = context.block_on(async {
        let mut log = context.core.logs(&record, service.as_ref(), options).await?;
        let mut foreign = Foreign::own();
        while let Some(piece) = log.next().await {
            let written = match piece? {
                ExecOutput::Stdout(bytes) => foreign.out(&bytes),
                ExecOutput::Stderr(bytes) => foreign.err(&bytes),
            };
            match written {
                Ok(()) => {}
                // Whoever read it has enough.
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok::<_, SessionError>(foreign.finish())
    })?;
    shown.map_err(|error| explain(&context, error.into()))??;
    Ok(Exit::Success)
}
