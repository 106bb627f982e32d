//! Tests of what the engine is told.

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::names::SessionKey;
use crate::spec::{Account, HostMount, Kind, Limits, Mode, PortBinding, Resources, SeccompChoice, Security};
use crate::state::{AttachWay, SetupState, Status};

fn spec() -> SessionSpec {
    SessionSpec {
        key: SessionKey::machine("ann-lee".parse().unwrap(), "web".parse().unwrap()),
        kind: Kind::Machine,
        hostname: "h".repeat(100),
        image: "debian:12".parse().unwrap(),
        account: Account {
            name: "ann".into(),
            uid: 1000,
            gid: 1001,
            home: "/home/ann".into(),
            shell: "/bin/bash".into(),
        },
        resources: Resources { cpus: Some(1.5), memory: Some(1 << 30), pids_limit: Some(256) },
        security: Security {
            cap_drop: vec!["ALL".into()],
            cap_add: vec!["KILL".into()],
            no_new_privileges: true,
            readonly_rootfs: false,
            tmpfs: BTreeMap::new(),
            runtime: None,
            seccomp: SeccompChoice::Default,
        },
        mode: Mode::Persistent,
        grace_period: Duration::from_secs(60),
        max_lifetime: Duration::from_secs(60),
        env: BTreeMap::from([("TZ".into(), "UTC".into())]),
        mounts: Vec::new(),
        environment: Default::default(),
        persistent_home: None,
        limits: Limits::default(),
        guarded_network: false,
    }
}

fn record(spec: &SessionSpec) -> SessionRecord {
    let now = "2026-01-02T03:04:05Z".parse().unwrap();
    SessionRecord {
        id: "019b7c65-0000-7000-8000-0123456789ab".into(),
        key: spec.key.clone(),
        kind: spec.kind,
        status: Status::Creating,
        container_id: String::new(),
        container_name: spec.key.container_name(),
        image: spec.image.to_string(),
        network_id: String::new(),
        service_ids: Vec::new(),
        mode: spec.mode,
        grace_seconds: 60,
        shell: spec.account.shell.clone(),
        account: spec.account.name.clone(),
        created_at: now,
        last_activity: now,
        max_lifetime: None,
        grace_expiry: None,
        attach: AttachWay::Engine,
        socket_dir: None,
        process: None,
        attached: true,
        start_dir: None,
        setup: SetupState::Done,
        engine: String::new(),
    }
}

fn facts(kind: EngineKind) -> Facts {
    Facts {
        kind,
        version: "1".into(),
        api_version: "1".into(),
        endpoint: "/run/docker.sock".into(),
        rootless: false,
        cgroup_version: 2,
        local: true,
        runtimes: Vec::new(),
        data_root: None,
        gaps: Vec::new(),
    }
}

fn prepared() -> Prepared {
    Prepared {
        guest: GuestSource::File("/state/guest/podspawn-guest".into()),
        accounts: None,
        socket: None,
        seccomp: Seccomp::Default,
        network: "id of the network".into(),
        address: None,
        hosts: Vec::new(),
    }
}

fn built(spec: &SessionSpec, kind: EngineKind, prepared: &Prepared) -> (ContainerSpec, InitConfig) {
    let labels = Labels::from([("podspawn-user".into(), spec.key.user.to_string())]);
    let built = container(spec, &record(spec), &facts(kind), labels, prepared);
    let init = serde_json::from_str(&built.entrypoint[2]).unwrap();
    (built, init)
}

/// Source or kind of what is mounted at each place, and whether it is read-only.
fn places(spec: &ContainerSpec) -> BTreeMap<&str, String> {
    let places: BTreeMap<&str, String> = spec
        .mounts
        .iter()
        .map(|mount| {
            let what = match mount {
                Mount::Bind { source, read_only, .. } => format!("{} {read_only}", source.display()),
                Mount::Volume { name, read_only, .. } => format!("volume {name} {read_only}"),
                Mount::Tmpfs { options, .. } => format!("tmpfs {options}"),
            };
            (target(mount), what)
        })
        .collect();
    assert_eq!(places.len(), spec.mounts.len(), "one mount for each place");
    places
}

#[test]
fn the_guest_is_the_first_process_and_is_told_who_the_user_is() {
    let spec = spec();
    let (built, init) = built(&spec, EngineKind::Docker, &prepared());
    assert_eq!(built.entrypoint[..2], ["/.podspawn/guest", "init"]);
    assert_eq!((built.user.as_deref(), built.working_dir.as_deref()), (Some("0"), Some("/")));
    assert_eq!(init.user.name, "ann");
    assert_eq!((init.user.uid, init.user.gid, init.user.home.as_str()), (1000, 1001, "/home/ann"));
    assert_eq!(init.user_dirs, ["/workspace"]);
    assert_eq!(init.env, [("TZ".to_owned(), "UTC".to_owned())]);
    assert_eq!((init.nproc_limit, init.socket_uid), (None, None));
    assert!(init.sudo && init.no_new_privileges && !init.readonly_rootfs);
}

#[test]
fn names_labels_and_limits_reach_the_engine() {
    let (built, _) = built(&spec(), EngineKind::Docker, &prepared());
    assert_eq!(built.name, "podspawn-ann--lee-web");
    assert_eq!(built.hostname.as_deref().map(str::len), Some(63));
    assert_eq!(built.labels["podspawn-project"], "web");
    assert_eq!(built.labels["podspawn-user"], "ann-lee");
    assert_eq!(built.network.as_deref(), Some("id of the network"));
    assert_eq!((built.cpus, built.memory, built.pids_limit), (Some(1.5), Some(1 << 30), Some(256)));
    assert_eq!((built.cap_drop, built.cap_add), (vec!["ALL".to_owned()], vec!["KILL".to_owned()]));
    assert!(built.no_new_privileges && !built.readonly_rootfs);
    assert!(built.ports.is_empty(), "nothing is published");
}

#[test]
fn the_guests_sockets_lie_in_small_file_systems_of_their_own() {
    let (built, _) = built(&spec(), EngineKind::Docker, &prepared());
    let places = places(&built);
    assert_eq!(places.len(), 3);
    assert_eq!(places["/.podspawn/guest"], "/state/guest/podspawn-guest true");
    assert!(places["/run/podspawn"].contains("size=64k,mode=0700"));
    assert!(places["/run/podspawn-user"].contains("size=64k,mode=0711"));
}

#[test]
fn a_user_who_is_not_root_gets_the_socket_in_a_directory() {
    let prepared = Prepared { socket: Some(("/state/s/socket".into(), 4321)), ..prepared() };
    let (built, init) = built(&spec(), EngineKind::Docker, &prepared);
    assert_eq!(places(&built)["/run/podspawn"], "/state/s/socket false");
    assert_eq!(init.socket_uid, Some(4321));
}

#[test]
fn an_engine_elsewhere_gets_the_guest_in_a_volume() {
    let prepared = Prepared { guest: GuestSource::Volume("podspawn-guest-1".into()), ..prepared() };
    let (built, _) = built(&spec(), EngineKind::Docker, &prepared);
    assert_eq!(places(&built)["/.podspawn"], "volume podspawn-guest-1 true");
}

#[test]
fn under_gvisor_the_guest_limits_the_users_processes() {
    let (built, init) = built(&spec(), EngineKind::Gvisor, &prepared());
    assert_eq!((init.nproc_limit, built.pids_limit), (Some(256), Some(256)));
}

#[test]
fn a_read_only_root_has_prepared_accounts_sudo_and_places_to_write() {
    let mut spec = spec();
    spec.security.readonly_rootfs = true;
    spec.security.tmpfs = BTreeMap::from([("/tmp".into(), "size=256m".into())]);
    let accounts = AccountFiles {
        passwd: "/state/s/passwd".into(),
        group: "/state/s/group".into(),
        profile: "/state/s/profile".into(),
    };
    let prepared = Prepared { accounts: Some(accounts), ..prepared() };
    let (built, init) = built(&spec, EngineKind::Docker, &prepared);
    let places = places(&built);
    assert!(built.readonly_rootfs && init.readonly_rootfs);
    assert_eq!(places["/etc/passwd"], "/state/s/passwd true");
    assert_eq!(places["/etc/group"], "/state/s/group true");
    assert_eq!(places["/etc/profile.d/00-podspawn.sh"], "/state/s/profile true");
    assert_eq!(places["/usr/bin/sudo"], "/state/guest/podspawn-guest true");
    assert_eq!(places["/tmp"], "tmpfs size=256m", "what was asked for wins");
    for place in ["/run", "/home/ann", "/workspace", "/var/tmp"] {
        assert!(places[place].starts_with("tmpfs rw,"), "{place}");
    }

    // With setuid programs allowed the image's own sudo is used.
    spec.security.no_new_privileges = false;
    spec.persistent_home = Some("/homes/ann".into());
    let (built, _) = super::tests::built(&spec, EngineKind::Docker, &prepared);
    let places = super::tests::places(&built);
    assert!(!places.contains_key("/usr/bin/sudo"));
    assert_eq!(places["/home/ann"], "/homes/ann false");
}

#[test]
fn host_directories_are_mounted_as_asked() {
    let mut spec = spec();
    spec.mounts = vec![HostMount { source: "/src".into(), target: "/workspace/src".into(), read_only: true }];
    let (built, _) = built(&spec, EngineKind::Docker, &prepared());
    assert_eq!(places(&built)["/workspace/src"], "/src true");
}

#[test]
fn bridges_share_a_prefix_and_fit_the_kernels_limit() {
    let spec = spec();
    let network = network(&spec, &record(&spec), Labels::new());
    assert_eq!(network.name, "podspawn-ann--lee-web-net");
    assert_eq!(network.bridge_name.as_deref(), Some("pspn-23456789ab"));
    assert!(network.bridge_name.is_some_and(|name| name.len() <= 15) && !network.internal);
}

#[test]
fn guarded_bridges_have_a_prefix_of_their_own() {
    let spec = SessionSpec { guarded_network: true, ..spec() };
    let network = network(&spec, &record(&spec), Labels::new());
    assert_eq!(network.bridge_name.as_deref(), Some("pspg-23456789ab"));
    assert!(!BRIDGE_PREFIX.starts_with(GUARDED_BRIDGE_PREFIX));
    assert!(!GUARDED_BRIDGE_PREFIX.starts_with(BRIDGE_PREFIX));
}

fn with_service(spec: SessionSpec) -> SessionSpec {
    let mut spec = spec;
    let volume = VolumeMount { name: spec.key.volume_name(&"data".parse().unwrap()), target: "/data".into() };
    spec.environment.services = vec![ServiceSpec {
        name: "db".parse().unwrap(),
        image: "postgres:16".parse().unwrap(),
        ports: vec![5432, 5433],
        env: BTreeMap::from([("POSTGRES_PASSWORD".into(), "x=y".into())]),
        volumes: vec![volume.clone()],
    }];
    spec.environment.volumes = vec![VolumeMount { target: "/cache".into(), ..volume }];
    spec
}

#[test]
fn a_service_is_its_image_under_the_sessions_hardening_and_publishes_nothing() {
    let mut spec = with_service(spec());
    spec.security.readonly_rootfs = true;
    let built = service(&spec, &spec.environment.services[0], Labels::new(), &prepared());
    assert_eq!(built.name, "podspawn-ann--lee-web.db");
    assert_eq!((built.hostname.as_deref(), built.aliases), (Some("db"), vec!["db".to_owned()]));
    assert_eq!(built.network.as_deref(), Some("id of the network"));
    assert!(built.entrypoint.is_empty() && built.command.is_empty() && built.user.is_none());
    assert_eq!(built.env, ["POSTGRES_PASSWORD=x=y"]);
    assert_eq!(built.labels["podspawn-service"], "db");
    assert_eq!(built.labels["podspawn-service-ports"], "5432,5433");
    assert_eq!(built.labels["podspawn-project"], "web");
    assert_eq!((built.cap_drop, built.cap_add), (vec!["ALL".to_owned()], vec!["KILL".to_owned()]));
    assert_eq!((built.cpus, built.memory, built.pids_limit), (Some(1.5), Some(1 << 30), Some(256)));
    assert!(built.no_new_privileges && !built.readonly_rootfs, "its data has to go somewhere");
    assert!(built.ports.is_empty() && built.map_owner.is_none());
    let data =
        Mount::Volume { name: "podspawn-ann--lee-web.data".into(), target: "/data".into(), read_only: false };
    assert_eq!(built.mounts, [data]);
}

#[test]
fn volumes_and_ports_reach_the_engine_and_the_guest_is_told_of_the_volumes() {
    let mut spec = with_service(spec());
    spec.environment.ports = vec![PortBinding { container: 3000, host: 3007 }];
    let (built, init) = built(&spec, EngineKind::Docker, &prepared());
    assert_eq!(places(&built)["/cache"], "volume podspawn-ann--lee-web.data false");
    assert_eq!(init.volume_dirs, ["/cache"]);
    let host = "127.0.0.1:3007".parse().unwrap();
    assert_eq!(built.ports, [PublishedPort { container: 3000, host }]);
}

#[test]
fn a_session_called_like_its_service_leaves_it_the_name() {
    let mut spec = with_service(spec());
    spec.hostname = "db".into();
    let (built, _) = built(&spec, EngineKind::Docker, &prepared());
    assert_eq!(built.hostname.as_deref(), Some("podspawn-ann--lee-web"));
}

#[test]
fn ids_are_shifted_for_mounted_directories_on_a_rootless_podman_alone() {
    let mounted = || {
        let mut spec = spec();
        spec.mounts =
            vec![HostMount { source: "/src".into(), target: "/workspace/app".into(), read_only: false }];
        spec
    };
    let on = |kind, rootless, spec: &SessionSpec| {
        let facts = Facts { rootless, ..facts(kind) };
        let built = container(spec, &record(spec), &facts, Labels::new(), &prepared());
        let init: InitConfig = serde_json::from_str(&built.entrypoint[2]).unwrap();
        (built.map_owner, init.socket_uid)
    };
    let mut spec = mounted();
    spec.security.cap_add = ["CHOWN", "DAC_OVERRIDE"].map(String::from).into();
    assert_eq!(on(EngineKind::Podman, true, &spec), (Some((1000, 1001)), Some(1000)));
    assert_eq!(on(EngineKind::Podman, false, &spec), (None, None));
    assert_eq!(on(EngineKind::Docker, true, &spec), (None, None));
    spec.mounts.clear();
    assert_eq!(on(EngineKind::Podman, true, &spec), (None, None));
    // Without what the guest needs to give its socket away, it keeps it, and the engine is the way in.
    assert_eq!(on(EngineKind::Podman, true, &mounted()), (Some((1000, 1001)), None));
}
