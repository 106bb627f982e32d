//! Making a session: everything that is going to exist is written down first, and undone if it does not come to an end.

use std::time::Duration;

use futures_util::StreamExt;
use podspawn_runtimes::{ContainerSpec, Engine, Labels, NetworkSpec, Runtime};
use uuid::{NoContext, Uuid};

use super::acquire::Caller;
use super::container_spec::{self, session_directory};
use super::copy;
use super::core::{Core, EngineSource, Orphan, Session, engine_name, label};
use super::decide::{Reason, later};
use super::error::SessionError;
use super::guest_port::GuestPort;
use super::prepare;
use super::report::{Cancel, Report, Silent, Step};
use super::settle::Services;
use crate::spec::{Kind, Limits, Mode, SessionSpec};
use crate::state::{AttachWay, Object, ObjectKind, SessionRecord, SetupState, Status};
use crate::system::cpus;
use crate::system::files::free_bytes;

/// How long an engine may take to finish making a container whose caller died meanwhile.
const LATE_LIMIT: Duration = Duration::from_secs(10);

/// Free bytes of the engine's disk below which a server makes no further session: those that run need them.
const LEAST_FREE: u64 = 256 << 20;

impl<S: EngineSource, G: GuestPort> Core<S, G> {
    /// Makes a session, whose image is present. The caller holds the user's lock.
    pub(super) async fn create(
        &self,
        spec: &SessionSpec,
        engine: &Runtime,
        caller: &Caller,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<Session, SessionError> {
        // Whatever can be refused is refused before anything exists.
        if spec.kind == Kind::Session
            && let Some(root) = &engine.facts().data_root
            && let Ok(free) = free_bytes(root)
            && free < LEAST_FREE
        {
            return Err(SessionError::DiskNearlyFull { free_mb: free >> 20 });
        }
        let seccomp = prepare::seccomp(&spec.security.seccomp)?;
        copy::check_copy(spec)?;
        let (mut record, objects) = self.plan(spec, engine);
        record.attached = !caller.network_only;
        // The lease comes before the row: a row in state `creating` without one has lost its maker.
        let lease = self.leases().take_as(&record.id, &caller.holder)?;
        let limits = if caller.network_only { Limits::default() } else { spec.limits };
        if let Err(error) = self.store.insert(&record, &objects, limits) {
            lease.end();
            self.leases().forget(&record.id)?;
            return Err(error.into());
        }
        report.step(Step::Creating { container: &record.container_name, image: &record.image });
        // On the heap: it is large, and whoever makes a session may have a small stack.
        match Box::pin(self.build(&mut record, spec, seccomp, engine, report, cancel)).await {
            Ok(()) => {
                if let Some(observer) = &self.observer {
                    observer.created(&record);
                }
                Ok(Session { record, lease })
            }
            Err(error) => {
                lease.end();
                // The first error is the one that tells what went wrong; what cannot be undone stays recorded.
                if let Err(left) = self.remove(record, Reason::Unfinished, &mut Silent).await {
                    tracing::warn!("after a session could not be made: {left}");
                }
                Err(error)
            }
        }
    }

    /// The row of a session to be made, and everything that is going to exist, by name.
    fn plan(&self, spec: &SessionSpec, engine: &Runtime) -> (SessionRecord, Vec<Object>) {
        let now = self.now();
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let nanoseconds = u32::try_from(now.subsec_nanosecond()).unwrap_or_default();
        let id = Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanoseconds)).to_string();
        let facts = engine.facts();
        let directory = session_directory(&self.dirs.sessions, &id);
        let with_socket = prepare::needs_socket_directory(facts, self.uid);
        let socket_dir = with_socket.then(|| prepare::socket_directory(&directory).display().to_string());
        let expires = spec.kind == Kind::Session && spec.mode != Mode::Persistent;
        let lifetime = i64::try_from(spec.max_lifetime.as_secs()).unwrap_or(i64::MAX);
        let object = |kind, name: String| Object { kind, name, id: None };
        let mut objects = vec![object(ObjectKind::Container, spec.key.container_name())];
        let services =
            spec.environment.services.iter().map(|service| spec.key.service_container(&service.name));
        objects.extend(services.map(|name| object(ObjectKind::Container, name)));
        objects.push(object(ObjectKind::Network, spec.key.network_name()));
        if with_socket || spec.security.readonly_rootfs {
            objects.push(object(ObjectKind::Directory, directory.display().to_string()));
        }
        let record = SessionRecord {
            id,
            key: spec.key.clone(),
            kind: spec.kind,
            status: Status::Creating,
            container_id: String::new(),
            container_name: spec.key.container_name(),
            image: spec.image.to_string(),
            network_id: String::new(),
            service_ids: Vec::new(),
            mode: spec.mode,
            grace_seconds: i64::try_from(spec.grace_period.as_secs()).unwrap_or(i64::MAX),
            shell: spec.account.shell.clone(),
            account: spec.account.name.clone(),
            created_at: now,
            last_activity: now,
            max_lifetime: expires.then(|| later(now, lifetime)),
            grace_expiry: None,
            attach: AttachWay::Engine,
            socket_dir,
            process: None,
            attached: true,
            start_dir: spec.environment.start_dir.clone(),
            setup: if spec.environment.setup.is_empty() { SetupState::Done } else { SetupState::Pending },
            engine: engine_name(facts),
        };
        (record, objects)
    }

    /// Makes everything and fills in `record`. No engine call is ever dropped half-way: an engine may finish what nobody
    /// waits for any more. A wish to give up is looked at between the calls.
    async fn build(
        &self,
        record: &mut SessionRecord,
        spec: &SessionSpec,
        seccomp: podspawn_runtimes::Seccomp,
        engine: &Runtime,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<(), SessionError> {
        check(cancel)?;
        let network = container_spec::network(spec, record, self.labels(record));
        // Side by side, and neither is dropped when the other fails.
        let (network, files) = {
            let record = &*record;
            tokio::join!(
                self.make_network(record, engine, network),
                self.prepare_files(record, spec, engine, seccomp)
            )
        };
        record.network_id = network?;
        let mut prepared = files?;
        prepared.network.clone_from(&record.network_id);
        check(cancel)?;
        Box::pin(self.make_volumes(record, spec, engine)).await?;
        check(cancel)?;
        Box::pin(self.make_services(record, spec, engine, &mut prepared, report, cancel)).await?;
        let mut container =
            container_spec::container(spec, record, engine.facts(), self.labels(record), &prepared);
        for line in engine.facts().fit(&mut container) {
            tracing::info!(container = record.container_name, "{line}");
        }
        if engine.facts().local {
            container.cpus = container.cpus.map(at_most_all_cpus);
        }
        record.container_id = self.make_container(record, engine, &container).await?;
        check(cancel)?;
        // Before it starts: what runs under gVisor no longer sees what is put in from outside.
        Box::pin(self.copy_files(record, spec, engine, report, cancel)).await?;
        self.start(record, engine, &record.container_id).await?;
        check(cancel)?;
        *record = self.make_ready(record.clone(), engine, Services::Needed, report, cancel).await?;
        Ok(())
    }

    async fn make_network(
        &self,
        record: &SessionRecord,
        engine: &Runtime,
        network: NetworkSpec,
    ) -> Result<String, SessionError> {
        let id = match engine.create_network(&network).await {
            Err(error) if error.is_conflict() => {
                let matching = engine.networks(&self.installation()).await?;
                let left = matching.into_iter().find(|found| found.name == network.name);
                let Some(left) = left.filter(|left| self.is_orphan(&left.labels)) else {
                    return Err(SessionError::Foreign { kind: "network", name: network.name });
                };
                // What is still in it lost its session with it: after a state was restored that is older.
                for found in engine.containers(&self.installation()).await? {
                    let together = found.labels.get(label::SESSION) == left.labels.get(label::SESSION);
                    if together && self.is_orphan(&found.labels) {
                        self.remove_orphaned_container(engine, &found.id, &found.name, &found.labels).await?;
                    }
                }
                engine.remove_network(&left.id).await?;
                engine.create_network(&network).await?
            }
            other => other?,
        };
        self.store.set_object_id(&record.id, ObjectKind::Network, &network.name, &id)?;
        Ok(id)
    }

    /// Makes the container. A name that is taken by a leftover of this installation is freed, never one of anybody else.
    pub(super) async fn make_container(
        &self,
        record: &SessionRecord,
        engine: &Runtime,
        container: &ContainerSpec,
    ) -> Result<String, SessionError> {
        let created = match engine.create_container(container).await {
            Err(error) if error.is_conflict() => {
                self.free_name(engine, &container.name).await?;
                engine.create_container(container).await?
            }
            other => other?,
        };
        self.store.set_object_id(&record.id, ObjectKind::Container, &container.name, &created.id)?;
        for warning in created.warnings {
            tracing::warn!(container = container.name, "{warning}");
        }
        Ok(created.id)
    }

    /// Starts a container of a session. A network of the same name that an engine made late, for a process that was dead by
    /// then, makes Docker refuse: it finds a container's network by its name.
    pub(super) async fn start(
        &self,
        record: &SessionRecord,
        engine: &Runtime,
        container: &str,
    ) -> Result<(), SessionError> {
        let Err(error) = engine.start_container(container).await else { return Ok(()) };
        let name = record.key.network_name();
        let mut removed = 0;
        for found in engine.networks(&self.installation()).await? {
            if found.name == name && self.is_orphan(&found.labels) {
                engine.remove_network(&found.id).await?;
                removed += 1;
            }
        }
        match removed {
            0 => Err(error.into()),
            _ => Ok(engine.start_container(container).await?),
        }
    }

    /// Removes what a dead process of this installation left under a container's name; fails if it is anybody else's.
    async fn free_name(&self, engine: &Runtime, name: &str) -> Result<(), SessionError> {
        // Listened to before looking, so that nothing is missed in between.
        let mut events = engine.events(&self.installation()).await?;
        let mut found = engine.container(name).await?;
        if found.is_none() {
            // The engine has taken the name for a container that it is still making: its caller died meanwhile.
            let made = async {
                while let Some(Ok(event)) = events.next().await {
                    if event.name.as_deref() == Some(name) {
                        break;
                    }
                }
            };
            // If it is given up instead, nothing tells of it, and the name is free again.
            let _ = tokio::time::timeout(LATE_LIMIT, made).await;
            found = engine.container(name).await?;
        }
        match found {
            None => Ok(()),
            Some(left) if self.is_orphan(&left.labels) => {
                self.remove_orphaned_container(engine, &left.id, name, &left.labels).await
            }
            Some(_) => Err(SessionError::Foreign { kind: "container", name: name.into() }),
        }
    }

    /// Removes a container that has lost its session, and says so to whoever records such things.
    pub(super) async fn remove_orphaned_container(
        &self,
        engine: &Runtime,
        id: &str,
        name: &str,
        labels: &Labels,
    ) -> Result<(), SessionError> {
        engine.remove_container(id).await?;
        let told = |label: &str| labels.get(label).map_or("", String::as_str);
        if let Some(observer) = &self.observer {
            let (user, session) = (told(label::USER), told(label::SESSION));
            observer.orphan_removed(&Orphan { user, session, container: id, name });
        }
        Ok(())
    }

    /// What everything of this installation carries.
    pub(super) fn installation(&self) -> Labels {
        Labels::from([(label::INSTALLATION.into(), self.store.installation().into())])
    }

    /// Whether something in the engine was made by this installation for a session that is no more.
    pub(super) fn is_orphan(&self, labels: &Labels) -> bool {
        let ours = labels.get(label::INSTALLATION).is_some_and(|id| id == self.store.installation());
        let session = labels.get(label::SESSION).map(|id| self.store.get(id));
        ours && matches!(session, Some(Ok(None)))
    }
}

/// Engines refuse a limit beyond the processors they have, and it would limit nothing.
pub(super) fn at_most_all_cpus(wanted: f64) -> f64 {
    cpus::online().map_or(wanted, |there| wanted.min(f64::from(there)))
}

pub(super) fn check(cancel: &Cancel) -> Result<(), SessionError> {
    if cancel.is_cancelled() { Err(SessionError::Cancelled) } else { Ok(()) }
}
