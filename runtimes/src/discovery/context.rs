//! Docker's contexts: named engines in the client's configuration directory.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{DiscoveryError, DiscoveryInput, set};

/// Largest file of Docker's configuration that is read, in bytes.
const LIMIT: u64 = 1 << 20;

#[derive(Deserialize)]
struct Config {
    #[serde(default, rename = "currentContext")]
    current_context: String,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "Name")]
    name: String,
    #[serde(default, rename = "Endpoints")]
    endpoints: Endpoints,
}

#[derive(Deserialize, Default)]
struct Endpoints {
    docker: Option<DockerEndpoint>,
}

#[derive(Deserialize)]
struct DockerEndpoint {
    #[serde(default, rename = "Host")]
    host: String,
}

/// Name and address of the selected context; none if the default one is.
pub(super) fn current(input: &DiscoveryInput) -> Result<Option<(String, String)>, DiscoveryError> {
    let directory = match (&input.docker_config, &input.home) {
        (Some(directory), _) => directory.clone(),
        (None, Some(home)) => home.join(".docker"),
        (None, None) => return Ok(None),
    };
    let name = match set(&input.docker_context) {
        Some(name) => name.to_owned(),
        None => match selected(&directory)? {
            Some(name) => name,
            None => return Ok(None),
        },
    };
    if name == "default" {
        return Ok(None);
    }
    let bad = |reason: String| DiscoveryError::BadContext { name: name.clone(), reason };
    let (place, host) = find(&directory, &name).map_err(bad)?;
    if host.starts_with("tcp://") && directory.join("contexts/tls").join(&place).exists() {
        return Err(bad("engines behind TLS are not supported".into()));
    }
    Ok(Some((name, host)))
}

/// The `currentContext` of the client's configuration file.
fn selected(directory: &Path) -> Result<Option<String>, DiscoveryError> {
    let path = directory.join("config.json");
    let bad = |reason: String| DiscoveryError::BadHost {
        origin: "Docker's configuration".into(),
        value: path.display().to_string(),
        reason,
    };
    let text = match read(&path) {
        Ok(text) => text,
        // Somebody else's directory (a home kept by `sudo`) is no configuration of ours.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            return Ok(None);
        }
        Err(error) => return Err(bad(error.to_string())),
    };
    let config: Config = serde_json::from_str(&text).map_err(|error| bad(error.to_string()))?;
    Ok(Some(config.current_context).filter(|name| !name.is_empty()))
}

/// Directory name and address of the context. The directories are named by a hash of the name, which their files hold.
fn find(directory: &Path, name: &str) -> Result<(PathBuf, String), String> {
    let contexts = directory.join("contexts/meta");
    let missing = || format!("no such context in {}", contexts.display());
    for entry in std::fs::read_dir(&contexts).map_err(|_| missing())? {
        let entry = entry.map_err(|error| error.to_string())?;
        let Ok(text) = read(&entry.path().join("meta.json")) else { continue };
        let Ok(meta) = serde_json::from_str::<Meta>(&text) else { continue };
        if meta.name == name {
            let host = meta.endpoints.docker.map(|endpoint| endpoint.host).unwrap_or_default();
            return match host.as_str() {
                "" => Err("it has no Docker endpoint".into()),
                _ => Ok((PathBuf::from(entry.file_name()), host)),
            };
        }
    }
    Err(missing())
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LIMIT).read_to_string(&mut text)?;
    Ok(text)
}
