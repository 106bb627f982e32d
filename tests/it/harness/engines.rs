//! The engines that the test set-up started. One that is missing fails the test that asks for it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

/// Where the set-up tells what it started.
const FACTS: &str = "/run/podspawn-test/engines.env";

/// An engine to run a story on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineName {
    /// Docker 20.10.
    Docker,
    /// Docker 26.
    Docker26,
    /// Rootless Podman of an account of its own.
    Podman,
    /// Docker 20.10 with `runsc`.
    Gvisor,
    /// A dockerd of a story's own, see [`super::dockerd`].
    Private,
}

/// The account that owns the rootless engine.
#[derive(Debug, Clone)]
pub struct Account {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: String,
}

/// A fact of the set-up, by its key.
pub fn fact(key: &str) -> &'static str {
    static FACTS_READ: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    let facts = FACTS_READ.get_or_init(|| {
        let text = std::fs::read_to_string(FACTS)
            .unwrap_or_else(|error| panic!("read {FACTS}: {error}\nhint: make engines"));
        text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect()
    });
    facts.get(key).unwrap_or_else(|| panic!("{FACTS} does not name {key}\nhint: make engines"))
}

impl EngineName {
    /// Its containers, images and ports are those of the Docker that this host has by itself.
    pub fn is_of_the_usual_docker(self) -> bool {
        matches!(self, Self::Docker | Self::Gvisor)
    }

    /// Itself, for stories that make something of their own on it.
    pub fn on(engine: Self) -> Self {
        engine
    }

    /// By the name that a test function carries.
    pub fn named(name: &str) -> Self {
        match name {
            "docker" => Self::Docker,
            "docker26" => Self::Docker26,
            "podman" => Self::Podman,
            "gvisor" => Self::Gvisor,
            other => panic!("no engine is called {other}"),
        }
    }

    /// Path of the API socket.
    pub fn socket(self) -> &'static str {
        fact(match self {
            Self::Private => return super::dockerd::socket(),
            Self::Docker | Self::Gvisor => "DOCKER_SOCKET",
            Self::Docker26 => "DOCKER26_SOCKET",
            Self::Podman => "PODMAN_SOCKET",
        })
    }

    /// The name that this engine's output carries.
    pub fn label(self) -> &'static str {
        match self {
            Self::Docker | Self::Docker26 | Self::Private => "Docker",
            Self::Podman => "Podman",
            Self::Gvisor => "gVisor",
        }
    }

    /// The account to run podspawn as; the test's own (root) if none.
    pub fn account(self) -> Option<Account> {
        (self == Self::Podman).then(|| Account {
            uid: fact("PODMAN_UID").parse().expect("a uid"),
            gid: fact("PODMAN_GID").parse().expect("a gid"),
            runtime_dir: fact("PODMAN_RUNTIME_DIR").into(),
        })
    }

    /// The engine's own command line, as `docker -H unix://…`.
    pub fn cli(self) -> Command {
        let mut command = Command::new(PathBuf::from(fact("DOCKER_CLI")));
        command.arg("-H").arg(format!("unix://{}", self.socket()));
        command.env_remove("DOCKER_CONTEXT").env_remove("DOCKER_HOST");
        command
    }

    /// Runs the engine's own command line and returns its trimmed output; a failure fails the test.
    #[track_caller]
    pub fn run(self, args: &[&str]) -> String {
        let output = self.cli().args(args).output().expect("start the engine's command line");
        assert!(
            output.status.success(),
            "{} {args:?}: {}",
            self.label(),
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Ids of objects (`container`, `network`, `volume`) with this label.
    #[track_caller]
    pub fn labelled(self, kind: &str, label: &str) -> Vec<String> {
        // {"label":["…"]}
        let filters = format!("%7B%22label%22%3A%5B%22{}%22%5D%7D", label.replace('=', "%3D"));
        let (path, objects, id) = match kind {
            "container" => ("/containers/json?all=true&filters=", "", "Id"),
            "network" => ("/networks?filters=", "", "Id"),
            "volume" => ("/volumes?filters=", "/Volumes", "Name"),
            other => panic!("no listing of {other}"),
        };
        let answer = self.get(&format!("{path}{filters}"));
        let objects = answer.pointer(objects).and_then(Value::as_array);
        objects.into_iter().flatten().map(|object| object[id].as_str().expect("an id").to_owned()).collect()
    }

    /// What the engine answers to a question, without starting its command line: every story asks three times at its end.
    #[track_caller]
    fn get(self, path: &str) -> Value {
        let mut stream = UnixStream::connect(self.socket()).expect("the engine's socket");
        write!(stream, "GET {path} HTTP/1.0\r\nHost: engine\r\n\r\n").expect("ask the engine");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("the engine's answer");
        let body = answer.windows(4).position(|end| end == b"\r\n\r\n").map(|end| &answer[end + 4..]);
        match body.map(serde_json::from_slice) {
            Some(Ok(value)) if answer.starts_with(b"HTTP/1.0 200") => value,
            _ => panic!("{}: {path}: {}", self.label(), String::from_utf8_lossy(&answer)),
        }
    }
}
