//! Joining a session, or making the one that is missing.

use std::collections::BTreeSet;
use std::time::Duration;

use podspawn_runtimes::{Engine, Runtime};

use super::core::{Core, EngineSource, Session, display_name};
use super::decide::{Verdict, judge};
use super::error::SessionError;
use super::guest_port::GuestPort;
use super::image::Wanted;
use super::report::{Cancel, Report};
use super::settle::{Purpose, is_alive};
use crate::names::{ImageRef, SessionKey, UserName};
use crate::spec::SessionSpec;
use crate::state::{Holder, LockError, SessionRecord, Status};

/// How long the quick way waits for another process: joins hold the lock for a millisecond or two.
const QUICK_LIMIT: Duration = Duration::from_millis(250);

/// What is to happen if the session exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exists {
    /// It is joined.
    Join,
    /// It is an error.
    Refuse,
}

/// Who connects, and what for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Caller {
    /// In whose name the lease is held.
    pub holder: Holder,
    /// Only the container's network is wanted. A session that is made for that is in no count, table or limit until
    /// somebody attaches to it.
    pub network_only: bool,
}

/// A connection, and whether its session was made for it.
#[derive(Debug)]
pub struct Acquired {
    /// The connection.
    pub session: Session,
    /// The session is new.
    pub created: bool,
}

impl<S, G> Core<S, G> {
    /// Joins a session that runs, without any call to the engine and without an async runtime. None if there is none,
    /// or if more than a look is needed: then [`Core::join`] or [`Core::acquire`] finds out.
    pub fn try_join(&self, key: &SessionKey) -> Result<Option<Session>, SessionError> {
        self.try_join_as(key, &Caller::default())
    }

    /// As [`Core::try_join`].
    pub fn try_join_as(&self, key: &SessionKey, caller: &Caller) -> Result<Option<Session>, SessionError> {
        let _lock = match self.locks().lock_blocking(&key.user, QUICK_LIMIT) {
            Ok(lock) => lock,
            Err(LockError::Timeout { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(record) = self.store.find(key)? else { return Ok(None) };
        let connections = self.leases().sweep(&record.id)?;
        match judge(&record, connections, self.now()) {
            Verdict::Keep | Verdict::Resume | Verdict::StartGrace(_) => {}
            Verdict::BeingMade | Verdict::Destroy(_) => return Ok(None),
        }
        if !record.process.as_ref().is_some_and(is_alive) {
            return Ok(None);
        }
        // Services may have ended while nobody was there.
        if connections == 0 && !record.service_ids.is_empty() && !caller.network_only {
            return Ok(None);
        }
        // The first who attaches makes it count: that is for whoever knows the limits.
        if !record.attached && !caller.network_only {
            return Ok(None);
        }
        self.connect(record, caller).map(Some)
    }

    /// Counts a connection to a session that is known to run. The caller holds the user's lock.
    fn connect(&self, mut record: SessionRecord, caller: &Caller) -> Result<Session, SessionError> {
        // The lease comes first: should this process end in between, the session counts as left, never as held.
        let lease = self.leases().take_as(&record.id, &caller.holder)?;
        record.status = Status::Running;
        record.grace_expiry = None;
        record.attached |= !caller.network_only;
        record.last_activity = self.now();
        self.store.update(&record)?;
        Ok(Session { record, lease })
    }
}

impl<S: EngineSource, G: GuestPort> Core<S, G> {
    /// Joins a session, starting its container again if that stands still and is worth it. None if there is none (any
    /// more). Never makes one.
    pub async fn join(
        &self,
        key: &SessionKey,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<Option<Session>, SessionError> {
        let _lock = self.lock(&key.user, report, cancel).await?;
        match self.settled(key, report, cancel).await? {
            Some(record) => self.connect(record, &Caller::default()).map(Some),
            None => Ok(None),
        }
    }

    /// Joins the session of that spec or makes it.
    pub async fn acquire(
        &self,
        spec: &SessionSpec,
        exists: Exists,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<Acquired, SessionError> {
        self.acquire_as(spec, exists, &Caller::default(), report, cancel).await
    }

    /// As [`Core::acquire`]. Who wants the network only gets no image pulled or built: it must be there.
    pub async fn acquire_as(
        &self,
        spec: &SessionSpec,
        exists: Exists,
        caller: &Caller,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<Acquired, SessionError> {
        let mut pulled = BTreeSet::new();
        loop {
            let lock = self.lock(&spec.key.user, report, cancel).await?;
            if let Some(record) = self.settled(&spec.key, report, cancel).await? {
                if exists == Exists::Refuse {
                    return Err(SessionError::InUse { name: display_name(&record) });
                }
                if !record.attached && !caller.network_only {
                    self.store.check_limits(&spec.key.user, spec.limits)?;
                }
                return Ok(Acquired { session: self.connect(record, caller)?, created: false });
            }
            self.tidy_others(&spec.key, report, cancel).await?;
            if !caller.network_only {
                self.store.check_limits(&spec.key.user, spec.limits)?;
            }
            let engine = self.engines.engine().await?;
            let Some((image, wanted)) = missing_image(spec, engine, &pulled).await? else {
                let session = Box::pin(self.create(spec, engine, caller, report, cancel)).await?;
                return Ok(Acquired { session, created: true });
            };
            if caller.network_only {
                return Err(SessionError::ImageMissing { image: image.to_string() });
            }
            // A pull or a build may take minutes: nobody else of this user has to wait for it.
            drop(lock);
            self.fetch_image(image, wanted, report, cancel).await?;
            pulled.insert(image);
        }
    }

    /// The session of a key as it really is.
    async fn settled(
        &self,
        key: &SessionKey,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<Option<SessionRecord>, SessionError> {
        match self.store.find(key)? {
            Some(record) => Box::pin(self.settle(record, Purpose::Join, report, cancel)).await,
            None => Ok(None),
        }
    }

    /// Makes what the store says of one session true: finishes off what was left half-made or half-removed, removes
    /// what is over, starts the grace period of what was left without a word.
    pub async fn reconcile(&self, key: &SessionKey) -> Result<Option<SessionRecord>, SessionError> {
        let (report, cancel) = (&mut super::report::Silent, &Cancel::never());
        let _lock = self.lock(&key.user, report, cancel).await?;
        match self.store.find(key)? {
            Some(record) => Box::pin(self.settle(record, Purpose::Tidy, report, cancel)).await,
            None => Ok(None),
        }
    }

    /// As [`Core::reconcile`] for every session of a user; gives the first error, after all of them were looked at. Waits for
    /// whoever works for the user at most that long.
    pub async fn reconcile_user(&self, user: &UserName, patience: Duration) -> Result<(), SessionError> {
        let (report, cancel) = (&mut super::report::Silent, &Cancel::never());
        let _lock = self.locks().lock(user, patience, |_| {}).await?;
        let mut outcome = Ok(());
        for record in self.store.of_user(user)? {
            let settled = Box::pin(self.settle(record, Purpose::Tidy, report, cancel)).await;
            outcome = outcome.and(settled.map(drop));
        }
        outcome
    }

    /// Acts on the same user's other sessions that are over or were left half-way; those that run are not looked at.
    /// What cannot be done does not stop the caller, the next cleanup tries again.
    async fn tidy_others(
        &self,
        but: &SessionKey,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<(), SessionError> {
        for record in self.store.of_user(&but.user)? {
            let verdict = judge(&record, self.leases().count(&record.id)?, self.now());
            if record.key == *but || verdict == Verdict::Keep {
                continue;
            }
            let name = display_name(&record);
            if let Err(error) = Box::pin(self.settle(record, Purpose::Tidy, report, cancel)).await {
                tracing::warn!(user = %but.user, project = name, "could not tidy up: {error}");
            }
        }
        Ok(())
    }
}

/// The first image that the engine lacks, of the session's and its services'. What was pulled a moment ago is there.
async fn missing_image<'a>(
    spec: &'a SessionSpec,
    engine: &Runtime,
    pulled: &BTreeSet<&'a ImageRef>,
) -> Result<Option<(&'a ImageRef, Wanted<'a>)>, SessionError> {
    let own = (&spec.image, Wanted::BySession(spec.environment.recipe.as_ref()));
    let services = spec.environment.services.iter();
    let services = services.map(|service| (&service.image, Wanted::ByService(&service.name)));
    let mut seen = BTreeSet::new();
    for (image, wanted) in std::iter::once(own).chain(services) {
        if !pulled.contains(image) && seen.insert(image) && engine.image(image.as_str()).await?.is_none() {
            return Ok(Some((image, wanted)));
        }
    }
    Ok(None)
}
