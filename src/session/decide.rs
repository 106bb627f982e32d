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
    /// Whether the owner of the session may not know that it ended.
    pub fn is_a_surprise(self) -> bool {
        matches!(self, Self::GraceExpired | Self::LifetimeExpired | Self::ContainerGone)
    }

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
    // A session that nobody attached to goes with the last connection whose forwarding it was made for.
    if !record.attached && connections == 0 {
        return Verdict::Destroy(Reason::Disconnect);
    }
    // What has no grace period is never found in one, unless by mistake; then it runs again.
    let keep = if record.status == Status::GracePeriod { Verdict::Resume } else { Verdict::Keep };
    match record.kind {
        Kind::Throwaway if connections == 0 => return Verdict::Destroy(Reason::Disconnect),
        Kind::Machine | Kind::Throwaway => return keep,
        Kind::Session if record.mode == Mode::Persistent => return keep,
        Kind::Session => {}
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::SessionKey;
    use crate::state::{AttachWay, SetupState};
    use proptest::prelude::*;

    const NOW: i64 = 1_000_000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn records() -> impl Strategy<Value = SessionRecord> {
        let status = prop_oneof![
            Just(Status::Creating),
            Just(Status::Running),
            Just(Status::GracePeriod),
            Just(Status::Destroying)
        ];
        let kind = prop_oneof![Just(Kind::Machine), Just(Kind::Throwaway), Just(Kind::Session)];
        let mode =
            prop_oneof![Just(Mode::GracePeriod), Just(Mode::DestroyOnDisconnect), Just(Mode::Persistent)];
        let times = (prop_oneof![Just(0i64), 1..100i64], -100..100i64, -100..100i64, any::<bool>());
        (status, kind, mode, times).prop_map(|(status, kind, mode, (grace, expiry, lifetime, limited))| {
            let expires = limited && kind == Kind::Session && mode != Mode::Persistent;
            SessionRecord {
                id: "1".into(),
                key: SessionKey { user: "ann".parse().unwrap(), name: None },
                kind,
                status,
                container_id: "c".into(),
                container_name: "podspawn-ann".into(),
                image: "debian:12".into(),
                network_id: "n".into(),
                service_ids: Vec::new(),
                mode,
                grace_seconds: grace,
                shell: "/bin/sh".into(),
                account: "ann".into(),
                created_at: at(NOW - 500),
                last_activity: at(NOW - 500),
                max_lifetime: expires.then(|| at(NOW + lifetime)),
                grace_expiry: (status == Status::GracePeriod).then(|| at(NOW + expiry)),
                attach: AttachWay::Direct,
                socket_dir: None,
                process: None,
                attached: true,
                start_dir: None,
                setup: SetupState::Done,
                engine: "docker unix:///run/docker.sock".into(),
            }
        })
    }

    /// What acting on a verdict makes of a record; none if it goes.
    fn act(mut record: SessionRecord, verdict: Verdict) -> Option<SessionRecord> {
        match verdict {
            Verdict::Destroy(_) => return None,
            Verdict::StartGrace(until) => {
                (record.status, record.grace_expiry) = (Status::GracePeriod, Some(until));
            }
            Verdict::Resume => (record.status, record.grace_expiry) = (Status::Running, None),
            Verdict::Keep | Verdict::BeingMade => {}
        }
        Some(record)
    }

    proptest! {
        #[test]
        fn acting_twice_is_acting_once(record in records(), connections in 0..3usize) {
            let once = act(record.clone(), judge(&record, connections, at(NOW)));
            if let Some(once) = once {
                let twice = act(once.clone(), judge(&once, connections, at(NOW)));
                prop_assert_eq!(Some(once), twice);
            }
        }

        #[test]
        fn machines_and_persistent_sessions_are_never_destroyed_once_they_run(
            record in records(), connections in 0..3usize, seconds in 0..10_000_000i64
        ) {
            let kept = record.kind == Kind::Machine
                || record.kind == Kind::Session && record.mode == Mode::Persistent;
            let made = matches!(record.status, Status::Running | Status::GracePeriod);
            let verdict = judge(&record, connections, at(NOW + seconds));
            if kept && made {
                prop_assert!(!matches!(verdict, Verdict::Destroy(_) | Verdict::StartGrace(_)), "{verdict:?}");
            }
        }

        #[test]
        fn a_connected_session_goes_for_its_lifetime_alone(record in records(), connections in 1..3usize) {
            let made = matches!(record.status, Status::Running | Status::GracePeriod);
            if made && let Verdict::Destroy(reason) = judge(&record, connections, at(NOW)) {
                prop_assert_eq!(reason, Reason::LifetimeExpired);
                prop_assert!(record.max_lifetime.is_some_and(|deadline| deadline <= at(NOW)));
            }
        }

        #[test]
        fn what_nobody_makes_or_what_is_being_removed_always_goes(record in records(), connections in 0..3usize) {
            let verdict = judge(&record, connections, at(NOW));
            match record.status {
                Status::Creating if connections == 0 => prop_assert_eq!(verdict, Verdict::Destroy(Reason::Unfinished)),
                Status::Creating => prop_assert_eq!(verdict, Verdict::BeingMade),
                Status::Destroying => prop_assert_eq!(verdict, Verdict::Destroy(Reason::RemovalUnfinished)),
                Status::Running | Status::GracePeriod => {}
            }
        }

        #[test]
        fn every_abandoned_session_that_may_go_is_gone_in_the_end(record in records()) {
            let kept = record.kind == Kind::Machine
                || record.kind == Kind::Session && record.mode == Mode::Persistent;
            let mut record = Some(record);
            // Two looks: the first may start the grace period, the second comes after it and after every lifetime.
            for now in [at(NOW), at(NOW + 1000)] {
                record = record.and_then(|record| act(record.clone(), judge(&record, 0, now)));
            }
            if let Some(left) = record {
                prop_assert!(kept && left.status == Status::Running, "{left:?}");
            }
        }

        #[test]
        fn grace_lasts_exactly_as_long_as_it_says(record in records()) {
            if let Verdict::StartGrace(until) = judge(&record, 0, at(NOW)) {
                prop_assert_eq!(until, at(NOW + record.grace_seconds));
                prop_assert!(record.grace_seconds > 0);
            }
        }
    }

    #[test]
    fn a_grace_period_beyond_the_end_of_time_ends_there() {
        assert_eq!(later(at(NOW), i64::MAX), Timestamp::MAX);
    }
}
