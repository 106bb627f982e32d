//! Remembers when the rules were last seen in force, so that not every session pays for looking.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::{Firewall, FirewallError};

/// How long a look is believed.
const BELIEVED: Duration = Duration::from_secs(30);

/// Rules that are looked after. Threads that ask at once look once.
#[derive(Debug, Default)]
pub struct Guard {
    firewall: Firewall,
    seen: Mutex<Option<Instant>>,
}

impl Guard {
    /// Looks after these rules; they were not seen yet.
    pub fn new(firewall: Firewall) -> Self {
        Self { firewall, seen: Mutex::new(None) }
    }

    /// Returns at once if the rules were seen in force within the last 30 seconds; otherwise puts them into force where
    /// they are not, which blocks for some milliseconds. On an error nothing may be made that relies on the rules.
    pub fn ensure(&self) -> Result<(), FirewallError> {
        self.ensure_at(Instant::now())
    }

    /// The same without believing an earlier look: for a broker's start and its regular work.
    pub fn ensure_now(&self) -> Result<(), FirewallError> {
        self.forget();
        self.ensure()
    }

    fn forget(&self) {
        *self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = None;
    }

    fn ensure_at(&self, now: Instant) -> Result<(), FirewallError> {
        // Held while looking: who comes second waits for the first one's answer.
        let mut seen = self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if seen.is_some_and(|seen| now.saturating_duration_since(seen) < BELIEVED) {
            return Ok(());
        }
        // Failing must not leave the belief behind.
        *seen = None;
        self.firewall.ensure()?;
        *seen = Some(now);
        Ok(())
    }
}
