//! How many requests one uid may have open at a time: nobody fills the broker for everybody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::names::UserName;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Most requests of one uid that are not answered yet.
const MOST_OPEN: usize = 64;

/// Of these, how many are worked on at once; the others wait for their turn.
const MOST_AT_WORK: usize = 16;

/// Most connections that one user has at a time, each with two descriptors here: an SSH connection is one for its forwarding and
/// one for each process in it. More than a person's clients make, and few enough that nobody takes all that the broker may have.
const MOST_LINKS: usize = 512;

/// Counts connections by user.
#[derive(Debug, Clone, Default)]
pub(super) struct Links(Arc<Mutex<HashMap<UserName, usize>>>);

/// One connection, until it is dropped.
pub(super) struct LinkCount {
    user: UserName,
    all: Links,
}

impl Links {
    /// None if the user has too many already.
    pub(super) fn begin(&self, user: &UserName) -> Option<LinkCount> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(user.clone()).or_default();
        if *count >= MOST_LINKS {
            return None;
        }
        *count += 1;
        Some(LinkCount { user: user.clone(), all: self.clone() })
    }
}

impl Drop for LinkCount {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                all.remove(&self.user);
            }
        }
    }
}

/// Counts open requests by uid.
#[derive(Debug, Default)]
pub(super) struct OpenRequests(Mutex<HashMap<u32, Of>>);

#[derive(Debug)]
struct Of {
    open: usize,
    turns: Arc<Semaphore>,
}

/// One open request; ends when it is dropped.
pub(super) struct OpenRequest {
    uid: u32,
    turns: Arc<Semaphore>,
    all: Arc<super::Broker>,
}

impl OpenRequest {
    /// None if the uid has too many open already.
    pub(super) fn begin(broker: &Arc<super::Broker>, uid: u32) -> Option<Self> {
        let mut all = broker.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of =
            all.entry(uid).or_insert_with(|| Of { open: 0, turns: Arc::new(Semaphore::new(MOST_AT_WORK)) });
        // root serves everybody: its PAM modules must not be counted as one user.
        if of.open >= MOST_OPEN && uid != 0 {
            return None;
        }
        of.open += 1;
        Some(Self { uid, turns: of.turns.clone(), all: broker.clone() })
    }

    /// Waits until it may be worked on.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        if self.uid == 0 {
            return None;
        }
        self.turns.clone().acquire_owned().await.ok()
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let mut all = self.all.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of) = all.get_mut(&self.uid) {
            of.open -= 1;
            if of.open == 0 {
                all.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_so_many_connections_and_others_have_theirs() {
        let links = Links::default();
        let user = |name: &str| name.parse::<UserName>().unwrap();
        let mut all: Vec<_> = (0..MOST_LINKS).map(|_| links.begin(&user("ann")).unwrap()).collect();
        assert!(links.begin(&user("ann")).is_none());
        assert!(links.begin(&user("ben")).is_some());
        all.pop();
        assert!(links.begin(&user("ann")).is_some());
        drop(all);
        assert!(links.0.lock().unwrap().is_empty());
    }
}
