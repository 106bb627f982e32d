//! Named volumes: made with the session that first wants them, and there until somebody removes them by name.
//!
//! They carry no session's id, so that no cleanup takes one for something left behind; except those of throwaway machines.

use std::collections::{BTreeMap, BTreeSet};

use podspawn_runtimes::{Engine, Labels, Runtime};

use super::core::{Core, EngineSource, label};
use super::error::SessionError;
use super::guest_port::GuestPort;
use crate::names::{SessionKey, UserName};
use crate::spec::{Kind, SessionSpec};
use crate::state::{Object, ObjectKind, SessionRecord};

impl<S: EngineSource, G: GuestPort> Core<S, G> {
    /// Makes the volumes of a session and of its services that are not there yet. One of that name that belongs to
    /// anybody else is an error. Those of a throwaway machine are its own, and go with it.
    pub(super) async fn make_volumes(
        &self,
        record: &SessionRecord,
        spec: &SessionSpec,
        engine: &Runtime,
    ) -> Result<(), SessionError> {
        let environment = &spec.environment;
        let of_services = environment.services.iter().flat_map(|service| &service.volumes);
        let wanted: BTreeSet<&str> =
            environment.volumes.iter().chain(of_services).map(|volume| volume.name.as_str()).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        // All of them: an engine takes making one that exists as done, whosever it is.
        let there: BTreeMap<String, Labels> =
            engine.volumes(&Labels::new()).await?.into_iter().map(|one| (one.name, one.labels)).collect();
        // Looked at before any is made.
        for name in &wanted {
            if there.get(*name).is_some_and(|labels| !self.owns_volume(&spec.key.user, labels)) {
                return Err(SessionError::Foreign { kind: "volume", name: (*name).into() });
            }
        }
        let mut labels = self.volume_labels(&spec.key);
        if record.kind == Kind::Throwaway {
            labels.insert(label::SESSION.into(), record.id.clone());
        }
        for name in wanted.into_iter().filter(|name| !there.contains_key(*name)) {
            // Before it exists. It stays in the list until the session runs: what does not come to that leaves none behind.
            let object = Object { kind: ObjectKind::Volume, name: name.into(), id: None };
            self.store.add_object(&record.id, &object)?;
            engine.create_volume(name, &labels).await?;
        }
        Ok(())
    }

    /// Names of the volumes of a project, machine or `dev` session, whether it exists or not.
    pub async fn volumes_of(&self, key: &SessionKey) -> Result<Vec<String>, SessionError> {
        let engine = self.engines.engine().await?;
        let found = engine.volumes(&self.volume_labels(key)).await?;
        let mut names: Vec<String> = found
            .into_iter()
            .filter(|one| !one.labels.contains_key(label::SESSION))
            .map(|one| one.name)
            .collect();
        names.sort();
        Ok(names)
    }

    /// Removes volumes of a user, and says which were there. One that is in use, or that is not this user's, is an error
    /// that comes after the others are gone.
    pub async fn remove_volumes(
        &self,
        user: &UserName,
        names: &[String],
    ) -> Result<Vec<String>, SessionError> {
        let engine = self.engines.engine().await?;
        let there: BTreeMap<String, Labels> =
            engine.volumes(&Labels::new()).await?.into_iter().map(|one| (one.name, one.labels)).collect();
        let (mut removed, mut failure) = (Vec::new(), None);
        for name in names {
            let Some(labels) = there.get(name) else { continue };
            if !self.owns_volume(user, labels) {
                failure = Some(SessionError::Foreign { kind: "volume", name: name.clone() });
                continue;
            }
            match engine.remove_volume(name).await {
                Ok(()) => removed.push(name.clone()),
                Err(error) => failure = Some(error.into()),
            }
        }
        match failure {
            Some(error) => {
                for name in removed {
                    tracing::info!(name, "removed volume");
                }
                Err(error)
            }
            None => Ok(removed),
        }
    }

    /// Removes the volumes that a session has in its list: of a throwaway machine all, of any other those that were made
    /// for it and that it never came to use.
    pub(super) async fn discard_volumes(
        &self,
        record: &SessionRecord,
        engine: &Runtime,
        names: &[&str],
    ) -> Vec<podspawn_runtimes::Result<()>> {
        let labels = match record.kind {
            Kind::Throwaway => self.own(record),
            Kind::Machine | Kind::Session => self.volume_labels(&record.key),
        };
        let there = match engine.volumes(&labels).await {
            Ok(there) => there,
            Err(error) => return vec![Err(error)],
        };
        let mut outcomes = Vec::new();
        for volume in there {
            let listed = !volume.labels.contains_key(label::SESSION) && names.contains(&volume.name.as_str());
            if record.kind == Kind::Throwaway || listed {
                outcomes.push(engine.remove_volume(&volume.name).await);
            }
        }
        outcomes
    }

    fn volume_labels(&self, key: &SessionKey) -> Labels {
        Labels::from([
            (label::MANAGED_BY.into(), label::PODSPAWN.into()),
            (label::USER.into(), key.user.to_string()),
            (label::INSTALLATION.into(), self.store.installation().into()),
            (label::PROJECT.into(), key.project().into()),
        ])
    }

    fn owns_volume(&self, user: &UserName, labels: &Labels) -> bool {
        let is = |name: &str, value: &str| labels.get(name).is_some_and(|found| found == value);
        is(label::USER, user.as_str())
            && is(label::INSTALLATION, self.store.installation())
            && !labels.contains_key(label::SESSION)
    }
}
