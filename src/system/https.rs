//! One request to a web server, bounded in time and size. What stands elsewhere is not what was named: no redirect is followed.

use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use ureq::Agent;
use ureq::tls::{RootCerts, TlsConfig};

use crate::names::printable;

/// Why there is no answer. Texts fit after a colon.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HttpsError {
    /// It is not the document.
    #[error("the server answered {text}")]
    Status {
        /// The status.
        code: u16,
        /// The status and its meaning.
        text: String,
    },
    /// The server wants us to look elsewhere.
    #[error("the server points elsewhere ({to}), which is not followed")]
    Redirect {
        /// Where to, shortened and neutralised.
        to: String,
    },
    /// The answer has no end in sight.
    #[error("the answer is larger than {} KiB", limit / 1024)]
    TooLarge {
        /// Most bytes.
        limit: u64,
    },
    /// The answer is not there in time.
    #[error("no complete answer within {} s", limit.as_secs())]
    Timeout {
        /// Longest time.
        limit: Duration,
    },
    /// The server cannot be reached, or is not who it should be.
    #[error("{reason}")]
    Transport {
        /// The client's words.
        reason: String,
    },
}

/// The document at `url`: everything (finding the server, connecting, the answer) within `time`, at most `bytes` long.
/// Certificates are checked against the system's authorities.
pub fn get(url: &str, time: Duration, bytes: u64) -> Result<Vec<u8>, HttpsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(provider)
        .build();
    let agent: Agent = Agent::config_builder()
        .tls_config(tls)
        .timeout_global(Some(time))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("podspawn/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    let failed = |error| explain(error, time, bytes);
    let mut answer = agent.get(url).call().map_err(failed)?;
    let status = answer.status();
    if status.is_redirection() {
        let to = answer.headers().get("location").and_then(|to| to.to_str().ok()).unwrap_or("nowhere");
        return Err(HttpsError::Redirect { to: printable(&to.chars().take(100).collect::<String>()) });
    }
    if status.as_u16() != 200 {
        return Err(HttpsError::Status { code: status.as_u16(), text: status.to_string() });
    }
    answer.body_mut().with_config().limit(bytes).read_to_vec().map_err(failed)
}

fn explain(error: ureq::Error, time: Duration, bytes: u64) -> HttpsError {
    match error {
        ureq::Error::Timeout(_) => HttpsError::Timeout { limit: time },
        ureq::Error::BodyExceedsLimit(_) => HttpsError::TooLarge { limit: bytes },
        ureq::Error::HostNotFound => HttpsError::Transport { reason: "the host is not known".into() },
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            HttpsError::Timeout { limit: time }
        }
        error => HttpsError::Transport { reason: printable(&error.to_string()) },
    }
}
