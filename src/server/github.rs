//! Public keys as GitHub, or a server like it, publishes them: one request, bounded in time and size.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

use crate::config::HttpUrl;
use crate::names::{GithubLogin, printable};

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
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(provider)
        .build();
    let agent: Agent = Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(LIMIT))
        .http_status_as_error(false)
        // What stands elsewhere is not what the administrator named.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("podspawn/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let failed = |error| explain(&url, error);
    let mut answer = agent.get(&url).call().map_err(failed)?;
    let status = answer.status();
    if status.is_redirection() {
        let to = answer.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
        let to = printable(&to.chars().take(100).collect::<String>());
        return Err(GithubError::Redirect { url, to });
    }
    if status.as_u16() == 404 {
        return Err(GithubError::NoUser { url });
    }
    if status.as_u16() != 200 {
        return Err(GithubError::Status { url, status: status.to_string() });
    }
    answer.body_mut().with_config().limit(MAX_BODY).read_to_vec().map_err(failed)
}

fn explain(url: &str, error: ureq::Error) -> GithubError {
    let url = url.to_owned();
    match error {
        ureq::Error::Timeout(_) => GithubError::Timeout { url },
        ureq::Error::BodyExceedsLimit(_) => GithubError::TooLarge { url },
        ureq::Error::HostNotFound => GithubError::Transport { url, reason: "the host is not known".into() },
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            GithubError::Timeout { url }
        }
        error => GithubError::Transport { url, reason: printable(&error.to_string()) },
    }
}
