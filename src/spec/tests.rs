use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::config::{self, Deployment, EngineChoice, Layers, Sources};
use crate::names::SessionKey;

fn layers(deployment: Deployment, env: &[(&str, &str)]) -> Layers {
    let sources = Sources {
        deployment,
        local_root: "/nonexistent/ann/.podspawn".into(),
        home: Some("/nonexistent/ann".into()),
        // A server's own file would be this host's.
        file: (deployment == Deployment::Server)
            .then(|| concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.yaml").into()),
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        flags: Vec::new(),
    };
    config::load(&sources).unwrap()
}

fn machine(kind: Kind) -> Request {
    let key = SessionKey::machine("ann".parse().unwrap(), "dev".parse().unwrap());
    Request::new(key, kind)
}

fn local(env: &[(&str, &str)], request: &Request) -> Resolved {
    resolve(request, &layers(Deployment::Local, env)).unwrap()
}

fn origin(resolved: &Resolved, key: &str) -> String {
    resolved.origins[key].to_string()
}

#[test]
fn a_local_machine_gets_the_defaults_and_says_so() {
    let resolved = local(&[], &machine(Kind::Machine));
    let spec = &resolved.spec;
    assert_eq!(spec.image.as_str(), "ubuntu:24.04");
    assert_eq!(spec.hostname, "dev");
    assert_eq!(spec.account.home, "/home/ann");
    assert_eq!((spec.account.uid, spec.account.gid), (1000, 1000));
    assert_eq!(spec.resources.cpus, Some(2.0));
    assert_eq!(spec.resources.memory, Some(2 << 30));
    assert_eq!(spec.resources.pids_limit, Some(256));
    assert_eq!(spec.security.cap_drop, ["ALL"]);
    assert!(spec.security.cap_add.contains(&"KILL".to_owned()));
    assert_eq!(spec.mode, Mode::GracePeriod);
    assert_eq!(spec.persistent_home, None);
    assert_eq!(spec.limits.max_per_user, None, "a local user has no limit on machines");
    assert_eq!(resolved.engine, None);
    assert_eq!(origin(&resolved, "image"), "default");
    assert_eq!(origin(&resolved, "limits.max_per_user"), "profile local");
    assert_eq!(origin(&resolved, "hostname"), "name of the machine");
}

#[test]
fn only_a_servers_sessions_have_a_guarded_network_and_only_where_bridges_can_be_filtered() {
    let server = |runtime: EngineChoice| {
        let mut layers = layers(Deployment::Server, &[]);
        layers.config.runtime = Some(runtime);
        let resolved = resolve(&machine(Kind::Session), &layers).unwrap();
        (resolved.spec.guarded_network, origin(&resolved, "guarded_network"))
    };
    let guarded = (true, "on a server the host is out of reach".to_owned());
    for runtime in [EngineChoice::Docker, EngineChoice::Gvisor] {
        assert_eq!(server(runtime), guarded);
    }
    assert!(!server(EngineChoice::Podman).0, "{:?}", server(EngineChoice::Podman));
    let resolved = local(&[("PODSPAWN_RUNTIME", "docker")], &machine(Kind::Machine));
    assert!(!resolved.spec.guarded_network);
    assert_eq!(origin(&resolved, "guarded_network"), "only on a server");
}

#[test]
fn a_throwaway_machine_always_goes_with_its_shell() {
    let resolved = local(&[("PODSPAWN_SESSION__MODE", "persistent")], &machine(Kind::Throwaway));
    assert_eq!(resolved.spec.mode, Mode::DestroyOnDisconnect);
    assert_eq!(resolved.spec.persistent_home, None);
    assert_eq!(origin(&resolved, "mode"), "a throw-away machine goes with its shell");
}

#[test]
fn an_image_that_was_asked_for_wins() {
    let request = Request { image: "debian:12".parse().ok(), ..machine(Kind::Machine) };
    let resolved = local(&[("PODSPAWN_DEFAULTS__IMAGE", "alpine")], &request);
    assert_eq!(resolved.spec.image.as_str(), "debian:12");
    assert_eq!(origin(&resolved, "image"), "flag --image");
    let resolved = local(&[("PODSPAWN_DEFAULTS__IMAGE", "alpine")], &machine(Kind::Machine));
    assert_eq!(origin(&resolved, "image"), "environment variable PODSPAWN_DEFAULTS__IMAGE");
}

#[test]
fn ceilings_cap_what_is_asked_for_and_name_both_sides() {
    let env = [
        ("PODSPAWN_RESOURCES__MAX_CPUS", "1.5"),
        ("PODSPAWN_RESOURCES__MAX_MEMORY", "1g"),
        ("PODSPAWN_DEFAULTS__CPUS", "0"),
    ];
    let resolved = local(&env, &machine(Kind::Machine));
    assert_eq!(resolved.spec.resources.cpus, Some(1.5), "no limit is more than any ceiling");
    assert_eq!(resolved.spec.resources.memory, Some(1 << 30));
    assert_eq!(
        origin(&resolved, "resources.memory"),
        "environment variable PODSPAWN_RESOURCES__MAX_MEMORY (resources.max_memory; 2g was asked for by default)"
    );
    assert_eq!(
        origin(&resolved, "resources.cpus"),
        "environment variable PODSPAWN_RESOURCES__MAX_CPUS (resources.max_cpus; no limit was asked for by environment \
         variable PODSPAWN_DEFAULTS__CPUS)"
    );
    let below = local(&[("PODSPAWN_RESOURCES__MAX_MEMORY", "8g")], &machine(Kind::Machine));
    assert_eq!(below.spec.resources.memory, Some(2 << 30));
    assert_eq!(origin(&below, "resources.memory"), "default");
}

#[test]
fn limits_that_no_shell_survives_are_refused() {
    for (variable, value, message) in [
        (
            "PODSPAWN_DEFAULTS__MEMORY",
            "2000",
            "`resources.memory`: 2000 bytes are too little: at least 6m are needed (from environment variable \
             PODSPAWN_DEFAULTS__MEMORY)",
        ),
        (
            "PODSPAWN_SECURITY__PIDS_LIMIT",
            "2",
            "`resources.pids_limit`: 2 processes are too few: at least 16 are needed (from environment variable \
             PODSPAWN_SECURITY__PIDS_LIMIT)",
        ),
    ] {
        let error =
            resolve(&machine(Kind::Machine), &layers(Deployment::Local, &[(variable, value)])).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let unlimited = local(
        &[("PODSPAWN_SECURITY__PIDS_LIMIT", "0"), ("PODSPAWN_DEFAULTS__MEMORY", "0")],
        &machine(Kind::Machine),
    );
    assert_eq!((unlimited.spec.resources.pids_limit, unlimited.spec.resources.memory), (None, None));
}

#[test]
fn the_account_has_uid_1000_unless_a_mounted_directory_has_another_owner() {
    let with_owner = |owner: Option<Owner>| {
        let mount = HostMount { source: "/src".into(), target: "/workspace/src".into(), read_only: false };
        let request = Request { mounts: vec![MountRequest { mount, owner }], ..machine(Kind::Machine) };
        let resolved = local(&[], &request);
        (resolved.spec.account.uid, resolved.spec.account.gid)
    };
    assert_eq!(with_owner(None), (1000, 1000));
    assert_eq!(with_owner(Some(Owner { uid: 1000, gid: 100 })), (1000, 1000));
    assert_eq!(with_owner(Some(Owner { uid: 1234, gid: 100 })), (1234, 100));
    assert_eq!(with_owner(Some(Owner { uid: 1234, gid: 0 })), (1234, 1234), "the group is never root either");
    assert_eq!(with_owner(Some(Owner { uid: 0, gid: 0 })), (1000, 1000), "never root");
}

#[test]
fn a_persistent_home_belongs_to_its_owner_and_only_persistent_sessions_have_one() {
    let request = Request { home_owner: Some(Owner { uid: 1234, gid: 1234 }), ..machine(Kind::Machine) };
    let resolved = local(&[("PODSPAWN_SESSION__MODE", "persistent")], &request);
    assert_eq!(resolved.spec.persistent_home, Some(PathBuf::from("/nonexistent/ann/.podspawn/homes/ann")));
    assert_eq!(resolved.spec.account.uid, 1234);
    let resolved = local(&[], &request);
    assert_eq!((resolved.spec.persistent_home, resolved.spec.account.uid), (None, 1000));
}

/// A session of a repository with this Podfile.
fn of_podfile(text: &str, mode: Option<Mode>) -> Request {
    struct Nothing;
    impl crate::podfile::Fetch for Nothing {
        fn get(&self, _: &str) -> Result<String, String> {
            Err("nothing is fetched here".into())
        }
    }
    let path = std::path::Path::new("/nonexistent/app/podfile.yaml");
    let places = crate::podfile::Places { cache: "/nonexistent".into(), github: "https://web".into() };
    let loaded = crate::podfile::load_text(path, text, &places, &Nothing).unwrap();
    let sources = config::PackageSources::default();
    let (image, recipe) =
        crate::podfile::recipe(&loaded.podfile, &loaded.canonical, "app", &sources).unwrap();
    let (podfile, origins) = (loaded.podfile, loaded.origins);
    let project = ProjectRequest {
        podfile,
        origins,
        image,
        recipe,
        mode,
        copy: None,
        start_dir: None,
        ports: Vec::new(),
    };
    Request { project: Some(project), ..machine(Kind::Session) }
}

#[test]
fn a_repository_that_wants_to_stay_does_not_get_its_users_home() {
    let wish = of_podfile("base: debian:12\nmode: persistent\n", None);
    let resolved = local(&[], &wish);
    assert_eq!((resolved.spec.mode, &resolved.spec.persistent_home), (Mode::Persistent, &None));
    assert_eq!(origin(&resolved, "persistent_home"), "not for a mode that only the Podfile asks for");
    for (env, request) in [
        // Decided by the user: for everything, for the project, or with a flag.
        (&[("PODSPAWN_SESSION__MODE", "persistent")][..], wish.clone()),
        (&[], of_podfile("base: debian:12\n", Some(Mode::Persistent))),
        (&[], Request { mode: Some(Mode::Persistent), ..wish }),
    ] {
        assert!(local(env, &request).spec.persistent_home.is_some());
    }
}

#[test]
fn two_things_are_never_mounted_at_one_place() {
    let place = |target: &str| MountRequest {
        mount: HostMount { source: "/srv/app".into(), target: target.into(), read_only: false },
        owner: None,
    };
    let env = [("PODSPAWN_SESSION__MODE", "persistent")];
    let refused = |request: &Request| {
        resolve(request, &layers(Deployment::Local, &env)).map(drop).map_err(|error| error.to_string())
    };
    let app = of_podfile("base: debian:12\n", None);
    assert_eq!(refused(&Request { mounts: vec![place("/workspace/app")], ..app.clone() }), Ok(()));
    for mounts in [vec![place("/home/ann")], vec![place("/srv"), place("/srv")]] {
        let error = refused(&Request { mounts, ..app.clone() }).unwrap_err();
        assert!(error.starts_with("`mounts`: two things would be mounted at "), "{error}");
    }
}

#[test]
fn root_gets_another_account_inside() {
    let request = Request {
        key: SessionKey::machine("root".parse().unwrap(), "dev".parse().unwrap()),
        ..machine(Kind::Machine)
    };
    let resolved = local(&[], &request);
    assert_eq!(resolved.spec.account.name, "user");
    assert_eq!(resolved.spec.account.home, "/home/user");
    assert_eq!(resolved.spec.key.user.as_str(), "root");
    assert_eq!(origin(&resolved, "account.name"), "sessions never run as root");
}

#[test]
fn a_host_name_fits_every_program() {
    let key = SessionKey::machine("ann".parse().unwrap(), format!("{}-b", "x".repeat(62)).parse().unwrap());
    let resolved = local(&[], &Request { key: key.clone(), ..machine(Kind::Machine) });
    assert_eq!(resolved.spec.hostname, "x".repeat(62), "cut to 63, and never ending in a hyphen");

    let server =
        resolve(&Request { key, ..machine(Kind::Session) }, &layers(Deployment::Server, &[])).unwrap();
    assert_eq!(server.spec.hostname, format!("podspawn-ann-{}", "x".repeat(50)));
}

#[test]
fn gvisor_is_chosen_by_either_key() {
    for env in [
        &[("PODSPAWN_SECURITY__RUNTIME", "runsc")][..],
        &[("PODSPAWN_SECURITY__RUNTIME", "runsc"), ("IGNORED", "x")],
    ] {
        let resolved = local(env, &machine(Kind::Machine));
        assert_eq!(resolved.engine, Some(crate::config::EngineChoice::Gvisor));
        assert_eq!(resolved.spec.security.runtime.as_deref(), Some("runsc"));
        assert_eq!(origin(&resolved, "engine"), "environment variable PODSPAWN_SECURITY__RUNTIME");
    }
}

#[test]
fn a_time_zone_crosses_only_if_it_looks_like_one() {
    for (zone, crosses) in [
        ("Europe/Vienna", true),
        (":UTC", true),
        ("CET-1CEST,M3.5.0,M10.5.0/3", true),
        ("", false),
        ("x\ny", false),
        (&*"x".repeat(65), false),
    ] {
        let request = Request { timezone: Some(zone.to_owned()), ..machine(Kind::Machine) };
        let env = local(&[], &request).spec.env;
        let expected =
            if crosses { BTreeMap::from([("TZ".to_owned(), zone.to_owned())]) } else { BTreeMap::new() };
        assert_eq!(env, expected, "{zone:?}");
    }
}

#[test]
fn every_value_has_an_origin() {
    let resolved = local(&[], &Request { timezone: Some("UTC".into()), ..machine(Kind::Machine) });
    let rows = rows(&resolved);
    for row in &rows {
        assert!(resolved.origins.contains_key(&row.key), "{} has no origin", row.key);
    }
    assert_eq!(rows.len(), resolved.origins.len(), "an origin is shown for no value");
}
