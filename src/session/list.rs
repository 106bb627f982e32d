//! What there is, from the store and the leases alone; the engine is asked only for what only it knows, and not waited for long.

use std::time::Duration;

use podspawn_runtimes::Engine;
use serde::{Deserialize, Serialize};

use super::core::{Core, EngineSource};
use super::error::SessionError;
use super::guest_port::GuestPort;
use super::service_info::ListedService;
use super::settle::is_alive;
use crate::names::UserName;
use crate::spec::{Kind, Mode};
use crate::state::{AttachWay, SessionRecord, Status, Timestamp};

/// Which sessions are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Only this owner's.
    pub user: Option<UserName>,
}

/// A session and its connections.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionView {
    /// What the store holds.
    pub record: SessionRecord,
    /// Held leases.
    pub connections: usize,
}

/// A session for programs, and for whoever shows it to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// Its owner.
    pub user: String,
    /// Machine or project; none for the default session.
    pub name: Option<String>,
    /// What was made.
    pub kind: Kind,
    /// Status in the store's words.
    pub status: String,
    /// The container's first process is the recorded one; without a record of it nothing speaks against that.
    pub alive: bool,
    /// Held connections.
    pub connections: usize,
    /// Image reference.
    pub image: String,
    /// Container name.
    pub container: String,
    /// The engine's id of the container.
    pub container_id: String,
    /// Engine that made it.
    pub engine: String,
    /// `direct` or `engine`.
    pub attach: String,
    /// Mode in force.
    pub mode: Mode,
    /// Times, in UTC.
    pub created_at: Timestamp,
    /// Last connect or disconnect.
    pub last_activity: Timestamp,
    /// End of the maximum lifetime.
    pub expires_at: Option<Timestamp>,
    /// End of the grace period.
    pub grace_expires_at: Option<Timestamp>,
    /// Seconds since it was made.
    pub age_seconds: u64,
    /// Its companion services, in start order; empty too if the engine was not asked.
    #[serde(default)]
    pub services: Vec<ListedService>,
    /// Bytes that it has written to its container's own layer; none if that is not known.
    pub disk_bytes: Option<u64>,
}

impl Listed {
    /// As of `now`.
    pub fn new(view: &SessionView, now: Timestamp) -> Self {
        let record = &view.record;
        Self {
            id: record.id.clone(),
            user: record.key.user.to_string(),
            name: record.key.name.as_ref().map(ToString::to_string),
            kind: record.kind,
            status: match record.status {
                Status::Creating => "creating",
                Status::Running => "running",
                Status::GracePeriod => "grace_period",
                Status::Destroying => "destroying",
            }
            .into(),
            alive: record.process.as_ref().is_none_or(is_alive),
            connections: view.connections,
            image: record.image.clone(),
            container: record.container_name.clone(),
            container_id: record.container_id.clone(),
            engine: record.engine.clone(),
            attach: match record.attach {
                AttachWay::Direct => "direct",
                AttachWay::Engine => "engine",
            }
            .into(),
            mode: record.mode,
            created_at: record.created_at,
            last_activity: record.last_activity,
            expires_at: record.max_lifetime,
            grace_expires_at: record.grace_expiry,
            // A clock that was set back makes nothing younger than new.
            age_seconds: u64::try_from(now.duration_since(record.created_at).as_secs()).unwrap_or(0),
            services: Vec::new(),
            disk_bytes: None,
        }
    }
}

/// Longest that a list waits for the engine to measure containers.
const MEASURE_LIMIT: Duration = Duration::from_secs(2);

impl<S: EngineSource, G: GuestPort> Core<S, G> {
    /// Fills in how much disk sessions use and how their services are, as far as the engine says so in time.
    pub async fn measure(&self, listed: &mut [Listed]) {
        if listed.is_empty() {
            return;
        }
        if tokio::time::timeout(MEASURE_LIMIT, self.list_services(listed)).await.is_err() {
            tracing::debug!("services are not known: the engine takes too long");
        }
        let asked = async { self.engines.engine().await?.disk_use(&self.installation()).await };
        let sizes = match tokio::time::timeout(MEASURE_LIMIT, asked).await {
            Ok(Ok(sizes)) => sizes,
            Ok(Err(error)) => return tracing::debug!("disk use is not known: {error}"),
            Err(_) => return tracing::debug!("disk use is not known: the engine takes too long"),
        };
        for one in listed {
            one.disk_bytes = sizes.get(&one.container_id).copied();
        }
    }
}

impl<S, G> Core<S, G> {
    /// Sessions, ordered by user and project. Those in the states `creating` and `destroying` are among them.
    pub fn list(&self, filter: &Filter) -> Result<Vec<SessionView>, SessionError> {
        let records = match &filter.user {
            Some(user) => self.store.of_user(user)?,
            None => self.store.all()?,
        };
        // What only lends its network to forwarding is in no table and no count.
        let records: Vec<_> = records.into_iter().filter(|record| record.attached).collect();
        let connections = self.leases().counts(records.iter().map(|record| record.id.as_str()))?;
        let views = records.into_iter().zip(connections);
        Ok(views.map(|(record, connections)| SessionView { record, connections }).collect())
    }
}
