//! The engine of this process, looked for and connected when it is first needed.
//!
//! Calls `config`, `session`, `system` and the engines.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use podspawn_runtimes::{
    Builder, Chosen, DiscoveryError, DiscoveryInput, Endpoint, EngineError, EngineKind, Runtime, discover,
};
use tokio::sync::OnceCell;

use crate::config::EngineChoice;
use crate::session::EngineSource;
use crate::system::Host;

/// Connects at most once.
pub struct LazyEngine {
    input: DiscoveryInput,
    connected: OnceCell<(Chosen, Runtime)>,
    failure: Mutex<Option<DiscoveryError>>,
}

impl LazyEngine {
    /// The engine that `wanted`, or else the environment and the sockets of this host, lead to.
    pub fn new(host: &Host, wanted: Option<EngineChoice>) -> Self {
        let text = |name| host.var(name).map(str::to_owned);
        let input = DiscoveryInput {
            wanted: wanted.map(|choice| match choice {
                EngineChoice::Docker => EngineKind::Docker,
                EngineChoice::Podman => EngineKind::Podman,
                EngineChoice::Gvisor => EngineKind::Gvisor,
            }),
            docker_host: text("DOCKER_HOST"),
            docker_context: text("DOCKER_CONTEXT"),
            docker_config: host.path_var("DOCKER_CONFIG").map(Path::to_owned),
            container_host: text("CONTAINER_HOST"),
            runtime_dir: host.path_var("XDG_RUNTIME_DIR").map(Path::to_owned),
            uid: host.uid(),
            home: host.home().map(Path::to_owned),
            root: None,
        };
        Self { input, connected: OnceCell::new(), failure: Mutex::new(None) }
    }

    /// Chooses an engine without speaking to it.
    pub fn choose(&self) -> Result<Chosen, DiscoveryError> {
        discover(&self.input)
    }

    /// The engine's socket on this host, if it has one there and is known.
    pub fn socket(&self) -> Option<PathBuf> {
        let chosen = match self.connected.get() {
            Some((chosen, _)) => chosen.clone(),
            None => self.choose().ok()?,
        };
        match chosen.endpoint {
            Endpoint::Unix(path) => Some(path),
            Endpoint::Tcp(_) => None,
        }
    }

    /// The choice and the connected engine.
    pub async fn connected(&self) -> Result<&(Chosen, Runtime), EngineError> {
        self.connected
            .get_or_try_init(|| async {
                let chosen = self.choose().map_err(|error| {
                    let unreachable = EngineError::Unreachable {
                        engine: "container",
                        endpoint: "any known place".into(),
                        reason: error.to_string(),
                    };
                    *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    unreachable
                })?;
                let runtime = Runtime::connect(&chosen).await?;
                Ok((chosen, runtime))
            })
            .await
    }

    /// Why no engine could be chosen, if that is what happened: it says more than the error of the call.
    pub fn failure(&self) -> Option<DiscoveryError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl EngineSource for LazyEngine {
    async fn engine(&self) -> Result<&Runtime, EngineError> {
        self.connected().await.map(|(_, runtime)| runtime)
    }
}

/// The builder of images that the invoking user wants: any value of `PODSPAWN_DISABLE_BUILDX` means the classic one.
pub fn builder(host: &Host) -> Builder {
    if host.has("PODSPAWN_DISABLE_BUILDX") { Builder::Classic } else { Builder::Engines }
}

/// The engine as people write it.
pub fn label(kind: EngineKind) -> &'static str {
    match kind {
        EngineKind::Docker => "Docker",
        EngineKind::Podman => "Podman",
        EngineKind::Gvisor => "gVisor",
    }
}
