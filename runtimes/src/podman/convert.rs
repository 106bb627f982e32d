//! Podman's answers in the terms of this crate.

use podman_api::conn::Error as ConnectionError;
use podman_api::models;

use crate::call::Action;
use crate::docker::api::innermost;
use crate::endpoint::Target;
use crate::error::EngineError;
use crate::types::*;

/// What the client's error means.
pub(super) fn error(target: &Target, action: &Action, error: podman_api::Error) -> EngineError {
    match error {
        podman_api::Error::Fault { code, message } => fault(action, code.as_u16(), message),
        podman_api::Error::Error(ConnectionError::Fault { code, message }) => {
            fault(action, code.as_u16(), message)
        }
        podman_api::Error::Error(ConnectionError::Hyper(error)) if error.is_connect() => {
            target.unreachable(innermost(&error))
        }
        podman_api::Error::Error(error) => action.io(std::io::Error::other(innermost(&error))),
        podman_api::Error::IO(error) => action.io(error),
        other => action.refused(None, other.to_string()),
    }
}

fn fault(action: &Action, status: u16, message: String) -> EngineError {
    // Podman has 500 for some of what Docker has 409 for.
    let taken = ["already in use", "already exists", "already used"];
    // A port that somebody else listens on is no name.
    let of_port = message.contains("address already in use");
    if matches!(status, 409 | 500) && !of_port && taken.iter().any(|words| message.contains(words)) {
        return action.conflict();
    }
    action.status(status, message)
}

pub(super) fn image(found: models::ImageData) -> ImageInfo {
    let id = found.id.unwrap_or_default();
    ImageInfo {
        id: if id.contains(':') { id } else { format!("sha256:{id}") },
        env: found.config.and_then(|config| config.env).unwrap_or_default(),
        size: found.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
        architecture: found.architecture.unwrap_or_default(),
    }
}

pub(super) fn summary(one: models::ListContainer) -> ContainerSummary {
    ContainerSummary {
        id: one.id.unwrap_or_default(),
        name: one.names.into_iter().flatten().next().unwrap_or_default(),
        state: match one.state.as_deref() {
            Some("created" | "configured" | "initialized") => ContainerState::Created,
            Some("exited" | "stopped" | "dead" | "removing") => ContainerState::Exited,
            _ => ContainerState::Running,
        },
        created_at: one.created.map(|time| time.timestamp()).unwrap_or_default(),
        labels: one.labels.unwrap_or_default().into_iter().collect(),
    }
}

pub(super) fn network(one: models::Network) -> NetworkInfo {
    NetworkInfo {
        id: one.id.unwrap_or_default(),
        name: one.name.unwrap_or_default(),
        labels: one.labels.unwrap_or_default().into_iter().collect(),
        created_at: one.created.map(|time| time.timestamp()),
        subnet: one.subnets.and_then(|subnets| subnets.into_iter().next()?.subnet),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_taken_is_no_name_that_is_taken() {
        let action = Action::on("start", "container", "c").unwrap();
        let told = |message: &str| fault(&action, 500, message.to_owned());
        assert!(told("the container name \"c\" is already in use by 0f").is_conflict());
        let port = told("rootlessport listen tcp 127.0.0.1:3000: bind: address already in use");
        assert!(!port.is_conflict() && port.to_string().contains("127.0.0.1:3000"), "{port}");
    }
}
