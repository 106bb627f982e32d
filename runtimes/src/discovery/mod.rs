//! Which engine to use, as users of `docker` and `podman` expect it, and why.
//!
//! Everything that decides is passed in; the only things looked at here are Docker's context files and whether somebody
//! listens on a socket. No request is sent.

mod context;
mod host;
mod probe;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::endpoint::Endpoint;
use crate::types::EngineKind;

/// What the choice depends on.
#[derive(Debug, Clone, Default)]
pub struct DiscoveryInput {
    /// Asked for by flag or configuration; none to take what is there.
    pub wanted: Option<EngineKind>,
    /// `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub docker_context: Option<String>,
    /// `DOCKER_CONFIG`, the directory of Docker's client configuration; `~/.docker` if none.
    pub docker_config: Option<PathBuf>,
    /// `CONTAINER_HOST`.
    pub container_host: Option<String>,
    /// `XDG_RUNTIME_DIR`; `/run/user/<uid>` if none.
    pub runtime_dir: Option<PathBuf>,
    /// Effective user id.
    pub uid: u32,
    /// Home directory.
    pub home: Option<PathBuf>,
    /// Directory that stands before the absolute paths of rootful sockets; `/` but in tests.
    pub root: Option<PathBuf>,
}

/// The engine that was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// Which engine is expected there.
    pub kind: EngineKind,
    /// Where.
    pub endpoint: Endpoint,
    /// Why this one, such as "`DOCKER_HOST` says so".
    pub reason: String,
    /// What was looked at before, and why it was not taken.
    pub tried: Vec<Tried>,
}

impl Chosen {
    /// An engine whose place is known.
    pub fn at(kind: EngineKind, endpoint: Endpoint) -> Self {
        Self { kind, endpoint, reason: "given".into(), tried: Vec::new() }
    }
}

/// A place that was looked at and not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Such as "rootless Podman at unix:///run/user/1000/podman/podman.sock".
    pub place: String,
    /// Such as "no such socket".
    pub why_not: String,
}

impl Tried {
    /// Whether an engine listens there, but not for this user.
    pub fn is_denied(&self) -> bool {
        self.why_not == probe::DENIED
    }
}

/// No engine could be chosen.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// Nobody listens anywhere.
    #[error("find a container engine: {}", list(.tried))]
    NoEngine {
        /// The kind that was asked for.
        wanted: Option<EngineKind>,
        /// What was looked at.
        tried: Vec<Tried>,
    },
    /// A variable or a context names a place that podspawn cannot use.
    #[error("use {origin} `{value}`: {reason}")]
    BadHost {
        /// `DOCKER_HOST`, `CONTAINER_HOST` or the context that says so.
        origin: String,
        /// As it was given.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A variable or a context names a socket on which nobody listens.
    #[error("use {origin} `{endpoint}`: {reason}")]
    NotListening {
        /// `DOCKER_HOST`, `CONTAINER_HOST` or the context that says so.
        origin: String,
        /// Where nobody listens.
        endpoint: String,
        /// The system's words.
        reason: String,
    },
    /// Docker's context cannot be used.
    #[error("use Docker's context `{name}`: {reason}")]
    BadContext {
        /// The context's name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
}

fn list(tried: &[Tried]) -> String {
    let one = |tried: &Tried| format!("{} ({})", tried.place, tried.why_not);
    tried.iter().map(one).collect::<Vec<_>>().join(", ")
}

impl DiscoveryError {
    /// What the user can do, one imperative line each.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::NoEngine { wanted, tried } => {
                let mut hints = Vec::new();
                if tried.iter().any(Tried::is_denied) {
                    hints.push("use rootless Podman, or ask whoever runs this host for access".to_owned());
                }
                let docker =
                    "install Docker: `sudo apt-get install docker.io`, then `sudo systemctl start docker`";
                let podman = "install rootless Podman: `sudo apt-get install podman`, then \
                              `systemctl --user start podman.socket`";
                match wanted {
                    None => hints.extend([docker.to_owned(), podman.to_owned()]),
                    Some(EngineKind::Podman) => hints.push(podman.to_owned()),
                    Some(EngineKind::Docker | EngineKind::Gvisor) => hints.push(docker.to_owned()),
                }
                hints.push("set `DOCKER_HOST` or `CONTAINER_HOST` if one runs elsewhere".to_owned());
                hints
            }
            Self::BadHost { origin, .. } | Self::NotListening { origin, .. } => {
                vec![format!("start that engine, or change {origin}")]
            }
            Self::BadContext { .. } => vec!["see `docker context ls`, or set `DOCKER_HOST`".to_owned()],
        }
    }
}

/// Chooses an engine. What a variable or a context names is taken or refused, never passed over.
pub fn discover(input: &DiscoveryInput) -> Result<Chosen, DiscoveryError> {
    let docker = !matches!(input.wanted, Some(EngineKind::Podman));
    let podman = matches!(input.wanted, None | Some(EngineKind::Podman));
    let docker_kind = input.wanted.filter(|kind| *kind == EngineKind::Gvisor).unwrap_or(EngineKind::Docker);
    let mut tried = Vec::new();
    if docker {
        if let Some(value) = set(&input.docker_host) {
            return named(docker_kind, "DOCKER_HOST", value);
        }
        tried.push(Tried { place: "`DOCKER_HOST`".into(), why_not: "not set".into() });
        match context::current(input)? {
            Some((name, host)) => {
                let origin = format!("Docker's context `{name}`");
                return named(docker_kind, &origin, &host);
            }
            None => {
                tried.push(Tried { place: "Docker's contexts".into(), why_not: "none is selected".into() });
            }
        }
    }
    if podman {
        if let Some(value) = set(&input.container_host) {
            return named(EngineKind::Podman, "CONTAINER_HOST", value);
        }
        tried.push(Tried { place: "`CONTAINER_HOST`".into(), why_not: "not set".into() });
    }
    for place in sockets(input) {
        let kind = match place.kind {
            EngineKind::Podman if podman => EngineKind::Podman,
            EngineKind::Docker if docker => docker_kind,
            _ => continue,
        };
        match probe::listens(&place.path) {
            Ok(()) => {
                let reason = format!("{} listens", place.name);
                return Ok(Chosen { kind, endpoint: Endpoint::Unix(place.path), reason, tried });
            }
            Err(why_not) => tried
                .push(Tried { place: format!("{} at {}", place.name, Endpoint::Unix(place.path)), why_not }),
        }
    }
    Err(DiscoveryError::NoEngine { wanted: input.wanted, tried })
}

fn set(value: &Option<String>) -> Option<&str> {
    value.as_deref().map(str::trim).filter(|value| !value.is_empty())
}

/// What `origin` names.
fn named(kind: EngineKind, origin: &str, value: &str) -> Result<Chosen, DiscoveryError> {
    let endpoint = host::parse(value).map_err(|reason| DiscoveryError::BadHost {
        origin: origin.into(),
        value: value.into(),
        reason,
    })?;
    if let Endpoint::Unix(path) = &endpoint {
        probe::listens(path).map_err(|reason| DiscoveryError::NotListening {
            origin: origin.into(),
            endpoint: endpoint.to_string(),
            reason,
        })?;
    }
    Ok(Chosen { kind, endpoint, reason: format!("{origin} says so"), tried: Vec::new() })
}

struct Place {
    kind: EngineKind,
    name: &'static str,
    path: PathBuf,
}

/// Where engines usually listen, in the order in which they are looked for.
fn sockets(input: &DiscoveryInput) -> Vec<Place> {
    let root = input.root.as_deref().unwrap_or(Path::new("/"));
    let runtime_dir =
        input.runtime_dir.clone().unwrap_or_else(|| root.join("run/user").join(input.uid.to_string()));
    let mut places = vec![
        Place { kind: EngineKind::Docker, name: "Docker", path: root.join("var/run/docker.sock") },
        Place { kind: EngineKind::Docker, name: "rootless Docker", path: runtime_dir.join("docker.sock") },
    ];
    if let Some(home) = &input.home {
        let path = home.join(".docker/desktop/docker.sock");
        places.push(Place { kind: EngineKind::Docker, name: "Docker Desktop", path });
    }
    let rootful =
        Place { kind: EngineKind::Podman, name: "Podman", path: root.join("run/podman/podman.sock") };
    let path = runtime_dir.join("podman/podman.sock");
    let rootless = Place { kind: EngineKind::Podman, name: "rootless Podman", path };
    // Root's own Podman is the rootful one.
    if input.uid == 0 {
        places.extend([rootful, rootless])
    } else {
        places.extend([rootless, rootful])
    }
    places
}
