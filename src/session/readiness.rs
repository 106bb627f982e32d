//! Waiting until services are ready: by the health check of their image, else by the ports that they are to open.
//!
//! Ports are tried from inside, by the guest in the session's own container: the network of a rootless engine is in a
//! namespace of its own, and an image need have nothing for it.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use podspawn_runtimes::{ContainerState, Engine, ExecOutput, ExecSpec, Health, Runtime};
use podspawn_wire::GUEST_PROGRAM;

use super::core::{Core, EngineSource};
use super::create::check;
use super::error::{ServiceProblem, SessionError};
use super::guest_port::GuestPort;
use super::report::{Cancel, Report, Step};
use super::services::Companion;
use super::settle::last_lines;
use crate::state::SessionRecord;

/// How long services may take to get ready.
const LIMIT: Duration = Duration::from_secs(60);

/// How long the guest's answer may take beyond that.
const ANSWER: Duration = Duration::from_secs(10);

/// Pause between two looks at a health check: not every engine tells of its changes.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

impl<S: EngineSource, G: GuestPort> Core<S, G> {
    /// Waits until these services of a session are ready, all at the same time. The session's container runs. The first
    /// that will not be ends the wait.
    pub(super) async fn await_services(
        &self,
        record: &SessionRecord,
        ids: &[String],
        engine: &Runtime,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<(), SessionError> {
        // On the heap: whoever makes a session may have a small stack.
        let companions = join_all(ids.iter().map(|id| Box::pin(look(engine, id)))).await;
        let companions = companions.into_iter().collect::<Result<Vec<Companion>, _>>()?;
        let mut names: Vec<String> =
            companions.iter().filter(|one| one.is_waited_for()).map(|one| one.name.clone()).collect();
        let mut waiting = FuturesUnordered::new();
        for companion in companions {
            waiting.push(Box::pin(ready(engine, &record.container_id, companion)));
        }
        loop {
            if !names.is_empty() {
                report.step(Step::AwaitingServices { names: &names });
            }
            let next = tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(SessionError::Cancelled),
                next = waiting.next() => next,
            };
            match next {
                None => {
                    // Nothing may have had to be waited for: whoever wants to give up gets a turn.
                    tokio::task::yield_now().await;
                    return check(cancel);
                }
                Some(ready) => {
                    let companion = ready?;
                    names.retain(|name| *name != companion.name);
                    report.step(Step::ServiceReady { name: &companion.name, image: &companion.image });
                }
            }
        }
    }
}

/// What one service is now; one that has ended will not be ready.
async fn look(engine: &Runtime, id: &str) -> Result<Companion, SessionError> {
    let Some(info) = engine.container(id).await? else {
        let gone = ServiceProblem::Gone;
        return Err(SessionError::Service { name: id.into(), image: String::new(), problem: gone });
    };
    let companion = Companion::of(&info);
    if info.state != ContainerState::Running {
        return Err(ended(engine, &companion, info.exit_code).await);
    }
    Ok(companion)
}

/// Waits for one service, in whose network `session` is.
async fn ready(engine: &Runtime, session: &str, companion: Companion) -> Result<Companion, SessionError> {
    let is_ready = async {
        if companion.checked {
            healthy(engine, &companion).await
        } else if companion.ports.is_empty() {
            Ok(())
        } else {
            open(engine, session, &companion).await
        }
    };
    // What only has to run does.
    if !companion.is_waited_for() {
        is_ready.await?;
        return Ok(companion);
    }
    // Its end is looked for first: what came to an end cannot be asked.
    let outcome = tokio::select! {
        biased;
        code = engine.wait_container(&companion.id) => Err(Some(code?.0)),
        outcome = is_ready => Ok(outcome),
    };
    match outcome {
        Ok(Ok(())) => Ok(companion),
        Ok(Err(error)) => Err(error),
        Err(code) => Err(ended(engine, &companion, code).await),
    }
}

async fn ended(engine: &Runtime, companion: &Companion, code: Option<i64>) -> SessionError {
    let log = last_lines(engine, &companion.id).await;
    companion.fails(ServiceProblem::Ended { code, log })
}

/// Waits for the health check.
async fn healthy(engine: &Runtime, companion: &Companion) -> Result<(), SessionError> {
    let healthy = async {
        loop {
            match engine.health(&companion.id).await? {
                Some(Health::Healthy) => return Ok(true),
                Some(Health::Unhealthy) => return Ok(false),
                Some(Health::Starting) | None => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    };
    let problem = match tokio::time::timeout(LIMIT, healthy).await {
        Ok(Ok(true)) => return Ok(()),
        Ok(Ok(false)) => ServiceProblem::Unhealthy { log: last_lines(engine, &companion.id).await },
        Ok(Err(error)) => return Err(SessionError::Engine(error)),
        Err(_) => ServiceProblem::NotHealthy {
            seconds: LIMIT.as_secs(),
            log: last_lines(engine, &companion.id).await,
        },
    };
    Err(companion.fails(problem))
}

/// Waits for the ports.
async fn open(engine: &Runtime, session: &str, companion: &Companion) -> Result<(), SessionError> {
    let Some(address) = &companion.address else {
        let problem = ServiceProblem::Unknown("it has no address on the session's network".into());
        return Err(companion.fails(problem));
    };
    let mut argv: Vec<String> = vec![GUEST_PROGRAM.into(), "await-ports".into(), LIMIT.as_secs().to_string()];
    argv.extend(companion.ports.iter().map(|port| match address.contains(':') {
        true => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    }));
    let asked = async {
        let spec = ExecSpec { argv, user: Some("0".into()), ..ExecSpec::default() };
        let mut running = engine.exec(session, &spec).await?;
        let (mut out, mut err) = (Vec::new(), Vec::new());
        while let Some(piece) = running.output.next().await {
            match piece? {
                ExecOutput::Stdout(bytes) => out.extend_from_slice(&bytes),
                ExecOutput::Stderr(bytes) => err.extend_from_slice(&bytes),
            }
        }
        let code = engine.exec_exit_code(&running.id).await?;
        Ok::<_, SessionError>((code.map(|code| code.0), out, err))
    };
    let (code, out, err) = match tokio::time::timeout(LIMIT + ANSWER, asked).await {
        Ok(answer) => answer?,
        Err(_) => return Err(companion.fails(ServiceProblem::Unknown("the guest does not answer".into()))),
    };
    let closed = closed_ports(&String::from_utf8_lossy(&out));
    let problem = match code {
        Some(0) => return Ok(()),
        Some(1) if !closed.is_empty() => ServiceProblem::Closed {
            ports: closed,
            seconds: LIMIT.as_secs(),
            log: last_lines(engine, &companion.id).await,
        },
        _ => ServiceProblem::Unknown(String::from_utf8_lossy(&err).trim().to_owned()),
    };
    Err(companion.fails(problem))
}

/// The guest's list of ports that stayed closed, an address and a port on each line.
fn closed_ports(text: &str) -> Vec<u16> {
    text.lines().filter_map(|line| line.trim().rsplit_once(':')?.1.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closed_ports_are_told_by_number() {
        assert_eq!(closed_ports("10.0.0.2:5432\r\n[fd00::2]:80\nnoise\n"), [5432, 80]);
        assert_eq!(closed_ports(""), Vec::<u16>::new());
    }
}
