//! How much one uid can have written into the log by what it does wrong: enough to see who and what, and no more.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Complaints about one uid that are logged within [`WINDOW`].
const MOST: u32 = 20;

/// How long it takes until further ones are logged.
const WINDOW: Duration = Duration::from_secs(60);

/// Counts complaints by uid.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<HashMap<u32, Of>>);

#[derive(Debug)]
struct Of {
    since: Instant,
    count: u32,
}

/// What is to be done about one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
enum Verdict {
    /// It is logged; so many of the last window were not.
    Log { kept_back: u32 },
    /// It is logged, as the last one of this window.
    LogAsLast,
    /// Only counted.
    KeepBack,
}

impl Complaints {
    /// Logs something that a client did wrong, unless too much was logged about its uid lately.
    pub(super) fn log(&self, uid: u32, pid: i32, text: &dyn std::fmt::Display) {
        match self.judge(uid, Instant::now()) {
            Verdict::KeepBack => {}
            Verdict::Log { kept_back: 0 } => tracing::warn!(uid, pid, "{text}"),
            Verdict::Log { kept_back } => {
                tracing::warn!(uid, pid, kept_back, "{text}");
            }
            Verdict::LogAsLast => {
                tracing::warn!(uid, pid, "{text}");
                tracing::warn!(uid, "more of this uid is only counted for {} s", WINDOW.as_secs());
            }
        }
    }

    fn judge(&self, uid: u32, now: Instant) -> Verdict {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept_back = match all.get(&uid) {
            Some(of) if now.duration_since(of.since) < WINDOW => None,
            of => Some(of.map_or(0, |of| of.count.saturating_sub(MOST))),
        };
        if kept_back.is_some() {
            // Of the others too, only what still matters is remembered.
            all.retain(|_, of| now.duration_since(of.since) < WINDOW);
        }
        let of = all.entry(uid).or_insert(Of { since: now, count: 0 });
        of.count = of.count.saturating_add(1);
        match (kept_back, of.count) {
            (Some(kept_back), _) => Verdict::Log { kept_back },
            (None, ..MOST) => Verdict::Log { kept_back: 0 },
            (None, MOST) => Verdict::LogAsLast,
            (None, _) => Verdict::KeepBack,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Verdict = Verdict::Log { kept_back: 0 };

    #[test]
    fn a_flood_is_logged_up_to_a_limit_and_then_counted() {
        let (complaints, now) = (Complaints::default(), Instant::now());
        for _ in 1..MOST {
            assert_eq!(complaints.judge(1000, now), USUAL);
        }
        assert_eq!(complaints.judge(1000, now), Verdict::LogAsLast);
        for _ in 0..7 {
            assert_eq!(complaints.judge(1000, now), Verdict::KeepBack);
        }
        // Nobody else is concerned.
        assert_eq!(complaints.judge(1001, now), USUAL);
        assert_eq!(complaints.judge(1000, now + WINDOW), Verdict::Log { kept_back: 7 });
        assert_eq!(complaints.judge(1000, now + WINDOW), USUAL);
    }

    #[test]
    fn one_now_and_then_is_always_logged_and_nobody_is_remembered_for_ever() {
        let (complaints, start) = (Complaints::default(), Instant::now());
        for uid in 0..100 {
            assert_eq!(complaints.judge(uid, start + WINDOW * uid), USUAL);
        }
        assert_eq!(complaints.0.lock().unwrap().len(), 1);
    }
}
