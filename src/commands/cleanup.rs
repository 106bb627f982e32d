//! `cleanup`

use std::time::Duration;

use super::ask::ask_one;
use super::report::Shown;
use super::{Logs, explain, explain_project, open};
use crate::cli::CleanupRequest;
use crate::command_error::{CommandError, ErrorKind};
use crate::config::Reach;
use crate::exit::Exit;
use crate::local::{Context, Interrupts, MachineError, Overrides, Settings};
use crate::server::admin::{AdminRequest, Cleaned};
use crate::system::Host;
use crate::ui::{self, Steps, Ui};

/// One pass, or passes until a signal comes.
pub(super) fn run(
    request: CleanupRequest,
    overrides: &Overrides,
    host: &Host,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let CleanupRequest { daemon } = request;
    let settings = Settings::load(host, overrides, Reach::Either)?;
    if settings.is_server() {
        let pass = || ask_one::<Cleaned>(&settings.layers.config, overrides, host, &AdminRequest::Cleanup);
        return match daemon {
            None => server_once(pass()?, ui),
            Some(pause) => server_forever(pass, pause, ui),
        };
    }
    let context = open(host, overrides, Reach::Either, Logs::Shown, ui)?;
    match daemon {
        None => once(&context, ui),
        Some(pause) => forever(&context, pause, ui),
    }
}

/// One pass of the broker's.
fn server_once(cleaned: Cleaned, ui: Ui) -> Result<Exit, CommandError> {
    cleaned.lines.iter().for_each(|line| ui.note(line));
    complete(&cleaned.failures, ui)
}

/// Lets the broker pass again and again until a signal comes.
fn server_forever(
    pass: impl Fn() -> Result<Cleaned, CommandError>,
    pause: Duration,
    ui: Ui,
) -> Result<Exit, CommandError> {
    let failed =
        |error: std::io::Error| CommandError::new(ErrorKind::Failure, format!("failed to wait: {error}"));
    let mut interrupts = Interrupts::catch().map_err(failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    ui.note(&format!("INFO cleanup daemon started interval={}", ui::interval(pause)));
    runtime
        .block_on(async {
            loop {
                match pass() {
                    Ok(cleaned) => {
                        cleaned.lines.iter().for_each(|line| ui.note(line));
                        cleaned.failures.iter().for_each(|failure| ui.note(&format!("WARN {failure}")));
                    }
                    Err(error) => ui.note(&format!("ERROR cleanup pass failed: {}", error.text)),
                }
                tokio::select! {
                    stop = interrupts.next() => return stop.map(drop),
                    () = tokio::time::sleep(pause) => {}
                }
            }
        })
        .map_err(failed)?;
    ui.report("cleanup daemon stopped\n")?;
    Ok(Exit::Success)
}

fn once(context: &Context, ui: Ui) -> Result<Exit, CommandError> {
    let pass = context.block_on(context.core.cleanup())?;
    let report = pass.map_err(|error| explain(context, error.into()))?;
    context.sweep(&mut Shown(Steps::plain(ui))).map_err(|error| explain_project(context, error))?;
    complete(&report.failures, ui)
}

fn complete(failures: &[String], ui: Ui) -> Result<Exit, CommandError> {
    if !failures.is_empty() {
        let text = format!("failed to clean up everything: {}", failures.join("; "));
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
            match context.sweep_lightly().await {
                Ok(left) => left.iter().for_each(|left| {
                    let text =
                        format!("the abandoned checkout `{}` stays: {}", left.path.display(), left.error);
                    ui.warn(&text);
                }),
                Err(error) => {
                    tracing::error!("cleanup pass failed: {}", explain_project(context, error).text);
                }
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
