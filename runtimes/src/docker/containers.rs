//! Containers from their making to their end.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, ContainerSummaryStateEnum,
    EndpointSettings, HealthStatusEnum, PortBinding,
};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, KillContainerOptions, ListContainersOptions,
    RemoveContainerOptions, StartContainerOptions, StopContainerOptions, WaitContainerOptions,
};
use futures_util::StreamExt;

use super::api::{Api, epoch_seconds, label_filter};
use crate::call::Action;
use crate::error::{EngineError, Result};
use crate::types::*;

impl Api {
    pub(crate) async fn create_container(
        &self,
        spec: &ContainerSpec,
        body: ContainerCreateBody,
    ) -> Result<Created> {
        let action = Action::on("create", "container", &spec.name)?;
        let options = CreateContainerOptions { name: Some(spec.name.clone()), ..Default::default() };
        let answer = async {
            self.client.create_container(Some(options), body).await.map_err(|error| match error {
                Error::DockerResponseServerError { status_code: 404, message } => {
                    missing_part(&action, spec, message)
                }
                // Podman's compatible API has 500 where Docker has 409.
                Error::DockerResponseServerError { status_code: 409 | 500, message }
                    if message.contains("already in use") =>
                {
                    action.conflict()
                }
                other => self.error(&action, other),
            })
        };
        let made = action.wait(answer).await?;
        Ok(Created { id: made.id, warnings: made.warnings })
    }

    pub(crate) async fn start_container(&self, container: &str) -> Result<()> {
        let action = Action::on("start", "container", container)?;
        self.ask(&action, self.client.start_container(container, None::<StartContainerOptions>)).await
    }

    pub(crate) async fn stop_container(&self, container: &str, grace: Duration) -> Result<()> {
        let action = Action::on("stop", "container", container)?;
        let seconds = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let options = StopContainerOptions { t: Some(seconds), signal: None };
        let answer = self.client.stop_container(container, Some(options));
        self.ask_for(CALL_TIMEOUT.saturating_add(grace), &action, answer).await
    }

    pub(crate) async fn kill_container(&self, container: &str, signal: &str) -> Result<()> {
        let action = Action::on("send a signal to", "container", container)?;
        let options = KillContainerOptions { signal: signal.into() };
        self.ask(&action, self.client.kill_container(container, Some(options))).await
    }

    pub(crate) async fn remove_container(&self, container: &str) -> Result<()> {
        let action = Action::on("remove", "container", container)?;
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        match self.ask(&action, self.client.remove_container(container, Some(options))).await {
            Err(EngineError::NotFound { .. }) => Ok(()),
            // Somebody else's removal is on its way: it is gone when that one has ended.
            Err(EngineError::Engine { status: Some(409), message, .. })
                if message.contains("already in progress") =>
            {
                let gone = self.wait_until(&action, container, "removed");
                match action.wait(gone).await {
                    Ok(_) | Err(EngineError::NotFound { .. }) => Ok(()),
                    Err(error) => Err(error),
                }
            }
            other => other,
        }
    }

    pub(crate) async fn wait_container(&self, container: &str) -> Result<ExitCode> {
        let action = Action::on("wait for", "container", container)?;
        self.wait_until(&action, container, "not-running").await
    }

    async fn wait_until(&self, action: &Action, container: &str, condition: &str) -> Result<ExitCode> {
        let options = WaitContainerOptions { condition: condition.into() };
        let mut answers = std::pin::pin!(self.client.wait_container(container, Some(options)));
        match answers.next().await {
            Some(Ok(answer)) => Ok(ExitCode(answer.status_code)),
            // The client's way to say that the status is not zero.
            Some(Err(Error::DockerContainerWaitError { code, .. })) => Ok(ExitCode(code)),
            Some(Err(error)) => Err(self.error(action, error)),
            None => Err(action.refused(None, "the engine ended the answer without a status")),
        }
    }

    pub(crate) async fn container(&self, container: &str) -> Result<Option<ContainerInfo>> {
        let action = Action::on("inspect", "container", container)?;
        let answer = self.client.inspect_container(container, None::<InspectContainerOptions>);
        match self.ask(&action, answer).await {
            Ok(found) => Ok(Some(container_info(found))),
            Err(EngineError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn health(&self, container: &str) -> Result<Option<Health>> {
        match self.container(container).await? {
            Some(found) => Ok(found.health),
            None => Err(Action::on("ask for the health of", "container", container)?.not_found()),
        }
    }

    /// Where something is mounted inside.
    pub(crate) async fn mount_points(&self, container: &str) -> Result<Vec<String>> {
        let action = Action::on("inspect", "container", container)?;
        let answer = self.client.inspect_container(container, None::<InspectContainerOptions>);
        let found = self.ask(&action, answer).await?;
        let tmpfs = found.host_config.and_then(|host| host.tmpfs).unwrap_or_default().into_keys();
        let mounts = found.mounts.unwrap_or_default().into_iter().filter_map(|mount| mount.destination);
        Ok(tmpfs.chain(mounts).collect())
    }

    pub(crate) async fn containers(&self, labels: &Labels) -> Result<Vec<ContainerSummary>> {
        let action = Action::general("list containers");
        let filters = Some(label_filter(labels));
        let options = ListContainersOptions { all: true, filters, ..Default::default() };
        let found = self.ask(&action, self.client.list_containers(Some(options))).await?;
        let summary = |one: bollard::models::ContainerSummary| ContainerSummary {
            id: one.id.unwrap_or_default(),
            name: one.names.iter().flatten().next().map(|n| bare(n)).unwrap_or_default(),
            state: match one.state {
                Some(ContainerSummaryStateEnum::CREATED) => ContainerState::Created,
                Some(ContainerSummaryStateEnum::EXITED | ContainerSummaryStateEnum::DEAD) => {
                    ContainerState::Exited
                }
                _ => ContainerState::Running,
            },
            created_at: one.created.unwrap_or_default(),
            labels: one.labels.unwrap_or_default().into_iter().collect(),
        };
        Ok(found.into_iter().map(summary).collect())
    }

    pub(crate) async fn disk_use(&self, labels: &Labels) -> Result<BTreeMap<String, u64>> {
        let action = Action::general("measure containers");
        let filters = Some(label_filter(labels));
        let options = ListContainersOptions { all: true, size: true, filters, ..Default::default() };
        let found = self.ask(&action, self.client.list_containers(Some(options))).await?;
        // Nothing written is not mentioned.
        let written = |size: Option<i64>| u64::try_from(size.unwrap_or(0)).unwrap_or(0);
        Ok(found.into_iter().filter_map(|one| Some((one.id?, written(one.size_rw)))).collect())
    }
}

/// What a create request misses, by the engine's words: the image, a network or a volume.
fn missing_part(action: &Action, spec: &ContainerSpec, message: String) -> EngineError {
    let not_found =
        |kind, name: &str| EngineError::NotFound { action: action.text.clone(), kind, name: name.into() };
    let said = message.to_ascii_lowercase();
    match &spec.network {
        Some(network) if said.contains("network") => not_found("network", network),
        _ if said.contains("image") => not_found("image", &spec.image),
        _ => action.refused(Some(404), message),
    }
}

fn bare(name: &str) -> String {
    name.trim_start_matches('/').to_owned()
}

pub(crate) fn container_info(found: ContainerInspectResponse) -> ContainerInfo {
    let state = found.state.unwrap_or_default();
    let config = found.config.unwrap_or_default();
    let network = found.network_settings.unwrap_or_default();
    let life = match state.status {
        Some(ContainerStateStatusEnum::CREATED) => ContainerState::Created,
        Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD) => ContainerState::Exited,
        _ => ContainerState::Running,
    };
    let pid = state.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 0);
    ContainerInfo {
        id: found.id.unwrap_or_default(),
        name: found.name.as_deref().map(bare).unwrap_or_default(),
        image: config.image.unwrap_or_default(),
        state: life,
        pid: pid.filter(|_| life == ContainerState::Running),
        exit_code: state.exit_code.filter(|_| life == ContainerState::Exited),
        oom_killed: state.oom_killed.unwrap_or_default(),
        created_at: found.created.as_deref().and_then(epoch_seconds).unwrap_or_default(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
        addresses: addresses(network.networks.unwrap_or_default()),
        ports: ports(network.ports.unwrap_or_default()),
        health: state.health.and_then(|health| health_of(health.status?)),
    }
}

fn health_of(status: HealthStatusEnum) -> Option<Health> {
    match status {
        HealthStatusEnum::STARTING => Some(Health::Starting),
        HealthStatusEnum::HEALTHY => Some(Health::Healthy),
        HealthStatusEnum::UNHEALTHY => Some(Health::Unhealthy),
        HealthStatusEnum::NONE | HealthStatusEnum::EMPTY => None,
    }
}

fn addresses(networks: HashMap<String, EndpointSettings>) -> BTreeMap<String, String> {
    let one = |(name, endpoint): (String, EndpointSettings)| {
        endpoint.ip_address.filter(|ip| !ip.is_empty()).map(|ip| (name, ip))
    };
    networks.into_iter().filter_map(one).collect()
}

fn ports(bindings: HashMap<String, Option<Vec<PortBinding>>>) -> Vec<PublishedPort> {
    let mut ports = Vec::new();
    for (inside, outside) in bindings {
        let Some(container) = inside.strip_suffix("/tcp").and_then(|port| port.parse().ok()) else {
            continue;
        };
        for binding in outside.unwrap_or_default() {
            let ip: Option<IpAddr> = binding.host_ip.and_then(|ip| ip.parse().ok());
            let port: Option<u16> = binding.host_port.and_then(|port| port.parse().ok());
            if let Some((ip, port)) = ip.zip(port) {
                ports.push(PublishedPort { container, host: SocketAddr::new(ip, port) });
            }
        }
    }
    ports.sort_by_key(|port| (port.container, port.host));
    ports
}
