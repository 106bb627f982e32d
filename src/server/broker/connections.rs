//! The SSH connections that hold leases, each with the parts that it has: its forwarding, and its processes inside.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::state::HandedLease;

/// A thread that only waits for a lock needs little.
const SMALL_STACK: usize = 64 * 1024;

/// Returns when nobody holds the lease any more. It has a thread of its own meanwhile: whoever keeps theirs takes none of those
/// that requests are decided in.
pub(super) async fn end_of(lease: HandedLease) {
    let (ended, end) = oneshot::channel();
    let same = lease.clone();
    let waiting = std::thread::Builder::new().name("lease".into()).stack_size(SMALL_STACK).spawn(move || {
        lease.wait_for_end();
        let _ = ended.send(());
    });
    match waiting {
        // Not sent only if the thread has failed, and then nothing waits.
        Ok(_) => drop(end.await),
        // One of the others then.
        Err(_) => drop(tokio::task::spawn_blocking(move || same.wait_for_end()).await),
    }
}

/// Which connections there are, and how many parts each has in which session.
#[derive(Debug, Default)]
pub(super) struct Connections(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Connections whose PAM module holds a lease.
    forwarding: HashSet<String>,
    /// Parts by session and connection.
    parts: HashMap<(String, String), usize>,
}

impl Connections {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a part of a connection. Whether the connection has only now come to this session.
    pub(super) fn enter(&self, session: &str, lease: &HandedLease) -> bool {
        let (name, connection) = (lease.name(), lease.connection());
        let mut state = self.state();
        if name == connection {
            state.forwarding.insert(name);
        }
        let parts = state.parts.entry((session.to_owned(), connection)).or_default();
        *parts += 1;
        *parts == 1
    }

    /// Takes out a part of a connection, given what [`HandedLease::name`] and [`HandedLease::connection`] said of it.
    /// Whether the connection has left this session with it.
    pub(super) fn leave(&self, session: &str, name: &str, connection: &str) -> bool {
        let mut state = self.state();
        if name == connection {
            state.forwarding.remove(name);
        }
        let key = (session.to_owned(), connection.to_owned());
        let Some(parts) = state.parts.get_mut(&key) else { return false };
        *parts -= 1;
        let last = *parts == 0;
        if last {
            state.parts.remove(&key);
        }
        last
    }

    /// Whether the PAM module of a connection holds a lease.
    pub(super) fn forwards(&self, connection: &str) -> bool {
        self.state().forwarding.contains(connection)
    }
}
