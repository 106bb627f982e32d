//! The end of a connection.

use std::time::Duration;

use super::core::{Core, EngineSource, Session};
use super::decide::{Verdict, judge};
use super::error::SessionError;
use super::guest_port::GuestPort;
use super::report::Silent;
use crate::spec::Kind;
use crate::state::{SessionRecord, Status, Timestamp};

/// How long the end of a connection waits for another process of the user. After that reconcile does what is left.
const RELEASE_LIMIT: Duration = Duration::from_secs(10);

/// What became of the session.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// It stays: it is a machine or persistent, or others are connected.
    Stayed,
    /// It is kept until then.
    Grace(Timestamp),
    /// It was the last connection, and the session is gone.
    Destroyed,
}

impl<S, G> Core<S, G> {
    /// Ends a connection to a session that stays whatever happens, without an engine or an async runtime. Gives the
    /// connection back if more is to be done: then [`Core::release`] does it.
    #[must_use = "a session that is given back is still to be released"]
    pub fn try_release(&self, session: Session) -> Option<Session> {
        if session.record.kind != Kind::Machine {
            return Some(session);
        }
        self.leave(session);
        None
    }

    fn leave(&self, session: Session) -> SessionRecord {
        let Session { record, lease } = session;
        lease.end();
        // The time of the last activity is for people; that it cannot be written must not hold anybody up.
        if let Err(error) = self.store.touch(&record.id, self.now()) {
            tracing::debug!("{error}");
        }
        record
    }
}

impl<S: EngineSource, G: GuestPort> Core<S, G> {
    /// Ends a connection and does what its session's mode says.
    pub async fn release(&self, session: Session) -> Result<Released, SessionError> {
        let record = self.leave(session);
        if record.kind == Kind::Machine {
            return Ok(Released::Stayed);
        }
        self.departed(&record).await
    }

    /// Does what a session's mode says after a connection to it has ended in another process.
    pub async fn departed(&self, record: &SessionRecord) -> Result<Released, SessionError> {
        let _lock = self.locks().lock(&record.key.user, RELEASE_LIMIT, |_| {}).await?;
        // Somebody may have removed the session, or joined it, meanwhile.
        let Some(mut record) = self.store.get(&record.id)? else { return Ok(Released::Destroyed) };
        let connections = self.leases().sweep(&record.id)?;
        match judge(&record, connections, self.now()) {
            Verdict::Destroy(reason) => {
                self.remove(record, reason, &mut Silent).await?;
                Ok(Released::Destroyed)
            }
            Verdict::StartGrace(until) => {
                record.status = Status::GracePeriod;
                record.grace_expiry = Some(until);
                self.store.update(&record)?;
                Ok(Released::Grace(until))
            }
            Verdict::Keep | Verdict::Resume | Verdict::BeingMade => Ok(match record.grace_expiry {
                Some(until) if connections == 0 => Released::Grace(until),
                _ => Released::Stayed,
            }),
        }
    }
}
