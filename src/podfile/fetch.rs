//! How Podfiles of other repositories are fetched.

use std::cell::Cell;
use std::time::Duration;

use crate::config::yaml::MAX_BYTES;
use crate::system::https::{self, HttpsError};

/// Longest that everything may take.
const LIMIT: Duration = Duration::from_secs(15);

/// Gets a document from the web.
pub trait Fetch {
    /// The text at an address. The error is the reason alone, on one line.
    fn get(&self, url: &str) -> Result<String, String>;

    /// Whether a copy that was fetched before does as well, so that nobody is asked.
    fn takes_kept(&self) -> bool {
        false
    }
}

/// The same, and whether a copy that was kept would have done.
pub(super) struct Noting<'a> {
    fetch: &'a dyn Fetch,
    kept_does: Cell<bool>,
}

impl<'a> Noting<'a> {
    pub(super) fn new(fetch: &'a dyn Fetch) -> Self {
        Self { fetch, kept_does: Cell::new(false) }
    }

    /// Something was asked for that would have done as it was kept.
    pub(super) fn kept_does(&self) -> bool {
        self.kept_does.get()
    }
}

impl Fetch for Noting<'_> {
    fn get(&self, url: &str) -> Result<String, String> {
        self.fetch.get(url)
    }

    fn takes_kept(&self) -> bool {
        let takes = self.fetch.takes_kept();
        self.kept_does.set(takes || self.kept_does());
        takes
    }
}

/// The same, from where it comes and not as it was kept.
pub(super) struct Anew<'a>(pub(super) &'a dyn Fetch);

impl Fetch for Anew<'_> {
    fn get(&self, url: &str) -> Result<String, String> {
        self.0.get(url)
    }
}

/// One request over HTTPS: at most 15 s, at most 1 MiB, no redirects.
#[derive(Debug, Clone, Copy)]
pub struct Https;

impl Fetch for Https {
    fn get(&self, url: &str) -> Result<String, String> {
        let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
        match https::get(url, LIMIT, limit) {
            Ok(bytes) => String::from_utf8(bytes).map_err(|_| "the answer is not UTF-8 text".into()),
            Err(HttpsError::Status { code: 404, .. }) => Err("there is no such file".into()),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// As [`Https`], only for what was never fetched before: for whoever comes to something that is made already, who is not to
/// wait for a server elsewhere, and is to find what it was made of.
#[derive(Debug, Clone, Copy)]
pub struct Missing;

impl Fetch for Missing {
    fn get(&self, url: &str) -> Result<String, String> {
        Https.get(url)
    }

    fn takes_kept(&self) -> bool {
        true
    }
}
