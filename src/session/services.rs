//! Companion containers: making them, and starting those again that have ended.
//!
//! What has to be known of one later stands in the labels of its container, so that a session that was made by another
//! process, or before a reboot, can be brought back without its spec.

use podspawn_runtimes::{ContainerInfo, ContainerState, Engine, EngineKind, Runtime};

use super::container_spec::{self, Prepared};
use super::core::{Core, EngineSource, label};
use super::create::{at_most_all_cpus, check};
use super::error::{ServiceProblem, SessionError};
use super::guest_port::GuestPort;
use super::report::{Cancel, Report, Step};
use crate::spec::SessionSpec;
use crate::state::SessionRecord;

/// What is known of a service from its container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Companion {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) image: String,
    /// Ports that it is ready with.
    pub(super) ports: Vec<u16>,
    /// Its address on the session's network.
    pub(super) address: Option<String>,
    /// Its image has a health check.
    pub(super) checked: bool,
}

impl Companion {
    pub(super) fn of(info: &ContainerInfo) -> Self {
        let label = |name: &str| info.labels.get(name).cloned().unwrap_or_default();
        Self {
            id: info.id.clone(),
            name: label(label::SERVICE),
            image: info.image.clone(),
            ports: label(label::SERVICE_PORTS).split(',').filter_map(|port| port.parse().ok()).collect(),
            address: info.addresses.values().next().cloned(),
            checked: info.health.is_some(),
        }
    }

    /// Whether there is more to its being ready than that it runs.
    pub(super) fn is_waited_for(&self) -> bool {
        self.checked || !self.ports.is_empty()
    }

    pub(super) fn fails(&self, problem: ServiceProblem) -> SessionError {
        SessionError::Service { name: self.name.clone(), image: self.image.clone(), problem }
    }
}

impl<S: EngineSource, G: GuestPort> Core<S, G> {
    /// Makes and starts a session's services in their order. They are started when this returns, not ready.
    pub(super) async fn make_services(
        &self,
        record: &mut SessionRecord,
        spec: &SessionSpec,
        engine: &Runtime,
        prepared: &mut Prepared,
        report: &mut dyn Report,
        cancel: &Cancel,
    ) -> Result<(), SessionError> {
        for service in &spec.environment.services {
            let image = service.image.to_string();
            report.step(Step::StartingService { name: service.name.as_str(), image: &image });
            let mut container = container_spec::service(spec, service, self.labels(record), prepared);
            for line in engine.facts().fit(&mut container) {
                tracing::info!(container = container.name, "{line}");
            }
            if engine.facts().local {
                container.cpus = container.cpus.map(at_most_all_cpus);
            }
            let id = self.make_container(record, engine, &container).await?;
            record.service_ids.push(id);
            check(cancel)?;
            // By its name: a start that fails then says which service it was.
            self.start(record, engine, &container.name).await?;
            check(cancel)?;
            // A sandbox has a network of its own that the engine's name service does not reach.
            if engine.facts().kind == EngineKind::Gvisor
                && let Some(info) = engine.container(&container.name).await?
                && let Some(address) = info.addresses.into_values().next()
            {
                prepared.hosts.push((service.name.to_string(), address));
            }
        }
        check(cancel)
    }

    /// Starts those services of a session again that have ended; which they are. What cannot be started is told and does
    /// not stop anybody.
    pub(super) async fn revive_services(
        &self,
        record: &SessionRecord,
        engine: &Runtime,
        report: &mut dyn Report,
    ) -> Result<Vec<String>, SessionError> {
        let mut started = Vec::new();
        for id in &record.service_ids {
            let Some(info) = engine.container(id).await? else {
                report.step(Step::Warning("a companion service is gone: somebody has removed its container"));
                continue;
            };
            if info.state == ContainerState::Running {
                continue;
            }
            let Companion { name, image, .. } = Companion::of(&info);
            report.step(Step::StartingService { name: &name, image: &image });
            match self.start(record, engine, id).await {
                Ok(()) => started.push(id.clone()),
                Err(error) => {
                    let text = format!("the service `{name}` cannot be started again: {error}");
                    report.step(Step::Warning(&text));
                }
            }
        }
        Ok(started)
    }
}
