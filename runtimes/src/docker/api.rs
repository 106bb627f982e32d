//! A client of a Docker-compatible API: how it is reached, what its errors mean, and what it says of itself.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bollard::ClientVersion;
use bollard::errors::Error;
use bollard::models::{Runtime, SystemInfo, SystemInfoCgroupVersionEnum};

use crate::call::Action;
use crate::endpoint::{Endpoint, Target};
use crate::error::{EngineError, Result};
use crate::gvisor::RUNTIME;
use crate::raw::{self, Head};
use crate::types::*;

/// The client's own limit, out of the way of the deadlines of [`Action::wait`].
const CLIENT_TIMEOUT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A client. It sends no API version, so that nothing has to be negotiated, and opens a connection per call.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) client: Arc<bollard::Docker>,
    pub(crate) target: Arc<Target>,
}

impl Api {
    pub(crate) fn new(target: Target) -> Result<Self> {
        let version = ClientVersion { major_version: 1, minor_version: 41 };
        let timeout = CLIENT_TIMEOUT.as_secs();
        let client = match &target.endpoint {
            Endpoint::Unix(path) => match path.to_str() {
                Some(path) => bollard::Docker::connect_with_unix(path, timeout, &version),
                None => return Err(target.unreachable("the path is not valid UTF-8".into())),
            },
            Endpoint::Tcp(address) => bollard::Docker::connect_with_http(address, timeout, &version),
        };
        match client {
            Ok(client) => Ok(Self { client: Arc::new(client), target: Arc::new(target) }),
            Err(Error::SocketNotFoundError(_)) => Err(target.unreachable("no such socket".into())),
            Err(error) => Err(target.unreachable(error.to_string())),
        }
    }

    /// Waits for a client's answer as long as every call may take.
    pub(crate) async fn ask<T>(
        &self,
        action: &Action,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T> {
        self.ask_for(CALL_TIMEOUT, action, answer).await
    }

    /// Waits for a client's answer.
    pub(crate) async fn ask_for<T>(
        &self,
        limit: Duration,
        action: &Action,
        answer: impl Future<Output = Result<T, Error>>,
    ) -> Result<T> {
        action.wait_for(limit, async { answer.await.map_err(|error| self.error(action, error)) }).await
    }

    /// What the client's error means.
    pub(crate) fn error(&self, action: &Action, error: Error) -> EngineError {
        match error {
            Error::DockerResponseServerError { status_code, message } => action.status(status_code, message),
            Error::DockerStreamError { error } => action.refused(None, error),
            Error::IOError { err } => action.io(err),
            Error::RequestTimeoutError => {
                EngineError::Timeout { action: action.text.clone(), seconds: CLIENT_TIMEOUT.as_secs() }
            }
            Error::HyperLegacyError { err } if err.is_connect() => self.target.unreachable(innermost(&err)),
            Error::HyperLegacyError { err } => action.io(std::io::Error::other(innermost(&err))),
            Error::HyperResponseError { err } => action.io(std::io::Error::other(innermost(&err))),
            other => action.refused(None, other.to_string()),
        }
    }

    /// What a Docker says of itself; waits at most [`CONNECT_TIMEOUT`]. Podman answers this API too, without what makes it
    /// Podman: then the head of its answer to a ping comes back instead. It is not asked for more: its report runs half a
    /// dozen programs to learn their versions, and keeps a processor busy for that long, whoever still waits for it.
    pub(crate) async fn identify(&self) -> Result<Identity> {
        let action = Action::general(&format!("ask {} what it is", self.target.engine));
        let (head, body) = action
            .wait_for(CONNECT_TIMEOUT, async {
                let (head, body) = raw::get(&self.target, &action, "/_ping").await?;
                if head.libpod_version.is_some() {
                    return Ok((head, body));
                }
                raw::get(&self.target, &action, "/info").await
            })
            .await?;
        if head.libpod_version.is_some() {
            return Ok(Identity::Podman(head));
        }
        let info: SystemInfo = serde_json::from_slice(&body).map_err(|error| action.io(error.into()))?;
        let runsc = info.runtimes.as_ref().and_then(|all| all.get(RUNTIME));
        let sandbox = Sandbox {
            joinable: runsc.is_none_or(uses_hosts_network),
            filters: runsc.is_none_or(loads_filters),
        };
        Ok(Identity::Docker { facts: Box::new(self.docker_facts(head, info).await), sandbox })
    }

    async fn docker_facts(&self, head: Head, info: SystemInfo) -> Facts {
        let local = self.is_local(&info).await;
        Facts {
            kind: EngineKind::Docker,
            gaps: limit_gaps(&info),
            rootless: info.security_options.iter().flatten().any(|option| option.contains("name=rootless")),
            cgroup_version: match info.cgroup_version {
                Some(SystemInfoCgroupVersionEnum::_2) => 2,
                _ => 1,
            },
            version: info.server_version.unwrap_or_default(),
            api_version: head.api_version.unwrap_or_default(),
            endpoint: self.target.endpoint.to_string(),
            local,
            data_root: info.docker_root_dir.filter(|_| local).map(PathBuf::from),
            runtimes: info.runtimes.map(sorted_names).unwrap_or_default(),
        }
    }

    /// Whether the engine's containers are processes of this host: its socket is here, and so is its kernel (Docker
    /// Desktop runs in a virtual machine behind a local socket).
    async fn is_local(&self, info: &SystemInfo) -> bool {
        let Endpoint::Unix(_) = self.target.endpoint else { return false };
        let ours = tokio::fs::read_to_string("/proc/sys/kernel/osrelease").await.unwrap_or_default();
        let desktop = info.operating_system.as_deref().is_some_and(|name| name.contains("Docker Desktop"));
        !desktop && info.kernel_version.as_deref() == Some(ours.trim())
    }
}

/// What sandboxes of gVisor do there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sandbox {
    /// They leave the network of their container to this host's kernel.
    pub(crate) joinable: bool,
    /// They load the seccomp filters that they are given.
    pub(crate) filters: bool,
}

/// Who answers a Docker-compatible API.
pub(crate) enum Identity {
    Docker {
        facts: Box<Facts>,
        sandbox: Sandbox,
    },
    /// Podman, with the head of its answer to a ping.
    Podman(Head),
}

/// Limits that the engine says it ignores, as rootless ones on cgroup v1 do.
fn limit_gaps(info: &SystemInfo) -> Vec<Gap> {
    [
        (info.cpu_cfs_quota, Gap::CpuLimit),
        (info.memory_limit, Gap::MemoryLimit),
        (info.pids_limit, Gap::PidsLimit),
    ]
    .into_iter()
    .filter(|(works, _)| *works == Some(false))
    .map(|(_, gap)| gap)
    .collect()
}

/// Whether a runtime of gVisor's was told not to bring a network of its own.
fn uses_hosts_network(runtime: &Runtime) -> bool {
    let args =
        runtime.runtime_args.iter().flatten().map(|arg| arg.trim_start_matches('-')).collect::<Vec<_>>();
    args.contains(&"network=host") || args.windows(2).any(|two| two == ["network", "host"])
}

/// Whether a runtime of gVisor's was told to load the filters that it is given.
fn loads_filters(runtime: &Runtime) -> bool {
    let args = runtime.runtime_args.iter().flatten();
    args.map(|arg| arg.trim_start_matches('-')).any(|arg| arg == "oci-seccomp" || arg == "oci-seccomp=true")
}

fn sorted_names<T>(map: HashMap<String, T>) -> Vec<String> {
    let mut names: Vec<String> = map.into_keys().collect();
    names.sort();
    names
}

/// The words of the first cause.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

/// The filter that selects by labels: `name=value`, or the name alone for any value.
pub(crate) fn label_filter(labels: &Labels) -> HashMap<String, Vec<String>> {
    let pair = |(key, value): (&String, &String)| match value.as_str() {
        "" => key.clone(),
        value => format!("{key}={value}"),
    };
    HashMap::from([("label".to_owned(), labels.iter().map(pair).collect())])
}

/// Seconds since the epoch of an engine's time stamp.
pub(crate) fn epoch_seconds(text: &str) -> Option<i64> {
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_leaves_its_network_to_the_host_only_where_it_is_told_to() {
        let told = |args: &[&str]| {
            let args = args.iter().map(|arg| (*arg).to_owned()).collect();
            uses_hosts_network(&Runtime { runtime_args: Some(args), ..Runtime::default() })
        };
        assert!(told(&["--platform=ptrace", "--network=host"]));
        assert!(told(&["-network", "host"]));
        assert!(!told(&["--platform=ptrace", "--network=sandbox"]) && !told(&["--network", "none", "host"]));
        assert!(!told(&[]) && !uses_hosts_network(&Runtime::default()));
    }

    #[test]
    fn a_sandbox_loads_filters_only_where_it_is_told_to() {
        let told = |args: &[&str]| {
            let args = args.iter().map(|arg| (*arg).to_owned()).collect();
            loads_filters(&Runtime { runtime_args: Some(args), ..Runtime::default() })
        };
        assert!(told(&["--network=host", "--oci-seccomp"]) && told(&["-oci-seccomp=true"]));
        assert!(!told(&["--oci-seccomp=false"]) && !told(&[]) && !loads_filters(&Runtime::default()));
    }
}
