//! Public keys as GitHub, or a server like it, publishes them: one request, bounded in time and size.

use std::time::Duration;

use thiserror::Error;

use crate::config::HttpUrl;
use crate::names::GithubLogin;
use crate::system::https::{self, HttpsError};

/// Longest that everything may take: finding the server, connecting, the answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Longest answer, in bytes.
const MAX_BODY: u64 = 1 << 20;

/// Why there are no keys from there. Texts fit after "failed to".
#[derive(Debug, Error)]
pub enum GithubError {
    /// The answer is no list of keys.
    #[error("fetch {url}: the server answered {status}")]
    Status {
        /// The address.
        url: String,
        /// The status and its meaning.
        status: String,
    },
    /// There is nobody of that name.
    #[error("fetch {url}: there is no such user")]
    NoUser {
        /// The address.
        url: String,
    },
    /// The server wants us to look elsewhere.
    #[error("fetch {url}: the server points elsewhere ({to}), which is not followed")]
    Redirect {
        /// The address.
        url: String,
        /// Where to.
        to: String,
    },
    /// The answer has no end in sight.
    #[error("fetch {url}: the answer is larger than 1 MiB")]
    TooLarge {
        /// The address.
        url: String,
    },
    /// The answer is not there in time.
    #[error("fetch {url}: no complete answer within {} s", LIMIT.as_secs())]
    Timeout {
        /// The address.
        url: String,
    },
    /// The server cannot be reached, or is not who it should be.
    #[error("fetch {url}: {reason}")]
    Transport {
        /// The address.
        url: String,
        /// The client's words.
        reason: String,
    },
}

/// The text of `<base>/<login>.keys`. Certificates are checked against the system's authorities.
pub fn fetch(base: &HttpUrl, login: &GithubLogin) -> Result<Vec<u8>, GithubError> {
    let url = format!("{}/{login}.keys", base.as_str());
    https::get(&url, LIMIT, MAX_BODY).map_err(|error| match error {
        HttpsError::Status { code: 404, .. } => GithubError::NoUser { url },
        HttpsError::Status { text, .. } => GithubError::Status { url, status: text },
        HttpsError::Redirect { to } => GithubError::Redirect { url, to },
        HttpsError::TooLarge { .. } => GithubError::TooLarge { url },
        HttpsError::Timeout { .. } => GithubError::Timeout { url },
        HttpsError::Transport { reason } => GithubError::Transport { url, reason },
    })
}
