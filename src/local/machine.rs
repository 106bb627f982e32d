//! Machines: joining, making, leaving.

use std::io;
use std::time::Duration;

use podspawn_runtimes::{ContainerState, Engine, EngineError, EngineKind};
use thiserror::Error;

use super::context::{Context, LocalError};
use super::interrupts::{Interrupts, Stopped};
use crate::names::SessionKey;
use crate::session::{Acquired, Exists, Reason, Released, Report, Session, SessionError, is_alive};
use crate::spec::{Kind, SessionSpec};
use crate::state::{SessionRecord, Status};
use crate::system::signals::Signal;

/// Why there is no machine to work with.
#[derive(Debug, Error)]
pub enum MachineError {
    /// The lifecycle core.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// What every command needs.
    #[error(transparent)]
    Local(#[from] LocalError),
    /// There is none of that name.
    #[error("there is no machine `{name}` of {owner}", name = .0.project(), owner = .0.user)]
    Unknown(SessionKey),
    /// The name is taken by a machine of another kind or image.
    #[error("the machine `{name}` {why}")]
    Taken {
        /// Its name.
        name: String,
        /// How it differs from what was asked for.
        why: String,
    },
    /// A signal came; everything that had been made is undone.
    #[error("interrupted by signal {}", .0.number())]
    Interrupted(Signal),
    /// Signals cannot be caught.
    #[error("catch signals: {0}")]
    Signals(#[source] io::Error),
}

impl From<Stopped> for MachineError {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::By(signal) => Self::Interrupted(signal),
            Stopped::Error(error) => Self::Session(error),
            Stopped::Signals(error) => Self::Signals(error),
        }
    }
}

/// A connection to a machine. Signals that would end this process are held back until it is left, so that what has to
/// go with it goes.
pub struct Machine<'a> {
    context: &'a Context,
    /// The connection.
    pub session: Session,
    /// It was made for this connection.
    pub created: bool,
    pub(super) interrupts: Interrupts,
}

impl Context {
    /// Joins a running machine; without an engine and without an asynchronous runtime where that can be.
    pub fn join(&self, key: &SessionKey, report: &mut dyn Report) -> Result<Machine<'_>, MachineError> {
        let mut interrupts = self.interrupts()?;
        let session = match self.core.try_join(key)? {
            Some(session) => session,
            None => {
                let joined = self
                    .block_on(interrupts.guard(async |cancel| self.core.join(key, report, &cancel).await))?;
                joined?.ok_or_else(|| MachineError::Unknown(key.clone()))?
            }
        };
        self.record_connect(&session.record);
        Ok(Machine { context: self, session, created: false, interrupts })
    }

    /// Makes a machine, or joins the one of that name if `exists` allows it and it is of the same kind.
    pub fn acquire(
        &self,
        spec: &SessionSpec,
        exists: Exists,
        report: &mut dyn Report,
    ) -> Result<Machine<'_>, MachineError> {
        let mut interrupts = self.interrupts()?;
        let acquired = self.block_on(
            interrupts.guard(async |cancel| self.core.acquire(spec, exists, report, &cancel).await),
        )?;
        let Acquired { session, created } = acquired?;
        self.record_connect(&session.record);
        let machine = Machine { context: self, session, created, interrupts };
        let found = machine.session.record.kind;
        if found != spec.kind {
            // It goes or stays by its own rules; the name is taken either way.
            let _ = machine.leave()?;
            let why = match found {
                Kind::Throwaway => "is a throwaway machine in use",
                Kind::Machine | Kind::Session => "exists already",
            };
            return Err(MachineError::Taken { name: spec.key.project().to_owned(), why: why.into() });
        }
        Ok(machine)
    }
}

impl Context {
    /// Whether a machine of that key runs. The engine is asked only about machines whose first process this host does
    /// not see.
    pub fn is_running(&self, key: &SessionKey) -> Result<bool, MachineError> {
        let Some(record) = self.core.store.find(key).map_err(SessionError::from)? else { return Ok(false) };
        if !matches!(record.status, Status::Running | Status::GracePeriod) {
            return Ok(false);
        }
        if let Some(process) = &record.process {
            return Ok(is_alive(process));
        }
        let container = self.block_on(async {
            let engine = self.core.engine_of(&record).await?;
            engine.container(&record.container_id).await.map_err(SessionError::from)
        })??;
        Ok(container.is_some_and(|container| container.state == ContainerState::Running))
    }

    /// Removes a machine or session with everything that belongs to it. None if there is none. What a signal would
    /// interrupt is finished first; past `limit` the rest is left to the next cleanup.
    pub fn destroy(
        &self,
        key: &SessionKey,
        reason: Reason,
        limit: Duration,
        report: &mut dyn Report,
    ) -> Result<Option<SessionRecord>, MachineError> {
        let _interrupts = self.interrupts()?;
        let destroyed = self
            .block_on(async { tokio::time::timeout(limit, self.core.destroy(key, reason, report)).await })?;
        match destroyed {
            Ok(destroyed) => Ok(destroyed?.map(|destroyed| destroyed.record)),
            Err(_) => {
                let (action, seconds) = (format!("remove `{key}`"), limit.as_secs());
                Err(SessionError::from(EngineError::Timeout { action, seconds }).into())
            }
        }
    }

    /// How many containers of podspawn the engine has.
    pub fn containers_in_engine(&self) -> Result<usize, LocalError> {
        self.block_on(self.core.containers_in_engine())
    }

    /// Kind of the engine that would be used, as far as that is known without speaking to it.
    pub fn engine_kind(&self) -> Option<EngineKind> {
        self.core.engines.choose().ok().map(|chosen| chosen.kind)
    }
}

impl Machine<'_> {
    /// The signal that came while the machine was in use, if one did.
    pub fn interrupted(&mut self) -> Option<Signal> {
        self.interrupts.arrived()
    }

    /// Ends the connection, and the machine with it if it is one that goes.
    pub fn leave(self) -> Result<Released, MachineError> {
        self.context.record_disconnect(&self.session.record);
        match self.context.core.try_release(self.session) {
            None => Ok(Released::Stayed),
            Some(session) => Ok(self.context.block_on(self.context.core.release(session))??),
        }
    }
}
