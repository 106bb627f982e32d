//! What there is to know of a Podman. Its own report takes half a second (it runs programs to learn their versions), a
//! ping 3 ms: so a Podman of this host is known from the ping and from the host wherever that is enough.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use podman_api::models::Info;

use super::convert;
use crate::call::Action;
use crate::endpoint::{Endpoint, Target};
use crate::error::Result;
use crate::raw::Head;
use crate::types::*;

const CGROUPS: &str = "/sys/fs/cgroup";

/// From the ping's head, and from a full report only if this host does not say enough.
pub(super) async fn learn(target: &Target, client: &podman_api::Podman, head: Head) -> Result<Facts> {
    if let Endpoint::Unix(socket) = &target.endpoint
        && let Some(facts) = of_this_host(target, socket, &head)
    {
        return Ok(facts);
    }
    report(target, client, &head).await
}

/// A Podman that serves a socket of this host runs as the socket's owner, on this kernel.
fn of_this_host(target: &Target, socket: &Path, head: &Head) -> Option<Facts> {
    // A virtual machine's socket carries its name (`podman-machine-default-api.sock`).
    if socket.to_string_lossy().contains("podman-machine") {
        return None;
    }
    let owner = std::fs::metadata(socket).ok()?.uid();
    let unified = Path::new(CGROUPS).join("cgroup.controllers").exists();
    let gaps = match (owner, unified) {
        (0, _) => Vec::new(),
        (_, false) => limit_gaps(&[]),
        (_, true) => {
            let service = format!("user.slice/user-{owner}.slice/user@{owner}.service/cgroup.controllers");
            let controllers = std::fs::read_to_string(Path::new(CGROUPS).join(service)).ok()?;
            limit_gaps(&controllers.split_whitespace().collect::<Vec<_>>())
        }
    };
    let server = head.server.as_deref().unwrap_or_default();
    let version = server.strip_prefix("Libpod/").and_then(|rest| rest.split_whitespace().next())?;
    Some(Facts {
        kind: EngineKind::Podman,
        version: version.into(),
        api_version: head.libpod_version.clone().unwrap_or_default(),
        endpoint: target.endpoint.to_string(),
        rootless: owner != 0,
        cgroup_version: if unified { 2 } else { 1 },
        local: true,
        runtimes: Vec::new(),
        data_root: None,
        gaps: gaps.into_iter().chain(build_gap(version)).collect(),
    })
}

async fn report(target: &Target, client: &podman_api::Podman, head: &Head) -> Result<Facts> {
    let action = Action::general("ask Podman what it is");
    let answer = async { client.info().await.map_err(|error| convert::error(target, &action, error)) };
    let info: Info = action.wait_for(CONNECT_TIMEOUT, answer).await?;
    let (Some(host), Some(version)) = (info.host, info.version) else {
        return Err(action.refused(None, "the report says nothing of the host or the version"));
    };
    let ours = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let local = matches!(target.endpoint, Endpoint::Unix(_)) && host.kernel.as_deref() == Some(ours.trim());
    let rootless = host.security.and_then(|security| security.rootless).unwrap_or_default();
    let controllers = host.cgroup_controllers.unwrap_or_default();
    let controllers: Vec<&str> = controllers.iter().map(String::as_str).collect();
    let limits = if rootless { limit_gaps(&controllers) } else { Vec::new() };
    let release = version.version.unwrap_or_default();
    let gaps = limits.into_iter().chain(build_gap(&release)).collect();
    Ok(Facts {
        kind: EngineKind::Podman,
        version: release,
        api_version: version.api_version.or_else(|| head.libpod_version.clone()).unwrap_or_default(),
        endpoint: target.endpoint.to_string(),
        rootless,
        cgroup_version: if host.cgroup_version.as_deref() == Some("v2") { 2 } else { 1 },
        local,
        runtimes: host.oci_runtime.and_then(|runtime| runtime.name).into_iter().collect(),
        data_root: info.store.and_then(|store| store.graph_root).filter(|_| local).map(PathBuf::from),
        gaps,
    })
}

/// The first release whose builder keeps `RUN --mount` inside (CVE-2024-1753, CVE-2024-9407, CVE-2024-11218).
const KEEPS_MOUNTS: [u32; 3] = [5, 3, 2];

/// Whether the builder of a release lets `RUN --mount` out. A release that cannot be told is taken for an old one.
fn build_gap(version: &str) -> Option<Gap> {
    let numbers: Vec<u32> = version
        .split(['.', '-', '+'])
        .take(KEEPS_MOUNTS.len())
        .map(|part| part.parse().unwrap_or_default())
        .collect();
    (numbers.as_slice() < KEEPS_MOUNTS.as_slice()).then_some(Gap::BuildMounts)
}

/// The limits whose controllers a rootless engine was not given.
fn limit_gaps(controllers: &[&str]) -> Vec<Gap> {
    [("cpu", Gap::CpuLimit), ("memory", Gap::MemoryLimit), ("pids", Gap::PidsLimit)]
        .into_iter()
        .filter(|(controller, _)| !controllers.contains(controller))
        .map(|(_, gap)| gap)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_builders_let_mounts_out() {
        for old in ["", "4.3.1", "4.9.5-rhel", "5.3.1", "5.2.9", "x"] {
            assert_eq!(build_gap(old), Some(Gap::BuildMounts), "{old}");
        }
        for new in ["5.3.2", "5.4.0", "5.10.0-dev", "6.0.0-rc1"] {
            assert_eq!(build_gap(new), None, "{new}");
        }
    }
}
