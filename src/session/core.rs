//! The core as one value: what it works with, and what it hands out.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use podspawn_runtimes::{Builder, Engine, EngineError, Facts, Labels, Runtime};

use super::decide::Reason;
use super::error::SessionError;
use super::report::{Cancel, Report, Step};
use crate::names::UserName;
use crate::state::{HandedLease, Lease, Leases, SessionRecord, SetupLocks, Store, UserLock, UserLocks};
use crate::system::Clock;

/// How long a command waits for another one of the same user: longer than any single engine call may take.
pub(super) const LOCK_LIMIT: Duration = Duration::from_secs(90);

/// How long a guest may take to put user, home and shell in place.
pub(super) const READY_LIMIT: Duration = Duration::from_secs(30);

/// Labels on everything that podspawn makes in an engine.
pub(super) mod label {
    pub(crate) const MANAGED_BY: &str = "managed-by";
    pub(crate) const PODSPAWN: &str = "podspawn";
    pub(crate) const USER: &str = "podspawn-user";
    pub(crate) const SESSION: &str = "podspawn-session";
    pub(crate) const INSTALLATION: &str = "podspawn-installation";
    pub(crate) const PROJECT: &str = "podspawn-project";
    /// Of a session's container: the directory of this host that its files are, or were copied from.
    pub(crate) const DIRECTORY: &str = "podspawn-directory";
    /// Of a service's container: its name.
    pub(crate) const SERVICE: &str = "podspawn-service";
    /// Of a service's container: the ports that it is ready with, with commas in between.
    pub(crate) const SERVICE_PORTS: &str = "podspawn-service-ports";
}

/// Gives the engine, connecting to it when it is first needed: joining a running session needs none.
#[allow(async_fn_in_trait)]
pub trait EngineSource {
    /// The engine.
    async fn engine(&self) -> Result<&Runtime, EngineError>;
}

/// An engine that is connected already.
impl EngineSource for Runtime {
    async fn engine(&self) -> Result<&Runtime, EngineError> {
        Ok(self)
    }
}

/// Where things of this host are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// Leases and locks.
    pub locks: PathBuf,
    /// What belongs to one session each and goes with it: prepared account files, socket directories.
    pub sessions: PathBuf,
    /// The guest's program; the engine must be able to read it.
    pub guest: PathBuf,
}

/// Everything that sessions are made with.
pub struct Core<S, G> {
    /// What is remembered.
    pub store: Store,
    /// The engine.
    pub engines: S,
    /// How guests are waited for.
    pub guests: G,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Directories of this host.
    pub dirs: Dirs,
    /// The uid of this process: who is not root cannot look into the containers of an engine that is.
    pub uid: u32,
    locks: UserLocks,
    leases: Leases,
    pub(super) builder: Builder,
    setups: SetupLocks,
    pub(super) observer: Option<Arc<dyn Observer>>,
}

/// Is told what becomes of sessions, whoever caused it. Must not block.
pub trait Observer: Send + Sync {
    /// A session has been made.
    fn created(&self, record: &SessionRecord);
    /// It is about to be removed: its connections are going to end.
    fn removing(&self, record: &SessionRecord, reason: Reason);
    /// It has been removed.
    fn removed(&self, record: &SessionRecord, reason: Reason);
    /// A container that had lost its session (a crash, an older state restored) has been removed.
    fn orphan_removed(&self, orphan: &Orphan<'_>);
}

/// A container of this installation that no session knows.
#[derive(Debug, Clone, Copy)]
pub struct Orphan<'a> {
    /// Whose it was, by its labels.
    pub user: &'a str,
    /// The session that it was made for.
    pub session: &'a str,
    /// The engine's id.
    pub container: &'a str,
    /// Its name.
    pub name: &'a str,
}

impl<S, G> Core<S, G> {
    /// A core; `uid` is that of this process.
    pub fn new(store: Store, engines: S, guests: G, clock: Arc<dyn Clock>, dirs: Dirs, uid: u32) -> Self {
        let locks = UserLocks::new(&dirs.locks);
        let leases = Leases::new(dirs.locks.join("leases"));
        let setups = SetupLocks::new(dirs.locks.join("setup"));
        Self {
            store,
            engines,
            guests,
            clock,
            dirs,
            uid,
            locks,
            leases,
            builder: Builder::default(),
            setups,
            observer: None,
        }
    }

    /// Tells somebody what becomes of sessions.
    pub fn observed_by(self, observer: Arc<dyn Observer>) -> Self {
        Self { observer: Some(observer), ..self }
    }

    /// Which of an engine's builders makes images from now on.
    pub fn building_with(self, builder: Builder) -> Self {
        Self { builder, ..self }
    }

    /// The connections to sessions.
    pub fn leases(&self) -> &Leases {
        &self.leases
    }

    /// The locks of those who set sessions up.
    pub fn setups(&self) -> &SetupLocks {
        &self.setups
    }

    /// The locks of users.
    pub fn locks(&self) -> &UserLocks {
        &self.locks
    }

    pub(super) async fn lock(
        &self,
        user: &UserName,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<UserLock, SessionError> {
        let waiting = |wait: crate::state::LockWait| report.step(Step::Waiting { pid: wait.pid });
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(SessionError::Cancelled),
            lock = self.locks.lock(user, LOCK_LIMIT, waiting) => Ok(lock?),
        }
    }

    /// Labels that everything of a session carries.
    pub(super) fn labels(&self, record: &SessionRecord) -> Labels {
        self.labels_of(&record.key.user, &record.id)
    }

    /// Labels of something that belongs to this installation and a user; what carries an id that no session has goes
    /// with a later cleanup.
    pub fn labels_of(&self, user: &UserName, session: &str) -> Labels {
        Labels::from([
            (label::MANAGED_BY.into(), label::PODSPAWN.into()),
            (label::USER.into(), user.to_string()),
            (label::SESSION.into(), session.into()),
            (label::INSTALLATION.into(), self.store.installation().into()),
        ])
    }

    /// What is looked for when a session's own things are: nothing else matches.
    pub(super) fn own(&self, record: &SessionRecord) -> Labels {
        Labels::from([
            (label::SESSION.into(), record.id.clone()),
            (label::INSTALLATION.into(), self.store.installation().into()),
        ])
    }
}

impl<S: EngineSource, G> Core<S, G> {
    /// The engine that a session lives in, if it is the one in use.
    pub async fn engine_of(&self, record: &SessionRecord) -> Result<&Runtime, SessionError> {
        let engine = self.engines.engine().await?;
        let current = &engine.facts().endpoint;
        // Docker and gVisor may share one endpoint, and either way of speaking to it does.
        match record.engine.split_once(' ') {
            Some((_, endpoint)) if endpoint == current => Ok(engine),
            _ => Err(SessionError::OtherEngine {
                name: display_name(record),
                made_by: record.engine.clone(),
                current: engine_name(engine.facts()),
            }),
        }
    }
}

/// An engine as the store names it.
pub(super) fn engine_name(facts: &Facts) -> String {
    format!("{} {}", facts.kind.name(), facts.endpoint)
}

/// A session as its owner calls it.
pub(super) fn display_name(record: &SessionRecord) -> String {
    match &record.key.name {
        Some(name) => name.to_string(),
        None => record.key.user.to_string(),
    }
}

/// A connection to a session. It is in the session's count until it is released or dropped, or this process ends.
#[derive(Debug)]
pub struct Session {
    /// The session as it was when the connection was made.
    pub record: SessionRecord,
    pub(super) lease: Lease,
}

impl Session {
    /// Gives the connection to another process, which holds the lease's descriptor from now on.
    pub fn hand_over(self) -> (SessionRecord, OwnedFd, HandedLease) {
        let (descriptor, handed) = self.lease.hand_over();
        (self.record, descriptor, handed)
    }
}
