//! What is to become of a session: a pure function of its record, its connections and the time.

use jiff::SignedDuration;

use crate::spec::{Kind, Mode};
use crate::state::{SessionRecord, Status, Timestamp};

/// Why a session is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Its owner asked for it.
    Stop,
    /// Its owner asked to delete the machine.
    Remove,
    /// The last connection ended.
    Disconnect,
    /// Nobody came back within the grace period.
    GraceExpired,
    /// Its maximum lifetime is over.
    LifetimeExpired,
    /// Making it did not come to an end: it failed, was cancelled, or its maker died.
    Unfinished,
    /// Removing it did not come to an end.
    RemovalUnfinished,
    /// Its container is gone or cannot be used any more.
    ContainerGone,
}

impl Reason {
    /// The word in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Remove => "rm",
            Self::Disconnect => "disconnect",
            Self::GraceExpired => "grace_expired",
            Self::LifetimeExpired => "lifetime_expired",
            Self::Unfinished => "unfinished",
            Self::RemovalUnfinished => "removal_unfinished",
            Self::ContainerGone => "container_gone",
        }
    }
}

/// What is to become of a session.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stays as it is.
    Keep,
    /// Somebody is making it right now.
    BeingMade,
    /// Somebody is connected although it counts down: it runs.
    Resume,
    /// Nobody is connected: it is kept until then.
    StartGrace(Timestamp),
    /// It goes.
    Destroy(Reason),
}

/// Judges a session with `connections` held leases. Whoever acts on it holds the user's lock and judges again there.
pub fn judge(record: &SessionRecord, connections: usize, now: Timestamp) -> Verdict {
    match record.status {
        // Its maker holds a lease from before the row is written.
        Status::Creating if connections > 0 => return Verdict::BeingMade,
        Status::Creating => return Verdict::Destroy(Reason::Unfinished),
        Status::Destroying => return Verdict::Destroy(Reason::RemovalUnfinished),
        Status::Running | Status::GracePeriod => {}
    }
    match record.kind {
        Kind::Machine => return Verdict::Keep,
        Kind::Throwaway if connections == 0 => return Verdict::Destroy(Reason::Disconnect),
        Kind::Throwaway => return Verdict::Keep,
        Kind::Session => {}
    }
    // A persistent session is never destroyed by any deadline; one that was in grace by mistake runs again.
    if record.mode == Mode::Persistent {
        return if record.status == Status::GracePeriod { Verdict::Resume } else { Verdict::Keep };
    }
    if record.max_lifetime.is_some_and(|deadline| deadline <= now) {
        return Verdict::Destroy(Reason::LifetimeExpired);
    }
    match (record.status, connections) {
        (Status::GracePeriod, 0) => match record.grace_expiry {
            Some(expiry) if expiry > now => Verdict::Keep,
            _ => Verdict::Destroy(Reason::GraceExpired),
        },
        (Status::GracePeriod, _) => Verdict::Resume,
        (_, 0) if record.mode == Mode::DestroyOnDisconnect || record.grace_seconds == 0 => {
            Verdict::Destroy(Reason::Disconnect)
        }
        (_, 0) => Verdict::StartGrace(later(now, record.grace_seconds)),
        _ => Verdict::Keep,
    }
}

/// `seconds` after `now`, or the end of time.
pub(super) fn later(now: Timestamp, seconds: i64) -> Timestamp {
    now.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

/// Whether a session whose container stands still is started again rather than replaced: only where its content
/// outlives connections.
pub fn is_restartable(record: &SessionRecord) -> bool {
    match record.kind {
        Kind::Machine => true,
        Kind::Throwaway => false,
        Kind::Session => record.mode == Mode::Persistent,
    }
}
