//! What users are told. Short, without paths and addresses of this host: those stand in the administrator's log.

use std::collections::BTreeSet;
use std::error::Error;

use podspawn_runtimes::EngineError;
use podspawn_wire::broker::FromBroker;

use super::identity::StrangerError;
use crate::config::{Config, ConfigError};
use crate::server::projects::ServerProjectError;
use crate::session::attach::AttachError;
use crate::session::{BuildPart, News, Reason, Report, ServiceState, ServiceView, SessionError, Step};
use crate::spec::ResolveError;
use crate::state::{LimitReached, StoreError};

const ASK: &str = "ask the administrator of this host";

/// A request that is not granted, in the user's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) text: String,
    pub(super) hints: Vec<String>,
}

impl Refusal {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), hints: Vec::new() }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Something that only the administrator can do anything about.
    pub(super) fn internal(text: &str) -> Self {
        Self::new(text).hint(format!("{ASK}: `podspawn doctor` and the log say more"))
    }

    pub(super) fn into_message(self) -> FromBroker {
        FromBroker::Failed { text: self.text, hints: self.hints }
    }
}

impl From<SessionError> for Refusal {
    fn from(error: SessionError) -> Self {
        match &error {
            SessionError::Limit(LimitReached::PerUser { .. }) => Self::new(error.to_string())
                .hint("disconnect from one and let its grace period end")
                .hint("or ask the administrator to end one: `podspawn stop <user>@<project>`"),
            SessionError::Limit(LimitReached::Total { .. }) => {
                Self::new("this host has as many sessions as it may have").hint("try again later")
            }
            SessionError::Store(StoreError::Full { .. }) => Self::internal("the disk of this host is full"),
            SessionError::Store(_) | SessionError::Lock(_) => {
                Self::internal("the state of this host's sessions cannot be used")
            }
            SessionError::Engine(error) => engine(error),
            SessionError::DiskNearlyFull { .. } => {
                Self::new("this host has no room for another container: its disk is nearly full").hint(ASK)
            }
            SessionError::Build { part, cause, .. } => {
                let told = Self::new(format!("your environment could not be built: {part} failed: {cause}"));
                match part {
                    BuildPart::Runtime(_) => told.hint(format!(
                        "{ASK}: `packages.sources` of its configuration says where runtimes come from"
                    )),
                    BuildPart::Dockerfile { .. } => told.hint("correct it in the project's repository"),
                    BuildPart::Whole(_)
                    | BuildPart::Tools
                    | BuildPart::Packages(_)
                    | BuildPart::Command(_) => told
                        .hint("the project's Podfile says what is installed: `packages`, `extra_commands`"),
                }
            }
            SessionError::ImageMissing { .. }
            | SessionError::Impossible(_)
            | SessionError::NoService { .. } => Self::new(error.to_string()),
            SessionError::Service { .. } => Self::new(error.to_string())
                .hint("look at `image`, `env` and `ports` of the service in the project's Podfile"),
            SessionError::CopyTooLarge { .. } => Self::internal("the project's files could not be copied in"),
            SessionError::Cancelled => Self::new("given up"),
            SessionError::StoppedInSetup { .. } => {
                Self::new("the container was stopped while it was being set up").hint("connect again")
            }
            SessionError::OtherEngine { .. } => {
                Self::internal("your session lives in another container engine than the one in use")
            }
            SessionError::Ended { .. } => Self::internal("the container ended as soon as it was started"),
            SessionError::Guest { .. } => Self::internal("the container could not be set up"),
            SessionError::InUse { .. }
            | SessionError::Foreign { .. }
            | SessionError::Prepare { .. }
            | SessionError::NotRemoved { .. } => Self::internal("the container could not be made"),
        }
    }
}

fn engine(error: &EngineError) -> Refusal {
    match error {
        EngineError::Unreachable { .. } => Refusal::internal("the container engine does not answer"),
        EngineError::NoAddresses { .. } => {
            Refusal::new("this host has no addresses left for another container").hint(ASK)
        }
        EngineError::Pull { .. } => Refusal::new(format!("failed to {error}")).hint(ASK),
        _ => Refusal::internal("the container engine could not do it"),
    }
}

impl From<AttachError> for Refusal {
    fn from(error: AttachError) -> Self {
        match &error {
            AttachError::NotRunning(_) | AttachError::Stopped | AttachError::Lost => {
                Self::new("the container has just ended").hint("connect again")
            }
            AttachError::Version { .. } => Self::new(
                "your container was made by another version of podspawn",
            )
            .hint("disconnect everywhere and let its grace period end, or ask the administrator to stop it"),
            AttachError::Engine(error) => engine(error),
            AttachError::Refused { .. } => Self::new(error.to_string()),
            AttachError::Crossing(_) => Self::new(error.to_string()),
            _ => Self::new("the container does not answer as it should").hint(
                "disconnect everywhere and let its grace period end, or ask the administrator to stop it",
            ),
        }
    }
}

impl From<StrangerError> for Refusal {
    fn from(error: StrangerError) -> Self {
        match error {
            StrangerError::System(_) => Self::internal("your account could not be looked up"),
            error => Self::new(error.to_string()).hint(ASK),
        }
    }
}

impl From<ConfigError> for Refusal {
    fn from(_: ConfigError) -> Self {
        Self::internal("the configuration of this host is not valid")
    }
}

impl From<ResolveError> for Refusal {
    fn from(_: ResolveError) -> Self {
        Self::internal("the configuration of this host is not valid")
    }
}

/// Why a project is not to be had. Whoever works on it can repair its Podfile, so they are told what is wrong in it.
pub(super) fn project(name: &str, error: &ServerProjectError, config: &Config) -> Refusal {
    match error {
        ServerProjectError::Registry(_) => Refusal::internal("the registry of projects cannot be read"),
        ServerProjectError::NotCloned(_) => {
            Refusal::new(error.to_string()).hint(format!("{ASK}: `sudo podspawn update-project {name}`"))
        }
        ServerProjectError::Podfile(_) | ServerProjectError::Recipe(_) => {
            Refusal::new(format!("the project `{name}` cannot be used: {}", error.without_places(config)))
                .hint(format!(
                    "correct it in the repository, then {ASK}: `sudo podspawn update-project {name}`"
                ))
        }
    }
}

/// A session of a project where nothing can be written to.
pub(super) fn no_room_for_files() -> Refusal {
    Refusal::new("containers of this host are read-only, and a project's files need room in them")
        .hint(format!("{ASK}: `security.readonly_rootfs` cannot be had together with projects"))
}

/// An error and its causes on one line, for the log.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// What those who are connected are told when their session is removed.
pub(super) fn ending(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::Stop | Reason::Remove => Some("the administrator has ended this session"),
        Reason::LifetimeExpired => Some("this session has reached its maximum lifetime and ends now"),
        Reason::ContainerGone => Some("the container of this session is gone"),
        Reason::Disconnect | Reason::GraceExpired | Reason::Unfinished | Reason::RemovalUnfinished => None,
    }
}

/// What a user is told who finds a new container where they had left another.
pub(super) fn replaced(reason: &str) -> Option<String> {
    let why = match reason {
        "grace_expired" => "its grace period was over",
        "lifetime_expired" => "it had reached its maximum lifetime",
        "container_gone" => "it was gone",
        _ => return None,
    };
    Some(format!("your previous container was replaced by a new one: {why}"))
}

/// Where a service of the session is found, for the person who comes into it.
pub(super) fn service(service: &ServiceView) -> String {
    let ServiceView { name, ports, address, state, .. } = service;
    if *state == ServiceState::Exited {
        return format!("service {name}: it has ended");
    }
    let numbers = ports.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
    let ports = match ports.len() {
        0 => String::new(),
        1 => format!("port {numbers}"),
        _ => format!("ports {numbers}"),
    };
    let found: Vec<&str> = [address.as_deref().unwrap_or_default(), &ports]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    if found.is_empty() { format!("service {name}") } else { format!("service {name}: {}", found.join(", ")) }
}

/// Most lines of what runs inside while a container is set up that one connection is shown: the broker holds them until
/// the user's client takes them.
const MOST_SAID: usize = 2000;

/// Turns steps into lines.
pub(super) struct Lines<F> {
    tell: F,
    said: usize,
    /// Services whose line has been begun.
    begun: BTreeSet<String>,
}

impl<F: FnMut(String) + Send> Lines<F> {
    pub(super) fn new(tell: F) -> Self {
        Self { tell, said: 0, begun: BTreeSet::new() }
    }

    /// The line of a service, which begins with the pull of its image where that is missing, and is said once.
    fn begin(&mut self, name: &str, image: &str) -> Option<String> {
        self.begun.insert(name.to_owned()).then(|| format!("{}...", starting(name, image)))
    }

    /// A line from inside, if there is room for it.
    fn room_for(&mut self, line: &str) -> Option<String> {
        self.said += 1;
        match self.said {
            ..=MOST_SAID => Some(line.to_owned()),
            said if said == MOST_SAID + 1 => Some("... (the rest is not shown)".into()),
            _ => None,
        }
    }
}

/// What is said of a service that is on its way.
fn starting(name: &str, image: &str) -> String {
    format!("  Starting companion service: {name} ({image})")
}

impl<F: FnMut(String) + Send> Report for Lines<F> {
    fn step(&mut self, step: Step<'_>) {
        let line = match step {
            Step::Waiting { .. } => "Waiting for another connection of yours...".into(),
            Step::Pulling { image, service: None } => format!("Pulling base image {image}..."),
            Step::Pulled { image, service: None } => format!("Pulling base image {image}... done"),
            Step::WaitingForBuild { .. } => "Waiting for another build of the same environment...".into(),
            Step::Building { .. } => {
                "Building environment from podfile.yaml (first time, this takes a minute)...".into()
            }
            Step::BuildStep { text } => format!("  {text}..."),
            Step::BuildStepDone { text } => format!("  {text}... done"),
            Step::BuildStepFailed { text, output } => {
                (self.tell)(format!("  {text}... failed"));
                output.iter().for_each(|line| (self.tell)(format!("    {line}")));
                return;
            }
            Step::Pulling { image, service: Some(name) } | Step::StartingService { name, image } => {
                match self.begin(name, image) {
                    Some(line) => line,
                    None => return,
                }
            }
            Step::ServiceReady { name, image } => format!("{}... done", starting(name, image)),
            Step::Restarting { container } => format!("Starting {container} again..."),
            Step::Setup(News::Waiting) => {
                "Waiting for another connection that sets your container up...".into()
            }
            Step::Setup(News::Begun(text)) => format!("  {text}..."),
            Step::Setup(News::Said(line)) => match self.room_for(line) {
                Some(line) => line,
                None => return,
            },
            Step::Setup(News::Done(text)) => format!("  {text}... done"),
            Step::Setup(News::Failed(text)) => format!("warning: {text}"),
            Step::Warning(text) | Step::Now(text) => text.to_owned(),
            Step::Watch(_)
            | Step::PullProgress(_)
            | Step::Pulled { service: Some(_), .. }
            | Step::BuildOutput { .. }
            | Step::BuildPart { .. }
            | Step::Built { .. }
            | Step::Copying { .. }
            | Step::Creating { .. }
            | Step::Provisioning
            | Step::AwaitingServices { .. }
            | Step::Setup(News::Runs(_))
            | Step::Removing { .. } => return,
        };
        (self.tell)(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pull_of_a_services_image_is_part_of_its_line() {
        let mut told = Vec::new();
        let mut lines = Lines::new(|line| told.push(line));
        let pulled = |image, service| [Step::Pulling { image, service }, Step::Pulled { image, service }];
        let starting = |name, image| Step::StartingService { name, image };
        let ready = |name, image| Step::ServiceReady { name, image };
        let steps =
            [pulled("base:1", None), pulled("postgres:16", Some("db")), pulled("redis:7", Some("cache"))];
        steps.into_iter().flatten().for_each(|step| lines.step(step));
        for step in
            [starting("db", "postgres:16"), starting("cache", "redis:7"), starting("queue", "redis:7")]
        {
            lines.step(step);
        }
        lines.step(ready("cache", "redis:7"));
        let of = |service: &str, end: &str| format!("  Starting companion service: {service}...{end}");
        let wanted = [
            "Pulling base image base:1...".to_owned(),
            "Pulling base image base:1... done".to_owned(),
            of("db (postgres:16)", ""),
            of("cache (redis:7)", ""),
            of("queue (redis:7)", ""),
            of("cache (redis:7)", " done"),
        ];
        assert_eq!(told, wanted);
    }
}
