//! The engines as one type, and the way to one.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use enum_dispatch::enum_dispatch;
use futures_util::stream::BoxStream;

use crate::discovery::Chosen;
use crate::docker::Docker;
use crate::docker::api::{Api, Identity};
use crate::endpoint::Target;
use crate::engine::Engine;
use crate::error::{EngineError, Result};
use crate::gvisor::Gvisor;
use crate::podman::Podman;
#[cfg(feature = "fake")]
use crate::testing::Fake;
use crate::types::*;

/// A connected engine. Cheap to clone.
#[derive(Clone)]
#[enum_dispatch(Engine)]
pub enum Runtime {
    /// Docker.
    Docker(Docker),
    /// Podman.
    Podman(Podman),
    /// Docker with gVisor.
    Gvisor(Gvisor),
    /// A recording fake.
    #[cfg(feature = "fake")]
    Fake(Fake),
}

impl Runtime {
    /// Asks the engine what it is; waits at most [`CONNECT_TIMEOUT`]. Where a Docker was expected and Podman answers (as
    /// behind a `DOCKER_HOST` that names Podman's socket), the result is a Podman.
    pub async fn connect(chosen: &Chosen) -> Result<Self> {
        let api = api(chosen)?;
        match (chosen.kind, api.identify().await?) {
            (EngineKind::Docker, Identity::Docker { facts, .. }) => Ok(Docker::new(api, *facts).into()),
            (EngineKind::Gvisor, Identity::Docker { facts, sandbox }) => {
                Ok(Gvisor::new(Docker::new(api, *facts), sandbox)?.into())
            }
            (EngineKind::Docker | EngineKind::Podman, Identity::Podman(head)) => {
                let api = self::api(&Chosen { kind: EngineKind::Podman, ..chosen.clone() })?;
                Ok(Podman::connect(api, head).await?.into())
            }
            (EngineKind::Podman, Identity::Docker { .. }) => Err(mismatch(chosen, "Docker")),
            (EngineKind::Gvisor, Identity::Podman(_)) => Err(mismatch(chosen, "Podman")),
        }
    }

    /// The same without any call, from the facts that an earlier [`Runtime::connect`] to the same place learnt.
    pub fn connect_known(chosen: &Chosen, facts: Facts) -> Result<Self> {
        let api = api(&Chosen { kind: facts.kind, ..chosen.clone() })?;
        match facts.kind {
            EngineKind::Docker => Ok(Docker::new(api, facts).into()),
            EngineKind::Gvisor => Ok(Gvisor::known(Docker::new(api, facts.clone()), facts).into()),
            EngineKind::Podman => Ok(Podman::known(api, facts)?.into()),
        }
    }
}

fn api(chosen: &Chosen) -> Result<Api> {
    Api::new(Target { engine: chosen.kind.name(), endpoint: chosen.endpoint.clone() })
}

fn mismatch(chosen: &Chosen, found: &str) -> EngineError {
    EngineError::Unreachable {
        engine: chosen.kind.name(),
        endpoint: chosen.endpoint.to_string(),
        reason: format!("{found} answers there"),
    }
}
