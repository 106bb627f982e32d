//! One pass over everything: what is over goes, what was left half-way is finished off, what nobody knows is removed.
//!
//! The engine is asked for three lists in all, and then only about what has to go: a thousand sessions that run cost
//! nothing more.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::SignedDuration;
use podspawn_runtimes::{Engine, Labels, Runtime, VolumeInfo};

use super::core::{Core, EngineSource, LOCK_LIMIT, label};
use super::decide::{Reason, Verdict, judge};
use super::error::SessionError;
use super::guest_port::GuestPort;
use super::prepare::{GUEST_HASH_LENGTH, GUEST_VOLUME_PREFIX, guest_volume_name};
use super::report::{Cancel, Silent};
use super::settle::Purpose;
use super::verify_image::NO_SESSION;
use crate::names::UserName;
use crate::spec::Kind;
use crate::state::{LockError, SessionRecord, Status, Timestamp};

/// Younger things without a row are left alone.
const ORPHAN_AGE: SignedDuration = SignedDuration::from_secs(10);

/// Longest wait for an engine that is only to count.
const COUNT_LIMIT: Duration = Duration::from_secs(5);

/// What a pass did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CleanupReport {
    /// Sessions removed because their grace period was over.
    pub grace_expired: usize,
    /// Sessions removed because their lifetime was over.
    pub lifetime_expired: usize,
    /// Sessions removed that nobody is connected to any more and that are not kept.
    pub abandoned: usize,
    /// Sessions removed whose making or removal had not come to an end.
    pub unfinished: usize,
    /// Sessions removed whose container was gone.
    pub gone: usize,
    /// Grace periods started because a connection had ended without a word.
    pub grace_started: usize,
    /// Containers, networks and volumes removed that belonged to no session.
    pub orphans_removed: usize,
    /// What was done, one log line each.
    pub done: Vec<String>,
    /// What could not be done; the next pass tries again.
    pub failures: Vec<String>,
}

impl CleanupReport {
    /// Whether there was nothing to do.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The log lines of the pass, for whoever does not see the log.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = self.done.clone();
        if !self.is_empty() {
            lines.push(format!(
                "INFO cleanup pass complete grace_expired={} lifetime_expired={} orphans_removed={}",
                self.grace_expired, self.lifetime_expired, self.orphans_removed
            ));
        }
        lines
    }

    fn count(&mut self, reason: Reason) {
        match reason {
            Reason::GraceExpired => self.grace_expired += 1,
            Reason::LifetimeExpired => self.lifetime_expired += 1,
            Reason::Disconnect | Reason::Stop | Reason::Remove => self.abandoned += 1,
            Reason::Unfinished | Reason::RemovalUnfinished => self.unfinished += 1,
            Reason::ContainerGone => self.gone += 1,
        }
    }
}

/// Something in the engine that says it belongs to a session of this installation.
struct Found {
    kind: &'static str,
    id: String,
    name: String,
    labels: Labels,
    /// Seconds since the epoch, where the engine says.
    created_at: Option<i64>,
}

impl<S: EngineSource, G: GuestPort> Core<S, G> {
    /// One pass. One failing session does not stop it; an engine that cannot be reached does, after everything that
    /// needs no engine is done.
    pub async fn cleanup(&self) -> Result<CleanupReport, SessionError> {
        let mut report = self.expire(LOCK_LIMIT).await?;
        let engine = self.engines.engine().await?;
        self.compare(engine, &mut report).await?;
        self.forget_leases()?;
        if !report.is_empty() {
            tracing::info!(
                grace_expired = report.grace_expired,
                lifetime_expired = report.lifetime_expired,
                orphans_removed = report.orphans_removed,
                "cleanup pass complete"
            );
        }
        Ok(report)
    }

    /// The part of a pass that needs no look at the engine: what the store and the leases say is over goes. What somebody
    /// works on for longer than `patience` is a failure of this pass.
    pub async fn expire(&self, patience: Duration) -> Result<CleanupReport, SessionError> {
        let mut report = CleanupReport::default();
        let now = self.now();
        // The worst first: what is past its grace period is never counted as past its lifetime too.
        let mut due = Vec::new();
        for record in self.store.all()? {
            match judge(&record, self.leases().count(&record.id)?, now) {
                Verdict::Destroy(reason) => due.push((order(reason), reason, record)),
                Verdict::StartGrace(_) | Verdict::Resume => {
                    self.pass_over(&record, None, patience, &mut report).await;
                }
                Verdict::Keep | Verdict::BeingMade => {}
            }
        }
        due.sort_by_key(|(order, _, _)| *order);
        for (_, reason, record) in due {
            self.pass_over(&record, Some(reason), patience, &mut report).await;
        }
        Ok(report)
    }

    /// When [`Core::expire`] next has something to do, if nobody comes or goes; of deadlines `after` a time, if one is given.
    /// What is being removed is due from its beginning: whoever does it may have failed.
    pub fn next_deadline(&self, after: Option<Timestamp>) -> Result<Option<Timestamp>, SessionError> {
        let sessions = self.store.all()?.into_iter().filter(|record| record.kind == Kind::Session);
        let deadlines = sessions.flat_map(|record| match record.status {
            Status::Destroying => [Some(record.created_at), None],
            _ => [record.grace_expiry, record.max_lifetime],
        });
        let deadlines = deadlines.flatten();
        Ok(deadlines.filter(|deadline| Some(*deadline) > after).min())
    }

    /// Looks at one session again under its user's lock and does what is to be done.
    async fn pass_over(
        &self,
        seen: &SessionRecord,
        expected: Option<Reason>,
        patience: Duration,
        report: &mut CleanupReport,
    ) {
        match self.act(seen, expected, patience).await {
            Ok(Some(Done::Removed(reason))) => {
                report.count(reason);
                report.done.push(format!(
                    "INFO {} user={} project={} container={}",
                    removal(reason),
                    seen.key.user,
                    seen.key.project(),
                    seen.container_name
                ));
            }
            Ok(Some(Done::GraceStarted)) => report.grace_started += 1,
            Ok(None) => {}
            // Whoever cleans up with that engine in use gets at it.
            Err(error @ SessionError::OtherEngine { .. }) => tracing::debug!("{error}"),
            Err(error) => {
                // Who works on it may be removing it just now.
                if matches!(error, SessionError::Lock(LockError::Timeout { .. })) {
                    tracing::debug!(user = %seen.key.user, container = seen.container_name, "{error}");
                } else {
                    tracing::warn!(
                        user = %seen.key.user, project = seen.key.project(), container = seen.container_name, "{error}"
                    );
                }
                report.failures.push(error.to_string());
            }
        }
    }

    async fn act(
        &self,
        seen: &SessionRecord,
        expected: Option<Reason>,
        patience: Duration,
    ) -> Result<Option<Done>, SessionError> {
        let _lock = self.locks().lock(&seen.key.user, patience, |_| {}).await?;
        let Some(record) = self.store.get(&seen.id)? else { return Ok(None) };
        let verdict = judge(&record, self.leases().sweep(&record.id)?, self.now());
        let reason = match verdict {
            Verdict::Destroy(reason) => Some(reason),
            // A session is made under the lock that we hold: its maker has given up without being able to undo.
            Verdict::BeingMade => Some(Reason::Unfinished),
            Verdict::Keep | Verdict::Resume | Verdict::StartGrace(_) => None,
        };
        if let Some(reason) = reason {
            log_removal(&record, reason);
            self.remove(record, reason, &mut Silent).await?;
            return Ok(Some(Done::Removed(reason)));
        }
        if expected == Some(Reason::ContainerGone) {
            // Looked at again, under the lock: the session may have been made anew or its container started.
            let left = self.settle(record, Purpose::Tidy, &mut Silent, &Cancel::never()).await?;
            return Ok(left.is_none().then_some(Done::Removed(Reason::ContainerGone)));
        }
        let started = matches!(verdict, Verdict::StartGrace(_));
        if verdict != Verdict::Keep {
            self.settle(record, Purpose::Tidy, &mut Silent, &Cancel::never()).await?;
        }
        Ok(started.then_some(Done::GraceStarted))
    }

    /// Compares what the engine has with what the store says.
    async fn compare(&self, engine: &Runtime, report: &mut CleanupReport) -> Result<(), SessionError> {
        if let Err(error) = engine.sweep().await {
            tracing::warn!("{error}");
            report.failures.push(error.to_string());
        }
        let all = self.installation();
        // The engine first, then the rows: a row is written before anything of its session exists, so that what is in
        // the lists and in no row has lost its session.
        let containers = engine.containers(&all).await?;
        let networks = engine.networks(&all).await?;
        let volumes = engine.volumes(&all).await?;
        let rows = self.store.all()?;

        let alive: BTreeSet<&str> = containers.iter().map(|container| container.id.as_str()).collect();
        for record in &rows {
            let settled = matches!(record.status, Status::Running | Status::GracePeriod);
            let here = self.engine_of(record).await.is_ok();
            if settled && here && !alive.contains(record.container_id.as_str()) {
                self.pass_over(record, Some(Reason::ContainerGone), LOCK_LIMIT, report).await;
            }
        }

        let known: BTreeSet<&str> = rows.iter().map(|record| record.id.as_str()).collect();
        let containers = containers.into_iter().map(|found| Found {
            kind: "container",
            id: found.id,
            name: found.name,
            labels: found.labels,
            created_at: Some(found.created_at),
        });
        let networks = networks.into_iter().map(|found| Found {
            kind: "network",
            id: found.id,
            name: found.name,
            labels: found.labels,
            created_at: found.created_at,
        });
        self.remove_old_guests(engine, &volumes).await;
        let volumes = volumes.into_iter().map(|found| Found {
            kind: "volume",
            id: found.name.clone(),
            name: found.name,
            labels: found.labels,
            created_at: None,
        });
        // Containers first: they hold the others.
        for found in containers.chain(networks).chain(volumes) {
            let Some(session) = found.labels.get(label::SESSION) else { continue };
            if known.contains(session.as_str()) || !old_enough(found.created_at, self.now()) {
                continue;
            }
            match self.remove_orphan(engine, &found).await {
                Ok(false) => {}
                Ok(true) => {
                    report.orphans_removed += 1;
                    let id: String = found.id.chars().take(12).collect();
                    let line = format!("INFO removing orphaned {} name={} id={id}", found.kind, found.name);
                    report.done.push(line);
                }
                Err(error) => {
                    tracing::warn!(kind = found.kind, name = found.name, "{error}");
                    report.failures.push(error.to_string());
                }
            }
        }
        Ok(())
    }

    /// How many containers of podspawn the engine has, running or not; 0 if it cannot be asked or takes too long. For a report
    /// that is worth more without this number than not at all.
    pub async fn containers_in_engine(&self) -> usize {
        let labels = Labels::from([("managed-by".into(), "podspawn".into())]);
        let asked = async { self.engines.engine().await?.containers(&labels).await };
        match tokio::time::timeout(COUNT_LIMIT, asked).await {
            Ok(Ok(containers)) => return containers.len(),
            Ok(Err(error)) => tracing::warn!("containers are not counted: {error}"),
            Err(_) => tracing::warn!("containers are not counted: the engine takes too long"),
        }
        0
    }

    /// Names of containers of this installation that no session owns. Changes nothing.
    pub async fn orphans(&self) -> Result<Vec<String>, SessionError> {
        let engine = self.engines.engine().await?;
        // The engine first, then the rows, as in a pass.
        let containers = engine.containers(&self.installation()).await?;
        let rows = self.store.all()?;
        let known: BTreeSet<&str> = rows.iter().map(|record| record.id.as_str()).collect();
        let now = self.now();
        let lost = containers.into_iter().filter(|found| {
            let session = found.labels.get(label::SESSION);
            session.is_some_and(|id| !known.contains(id.as_str()))
                && old_enough(Some(found.created_at), now)
                && !self.is_in_use(&found.labels)
        });
        Ok(lost.map(|found| found.name).collect())
    }

    /// Removes volumes that hold the guest of another version of podspawn. One that a container still uses stays.
    async fn remove_old_guests(&self, engine: &Runtime, volumes: &[VolumeInfo]) {
        for volume in volumes.iter().filter(|volume| is_old_guest(volume)) {
            match engine.remove_volume(&volume.name).await {
                Ok(()) => tracing::info!(name = volume.name, "removed the guest of another version"),
                Err(error) => tracing::debug!("{error}"),
            }
        }
    }

    /// Whether something that never has a row has somebody who works with it and says so by a lease. What has lost its row
    /// goes though somebody is connected: nothing of it could be told apart, limited or ended any more.
    fn is_in_use(&self, labels: &Labels) -> bool {
        let session = labels.get(label::SESSION).filter(|session| session.starts_with(NO_SESSION));
        // What cannot be looked at is left alone.
        session.is_some_and(|session| self.leases().count(session).map_or(true, |count| count > 0))
    }

    async fn remove_orphan(&self, engine: &Runtime, found: &Found) -> Result<bool, SessionError> {
        // Who labels a thing with a user that cannot be has not been podspawn.
        let Some(user) = found.labels.get(label::USER).and_then(|user| user.parse::<UserName>().ok()) else {
            return Ok(false);
        };
        let _lock = self.lock(&user, &mut Silent, &Cancel::never()).await?;
        if !self.is_orphan(&found.labels) || self.is_in_use(&found.labels) {
            return Ok(false);
        }
        let id: String = found.id.chars().take(12).collect();
        tracing::info!(name = found.name, id, "removing orphaned {}", found.kind);
        match found.kind {
            "container" => {
                self.remove_orphaned_container(engine, &found.id, &found.name, &found.labels).await?
            }
            "network" => engine.remove_network(&found.id).await?,
            _ => engine.remove_volume(&found.id).await?,
        }
        Ok(true)
    }

    /// Removes what processes left that died between taking a lease and writing the row, or after removing it.
    fn forget_leases(&self) -> Result<(), SessionError> {
        let known: BTreeSet<String> = self.store.all()?.into_iter().map(|record| record.id).collect();
        for session in self.leases().sessions()? {
            if !known.contains(&session) {
                self.leases().forget(&session)?;
            }
        }
        for session in self.setups().sessions()? {
            if !known.contains(&session) {
                self.setups().forget(&session)?;
            }
        }
        Ok(())
    }
}

/// Whether a volume holds the guest of another version. The volumes of a user called `guest` have names that begin alike.
fn is_old_guest(volume: &VolumeInfo) -> bool {
    let hash = volume.name.strip_prefix(GUEST_VOLUME_PREFIX);
    hash.is_some_and(|hash| {
        hash.len() == GUEST_HASH_LENGTH && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
    }) && !volume.labels.contains_key(label::USER)
        && volume.name != guest_volume_name()
}

enum Done {
    Removed(Reason),
    GraceStarted,
}

/// What is done for a reason, in the log's words.
fn removal(reason: Reason) -> &'static str {
    match reason {
        Reason::GraceExpired => "grace period expired, destroying",
        Reason::LifetimeExpired => "max lifetime expired, destroying",
        Reason::Disconnect | Reason::Stop | Reason::Remove => "nobody is connected, destroying",
        Reason::Unfinished => "its maker is gone, destroying",
        Reason::RemovalUnfinished => "finishing the removal of",
        Reason::ContainerGone => "its container is gone, destroying",
    }
}

fn log_removal(record: &SessionRecord, reason: Reason) {
    let what = removal(reason);
    tracing::info!(
        user = %record.key.user, project = record.key.project(), container = record.container_name, "{what}"
    );
}

/// Grace first, then lifetime, then the rest.
fn order(reason: Reason) -> u8 {
    match reason {
        Reason::GraceExpired => 0,
        Reason::LifetimeExpired => 1,
        _ => 2,
    }
}

fn old_enough(created_at: Option<i64>, now: Timestamp) -> bool {
    created_at.is_none_or(|created| now.as_second().saturating_sub(created) >= ORPHAN_AGE.as_secs())
}
