//! What can go wrong with a session.

use std::io;
use std::path::PathBuf;

use podspawn_runtimes::EngineError;
use thiserror::Error;

use crate::names::printable;
use crate::state::{LimitReached, LockError, StoreError};

/// A failure of the lifecycle core. Texts are lower-case fragments.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The store.
    #[error(transparent)]
    Store(StoreError),
    /// A limit on the number of sessions.
    #[error(transparent)]
    Limit(LimitReached),
    /// Leases and locks.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A session of that key exists, and a new one was wanted.
    #[error("`{name}` exists already")]
    InUse {
        /// Machine or session name.
        name: String,
    },
    /// The session lives in another engine than the one that is spoken to.
    #[error("`{name}` runs in the engine at {made_by}, and the engine in use is at {current}")]
    OtherEngine {
        /// Machine or session name.
        name: String,
        /// The engine that has it.
        made_by: String,
        /// The engine in use.
        current: String,
    },
    /// The engine has something of that name that is not this session's.
    #[error("the {kind} `{name}` exists in the engine and does not belong to this session")]
    Foreign {
        /// `container`, `network` or `volume`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The guest did not get ready.
    #[error("set up the container `{container}`")]
    Guest {
        /// The container's name.
        container: String,
        /// What the guest, or whoever waited for it, said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A service did not become ready.
    #[error("the service `{name}` ({image}) {problem}", image = printable(image))]
    Service {
        /// Its name.
        name: String,
        /// Its image.
        image: String,
        /// What is the matter with it.
        problem: ServiceProblem,
    },
    /// The session has no service of that name.
    #[error("`{session}` has no service `{name}`{}", known_services(known))]
    NoService {
        /// Machine or session name.
        session: String,
        /// What was asked for.
        name: String,
        /// Those that it has.
        known: Vec<String>,
    },
    /// A file is too large to be copied in.
    #[error("`{}` is too large to be copied in: {mb} MB, at most {most_mb} MB", path.display())]
    CopyTooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in megabytes.
        mb: u64,
        /// The limit in megabytes.
        most_mb: u64,
    },
    /// The container ended before it was of use.
    #[error("the container `{container}` ended as soon as it was started{}", after(output))]
    Ended {
        /// The container's name.
        container: String,
        /// Last lines that it wrote; untrusted text.
        output: String,
    },
    /// Something on this host that the container needs could not be prepared.
    #[error("prepare `{}`: {source}", path.display())]
    Prepare {
        /// File or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The image could not be built.
    #[error("build the image `{image}`: {part} failed: {cause}")]
    Build {
        /// Its name.
        image: String,
        /// What of it failed.
        part: BuildPart,
        /// What was written last, neutralised. What was written before has been reported.
        cause: String,
    },
    /// The image would have to be pulled first, and nobody waits for that.
    #[error("the image `{image}` is not here yet")]
    ImageMissing {
        /// Its reference.
        image: String,
    },
    /// The engine's disk is nearly full: what is there is kept, nothing is added.
    #[error("the disk of the container engine is nearly full ({free_mb} MB are free)")]
    DiskNearlyFull {
        /// Free megabytes.
        free_mb: u64,
    },
    /// The image or the engine does not have what the spec asks for.
    #[error("{0}")]
    Impossible(String),
    /// Not everything could be removed; what is left stays recorded, and the next cleanup tries again.
    #[error("remove all of `{name}`: {}", failures.join("; "))]
    NotRemoved {
        /// Machine or session name.
        name: String,
        /// One fragment for each thing that is left.
        failures: Vec<String>,
    },
    /// The session was stopped or removed, or its container ended, before it was set up.
    #[error("`{name}` was stopped while it was being set up")]
    StoppedInSetup {
        /// Machine or session name.
        name: String,
    },
    /// The caller gave it up; everything was undone.
    #[error("cancelled")]
    Cancelled,
}

/// What of an image's build runs, in the words of the Podfile. Texts are neutralised.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BuildPart {
    /// All of it, as it was reported: nothing has said yet which part has begun.
    #[error("{}", uncapitalised(.0))]
    Whole(String),
    /// What runtimes are fetched and unpacked with.
    #[error("installing what runtimes are fetched with")]
    Tools,
    /// A language's own release, as `packages` names it.
    #[error("installing {0}")]
    Runtime(String),
    /// Packages of the distribution.
    #[error("installing {0}")]
    Packages(String),
    /// One of `extra_commands`.
    #[error("running `{0}`")]
    Command(String),
    /// The repository's own Dockerfile.
    #[error("building `{file}`{}", in_brackets(instruction.as_deref()))]
    Dockerfile {
        /// It, from the build's context.
        file: String,
        /// The instruction, once one has begun.
        instruction: Option<String>,
    },
}

fn uncapitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

fn in_brackets(text: Option<&str>) -> String {
    text.map_or_else(String::new, |text| format!(" (`{text}`)"))
}

/// What is the matter with a service. Its log is text from outside, made harmless when it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ServiceProblem {
    /// Its first process ended.
    #[error("ended{} before it was ready{}", status(*code), said(log))]
    Ended {
        /// Exit status, if the engine says.
        code: Option<i64>,
        /// Last lines that it wrote.
        log: String,
    },
    /// Ports stayed closed.
    #[error("did not open {} within {seconds} s{}", list(ports), said(log))]
    Closed {
        /// Those ports.
        ports: Vec<u16>,
        /// How long they were waited for.
        seconds: u64,
        /// Last lines that it wrote.
        log: String,
    },
    /// Its health check failed as often as it may.
    #[error("is unhealthy{}", said(log))]
    Unhealthy {
        /// Last lines that it wrote.
        log: String,
    },
    /// Its health check had not succeeded in time.
    #[error("was not healthy within {seconds} s{}", said(log))]
    NotHealthy {
        /// How long that was waited for.
        seconds: u64,
        /// Last lines that it wrote.
        log: String,
    },
    /// Its container is gone.
    #[error("is gone: somebody has removed its container")]
    Gone,
    /// It could not be looked at.
    #[error("cannot be waited for: {0}")]
    Unknown(String),
}

fn status(code: Option<i64>) -> String {
    code.map(|code| format!(" with status {code}")).unwrap_or_default()
}

fn list(ports: &[u16]) -> String {
    let numbers: Vec<String> = ports.iter().map(ToString::to_string).collect();
    format!("port{} {}", if ports.len() == 1 { "" } else { "s" }, numbers.join(", "))
}

fn said(log: &str) -> String {
    if log.is_empty() { String::new() } else { format!("; it said: {}", printable(log)) }
}

fn known_services(known: &[String]) -> String {
    match known {
        [] => ": it has none".into(),
        known => format!("; it has {}", known.join(", ")),
    }
}

fn after(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!(", after it wrote: {output}") }
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Limit(limit) => Self::Limit(limit),
            other => Self::Store(other),
        }
    }
}
