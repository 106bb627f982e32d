//! What happens without anybody asking: what is over goes, what was left is found, people are warned.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::again::Again;
use super::tell::chain;
use super::{Broker, Duty};
use crate::config::EngineChoice;
use crate::session::SessionError;
use crate::session::audit::{Actor, Event};
use crate::state::{HandedLease, LockError, SessionRecord, Timestamp};

/// Minutes before the end of a session's lifetime at which those who sit at it are warned.
const WARNINGS: [i64; 3] = [15, 5, 1];

/// How long after the store could not be read the next try comes.
const RETRY: Duration = Duration::from_secs(5);

/// How long a pass waits for whoever works for a user just now: the next pass is not far, and others are not to wait for them.
const PATIENCE: Duration = Duration::from_secs(2);

/// Longest until the clock is looked at again: what waits does not see that it is set, or stands still with the host.
const CLOCK: Duration = Duration::from_secs(60);

/// How often the packet filter's rules are looked at while anything is served: they may be flushed by others.
const LOOK: Duration = Duration::from_secs(60);

/// Starts watching, first over what another broker left.
pub(super) fn start(broker: &Arc<Broker>) {
    // Before anybody is served: whoever joins a session sweeps what is read here.
    if let Err(error) = write_down(broker) {
        tracing::error!("what ended while no broker ran cannot be found: {error}");
    }
    let duty = Duty::new(broker);
    let broker = broker.clone();
    tokio::spawn(async move {
        take_over(&broker).await;
        drop(duty);
        tokio::spawn(keep_guard(broker.clone()));
        watch(broker).await;
    });
}

/// Writes down what ended while no broker ran.
fn write_down(broker: &Broker) -> Result<(), LockError> {
    for id in broker.core.leases().sessions()? {
        let left = broker.core.leases().left(&id)?;
        // A session that is gone has no more to tell than its end.
        let Some(record) = broker.core.store.get(&id).ok().flatten() else { continue };
        let held = broker.core.leases().held(&id)?;
        let (actor, now) = (Actor::Owner, broker.core.clock.now());
        let mut gone = BTreeSet::new();
        for lease in left {
            if let Some(command) = lease.noted() {
                // Whoever knew the status had nobody to tell.
                broker.audit.write(&Event::Command { command: &command, status: None }, &record, actor, now);
            }
            if !held.iter().any(|other| other.connection() == lease.connection()) {
                gone.insert(lease.connection());
            }
        }
        let remaining = broker.core.leases().count(&id)?;
        for _ in gone {
            broker.audit.write(&Event::Disconnect { remaining }, &record, actor, now);
        }
    }
    Ok(())
}

/// Brings every session into order, and waits for connections that another broker gave out.
async fn take_over(broker: &Arc<Broker>) {
    let inner = broker.clone();
    let done = tokio::task::spawn_blocking(move || {
        let records = match inner.core.store.all() {
            Ok(records) => records,
            Err(error) => return tracing::error!("{error}"),
        };
        for record in &records {
            super::follow::follow(&inner, record);
            match inner.core.leases().held(&record.id) {
                Ok(held) => held.into_iter().for_each(|lease| adopt(&inner, lease, record.clone())),
                Err(error) => tracing::error!("{error}"),
            }
        }
        let users: HashSet<_> = records.iter().map(|record| &record.key.user).collect();
        for user in users {
            if let Err(error) = inner.handle.block_on(inner.core.reconcile_user(user, PATIENCE)) {
                tracing::warn!(%user, "{}", chain(&error));
                inner.untidy().insert(user.clone());
                inner.owe_a_pass();
            }
        }
    });
    if let Err(panic) = done.await {
        tracing::error!("taking over failed: {panic}");
    }
}

/// Puts rules back that somebody has flushed, as long as there are sessions to keep away from the host.
async fn keep_guard(broker: Arc<Broker>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let inner = broker.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let sessions = inner.core.store.all().is_ok_and(|records| !records.is_empty());
            let guarded = inner.installation.load().is_ok_and(|layers| {
                layers.config.server.account.is_none() && layers.config.engine() != Some(EngineChoice::Podman)
            });
            if sessions
                && guarded
                && let Err(error) = inner.guard.ensure_now()
            {
                tracing::error!("containers cannot be kept away from this host: {}", chain(&error));
            }
        });
        let _ = looked.await;
    }
}

/// Waits for the end of a connection that another broker gave out.
fn adopt(broker: &Arc<Broker>, lease: HandedLease, record: SessionRecord) {
    let (name, connection, command) = (lease.name(), lease.connection(), lease.noted());
    // The broker that gave it out has written it down.
    let _ = broker.connections.enter(&record.id, &lease);
    let duty = Duty::new(broker);
    let broker = broker.clone();
    broker.handle.clone().spawn(async move {
        super::connections::end_of(lease).await;
        let inner = broker.clone();
        let left = move || {
            inner.departed(&record, &name, &connection);
            if let Some(command) = command {
                // The process tells its status to the broker that it came through.
                let event = Event::Command { command: &command, status: None };
                inner.audit.write(&event, &record, Actor::Owner, inner.core.clock.now());
            }
        };
        let _ = tokio::task::spawn_blocking(left).await;
        drop(duty);
    });
}

/// Acts on deadlines as they come.
async fn watch(broker: Arc<Broker>) {
    let mut warned = Warned::new();
    let mut trying: Option<Trying> = None;
    let mut is_time = false;
    loop {
        let now = broker.core.clock.now();
        let next = match broker.core.next_deadline(trying.as_ref().map(|trying| trying.tried)) {
            Ok(next) => next,
            Err(error) => {
                tracing::error!("{}", chain(&error));
                tokio::time::sleep(RETRY).await;
                continue;
            }
        };
        let warning = warn(&broker, now, &mut warned);
        if broker.owes_a_pass() || is_time || next.is_some_and(|next| next <= now) {
            is_time = false;
            // Made before the pass: an engine that comes back during it is not missed.
            let mut pass = trying.take().unwrap_or_else(|| Trying::new(&broker, now));
            if expire(&broker).await {
                pass.tried = now;
                trying = Some(pass);
            }
            continue;
        }
        let until = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or_default();
        let wait = [next, warning].into_iter().flatten().min().map(until);
        tokio::select! {
            () = broker.changed.notified() => {}
            () = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait.min(CLOCK)).await,
                    None => std::future::pending().await,
                }
            } => {}
            () = async {
                match &mut trying {
                    Some(trying) => trying.again.pause().await,
                    None => std::future::pending().await,
                }
            } => is_time = true,
        }
    }
}

/// Something that is over could not be removed.
struct Trying {
    /// Deadlines until then were acted upon.
    tried: Timestamp,
    /// When it is tried again.
    again: Again,
    /// The broker stays for it.
    _duty: Duty,
}

impl Trying {
    fn new(broker: &Arc<Broker>, now: Timestamp) -> Self {
        Self { tried: now, again: Again::new(broker), _duty: Duty::new(broker) }
    }
}

/// Removes what is over. True if not everything could be.
async fn expire(broker: &Arc<Broker>) -> bool {
    let duty = Duty::new(broker);
    let (inner, now) = (broker.clone(), broker.core.clock.now());
    let outcome = tokio::task::spawn_blocking(move || {
        tidy(&inner);
        inner.handle.block_on(inner.core.expire(PATIENCE))
    })
    .await;
    drop(duty);
    match outcome {
        // A session that lives in another engine is no failure, and due all the same.
        Ok(Ok(report)) => {
            let due = broker.core.next_deadline(None).ok().flatten();
            !report.failures.is_empty() || due.is_some_and(|due| due <= now) || !broker.untidy().is_empty()
        }
        Ok(Err(error)) => {
            tracing::warn!("{}", chain(&error));
            true
        }
        Err(panic) => {
            tracing::error!("a pass failed: {panic}");
            true
        }
    }
}

/// Brings into order what could not be when the broker began. Blocks.
fn tidy(broker: &Broker) {
    let users = std::mem::take(&mut *broker.untidy());
    for user in users {
        match broker.handle.block_on(broker.core.reconcile_user(&user, PATIENCE)) {
            // Whoever cleans up with that engine in use gets at it.
            Ok(()) | Err(SessionError::OtherEngine { .. }) => {}
            Err(error) => {
                tracing::debug!(%user, "{}", chain(&error));
                broker.untidy().insert(user);
            }
        }
    }
}

/// Warns those whose session ends soon; says when the next warning is due.
fn warn(broker: &Broker, now: Timestamp, warned: &mut Warned) -> Option<Timestamp> {
    let sessions = broker.attached.sessions_with_people();
    warned.retain(|(id, _)| sessions.contains(id));
    let mut next = None;
    for id in sessions {
        let Ok(Some(record)) = broker.core.store.get(&id) else { continue };
        let Some(end) = record.max_lifetime else { continue };
        if let Some(text) = warning(&id, end, now, warned) {
            broker.attached.tell_people(&id, &text);
        }
        let coming = WARNINGS.into_iter().map(|minutes| before(end, minutes)).filter(|at| *at > now).min();
        next = [next, coming].into_iter().flatten().min();
    }
    next
}

/// Sessions and the minutes of warnings that need not be given any more.
type Warned = HashSet<(String, i64)>;

/// What is to be said now at a session that ends then. Of several warnings that are due, only the latest is said.
fn warning(id: &str, end: Timestamp, now: Timestamp, warned: &mut Warned) -> Option<String> {
    let due = WARNINGS.into_iter().filter(|minutes| before(end, *minutes) <= now);
    let new = due.fold(false, |new, minutes| warned.insert((id.to_owned(), minutes)) | new);
    if !new || end <= now {
        return None;
    }
    let minutes = (end.duration_since(now).as_secs() + 59) / 60;
    let unit = if minutes == 1 { "minute" } else { "minutes" };
    Some(format!("this session ends in {minutes} {unit}: it reaches its maximum lifetime"))
}

fn before(end: Timestamp, minutes: i64) -> Timestamp {
    end.checked_sub(SignedDuration::from_mins(minutes)).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said at these seconds before the end, one word for each.
    fn said(seconds: &[i64]) -> Vec<String> {
        let end = Timestamp::from_second(1_000_000).unwrap();
        let mut warned = Warned::new();
        let mut say = |left: &i64| warning("one", end, end - SignedDuration::from_secs(*left), &mut warned);
        seconds
            .iter()
            .map(|left| say(left).map_or("-".into(), |text| text[21..23].trim().to_owned()))
            .collect()
    }

    #[test]
    fn people_are_warned_fifteen_five_and_one_minute_before_the_end_and_once_each() {
        let seconds = [3600, 901, 900, 899, 301, 300, 299, 61, 60, 30, 1, 0, -1];
        assert_eq!(said(&seconds), ["-", "-", "15", "-", "-", "5", "-", "-", "1", "-", "-", "-", "-"]);
    }

    #[test]
    fn whoever_comes_late_hears_only_how_long_it_is_now() {
        assert_eq!(said(&[240, 200, 60]), ["4", "-", "1"]);
        assert_eq!(said(&[30, 20]), ["1", "-"]);
        assert_eq!(said(&[0]), ["-"]);
    }

    #[test]
    fn sessions_are_warned_each_for_itself() {
        let (end, mut warned) = (Timestamp::from_second(1_000_000).unwrap(), Warned::new());
        let now = before(end, 1);
        for id in ["one", "two"] {
            assert_eq!(
                warning(id, end, now, &mut warned).as_deref(),
                Some("this session ends in 1 minute: it reaches its maximum lifetime")
            );
        }
    }
}
