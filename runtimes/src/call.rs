//! One call to an engine: its words for error texts, its deadline, and the check of names that go into a URL.

use std::future::Future;
use std::time::Duration;

use crate::error::{EngineError, Result};
use crate::types::CALL_TIMEOUT;

/// What is being asked, as error texts say it.
#[derive(Debug, Clone)]
pub(crate) struct Action {
    pub(crate) text: String,
    pub(crate) kind: &'static str,
    pub(crate) name: String,
}

impl Action {
    /// Such as `start`, `container`, `x`: "start container `x`". The name is checked: an engine's client joins it into a URL.
    pub(crate) fn on(verb: &str, kind: &'static str, name: &str) -> Result<Self> {
        let action = Self { text: format!("{verb} {kind} `{name}`"), kind, name: name.into() };
        let allowed = |c: char| match kind {
            "image" => c.is_ascii_alphanumeric() || "_.:@/-".contains(c),
            _ => c.is_ascii_alphanumeric() || "_.-".contains(c),
        };
        let well_formed = name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(allowed);
        if well_formed && !name.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Ok(action);
        }
        Err(EngineError::Engine {
            action: action.text,
            status: None,
            message: format!("`{}` is not a valid {kind} name", name.escape_debug()),
        })
    }

    /// About no single object.
    pub(crate) fn general(text: &str) -> Self {
        Self { text: text.into(), kind: "object", name: String::new() }
    }

    /// Waits for an answer as long as every call may take.
    pub(crate) fn wait<T>(&self, answer: impl Future<Output = Result<T>>) -> impl Future<Output = Result<T>> {
        self.wait_for(CALL_TIMEOUT, answer)
    }

    /// Waits for an answer. It is boxed: the clients' futures are large, and what waits for them is nested deeply.
    pub(crate) fn wait_for<T>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T>>,
    ) -> impl Future<Output = Result<T>> {
        let answer = Box::pin(answer);
        async move {
            match tokio::time::timeout(limit, answer).await {
                Ok(result) => result,
                Err(_) => Err(EngineError::Timeout { action: self.text.clone(), seconds: limit.as_secs() }),
            }
        }
    }

    pub(crate) fn not_found(&self) -> EngineError {
        EngineError::NotFound { action: self.text.clone(), kind: self.kind, name: self.name.clone() }
    }

    pub(crate) fn conflict(&self) -> EngineError {
        EngineError::Conflict { action: self.text.clone(), name: self.name.clone() }
    }

    pub(crate) fn refused(&self, status: Option<u16>, message: impl Into<String>) -> EngineError {
        EngineError::Engine { action: self.text.clone(), status, message: message.into() }
    }

    pub(crate) fn io(&self, source: std::io::Error) -> EngineError {
        EngineError::Io { action: self.text.clone(), source }
    }

    /// An answer with an HTTP status that is no success.
    pub(crate) fn status(&self, status: u16, message: String) -> EngineError {
        match status {
            // A container that misses its network is not itself missing.
            404 if self.kind == "container" && message.contains("network") => {
                self.refused(Some(status), message)
            }
            404 => self.not_found(),
            _ => self.refused(Some(status), message),
        }
    }
}
