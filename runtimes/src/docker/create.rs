//! A container's shape in the terms of Docker's API.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use bollard::models::{
    ContainerCreateBody, EndpointIpamConfig, EndpointSettings, HostConfig, MountType, NetworkingConfig,
    PortBinding,
};

use crate::types::*;

/// The body of a create request.
pub(crate) fn body(spec: &ContainerSpec) -> ContainerCreateBody {
    let some = |list: &Vec<String>| Some(list.clone()).filter(|list| !list.is_empty());
    // An entrypoint of our own never gets the image's arguments.
    let cmd = if spec.entrypoint.is_empty() { some(&spec.command) } else { Some(spec.command.clone()) };
    ContainerCreateBody {
        hostname: spec.hostname.clone(),
        user: spec.user.clone(),
        open_stdin: Some(spec.open_stdin),
        env: some(&spec.env),
        cmd,
        image: Some(spec.image.clone()),
        working_dir: spec.working_dir.clone(),
        entrypoint: some(&spec.entrypoint),
        labels: Some(spec.labels.clone().into_iter().collect()),
        stop_signal: spec.stop_signal.clone(),
        exposed_ports: some(&spec.ports.iter().map(port_name).collect()),
        host_config: Some(host_config(spec)),
        // Podman refuses names and addresses where there is no network to have them on.
        networking_config: spec
            .network
            .as_deref()
            .filter(|network| *network != "none")
            .map(|network| networking(network, spec)),
        ..ContainerCreateBody::default()
    }
}

fn port_name(port: &PublishedPort) -> String {
    format!("{}/tcp", port.container)
}

fn networking(network: &str, spec: &ContainerSpec) -> NetworkingConfig {
    let fixed = |address: Ipv4Addr| EndpointIpamConfig {
        ipv4_address: Some(address.to_string()),
        ..EndpointIpamConfig::default()
    };
    let endpoint = EndpointSettings {
        aliases: Some(spec.aliases.clone()),
        ipam_config: spec.address.map(fixed),
        ..EndpointSettings::default()
    };
    NetworkingConfig { endpoints_config: Some(HashMap::from([(network.to_owned(), endpoint)])) }
}

/// The kernel's usual period of CPU accounting, in microseconds.
const CPU_PERIOD: i64 = 100_000;

fn host_config(spec: &ContainerSpec) -> HostConfig {
    let mut bindings: HashMap<String, Option<Vec<PortBinding>>> = HashMap::new();
    for port in &spec.ports {
        let binding = PortBinding {
            host_ip: Some(port.host.ip().to_string()),
            host_port: Some(port.host.port().to_string()),
        };
        bindings.entry(port_name(port)).or_default().get_or_insert_default().push(binding);
    }
    let memory = spec.memory.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    HostConfig {
        memory,
        // Without this the same amount could be swapped on top.
        memory_swap: memory,
        // Not `nano_cpus`: the engine refuses that above the number of the host's CPUs, a quota it takes.
        cpu_period: spec.cpus.map(|_| CPU_PERIOD),
        cpu_quota: spec.cpus.map(|cpus| (cpus * CPU_PERIOD as f64).round() as i64),
        pids_limit: spec.pids_limit,
        network_mode: spec.network.clone(),
        port_bindings: Some(bindings),
        cap_add: Some(spec.cap_add.clone()),
        cap_drop: Some(spec.cap_drop.clone()),
        readonly_rootfs: Some(spec.readonly_rootfs),
        security_opt: Some(security_options(spec)),
        tmpfs: Some(tmpfs(&spec.mounts)),
        mounts: Some(spec.mounts.iter().filter_map(mount).collect()),
        runtime: spec.runtime.clone(),
        extra_hosts: Some(spec.hosts.iter().map(|(name, address)| format!("{name}:{address}")).collect()),
        // Only Podman knows this word, and only it is given a spec that asks for it.
        userns_mode: spec.map_owner.map(|(uid, gid)| format!("keep-id:uid={uid},gid={gid}")),
        ..HostConfig::default()
    }
}

fn security_options(spec: &ContainerSpec) -> Vec<String> {
    let mut options = Vec::new();
    if spec.no_new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    match &spec.seccomp {
        Seccomp::Default => {}
        Seccomp::Unconfined => options.push("seccomp=unconfined".to_owned()),
        Seccomp::Profile(json) => options.push(format!("seccomp={json}")),
    }
    options
}

fn tmpfs(mounts: &[Mount]) -> HashMap<String, String> {
    let one = |mount: &Mount| match mount {
        Mount::Tmpfs { target, options } => Some((target.clone(), options.clone())),
        Mount::Bind { .. } | Mount::Volume { .. } => None,
    };
    mounts.iter().filter_map(one).collect()
}

fn mount(mount: &Mount) -> Option<bollard::models::Mount> {
    let (typ, source, target, read_only) = match mount {
        Mount::Bind { source, target, read_only } => {
            (MountType::BIND, source.to_string_lossy().into_owned(), target, read_only)
        }
        Mount::Volume { name, target, read_only } => (MountType::VOLUME, name.clone(), target, read_only),
        Mount::Tmpfs { .. } => return None,
    };
    Some(bollard::models::Mount {
        typ: Some(typ),
        source: Some(source),
        target: Some(target.clone()),
        read_only: Some(*read_only),
        ..Default::default()
    })
}
