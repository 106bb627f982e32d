//! Removing a session: container, services, network, volumes, directories, row. Goes on past errors.

use podspawn_runtimes::{Engine, EngineError, Runtime};

use super::core::{Core, EngineSource, display_name};
use super::decide::Reason;
use super::error::SessionError;
use super::guest_port::GuestPort;
use super::report::{Cancel, Report, Step};
use crate::names::SessionKey;
use crate::spec::Kind;
use crate::state::{Object, ObjectKind, SessionRecord, Status, StoreError};

/// A session that was removed.
#[derive(Debug, Clone, PartialEq)]
pub struct Destroyed {
    /// The session as it was.
    pub record: SessionRecord,
}

impl<S: EngineSource, G: GuestPort> Core<S, G> {
    /// Removes the session of a key, connections or not. None if there is none. Fails with
    /// [`SessionError::NotRemoved`] if something is left; that stays recorded, and the next cleanup tries again.
    pub async fn destroy(
        &self,
        key: &SessionKey,
        reason: Reason,
        report: &mut dyn Report,
    ) -> Result<Option<Destroyed>, SessionError> {
        let _lock = self.lock(&key.user, report, &Cancel::never()).await?;
        let Some(record) = self.store.find(key)? else { return Ok(None) };
        self.remove(record.clone(), reason, report).await?;
        Ok(Some(Destroyed { record }))
    }

    /// Removes everything of a session. The caller holds the user's lock.
    pub(super) async fn remove(
        &self,
        mut record: SessionRecord,
        reason: Reason,
        report: &mut dyn Report,
    ) -> Result<(), SessionError> {
        // The engine first: a session that lives in another one, or whose engine is away, stays what it is.
        let engine = self.engine_of(&record).await?;
        report.step(Step::Removing { container: &record.container_name });
        if let Some(observer) = &self.observer {
            observer.removing(&record, reason);
        }
        if record.status != Status::Destroying {
            record.status = Status::Destroying;
            record.grace_expiry = None;
            match self.store.update(&record) {
                // What is removed may be what fills the disk; and a row that is left is then one whose container is gone.
                Err(error @ StoreError::Full { .. }) => {
                    tracing::warn!(user = %record.key.user, container = record.container_name, "{error}");
                }
                other => drop(other?),
            }
        }
        let failures = self.dismantle(&record, engine, report).await?;
        if !failures.is_empty() {
            return Err(SessionError::NotRemoved { name: display_name(&record), failures });
        }
        // The row goes last: as long as anything may be left, something tells of it.
        self.leases().forget(&record.id)?;
        self.setups().forget(&record.id)?;
        if record.kind == Kind::Session && record.attached && reason.is_a_surprise() {
            self.store.set_note(&end_note(&record.key), reason.as_str())?;
        }
        self.store.delete(&record.id)?;
        tracing::info!(
            user = %record.key.user, project = record.key.project(), container = record.container_name,
            reason = reason.as_str(), "session destroyed"
        );
        if let Some(observer) = &self.observer {
            observer.removed(&record, reason);
        }
        Ok(())
    }

    /// How the previous session of a key ended, if its owner was not there to see it. Told once.
    pub fn previous_end(&self, key: &SessionKey) -> Result<Option<String>, SessionError> {
        Ok(self.store.take_note(&end_note(key))?)
    }

    /// Removes what a session owns and returns what could not be removed, one fragment each. Fails if the engine is away.
    async fn dismantle(
        &self,
        record: &SessionRecord,
        engine: &Runtime,
        report: &mut dyn Report,
    ) -> Result<Vec<String>, SessionError> {
        let objects = self.store.objects(&record.id)?;
        let of = |kind| objects.iter().filter(move |object: &&Object| object.kind == kind);
        let (mut failures, mut away) = (Vec::new(), None);
        let mut note = |outcome: podspawn_runtimes::Result<()>| {
            if let Err(error) = outcome {
                tracing::warn!(user = %record.key.user, container = record.container_name, "{error}");
                failures.push(error.to_string());
                if matches!(error, EngineError::Unreachable { .. }) {
                    away = Some(error);
                }
            }
        };
        match self.container_ids(record, engine, of(ObjectKind::Container)).await {
            Ok(ids) => {
                for id in ids {
                    note(engine.remove_container(&id).await);
                }
            }
            Err(error) => note(Err(error)),
        }
        match self.network_ids(record, engine, of(ObjectKind::Network)).await {
            Ok(ids) => {
                for id in ids {
                    note(engine.remove_network(&id).await);
                }
            }
            Err(error) => note(Err(error)),
        }
        let volumes: Vec<&str> = of(ObjectKind::Volume).map(|object| object.name.as_str()).collect();
        if !volumes.is_empty() {
            let outcomes = Box::pin(self.discard_volumes(record, engine, &volumes)).await;
            outcomes.into_iter().for_each(&mut note);
        }
        for directory in of(ObjectKind::Directory) {
            if let Err(failure) =
                Box::pin(self.remove_directory(record, engine, &directory.name, report)).await
            {
                failures.push(failure);
            }
        }
        // That the engine is away says more than what could not be removed therefore.
        away.map_or(Ok(failures), |error| Err(error.into()))
    }

    /// Ids of a session's containers. What was recorded by name only is looked for by its labels: the maker may have died
    /// before it heard the id, and something else may have that name.
    async fn container_ids(
        &self,
        record: &SessionRecord,
        engine: &Runtime,
        objects: impl Iterator<Item = &Object>,
    ) -> podspawn_runtimes::Result<Vec<String>> {
        match known_ids(objects) {
            Some(ids) => Ok(ids),
            None => {
                Ok(engine.containers(&self.own(record)).await?.into_iter().map(|found| found.id).collect())
            }
        }
    }

    /// As [`Core::container_ids`] for networks.
    async fn network_ids(
        &self,
        record: &SessionRecord,
        engine: &Runtime,
        objects: impl Iterator<Item = &Object>,
    ) -> podspawn_runtimes::Result<Vec<String>> {
        match known_ids(objects) {
            Some(ids) => Ok(ids),
            None => Ok(engine.networks(&self.own(record)).await?.into_iter().map(|found| found.id).collect()),
        }
    }
}

fn end_note(key: &SessionKey) -> String {
    format!("end of {key}")
}

/// The ids, if every one is known.
fn known_ids<'a>(objects: impl Iterator<Item = &'a Object>) -> Option<Vec<String>> {
    objects.map(|object| object.id.clone()).collect()
}
