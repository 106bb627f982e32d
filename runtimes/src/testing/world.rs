//! The model of an engine: what exists in it, and what its answers would be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{EngineError, Result};
use crate::types::*;

/// Everything that exists in a fake engine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct World {
    /// Images by reference.
    pub images: BTreeMap<String, ImageInfo>,
    /// Images that a pull would find, by reference.
    pub registry: BTreeMap<String, ImageInfo>,
    /// What images bring along for builds, by id.
    #[serde(default)]
    pub on_build: BTreeMap<String, Vec<String>>,
    /// Containers in the order of their making.
    pub containers: Vec<FakeContainer>,
    /// Networks; two may have one name, as in Docker.
    pub networks: Vec<NetworkInfo>,
    /// Volumes.
    pub volumes: Vec<VolumeInfo>,
    /// Seconds since the epoch, as the engine sees them.
    pub now: i64,
    /// What the next started container says its first process is.
    pub next_pid: i32,
    pub(super) counter: u64,
    pub(super) execs: BTreeMap<String, i64>,
}

/// A container of a fake engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FakeContainer {
    /// What an inspection shows.
    pub info: ContainerInfo,
    /// What it was made from.
    pub spec: ContainerSpec,
    /// Ids of the networks that it is on.
    pub networks: Vec<String>,
    /// Archives that were copied in, with the directory they went to.
    pub files: Vec<(String, Vec<u8>)>,
    /// What its first process wrote.
    pub output: Vec<u8>,
}

fn no_such(action: &str, kind: &'static str, name: &str) -> EngineError {
    EngineError::NotFound { action: format!("{action} `{name}`"), kind, name: name.into() }
}

fn refused(action: String, status: u16, message: String) -> EngineError {
    EngineError::Engine { action, status: Some(status), message }
}

impl World {
    /// Whether nothing is left but images.
    pub fn is_clean(&self) -> bool {
        self.containers.is_empty() && self.networks.is_empty() && self.volumes.is_empty()
    }

    /// The container of that name or id.
    pub fn find(&self, container: &str) -> Option<&FakeContainer> {
        self.containers.iter().find(|c| c.info.name == container || c.info.id == container)
    }

    fn position(&self, action: &str, container: &str) -> Result<usize> {
        self.containers
            .iter()
            .position(|c| c.info.name == container || c.info.id == container)
            .ok_or_else(|| no_such(action, "container", container))
    }

    pub(super) fn get(&mut self, action: &str, container: &str) -> Result<&mut FakeContainer> {
        let at = self.position(action, container)?;
        Ok(&mut self.containers[at])
    }

    /// A running one, as what `action` needs.
    pub(super) fn running(&mut self, action: &str, container: &str) -> Result<&mut FakeContainer> {
        let found = self.get(action, container)?;
        if found.info.state != ContainerState::Running {
            let message = format!("container {} is not running", found.info.id);
            return Err(refused(format!("{action} `{container}`"), 409, message));
        }
        Ok(found)
    }

    pub(super) fn new_id(&mut self, kind: &str) -> String {
        self.counter += 1;
        format!("{kind}{:0>60}", self.counter)
    }

    pub(super) fn make_image(&mut self) -> ImageInfo {
        let id = format!("sha256:{}", self.new_id("feed"));
        ImageInfo { id, env: vec!["PATH=/usr/bin:/bin".into()], size: 1 << 20, architecture: "amd64".into() }
    }

    pub(super) fn image(&self, reference: &str) -> Option<ImageInfo> {
        let by_id = || self.images.values().find(|image| image.id == reference);
        self.images.get(reference).or_else(by_id).cloned()
    }

    pub(super) fn pull(&mut self, reference: &str) -> Result<ImageInfo> {
        let Some(image) = self.registry.get(reference).cloned() else {
            let answer = format!("manifest for {reference} not found: manifest unknown");
            return Err(EngineError::Pull { image: reference.into(), answer });
        };
        self.images.insert(reference.into(), image.clone());
        Ok(image)
    }

    pub(super) fn create(&mut self, facts: &Facts, spec: &ContainerSpec) -> Result<Created> {
        facts.refuse_gaps(spec)?;
        let action = "create container";
        if self.image(&spec.image).is_none() {
            return Err(no_such(action, "image", &spec.image));
        }
        if self.find(&spec.name).is_some() {
            let action = format!("{action} `{}`", spec.name);
            return Err(EngineError::Conflict { action, name: spec.name.clone() });
        }
        for mount in &spec.mounts {
            if let Mount::Volume { name, .. } = mount
                && !self.volumes.iter().any(|volume| &volume.name == name)
            {
                return Err(no_such(action, "volume", name));
            }
        }
        let mut networks = Vec::new();
        if let Some(name) = &spec.network {
            let found = self.networks.iter().find(|n| &n.name == name || &n.id == name);
            networks.push(found.ok_or_else(|| no_such(action, "network", name))?.id.clone());
        }
        let id = self.new_id("c0de");
        let info = ContainerInfo {
            id: id.clone(),
            name: spec.name.clone(),
            image: spec.image.clone(),
            state: ContainerState::Created,
            pid: None,
            exit_code: None,
            oom_killed: false,
            created_at: self.now,
            labels: spec.labels.clone(),
            addresses: BTreeMap::new(),
            ports: Vec::new(),
            health: None,
        };
        let files = Vec::new();
        self.containers.push(FakeContainer { info, spec: spec.clone(), networks, files, output: Vec::new() });
        Ok(Created { id, warnings: Vec::new() })
    }

    pub(super) fn start(&mut self, container: &str) -> Result<()> {
        let pid = self.next_pid;
        let counter = self.counter;
        let found = self.get("start container", container)?;
        if found.info.state == ContainerState::Running {
            return Ok(());
        }
        let network = found.spec.network.clone();
        found.info.state = ContainerState::Running;
        found.info.pid = Some(pid);
        found.info.exit_code = None;
        found.info.ports = found.spec.ports.clone();
        found.info.addresses =
            network.map(|name| (name, format!("172.30.0.{}", 2 + counter % 250))).into_iter().collect();
        Ok(())
    }

    /// Ends a running container; whether it was running.
    pub(super) fn end(&mut self, action: &str, container: &str, status: i64) -> Result<bool> {
        let found = self.get(action, container)?;
        let was_running = found.info.state == ContainerState::Running;
        if was_running {
            found.info.state = ContainerState::Exited;
            found.info.pid = None;
            found.info.exit_code = Some(status);
        }
        Ok(was_running)
    }

    pub(super) fn remove(&mut self, container: &str) -> Option<FakeContainer> {
        let at = self.position("", container).ok()?;
        Some(self.containers.remove(at))
    }

    pub(super) fn create_network(&mut self, spec: &NetworkSpec) -> Result<String> {
        let id = self.new_id("ae70");
        let (name, labels) = (spec.name.clone(), spec.labels.clone());
        self.networks.push(NetworkInfo {
            id: id.clone(),
            name,
            labels,
            created_at: Some(self.now),
            subnet: None,
        });
        Ok(id)
    }

    pub(super) fn remove_network(&mut self, network: &str) -> Result<()> {
        let Some(at) = self.networks.iter().position(|n| n.name == network || n.id == network) else {
            return Ok(());
        };
        let id = &self.networks[at].id;
        if let Some(user) = self.containers.iter().find(|c| c.networks.contains(id)) {
            let message = format!("network {network} has active endpoints ({})", user.info.name);
            return Err(refused(format!("remove network `{network}`"), 403, message));
        }
        self.networks.remove(at);
        Ok(())
    }

    pub(super) fn create_volume(&mut self, name: &str, labels: &Labels) -> Result<()> {
        if !self.volumes.iter().any(|volume| volume.name == name) {
            self.volumes.push(VolumeInfo { name: name.into(), labels: labels.clone() });
        }
        Ok(())
    }

    pub(super) fn remove_volume(&mut self, name: &str) -> Result<()> {
        let uses = |mount: &Mount| matches!(mount, Mount::Volume { name: used, .. } if used == name);
        if let Some(user) = self.containers.iter().find(|c| c.spec.mounts.iter().any(uses)) {
            let message = format!("volume is in use by {}", user.info.name);
            return Err(refused(format!("remove volume `{name}`"), 409, message));
        }
        self.volumes.retain(|volume| volume.name != name);
        Ok(())
    }
}
