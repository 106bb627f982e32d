//! Companion containers: making them, and starting those again that have ended.
//!
//! What has to be known of one later stands in the labels of its container, so that a session that was made by another
//! process, or before a reboot, can be brought back without its spec.

use std::net::Ipv4Addr;

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
            image: familiar(&info.image).to_owned(),
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

/// An image as people write it: Podman puts a registry before every name, Docker never tells its own.
pub(super) fn familiar(image: &str) -> &str {
    let rest =
        ["docker.io/library/", "docker.io/", "localhost/"].iter().find_map(|host| image.strip_prefix(host));
    rest.unwrap_or(image)
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
        let mut fixed = self.fix_addresses(record, spec, engine, prepared).await?.into_iter();
        for service in &spec.environment.services {
            let image = service.image.to_string();
            report.step(Step::StartingService { name: service.name.as_str(), image: familiar(&image) });
            let mut container = container_spec::service(spec, service, self.labels(record), prepared);
            container.address = fixed.next();
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

    /// Gives everything on the session's network an address beforehand and everybody all names, where the engine's name
    /// service cannot be relied on: Podman's starts anew whenever a container of its account does, and a question that
    /// falls into that moment is answered as if the name were not known. The services' addresses, in their order.
    async fn fix_addresses(
        &self,
        record: &SessionRecord,
        spec: &SessionSpec,
        engine: &Runtime,
        prepared: &mut Prepared,
    ) -> Result<Vec<Ipv4Addr>, SessionError> {
        let services = &spec.environment.services;
        if services.is_empty() || engine.facts().kind != EngineKind::Podman {
            return Ok(Vec::new());
        }
        let networks = engine.networks(&self.labels(record)).await?;
        let network = networks.into_iter().find(|network| network.id == record.network_id);
        let Some(mut free) = network.and_then(|network| addresses(&network.subnet?)) else {
            tracing::warn!(
                container = record.container_name,
                "the network's addresses are not known: names go by the engine"
            );
            return Ok(Vec::new());
        };
        prepared.address = free.next();
        let fixed: Vec<Ipv4Addr> = free.take(services.len()).collect();
        let named = services.iter().zip(&fixed);
        prepared
            .hosts
            .extend(named.map(|(service, address)| (service.name.to_string(), address.to_string())));
        Ok(fixed)
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

/// The addresses of a subnet in order, without its own, the gateway's (the first) and that of everybody (the last).
fn addresses(subnet: &str) -> Option<impl Iterator<Item = Ipv4Addr> + use<>> {
    let (base, length) = subnet.split_once('/')?;
    let base: Ipv4Addr = base.parse().ok()?;
    let hosts = u32::MAX.checked_shr(length.parse().ok()?).unwrap_or(0);
    let first = base.to_bits() & !hosts;
    Some((2..hosts).map(move |number| Ipv4Addr::from_bits(first | number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnets_addresses_are_those_that_a_container_may_have() {
        let all =
            |subnet: &str| addresses(subnet).map(|free| free.map(|one| one.to_string()).collect::<Vec<_>>());
        assert_eq!(
            all("10.89.3.0/29").unwrap(),
            ["10.89.3.2", "10.89.3.3", "10.89.3.4", "10.89.3.5", "10.89.3.6"]
        );
        assert_eq!(all("10.89.3.9/30").unwrap(), ["10.89.3.10"]);
        assert_eq!(all("10.89.3.0/24").unwrap().len(), 253);
        assert!(all("10.89.3.0/32").unwrap().is_empty());
        for unknown in ["", "10.89.3.0", "fd00::/64", "10.89.3.0/x"] {
            assert_eq!(all(unknown), None, "{unknown}");
        }
    }
}
