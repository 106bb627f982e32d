//! What administrators' commands ask the broker, and how they ask.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use podspawn_wire::WireError;
use podspawn_wire::broker::{BROKER_PROTOCOL, ClientChannel, FromBroker, ToBroker};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// How long an answer may take: longer than removing many sessions one after the other may.
const LIMIT: Duration = Duration::from_secs(600);

/// The same of an image that is built or pulled. Whoever waits for it may go at any time, and the build with them.
const BUILD_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdminRequest {
    /// The sessions; answers are [`crate::session::Listed`].
    List {
        /// Ask the engine how much disk they use.
        measured: bool,
    },
    /// Numbers; the answer is a [`Numbers`].
    Status {
        /// Ask the engine how many containers there are.
        check: bool,
    },
    /// Removes a session; the answer is the container's name, or null if there is no such session.
    Stop {
        /// Its owner.
        user: String,
        /// Its project; empty for the default session.
        project: String,
    },
    /// One pass of cleaning up; the answer is a [`Cleaned`].
    Cleanup,
    /// How the broker itself sees this server; the answer is an [`Examined`].
    Examine,
    /// How many sessions a user has that somebody has attached to; the answer is a number.
    Count {
        /// The owner.
        user: String,
    },
    /// Builds the image of a project's new clone; the answer is a [`BuiltProject`].
    BuildProject {
        /// The project.
        project: String,
    },
    /// Checks an image in the engine that sessions are made in, which pulls it if it is not there; answers are
    /// [`crate::session::ImageCheck`].
    VerifyImage {
        /// The image.
        image: String,
    },
    /// Removes all sessions of a user, those that only lend their network to forwarding among them; the answer is a
    /// [`Removed`].
    Remove {
        /// The owner.
        user: String,
    },
}

/// What the broker counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// Sessions that somebody has attached to.
    pub sessions: usize,
    /// Of these, running.
    pub running: usize,
    /// Of these, in their grace period.
    pub grace: usize,
    /// Held connections.
    pub connections: usize,
    /// Containers, services among them.
    pub containers: usize,
    /// The engine as people write it.
    pub engine: String,
    /// Age of the oldest session, in seconds.
    pub oldest_seconds: Option<u64>,
}

/// How the broker sees this server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examined {
    /// Sessions, those that are being made among them.
    pub sessions: usize,
    /// Of these, those whose end has passed long enough ago that they should be gone.
    pub overdue: usize,
    /// The engine and its version; the reason if it cannot be reached.
    pub engine: Result<String, String>,
    /// Networks of its containers can be entered from outside, which forwarding needs.
    pub networks: bool,
    /// Names of containers of this installation that no session owns; none if the engine did not say.
    pub orphans: Option<Vec<String>>,
}

/// The image of a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuiltProject {
    /// Its name.
    pub image: String,
    /// What the name is made of; none without a Podfile.
    pub hash: Option<String>,
    /// What whoever registers the project should know.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// What a pass of cleaning up came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cleaned {
    /// Log lines of what was done.
    pub lines: Vec<String>,
    /// What could not be done.
    pub failures: Vec<String>,
}

/// What removing all sessions of a user came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Containers of the sessions that are gone, as far as somebody had attached to them.
    pub containers: Vec<String>,
    /// What could not be removed.
    pub failures: Vec<String>,
}

/// A question that was not answered.
#[derive(Debug, Error)]
pub enum AskError {
    /// Nobody listens, and nobody could be started.
    #[error("the broker cannot be reached at `{socket}`: {source}")]
    NoBroker {
        /// Its socket.
        socket: String,
        /// The system's error.
        source: io::Error,
    },
    /// The connection failed.
    #[error("the broker does not answer: {0}")]
    Wire(#[from] WireError),
    /// It said no.
    #[error("{text}")]
    Refused {
        /// Why.
        text: String,
        /// What to do about it.
        hints: Vec<String>,
    },
    /// It answered something else.
    #[error("the broker's answer is not understood: it may be of another version")]
    Answer,
}

/// Asks the broker and returns its answers.
pub fn ask<T: DeserializeOwned>(socket: &Path, request: &AdminRequest) -> Result<Vec<T>, AskError> {
    let limit = match request {
        AdminRequest::BuildProject { .. } | AdminRequest::VerifyImage { .. } => BUILD_LIMIT,
        _ => LIMIT,
    };
    ask_within(socket, request, limit)
}

/// The same with an answer that has to be there in time.
pub fn ask_within<T: DeserializeOwned>(
    socket: &Path,
    request: &AdminRequest,
    limit: Duration,
) -> Result<Vec<T>, AskError> {
    let stream = UnixStream::connect(socket)
        .map_err(|source| AskError::NoBroker { socket: socket.display().to_string(), source })?;
    let mut channel = ClientChannel::new(stream.into());
    let request = serde_json::to_string(request).map_err(|_| AskError::Answer)?;
    let deadline = Instant::now() + limit;
    channel.send(&ToBroker::Admin { protocol: BROKER_PROTOCOL, request }, Vec::new(), deadline)?;
    let mut answers = Vec::new();
    loop {
        match channel.receive(Some(deadline))?.0 {
            FromBroker::Answer(text) => {
                answers.push(serde_json::from_str(&text).map_err(|_| AskError::Answer)?)
            }
            FromBroker::Done => return Ok(answers),
            FromBroker::Failed { text, hints } => return Err(AskError::Refused { text, hints }),
            FromBroker::Progress(_) | FromBroker::Notice(_) | FromBroker::Ending(_) | FromBroker::Over => {}
            FromBroker::Attached { .. } | FromBroker::Network { .. } | FromBroker::NoNetwork { .. } => {
                return Err(AskError::Answer);
            }
        }
    }
}

/// As [`ask`], where there is one answer.
pub fn ask_one<T: DeserializeOwned>(socket: &Path, request: &AdminRequest) -> Result<T, AskError> {
    ask(socket, request)?.pop().ok_or(AskError::Answer)
}
