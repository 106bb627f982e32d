//! Which engine is chosen, and what is said where none can be.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use podspawn_runtimes::{Chosen, DiscoveryError, DiscoveryInput, Endpoint, EngineKind, discover};
use tempfile::TempDir;

/// A host of its own, on which sockets can be made.
struct Host {
    dir: TempDir,
    listeners: Vec<UnixListener>,
}

impl Host {
    fn new() -> Self {
        Self { dir: TempDir::with_prefix("podspawn-discovery-").unwrap(), listeners: Vec::new() }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn listen(&mut self, path: &str) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        self.listeners.push(UnixListener::bind(&path).unwrap());
        path
    }

    /// A socket file that its listener has left.
    fn leave(&mut self, path: &str) {
        self.listen(path);
        self.listeners.pop();
    }

    fn input(&self) -> DiscoveryInput {
        DiscoveryInput {
            uid: 1000,
            home: Some(self.path("home")),
            root: Some(self.dir.path().into()),
            ..DiscoveryInput::default()
        }
    }
}

fn at(chosen: &Chosen) -> (EngineKind, &Path) {
    match &chosen.endpoint {
        Endpoint::Unix(path) => (chosen.kind, path),
        Endpoint::Tcp(address) => panic!("{address}"),
    }
}

fn unix(path: &Path) -> Option<String> {
    Some(format!("unix://{}", path.display()))
}

#[test]
fn sockets_are_taken_in_the_order_that_people_expect() {
    let mut host = Host::new();
    let order = [
        ("run/podman/podman.sock", EngineKind::Podman),
        ("run/user/1000/podman/podman.sock", EngineKind::Podman),
        ("home/.docker/desktop/docker.sock", EngineKind::Docker),
        ("run/user/1000/docker.sock", EngineKind::Docker),
        ("var/run/docker.sock", EngineKind::Docker),
    ];
    for (path, kind) in order {
        let path = host.listen(path);
        assert_eq!(at(&discover(&host.input()).unwrap()), (kind, path.as_path()));
    }
    let root = DiscoveryInput { uid: 0, wanted: Some(EngineKind::Podman), ..host.input() };
    assert_eq!(at(&discover(&root).unwrap()).1, host.path("run/podman/podman.sock"));
}

#[test]
fn a_socket_that_nobody_serves_is_passed_over_and_said() {
    let mut host = Host::new();
    host.leave("var/run/docker.sock");
    let podman = host.listen("elsewhere/podman/podman.sock");
    let input = DiscoveryInput { runtime_dir: Some(host.path("elsewhere")), ..host.input() };
    let chosen = discover(&input).unwrap();
    assert_eq!(at(&chosen), (EngineKind::Podman, podman.as_path()));
    assert_eq!(chosen.reason, "rootless Podman listens");
    let said: Vec<String> = chosen.tried.iter().map(|t| format!("{}: {}", t.place, t.why_not)).collect();
    let dir = host.dir.path().display();
    assert_eq!(
        said,
        [
            "`DOCKER_HOST`: not set".to_owned(),
            "Docker's contexts: none is selected".to_owned(),
            "`CONTAINER_HOST`: not set".to_owned(),
            format!("Docker at unix://{dir}/var/run/docker.sock: nobody listens"),
            format!("rootless Docker at unix://{dir}/elsewhere/docker.sock: no such socket"),
            format!("Docker Desktop at unix://{dir}/home/.docker/desktop/docker.sock: no such socket"),
        ]
    );
}

#[test]
fn the_wanted_kind_narrows_the_choice() {
    let mut host = Host::new();
    let docker = host.listen("var/run/docker.sock");
    let podman = host.listen("run/user/1000/podman/podman.sock");
    let choose = |wanted| discover(&DiscoveryInput { wanted: Some(wanted), ..host.input() }).unwrap();
    assert_eq!(at(&choose(EngineKind::Podman)), (EngineKind::Podman, podman.as_path()));
    assert_eq!(at(&choose(EngineKind::Docker)), (EngineKind::Docker, docker.as_path()));
    assert_eq!(at(&choose(EngineKind::Gvisor)), (EngineKind::Gvisor, docker.as_path()));
}

#[test]
fn variables_come_first_and_are_never_passed_over() {
    let mut host = Host::new();
    host.listen("var/run/docker.sock");
    let own = host.listen("own.sock");
    let docker = DiscoveryInput { docker_host: unix(&own), ..host.input() };
    let chosen = discover(&docker).unwrap();
    assert_eq!(
        (at(&chosen), chosen.reason.as_str()),
        ((EngineKind::Docker, own.as_path()), "DOCKER_HOST says so")
    );
    let podman = DiscoveryInput { container_host: unix(&own), ..host.input() };
    assert_eq!(at(&discover(&podman).unwrap()), (EngineKind::Podman, own.as_path()));
    // Podman's variable says nothing to somebody who asks for Docker.
    let other = DiscoveryInput { wanted: Some(EngineKind::Docker), ..podman };
    assert_eq!(at(&discover(&other).unwrap()).1, host.path("var/run/docker.sock"));
    let tcp = DiscoveryInput { docker_host: Some("tcp://127.0.0.1:2375".into()), ..host.input() };
    assert_eq!(discover(&tcp).unwrap().endpoint, Endpoint::Tcp("127.0.0.1:2375".into()));
    let empty = DiscoveryInput { docker_host: Some(" ".into()), ..host.input() };
    assert_eq!(at(&discover(&empty).unwrap()).1, host.path("var/run/docker.sock"));
    let gone = DiscoveryInput { docker_host: unix(&host.path("gone.sock")), ..host.input() };
    let error = discover(&gone).unwrap_err();
    assert!(matches!(error, DiscoveryError::NotListening { .. }), "{error:?}");
    assert!(
        error.to_string().contains("DOCKER_HOST") && error.to_string().ends_with("no such socket"),
        "{error}"
    );
    let far = DiscoveryInput { docker_host: Some("ssh://me@far".into()), ..host.input() };
    let error = discover(&far).unwrap_err();
    assert!(error.to_string().contains("engines behind SSH are not supported"), "{error}");
}

#[test]
fn docker_contexts_are_followed() {
    let mut host = Host::new();
    host.listen("var/run/docker.sock");
    let own = host.listen("own.sock");
    let meta = |name: &str, endpoint: &str| {
        format!(
            r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{endpoint}","SkipTLSVerify":false}}}}}}"#
        )
    };
    let address = unix(&own).unwrap();
    host.write("home/.docker/contexts/meta/aaaa/meta.json", &meta("lab", &address));
    host.write("home/.docker/contexts/meta/bbbb/meta.json", &meta("secure", "tcp://far:2376"));
    host.write("home/.docker/contexts/tls/bbbb/docker/ca.pem", "");
    host.write("home/.docker/contexts/meta/cccc/meta.json", r#"{"Name":"empty","Endpoints":{}}"#);
    let with = |name: &str| DiscoveryInput { docker_context: Some(name.into()), ..host.input() };
    let chosen = discover(&with("lab")).unwrap();
    assert_eq!((at(&chosen).1, chosen.reason.as_str()), (own.as_path(), "Docker's context `lab` says so"));
    assert_eq!(at(&discover(&with("default")).unwrap()).1, host.path("var/run/docker.sock"));
    for (name, words) in [("none", "no such context"), ("secure", "TLS"), ("empty", "no Docker endpoint")] {
        let error = discover(&with(name)).unwrap_err();
        assert!(matches!(error, DiscoveryError::BadContext { .. }), "{error:?}");
        assert!(error.to_string().contains(words), "{error}");
    }
    host.write("home/.docker/config.json", r#"{"auths":{},"currentContext":"lab"}"#);
    assert_eq!(at(&discover(&host.input()).unwrap()).1, own);
    // The variable that names an engine outranks the selected context, as for `docker`.
    let named = DiscoveryInput { docker_host: unix(&host.path("var/run/docker.sock")), ..host.input() };
    assert_eq!(at(&discover(&named).unwrap()).1, host.path("var/run/docker.sock"));
    host.write("home/.docker/config.json", "{ no json");
    let error = discover(&host.input()).unwrap_err().to_string();
    assert!(error.contains("config.json"), "{error}");
    let other = DiscoveryInput { docker_config: Some(host.path("other")), ..host.input() };
    host.write("other/config.json", "{}");
    assert_eq!(at(&discover(&other).unwrap()).1, host.path("var/run/docker.sock"));
}

#[test]
fn without_an_engine_everything_that_was_tried_is_said_and_how_to_get_one() {
    let mut host = Host::new();
    host.leave("run/user/1000/podman/podman.sock");
    let error = discover(&host.input()).unwrap_err();
    let DiscoveryError::NoEngine { tried, .. } = &error else { panic!("{error:?}") };
    assert_eq!(tried.len(), 8);
    let text = error.to_string();
    assert!(text.contains("var/run/docker.sock (no such socket)"), "{text}");
    assert!(text.contains("podman/podman.sock (nobody listens)"), "{text}");
    let hints = error.hints();
    for words in ["apt-get install docker.io", "apt-get install podman", "DOCKER_HOST"] {
        assert!(hints.iter().any(|hint| hint.contains(words)), "{words}: {hints:?}");
    }
    let podman = DiscoveryInput { wanted: Some(EngineKind::Podman), ..host.input() };
    let hints = discover(&podman).unwrap_err().hints();
    assert!(!hints.iter().any(|hint| hint.contains("docker.io")), "{hints:?}");
}
