//! Containers that end without anybody having asked the broker: killed from outside, or gone with their engine.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::Interest;

use super::again::Again;
use super::tell::chain;
use super::{Broker, Duty};
use crate::spec::Mode;
use crate::state::{FirstProcess, SessionRecord};
use crate::system::process::{PinError, Pinned};
use crate::system::readiness::watched;

/// The containers that are followed, by session and first process.
#[derive(Debug, Default)]
pub(super) struct Followed(Mutex<HashSet<(String, i32, u64)>>);

/// Follows a session's container to its end, if that can be seen from here. Costs a descriptor.
pub(super) fn follow(broker: &Arc<Broker>, record: &SessionRecord) {
    let Some(first) = record.process.clone() else { return };
    let entry = (record.id.clone(), first.pid, first.start_time);
    let followed = |broker: &Broker, change: &dyn Fn(&mut HashSet<_>) -> bool| {
        change(&mut broker.followed.0.lock().unwrap_or_else(PoisonError::into_inner))
    };
    if !followed(broker, &|all| all.insert(entry.clone())) {
        return;
    }
    let (broker, record) = (broker.clone(), record.clone());
    broker.handle.clone().spawn(async move {
        match end_of(&first).await {
            Ok(()) => ended(&broker, record, first).await,
            Err(error) => tracing::warn!(container = record.container_name, "cannot be followed: {error}"),
        }
        followed(&broker, &|all| all.remove(&entry));
    });
}

async fn end_of(first: &FirstProcess) -> std::io::Result<()> {
    let pinned = match Pinned::recorded(first.pid, first.start_time, &first.boot_id) {
        Ok(pinned) => pinned,
        Err(PinError::Io { source, .. }) => return Err(source),
        Err(PinError::Gone(_) | PinError::Replaced(_) | PinError::Rebooted) => return Ok(()),
    };
    watched(pinned.into(), Interest::READABLE)?.readable().await.map(drop)
}

/// Those who are connected go, and then the session, unless it is one whose container is started again.
async fn ended(broker: &Arc<Broker>, record: SessionRecord, first: FirstProcess) {
    broker.attached.over(&record.id);
    if record.mode == Mode::Persistent {
        return;
    }
    let duty = Duty::new(broker);
    // Made before the first try: an engine that comes back during it is not missed.
    let mut again = Again::new(broker);
    loop {
        let inner = broker.clone();
        let (id, key, first) = (record.id.clone(), record.key.clone(), first.clone());
        let tidied = tokio::task::spawn_blocking(move || {
            // Whoever removed the container, or came back meanwhile, has done what is to be done.
            match inner.core.store.get(&id)? {
                Some(now) if now.process.as_ref() == Some(&first) => {
                    inner.handle.block_on(inner.core.reconcile(&key)).map(|left| left.is_none())
                }
                _ => Ok(true),
            }
        });
        match tidied.await {
            Ok(Ok(true)) => break,
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                tracing::warn!(container = record.container_name, "after its end: {}", chain(&error));
            }
            Err(panic) => tracing::error!("the end of a container failed: {panic}"),
        }
        again.pause().await;
    }
    broker.changed.notify_one();
    drop(duty);
}
