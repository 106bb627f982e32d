//! `cleanup`

use std::time::Duration;

use super::{Logs, explain, open};
use crate::cli::CleanupRequest;
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{Context, Interrupts, MachineError, Overrides};
use crate::system::Host;
use crate::ui::{self, Ui};

/// One pass, or passes until a signal comes.
pub(super) fn run(
    request: CleanupRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let CleanupRequest { daemon } = request;
    let context = open(host, overrides, Reach::Either, Logs::Shown, ui)?;
    match daemon {
        None => once(&context, ui),
        Some(pause) => forever(&context, pause, ui),
    }
}

fn once(context: &Context, ui: Ui) -> Result<Exit, CommandError> {
    let pass = context.block_on(context.core.cleanup())?;
    let report = pass.map_err(|error| explain(context, error.into()))?;
    if !report.failures.is_empty() {
        let text = format!("failed to clean up everything: {}", report.failures.join("; "));
        return Err(CommandError::new(ErrorKind::Failure, text).hint("the next pass tries again"));
    }
    ui.report("Cleanup pass complete.\n")?;
    Ok(Exit::Success)
}

fn forever(context: &Context, pause: Duration, ui: Ui) -> Result<Exit, CommandError> {
    let mut interrupts =
        Interrupts::catch().map_err(|error| explain(context, MachineError::Signals(error)))?;
    tracing::info!(interval = ui::interval(pause), "cleanup daemon started");
    context.block_on(async {
        loop {
            // A pass that has begun is finished: it is made of short steps that each leave things in order.
            if let Err(error) = context.core.cleanup().await {
                tracing::error!("cleanup pass failed: {}", explain(context, error.into()).text);
            }
            tokio::select! {
                stop = interrupts.next() => return stop.map(drop),
                () = tokio::time::sleep(pause) => {}
            }
        }
    })??;
    ui.report("cleanup daemon stopped\n")?;
    Ok(Exit::Success)
}
