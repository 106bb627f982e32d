//! From the resolved spec to what the engine is told: a pure function.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use podspawn_guest::profile;
use podspawn_runtimes::{
    ContainerSpec, EngineKind, Facts, Labels, Mount, NetworkSpec, PublishedPort, Seccomp,
};
use podspawn_wire::{GUEST_DIR, GUEST_PROGRAM, InitConfig, PROTOCOL, USER_DIR, User};

use super::core::label;
use crate::spec::{Kind, ServiceSpec, SessionSpec, VolumeMount};
use crate::state::SessionRecord;

/// Directory that every session's user has, whatever the image.
const WORKSPACE: &str = "/workspace";

/// Prefix of the names of podspawn's bridges on the engine's host.
const BRIDGE_PREFIX: &str = "pspn-";

/// The same where the host's packet filter keeps containers away from the host. Neither prefix starts with the other:
/// rules for the bridges of a server leave the machines of local users alone.
pub const GUARDED_BRIDGE_PREFIX: &str = "pspg-";

/// Longest host name that the kernel takes.
const HOSTNAME_MAX: usize = 63;

/// Where the guest's program comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GuestSource {
    /// A file on the engine's host.
    File(PathBuf),
    /// A volume that holds it.
    Volume(String),
}

/// Account files for a root file system that nobody can edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AccountFiles {
    pub(super) passwd: PathBuf,
    pub(super) group: PathBuf,
    pub(super) profile: PathBuf,
}

/// What was prepared outside the spec.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Prepared {
    /// The guest's program.
    pub(super) guest: GuestSource,
    /// Prepared account files, for a read-only root.
    pub(super) accounts: Option<AccountFiles>,
    /// A directory of this host for the guest's socket, and who connects to it.
    pub(super) socket: Option<(PathBuf, u32)>,
    /// The seccomp filter, read.
    pub(super) seccomp: Seccomp,
    /// Network to join, by id.
    pub(super) network: String,
    /// The session's own address there, where those are fixed beforehand.
    pub(super) address: Option<Ipv4Addr>,
    /// Addresses of services, where the engine's name service is out of reach or not to be relied on.
    pub(super) hosts: Vec<(String, String)>,
}

/// The container of a session.
pub(super) fn container(
    spec: &SessionSpec,
    record: &SessionRecord,
    facts: &Facts,
    labels: Labels,
    prepared: &Prepared,
) -> ContainerSpec {
    let security = &spec.security;
    let init = init_config(spec, facts, prepared);
    let mut labels = labels;
    labels.insert(label::PROJECT.into(), spec.key.project().into());
    if let Some(directory) = directory(spec) {
        labels.insert(label::DIRECTORY.into(), directory.display().to_string());
    }
    ContainerSpec {
        name: record.container_name.clone(),
        image: spec.image.to_string(),
        entrypoint: vec![
            GUEST_PROGRAM.into(),
            "init".into(),
            serde_json::to_string(&init)
                .unwrap_or_else(|error| unreachable!("plain data serialises: {error}")),
        ],
        user: Some("0".into()),
        working_dir: Some("/".into()),
        hostname: Some(hostname(spec, record)),
        labels,
        network: Some(prepared.network.clone()),
        mounts: mounts(spec, prepared),
        ports: spec.environment.ports.iter().map(|port| published(port.container, port.host)).collect(),
        map_owner: maps_owner(spec, facts).then_some((spec.account.uid, spec.account.gid)),
        hosts: prepared.hosts.clone(),
        address: prepared.address,
        cap_drop: security.cap_drop.clone(),
        cap_add: security.cap_add.clone(),
        no_new_privileges: security.no_new_privileges,
        pids_limit: spec.resources.pids_limit,
        cpus: spec.resources.cpus,
        memory: spec.resources.memory,
        readonly_rootfs: security.readonly_rootfs,
        seccomp: prepared.seccomp.clone(),
        runtime: security.runtime.clone(),
        stop_signal: Some("SIGTERM".into()),
        ..ContainerSpec::default()
    }
}

/// Where the files of a session come from.
fn directory(spec: &SessionSpec) -> Option<&Path> {
    let mounted = spec.mounts.first().map(|mount| &mount.source);
    let source = mounted.or(spec.environment.copy.as_ref().map(|copy| &copy.source));
    source.filter(|_| spec.kind == Kind::Session).map(PathBuf::as_path)
}

/// The container of a service: what its image says, under the session's hardening and limits.
pub(super) fn service(
    spec: &SessionSpec,
    service: &ServiceSpec,
    labels: Labels,
    prepared: &Prepared,
) -> ContainerSpec {
    let security = &spec.security;
    let ports: Vec<String> = service.ports.iter().map(ToString::to_string).collect();
    let mut labels = labels;
    labels.insert(label::PROJECT.into(), spec.key.project().into());
    labels.insert(label::SERVICE.into(), service.name.to_string());
    labels.insert(label::SERVICE_PORTS.into(), ports.join(","));
    ContainerSpec {
        name: spec.key.service_container(&service.name),
        image: service.image.to_string(),
        env: service.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        hostname: Some(service.name.to_string()),
        labels,
        network: Some(prepared.network.clone()),
        aliases: vec![service.name.to_string()],
        mounts: service.volumes.iter().map(volume).collect(),
        cap_drop: security.cap_drop.clone(),
        cap_add: security.cap_add.clone(),
        no_new_privileges: security.no_new_privileges,
        pids_limit: spec.resources.pids_limit,
        cpus: spec.resources.cpus,
        memory: spec.resources.memory,
        seccomp: prepared.seccomp.clone(),
        runtime: security.runtime.clone(),
        hosts: prepared.hosts.clone(),
        ..ContainerSpec::default()
    }
}

fn published(container: u16, host: u16) -> PublishedPort {
    PublishedPort { container, host: SocketAddr::from((Ipv4Addr::LOCALHOST, host)) }
}

fn volume(volume: &VolumeMount) -> Mount {
    Mount::Volume { name: volume.name.clone(), target: volume.target.clone(), read_only: false }
}

/// A service of the same name must be found under it, not the session itself.
fn hostname(spec: &SessionSpec, record: &SessionRecord) -> String {
    let taken = spec.environment.services.iter().any(|service| service.name.as_str() == spec.hostname);
    cut(if taken { &record.container_name } else { &spec.hostname }, HOSTNAME_MAX)
}

/// A rootless engine's ids mean other ids on this host: where host directories are mounted, they are shifted so that files
/// of the engine's own account are those of the session's user.
fn maps_owner(spec: &SessionSpec, facts: &Facts) -> bool {
    facts.maps_owner() && !spec.mounts.is_empty()
}

/// Whether the configuration leaves a capability to containers.
fn has_capability(spec: &SessionSpec, name: &str) -> bool {
    let security = &spec.security;
    let has = |list: &[String], name: &str| list.iter().any(|one| one.eq_ignore_ascii_case(name));
    let dropped = has(&security.cap_drop, "ALL") || has(&security.cap_drop, name);
    has(&security.cap_add, "ALL") || has(&security.cap_add, name) || !dropped
}

/// Who connects to the guest's socket, if it is not root inside. Where ids are shifted, the engine's account is the
/// session's user inside, and the guest tells the two apart by where they come from.
fn socket_uid(spec: &SessionSpec, facts: &Facts, prepared: &Prepared) -> Option<u32> {
    let shifted =
        maps_owner(spec, facts) && has_capability(spec, "CHOWN") && has_capability(spec, "DAC_OVERRIDE");
    let of_directory = prepared.socket.as_ref().map(|(_, uid)| *uid);
    of_directory.or(shifted.then_some(spec.account.uid))
}

/// The network of a session.
pub(super) fn network(spec: &SessionSpec, record: &SessionRecord, labels: Labels) -> NetworkSpec {
    // The end of a time-ordered id is its random part.
    let tail = &record.id[record.id.len().saturating_sub(10)..];
    let prefix = if spec.guarded_network { GUARDED_BRIDGE_PREFIX } else { BRIDGE_PREFIX };
    NetworkSpec {
        name: record.key.network_name(),
        labels,
        bridge_name: Some(format!("{prefix}{tail}")),
        internal: false,
    }
}

/// Where prepared files of a session lie, and the socket directory.
pub(super) fn session_directory(sessions: &Path, record_id: &str) -> PathBuf {
    sessions.join(record_id)
}

/// The account inside, as the guest is told.
pub(super) fn user(spec: &SessionSpec) -> User {
    let account = &spec.account;
    User {
        name: account.name.clone(),
        uid: account.uid,
        gid: account.gid,
        home: account.home.clone(),
        shell: account.shell.clone(),
    }
}

fn init_config(spec: &SessionSpec, facts: &Facts, prepared: &Prepared) -> InitConfig {
    InitConfig {
        protocol: PROTOCOL,
        user: user(spec),
        sudo: true,
        no_new_privileges: spec.security.no_new_privileges,
        readonly_rootfs: spec.security.readonly_rootfs,
        user_dirs: vec![WORKSPACE.into()],
        volume_dirs: spec.environment.volumes.iter().map(|volume| volume.target.clone()).collect(),
        // The engine's limit counts the sandbox's own threads there.
        nproc_limit: spec
            .resources
            .pids_limit
            .filter(|_| facts.kind == EngineKind::Gvisor)
            .and_then(|limit| u64::try_from(limit).ok()),
        socket_uid: socket_uid(spec, facts, prepared),
        env: spec.env.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
    }
}

/// All mounts. Where two want one place, what was asked for wins over what podspawn adds by itself.
fn mounts(spec: &SessionSpec, prepared: &Prepared) -> Vec<Mount> {
    let mut mounts = vec![match &prepared.guest {
        GuestSource::File(path) => {
            Mount::Bind { source: path.clone(), target: GUEST_PROGRAM.into(), read_only: true }
        }
        GuestSource::Volume(name) => {
            let target = GUEST_PROGRAM.rsplit_once('/').map_or("/", |(directory, _)| directory);
            Mount::Volume { name: name.clone(), target: target.into(), read_only: true }
        }
    }];
    mounts.push(match &prepared.socket {
        Some((source, _)) => {
            Mount::Bind { source: source.clone(), target: GUEST_DIR.into(), read_only: false }
        }
        None => tmpfs(GUEST_DIR, "rw,noexec,nosuid,nodev,size=64k,mode=0700"),
    });
    mounts.push(tmpfs(USER_DIR, "rw,noexec,nosuid,nodev,size=64k,mode=0711"));
    mounts.extend(spec.mounts.iter().map(|mount| Mount::Bind {
        source: mount.source.clone(),
        target: mount.target.clone(),
        read_only: mount.read_only,
    }));
    if let Some(home) = &spec.persistent_home {
        mounts.push(Mount::Bind {
            source: home.clone(),
            target: spec.account.home.clone(),
            read_only: false,
        });
    }
    for one in &spec.environment.volumes {
        add(&mut mounts, volume(one));
    }
    for (target, options) in &spec.security.tmpfs {
        add(&mut mounts, tmpfs(target, options));
    }
    if spec.security.readonly_rootfs {
        if let Some(files) = &prepared.accounts {
            let AccountFiles { passwd, group, profile: of_shells } = files;
            let files = [(passwd, "/etc/passwd"), (group, "/etc/group"), (of_shells, profile::FILE)];
            for (source, target) in files {
                add(
                    &mut mounts,
                    Mount::Bind { source: source.clone(), target: target.into(), read_only: true },
                );
            }
        }
        // Nothing can be linked into a read-only root: the program itself goes where people look for sudo.
        if let (true, GuestSource::File(path)) = (spec.security.no_new_privileges, &prepared.guest) {
            let target = "/usr/bin/sudo".into();
            add(&mut mounts, Mount::Bind { source: path.clone(), target, read_only: true });
        }
        add(&mut mounts, tmpfs("/tmp", "rw,exec,nosuid,nodev,mode=1777"));
        add(&mut mounts, tmpfs("/var/tmp", "rw,exec,nosuid,nodev,mode=1777"));
        add(&mut mounts, tmpfs("/run", "rw,nosuid,nodev,mode=0755"));
        add(&mut mounts, tmpfs(&spec.account.home, "rw,exec,nosuid,nodev,mode=0755"));
        add(&mut mounts, tmpfs(WORKSPACE, "rw,exec,nosuid,nodev,mode=0755"));
    }
    mounts
}

fn tmpfs(target: &str, options: &str) -> Mount {
    Mount::Tmpfs { target: target.into(), options: options.into() }
}

fn target(mount: &Mount) -> &str {
    match mount {
        Mount::Bind { target, .. } | Mount::Volume { target, .. } | Mount::Tmpfs { target, .. } => target,
    }
}

/// Adds a mount unless something is mounted there already.
fn add(mounts: &mut Vec<Mount>, mount: Mount) {
    if !mounts.iter().any(|present| target(present) == target(&mount)) {
        mounts.push(mount);
    }
}

fn cut(text: &str, most: usize) -> String {
    text.chars().take(most).collect()
}

#[cfg(test)]
#[path = "container_spec_tests.rs"]
mod tests;
