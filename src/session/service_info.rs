//! What is known of a running session's services, ports and files; the engine is asked.

use std::path::PathBuf;

use futures_util::stream::BoxStream;
use podspawn_runtimes::{ContainerInfo, ContainerState, Engine, EngineError, ExecOutput, Health, LogOptions};
use serde::{Deserialize, Serialize};

use super::core::{Core, EngineSource, display_name, label};
use super::error::SessionError;
use super::guest_port::GuestPort;
use super::list::Listed;
use super::services::Companion;
use crate::names::ServiceName;
use crate::spec::PortBinding;
use crate::state::{ObjectKind, SessionRecord, Status};

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceState {
    /// Its health check has not succeeded yet, or its session is being made and waits for its ports.
    Starting,
    /// It runs, and its health check succeeds if it has one.
    Ready,
    /// It runs, and its health check fails.
    Unhealthy,
    /// It does not run.
    Exited,
}

impl From<&ContainerInfo> for ServiceState {
    fn from(info: &ContainerInfo) -> Self {
        match (info.state, info.health) {
            (ContainerState::Created | ContainerState::Exited, _) => Self::Exited,
            (ContainerState::Running, Some(Health::Starting)) => Self::Starting,
            (ContainerState::Running, Some(Health::Unhealthy)) => Self::Unhealthy,
            (ContainerState::Running, Some(Health::Healthy) | None) => Self::Ready,
        }
    }
}

/// A service for programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedService {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// How it is.
    pub state: ServiceState,
}

/// A service of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
    /// The engine's id of its container.
    pub container_id: String,
    /// Ports that it is ready with.
    pub ports: Vec<u16>,
    /// Its address on the session's network, while it has one.
    pub address: Option<String>,
    /// How it is.
    pub state: ServiceState,
}

impl<S: EngineSource, G: GuestPort> Core<S, G> {
    /// The services of a session in start order, as far as their containers exist.
    pub async fn services(&self, record: &SessionRecord) -> Result<Vec<ServiceView>, SessionError> {
        let being_made = record.status == Status::Creating;
        let ids = match being_made {
            true => self.services_so_far(record)?,
            false => record.service_ids.clone(),
        };
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let engine = self.engine_of(record).await?;
        let mut services = Vec::new();
        for id in &ids {
            let Some(info) = engine.container(id).await? else { continue };
            let mut state = ServiceState::from(&info);
            let companion = Companion::of(&info);
            // A container that only helps to make the session.
            if companion.name.is_empty() {
                continue;
            }
            // Only who makes the session knows whether its ports are open, and is done when all are.
            if being_made && state == ServiceState::Ready && !companion.checked && companion.is_waited_for() {
                state = ServiceState::Starting;
            }
            let Companion { id, name, image, ports, address, .. } = companion;
            services.push(ServiceView { name, image, container_id: id, ports, address, state });
        }
        Ok(services)
    }

    /// Services of a session that is being made, as far as there are any: the session's row tells of them when all are ready.
    fn services_so_far(&self, record: &SessionRecord) -> Result<Vec<String>, SessionError> {
        let objects = self.store.objects(&record.id)?.into_iter();
        let companions = objects
            .filter(|object| object.kind == ObjectKind::Container && object.name != record.container_name);
        Ok(companions.filter_map(|object| object.id).collect())
    }

    /// Fills in the services of listed sessions, as far as the engine says.
    pub(super) async fn list_services(&self, listed: &mut [Listed]) {
        for one in listed {
            let services = async {
                match self.store.get(&one.id)? {
                    Some(record) => self.services(&record).await,
                    None => Ok(Vec::new()),
                }
            };
            match services.await {
                Ok(services) => {
                    let listed =
                        |ServiceView { name, image, state, .. }| ListedService { name, image, state };
                    one.services = services.into_iter().map(listed).collect();
                }
                Err(error) => tracing::debug!("services are not known: {error}"),
            }
        }
    }

    /// The ports of a session that are published on this host's loopback, in force now.
    pub async fn published_ports(&self, record: &SessionRecord) -> Result<Vec<PortBinding>, SessionError> {
        let found = self.engine_of(record).await?.container(&record.container_id).await?;
        let ports = found.map(|found| found.ports).unwrap_or_default().into_iter();
        Ok(ports.map(|port| PortBinding { container: port.container, host: port.host.port() }).collect())
    }

    /// The directory of this host that a session was made in, if it has the files of one.
    pub async fn directory(&self, record: &SessionRecord) -> Result<Option<PathBuf>, SessionError> {
        let found = self.engine_of(record).await?.container(&record.container_id).await?;
        Ok(found.and_then(|mut found| found.labels.remove(label::DIRECTORY)).map(PathBuf::from))
    }

    /// What the first process of a session's container wrote, or that of one of its services. The bytes are the
    /// container's own: neutralise them before a terminal sees them.
    pub async fn logs(
        &self,
        record: &SessionRecord,
        service: Option<&ServiceName>,
        options: LogOptions,
    ) -> Result<BoxStream<'static, Result<ExecOutput, EngineError>>, SessionError> {
        let container = match service {
            None => record.container_id.clone(),
            Some(wanted) => {
                let services = self.services(record).await?;
                match services.iter().find(|service| service.name == wanted.as_str()) {
                    Some(service) => service.container_id.clone(),
                    None => {
                        return Err(SessionError::NoService {
                            session: display_name(record),
                            name: wanted.to_string(),
                            known: services.into_iter().map(|service| service.name).collect(),
                        });
                    }
                }
            }
        };
        Ok(self.engine_of(record).await?.logs(&container, options).await?)
    }
}
