//! Makes what the store says of one session true again, under the lock of its user.

use std::time::Duration;

use podspawn_runtimes::{ContainerState, Engine, LogOptions, Runtime};

use super::core::{Core, EngineSource, READY_LIMIT};
use super::decide::{Reason, Verdict, is_restartable, judge};
use super::error::SessionError;
use super::guest_port::{GuestAddress, GuestPort};
use super::report::{Cancel, Report, Step};
use crate::state::{FirstProcess, SessionRecord, Status, Timestamp};
use crate::system::process;

/// How long an engine may take to hear that a container's first process has ended.
const HEARSAY: Duration = Duration::from_secs(10);

/// How long an engine may take to say what a container wrote last.
const LOG_LIMIT: Duration = Duration::from_secs(3);

/// What a session is looked at for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Somebody wants to connect: a stopped container is started again, a grace period is about to end.
    Join,
    /// Nobody does.
    Tidy,
}

/// What a session is without its services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Services {
    /// Nothing: it is being made.
    Needed,
    /// Something to work in all the same.
    Wanted,
}

impl<S, G> Core<S, G> {
    /// Now, as exactly as the store remembers times.
    pub(super) fn now(&self) -> Timestamp {
        let now = self.clock.now();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
    }
}

impl<S: EngineSource, G: GuestPort> Core<S, G> {
    /// The session as it really is, or none if it had to go. The caller holds the user's lock.
    pub(super) async fn settle(
        &self,
        mut record: SessionRecord,
        purpose: Purpose,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<Option<SessionRecord>, SessionError> {
        let connections = self.leases().sweep(&record.id)?;
        match judge(&record, connections, self.now()) {
            // A session is made under the lock that we hold: its maker has given up without being able to undo.
            Verdict::BeingMade => {
                return self.remove(record, Reason::Unfinished, report).await.map(|()| None);
            }
            Verdict::Destroy(reason) => return self.remove(record, reason, report).await.map(|()| None),
            Verdict::StartGrace(until) if purpose == Purpose::Tidy => {
                record.status = Status::GracePeriod;
                record.grace_expiry = Some(until);
                self.store.update(&record)?;
                tracing::info!(
                    user = %record.key.user, project = record.key.project(), container = record.container_name,
                    "nobody is connected, grace period started"
                );
            }
            Verdict::Resume => {
                record.status = Status::Running;
                record.grace_expiry = None;
                self.store.update(&record)?;
            }
            Verdict::Keep | Verdict::StartGrace(_) => {}
        }
        if record.process.as_ref().is_some_and(is_alive) {
            // Whoever comes when nobody was there finds services that run; a second connection does not ask again.
            if purpose == Purpose::Join && connections == 0 && !record.service_ids.is_empty() {
                match Box::pin(self.look_after_services(&record, report, cancel)).await {
                    Err(SessionError::Cancelled) => return Err(SessionError::Cancelled),
                    // The session itself runs, and joining it needs no engine.
                    Err(error) => report.step(Step::Warning(&format!("services: {error}"))),
                    Ok(()) => {}
                }
            }
            return Ok(Some(record));
        }
        Box::pin(self.look_up(record, purpose, report, cancel)).await
    }

    /// Asks the engine about a container of which this host does not know that it runs.
    async fn look_up(
        &self,
        record: SessionRecord,
        purpose: Purpose,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<Option<SessionRecord>, SessionError> {
        let engine = self.engine_of(&record).await?;
        let mut found = engine.container(&record.container_id).await?;
        let recorded = record.process.as_ref().map(|first| first.pid);
        if found.as_ref().is_some_and(|found| {
            found.state == ContainerState::Running && found.pid.is_some() && found.pid == recorded
        }) {
            // It ended a moment ago, and the engine has not heard of it.
            let _ = tokio::time::timeout(HEARSAY, engine.wait_container(&record.container_id)).await;
            found = engine.container(&record.container_id).await?;
        }
        let Some(found) = found else {
            return self.remove(record, Reason::ContainerGone, report).await.map(|()| None);
        };
        match found.state {
            // A remote engine's container, which has no process here.
            ContainerState::Running if !engine.facts().local => Ok(Some(record)),
            ContainerState::Running if purpose == Purpose::Tidy => Ok(Some(record)),
            // Somebody else started it again: it has another first process, which may not be ready.
            ContainerState::Running => {
                self.revive_services(&record, engine, report).await?;
                self.make_ready(record, engine, Services::Wanted, report, cancel).await.map(Some)
            }
            ContainerState::Created | ContainerState::Exited if !is_restartable(&record) => {
                self.remove(record, Reason::ContainerGone, report).await.map(|()| None)
            }
            ContainerState::Created | ContainerState::Exited if purpose == Purpose::Tidy => Ok(Some(record)),
            ContainerState::Created | ContainerState::Exited => {
                report.step(Step::Restarting { container: &record.container_name });
                self.revive_services(&record, engine, report).await?;
                self.start(&record, engine, &record.container_id).await?;
                self.make_ready(record, engine, Services::Wanted, report, cancel).await.map(Some)
            }
        }
    }

    /// Starts services of a running session again that have ended, and waits for those.
    async fn look_after_services(
        &self,
        record: &SessionRecord,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<(), SessionError> {
        let engine = self.engine_of(record).await?;
        let started = self.revive_services(record, engine, report).await?;
        self.await_services(record, &started, engine, report, cancel).await
    }

    /// Learns a started container's first process, waits until its guest and its services are ready and writes it down.
    pub(super) async fn make_ready(
        &self,
        mut record: SessionRecord,
        engine: &Runtime,
        services: Services,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<SessionRecord, SessionError> {
        let container = record.container_name.clone();
        let ended = |output| SessionError::Ended { container: container.clone(), output };
        let pid = match engine.container(&record.container_id).await? {
            Some(info) if info.state == ContainerState::Running => info.pid,
            Some(_) => return Err(ended(last_lines(engine, &record.container_id).await)),
            None => return Err(ended(String::new())),
        };
        record.process = pid.filter(|_| engine.facts().local).and_then(first_process);
        // Whoever connects next finds a container that has just been started.
        self.setups().clear_started(&record.id)?;
        report.step(Step::Provisioning);
        let address = GuestAddress::from(&record);
        let ready = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(SessionError::Cancelled),
            ready = self.guests.wait_ready(engine, &address, READY_LIMIT) => ready,
        }
        .map_err(|error| SessionError::Guest {
            container: record.container_name.clone(),
            source: error.into(),
        })?;
        for warning in &ready.warnings {
            tracing::warn!(container = record.container_name, "{warning}");
        }
        match Box::pin(self.await_services(&record, &record.service_ids, engine, report, cancel)).await {
            Err(error @ SessionError::Service { .. }) if services == Services::Wanted => {
                report.step(Step::Warning(&error.to_string()));
            }
            other => other?,
        }
        record.attach = ready.attach;
        record.shell = ready.shell;
        record.status = Status::Running;
        record.grace_expiry = None;
        self.store.update_as_made(&record)?;
        Ok(record)
    }
}

/// Whether this very process still runs on this host.
pub fn is_alive(first: &FirstProcess) -> bool {
    process::start_time(first.pid).is_ok_and(|start| start == Some(first.start_time))
        && process::boot_id().is_ok_and(|boot| boot == first.boot_id)
}

/// The process of that pid, if this host sees it.
fn first_process(pid: i32) -> Option<FirstProcess> {
    let start_time = process::start_time(pid).ok()??;
    Some(FirstProcess { pid, start_time, boot_id: process::boot_id().ok()? })
}

/// What a container wrote last, on one line; best effort.
pub(super) async fn last_lines(engine: &Runtime, container: &str) -> String {
    /// Enough for a message.
    const MOST: usize = 2000;
    let bytes = last_output(engine, container, 5, MOST).await;
    String::from_utf8_lossy(&bytes).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// So much of a container's last lines as its engine gives in time: a user's lock may be held meanwhile.
pub(super) async fn last_output(engine: &Runtime, container: &str, lines: u64, most: usize) -> Vec<u8> {
    use futures_util::StreamExt;
    use podspawn_runtimes::ExecOutput;
    let mut bytes = Vec::new();
    let reading = async {
        let options = LogOptions { follow: false, tail: Some(lines) };
        let Ok(mut logs) = engine.logs(container, options).await else { return };
        while let Some(Ok(ExecOutput::Stdout(piece) | ExecOutput::Stderr(piece))) = logs.next().await {
            bytes.extend_from_slice(&piece);
            if bytes.len() >= most {
                bytes.truncate(most);
                break;
            }
        }
    };
    // What was read until then is all that there is.
    let _ = tokio::time::timeout(LOG_LIMIT, reading).await;
    bytes
}

#[cfg(test)]
mod tests {
    use podspawn_runtimes::testing::{At, Fake, When};

    use super::*;

    #[tokio::test]
    async fn an_engine_that_does_not_say_what_a_container_wrote_is_not_waited_for() {
        let fake = Fake::new();
        let _never = fake.pause(At::Named("logs", 1), When::Before);
        let engine = Runtime::from(fake);
        let lines = tokio::time::timeout(READY_LIMIT, last_lines(&engine, "x")).await;
        assert_eq!(lines.expect("it is not waited for"), "");
    }
}
