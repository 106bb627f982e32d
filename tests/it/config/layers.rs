//! Which layer wins, and that each value says which one it was.

use podspawn::config::{EngineChoice, ProfileName};
use podspawn::names::SessionKey;
use podspawn::spec::{Kind, Mode, Request, Resolved, resolve, rows};

use super::Place;

fn machine(place: &Place) -> Resolved {
    let key = SessionKey::machine("ann".parse().unwrap(), "dev".parse().unwrap());
    resolve(&Request::new(key, Kind::Session), &place.layers()).unwrap_or_else(|error| panic!("{error}"))
}

/// `key = value <- origin`, a line each.
fn snapshot(place: &Place) -> String {
    let resolved = machine(place);
    let lines =
        rows(&resolved).into_iter().map(|row| format!("{} = {} <- {}\n", row.key, row.text, row.origin));
    place.tilde(&lines.collect::<String>())
}

#[test]
fn without_any_configuration_everything_is_a_default() {
    assert_eq!(
        snapshot(&Place::local()),
        "\
owner = ann <- who asks
name = dev <- as asked for
container = podspawn-ann-dev <- made of owner and name
kind = session <- command
engine = the first that answers <- detected
image = ubuntu:24.04 <- default
hostname = dev <- name of the machine
account.name = ann <- name of the owner
account.uid = 1000 <- always 1000
account.gid = 1000 <- always 1000
account.home = /home/ann <- home of the account
account.shell = /bin/bash <- default
mode = grace-period <- default
grace_period = 1m <- default
max_lifetime = 24h <- profile local
resources.cpus = 2 <- default
resources.memory = 2g <- default
resources.pids_limit = 256 <- default
limits.max_per_user = no limit <- profile local
limits.max_containers = no limit <- default
security.cap_drop = ALL <- default
security.cap_add = CHOWN SETUID SETGID DAC_OVERRIDE FOWNER NET_BIND_SERVICE KILL <- default
security.no_new_privileges = true <- default
security.readonly_rootfs = false <- default
security.tmpfs = none <- default
security.runtime = the engine's default <- default
security.seccomp_profile = default <- default
guarded_network = false <- only on a server
mounts = none <- as asked for
persistent_home = none <- only in mode persistent
"
    );
}

#[test]
fn every_layer_overrides_the_ones_below_it() {
    let file = "\
profile: hardened-gvisor
defaults:
  image: debian:12
  cpus: 8
session:
  mode: persistent
  grace_period: 5m
security:
  cap_add: [CHOWN, cap_net_raw]
  tmpfs: {/scratch: 'size=1g'}
local:
  cpus: 4
  memory: 8g
  shell: /bin/zsh
";
    let place = Place::local()
        .file(file)
        .env("PODSPAWN_SESSION__GRACE_PERIOD", "10m")
        .env("PODSPAWN_SECURITY__TMPFS", "{/cache: size=1m}")
        .env("PODSPAWN_DEFAULTS__SHELL", "/bin/sh")
        .env("PODSPAWN_PROJECT", "not configuration")
        .flag("--runtime", "runtime", "podman");
    assert_eq!(
        snapshot(&place),
        "\
owner = ann <- who asks
name = dev <- as asked for
container = podspawn-ann-dev <- made of owner and name
kind = session <- command
engine = podman <- flag --runtime
image = debian:12 <- ~/.podspawn/config.yaml:3
hostname = dev <- name of the machine
account.name = ann <- name of the owner
account.uid = 1000 <- always 1000
account.gid = 1000 <- always 1000
account.home = /home/ann <- home of the account
account.shell = /bin/sh <- environment variable PODSPAWN_DEFAULTS__SHELL
mode = persistent <- ~/.podspawn/config.yaml:6
grace_period = 10m <- environment variable PODSPAWN_SESSION__GRACE_PERIOD
max_lifetime = 24h <- profile local
resources.cpus = 2 <- profile hardened-gvisor (resources.max_cpus; 4 was asked for by ~/.podspawn/config.yaml:12)
resources.memory = 4g <- profile hardened-gvisor (resources.max_memory; 8g was asked for by ~/.podspawn/config.yaml:13)
resources.pids_limit = 256 <- default
limits.max_per_user = no limit <- profile local
limits.max_containers = no limit <- default
security.cap_drop = ALL <- default
security.cap_add = CHOWN NET_RAW <- ~/.podspawn/config.yaml:9
security.no_new_privileges = true <- default
security.readonly_rootfs = false <- default
security.tmpfs = /cache:size=1m /scratch:size=1g <- environment variable PODSPAWN_SECURITY__TMPFS
security.runtime = runsc <- profile hardened-gvisor
security.seccomp_profile = default <- default
guarded_network = false <- only on a server
mounts = none <- as asked for
persistent_home = ~/.podspawn/homes/ann <- default of local commands
"
    );
}

#[test]
fn short_forms_of_local_commands_win_and_empty_ones_change_nothing() {
    let place = Place::local().file(
        "defaults: {cpus: 3, image: debian:12}\nlocal: {cpus: 0, image: '', memory: 0, mode: persistent}\n",
    );
    let config = place.layers().config;
    assert_eq!(config.defaults.cpus.limit(), Some(3.0));
    assert_eq!(config.defaults.image.as_str(), "debian:12");
    assert_eq!(config.defaults.memory.limit(), Some(2 << 30));
    assert_eq!(config.session.mode, Mode::Persistent);
    let unlimited = Place::local().file("defaults: {memory: 0, cpus: 0}\n").layers().config;
    assert_eq!((unlimited.defaults.memory.limit(), unlimited.defaults.cpus.limit()), (None, None));
}

#[test]
fn a_server_has_its_own_places_and_no_local_profile() {
    let place = Place::server("resources:\n  max_per_user: 5\n");
    let config = place.layers().config;
    assert_eq!(config.state.db_path, std::path::Path::new("/var/lib/podspawn/state.db"));
    assert_eq!(config.resources.max_per_user.limit(), Some(5));
    assert_eq!(config.session.max_lifetime.get().as_secs(), 8 * 3600);
    assert_eq!(config.profile, None);
    assert_eq!(config.engine(), None);
}

#[test]
fn local_state_lies_in_the_home_unless_a_key_says_otherwise() {
    let place = Place::local().file("state: {homes_dir: ~/homes}\nlog: {file: ~/log}\n");
    let config = place.layers().config;
    assert_eq!(config.state.db_path, place.home.path().join(".podspawn/state.db"));
    assert_eq!(config.state.lock_dir, place.home.path().join(".podspawn/locks"));
    assert_eq!(config.state.homes_dir, place.home.path().join("homes"));
    assert_eq!(config.log.file, Some(place.home.path().join("log")));
}

#[test]
fn gvisor_is_docker_with_runsc() {
    let engine = |text: &str| Place::local().file(text).layers().config.engine();
    assert_eq!(engine("runtime: docker\n"), Some(EngineChoice::Docker));
    assert_eq!(engine("runtime: docker\nsecurity: {runtime: runsc}\n"), Some(EngineChoice::Gvisor));
    assert_eq!(engine("security: {runtime: runsc}\n"), Some(EngineChoice::Gvisor));
    assert_eq!(engine("runtime: podman\nsecurity: {runtime: runsc}\n"), Some(EngineChoice::Podman));
    assert_eq!(engine("runtime: gvisor\n"), Some(EngineChoice::Gvisor));
    assert_eq!(engine("profile: rootless-podman\n"), Some(EngineChoice::Podman));
    assert_eq!(engine("profile: docker-host\n"), Some(EngineChoice::Docker));
    assert_eq!(engine("profile: hardened-gvisor\n"), Some(EngineChoice::Gvisor));
    assert_eq!(engine(""), None);
}

#[test]
fn a_file_named_by_a_flag_replaces_the_places_own() {
    let mut place = Place::local().file("defaults: {image: debian:12}\n");
    let other = place.home.path().join("other.yaml");
    std::fs::write(&other, "profile: local\n").unwrap();
    place.sources.file = Some(other.clone());
    let config = place.layers().config;
    assert_eq!(config.defaults.image.as_str(), "ubuntu:24.04");
    assert_eq!(config.profile, Some(ProfileName::Local));
    std::fs::remove_file(&other).unwrap();
    assert_eq!(place.error(), "read the configuration file `~/other.yaml`: it does not exist");
}

#[test]
fn routing_of_pod_names_is_read_and_checked() {
    let text = "servers:\n  default: devbox.example.com\n  mappings:\n    gpu.pod: {host: 'gpu.example.com:2222', mode: persistent}\n    ci.pod: 10.0.0.7\n";
    let servers = Place::local().file(text).layers().servers;
    assert_eq!(servers.default.as_ref().map(|server| server.as_str()), Some("devbox.example.com"));
    assert_eq!(servers.mappings["gpu.pod"].host.as_str(), "gpu.example.com:2222");
    assert_eq!(servers.mappings["gpu.pod"].mode.as_deref(), Some("persistent"));
    assert_eq!(servers.mappings["ci.pod"].mode, None);
}

#[test]
fn aliases_and_merges_work_where_they_are_harmless() {
    let text = "defaults: &d\n  cpus: 1\nsession: {mode: &m persistent}\nlocal:\n  <<: *d\n  mode: *m\n";
    let config = Place::local().file(text).layers().config;
    assert_eq!(config.defaults.cpus.limit(), Some(1.0));
    assert_eq!(config.session.mode, Mode::Persistent);
}
