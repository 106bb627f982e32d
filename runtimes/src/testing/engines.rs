//! The engines that `scripts/engines.sh` started for the tests. A missing one fails the test that asks for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::discovery::Chosen;
use crate::endpoint::Endpoint;
use crate::runtime::Runtime;
use crate::types::EngineKind;

/// Where the setup writes what it started.
const ENGINES_FILE: &str = "/run/podspawn-test/engines.env";

/// Sockets, accounts and images of the test engines.
#[derive(Debug, Clone)]
pub struct TestEngines {
    /// Docker's own command-line program.
    pub docker_cli: PathBuf,
    /// Docker 20.10, which has the runtime `runsc`.
    pub docker_socket: PathBuf,
    /// A newer Docker.
    pub docker26_socket: PathBuf,
    /// Its network namespace.
    pub docker26_netns: String,
    /// Rootless Podman's API service.
    pub podman_socket: PathBuf,
    /// Account that owns the rootless Podman.
    pub podman_user: String,
    /// Its user id.
    pub podman_uid: u32,
    /// Its group id.
    pub podman_gid: u32,
    /// Its home directory.
    pub podman_home: PathBuf,
    /// Its run-time directory.
    pub podman_runtime_dir: PathBuf,
    /// Loopback registry, `host:port`.
    pub registry: String,
    /// Debian with the tools people use; no sudo.
    pub image_debian: String,
    /// Debian with sudo, sftp-server and an SSH client.
    pub image_sudo: String,
    /// Busybox alone: no libc, bash or useradd.
    pub image_busybox: String,
    /// Debian whose uid 1000 is `resident`.
    pub image_uid1000: String,
    /// An image of the registry.
    pub image_pull: String,
}

impl TestEngines {
    /// Reads what the setup wrote.
    ///
    /// # Panics
    /// If the setup has not run: a test never skips for lack of an engine.
    pub fn load() -> Self {
        let text = std::fs::read_to_string(ENGINES_FILE)
            .unwrap_or_else(|error| panic!("{ENGINES_FILE}: {error}; run `scripts/engines.sh start`"));
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let map: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
        let get = |key: &str| match map.get(key) {
            Some(value) if !value.is_empty() => (*value).to_owned(),
            _ => panic!("{ENGINES_FILE}: {key} is missing; run `scripts/engines.sh start`"),
        };
        let number = |key: &str| get(key).parse().unwrap_or_else(|_| panic!("{key} is not a number"));
        Self {
            docker_cli: get("DOCKER_CLI").into(),
            docker_socket: get("DOCKER_SOCKET").into(),
            docker26_socket: get("DOCKER26_SOCKET").into(),
            docker26_netns: get("DOCKER26_NETNS"),
            podman_socket: get("PODMAN_SOCKET").into(),
            podman_user: get("PODMAN_USER"),
            podman_uid: number("PODMAN_UID"),
            podman_gid: number("PODMAN_GID"),
            podman_home: get("PODMAN_HOME").into(),
            podman_runtime_dir: get("PODMAN_RUNTIME_DIR").into(),
            registry: get("REGISTRY"),
            image_debian: get("IMAGE_DEBIAN"),
            image_sudo: get("IMAGE_SUDO"),
            image_busybox: get("IMAGE_BUSYBOX"),
            image_uid1000: get("IMAGE_UID1000"),
            image_pull: get("IMAGE_PULL"),
        }
    }

    /// Docker 20.10.
    pub async fn docker(&self) -> Runtime {
        connect(EngineKind::Docker, &self.docker_socket).await
    }

    /// The newer Docker.
    pub async fn docker26(&self) -> Runtime {
        connect(EngineKind::Docker, &self.docker26_socket).await
    }

    /// Rootless Podman.
    pub async fn podman(&self) -> Runtime {
        connect(EngineKind::Podman, &self.podman_socket).await
    }

    /// gVisor under Docker 20.10.
    pub async fn gvisor(&self) -> Runtime {
        connect(EngineKind::Gvisor, &self.docker_socket).await
    }

    /// Every socket with a short name for messages.
    pub fn sockets(&self) -> [(&'static str, &Path); 3] {
        [
            ("docker", &self.docker_socket),
            ("docker26", &self.docker26_socket),
            ("podman", &self.podman_socket),
        ]
    }
}

async fn connect(kind: EngineKind, socket: &Path) -> Runtime {
    match Runtime::connect(&Chosen::at(kind, Endpoint::Unix(socket.into()))).await {
        Ok(runtime) => runtime,
        Err(error) => panic!("{error}; run `scripts/engines.sh start`"),
    }
}
