//! Values that are texts, paths or plain numbers.

use std::path::PathBuf;

use serde::Serialize;

use super::read::FromConfig;
use super::units::{ByteSize, TimeSpan};
use crate::names::{ImageRef, quoted};

/// CPUs as a hard quota; 0 for no limit.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Cpus(f64);

/// How many; 0 for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Count(u32);

/// Name of an OCI runtime as the engine knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct OciRuntime(String);

/// Absolute path of a program inside containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Shell(String);

impl Cpus {
    pub(super) const fn new(cpus: f64) -> Self {
        Self(cpus)
    }

    /// The number; none for no limit.
    pub fn limit(self) -> Option<f64> {
        (self.0 > 0.0).then_some(self.0)
    }
}

impl Count {
    pub(super) const fn new(count: u32) -> Self {
        Self(count)
    }

    /// The number; none for no limit.
    pub fn limit(self) -> Option<u32> {
        (self.0 > 0).then_some(self.0)
    }
}

impl OciRuntime {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of an account or a group of this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccountName(String);

impl AccountName {
    pub(super) fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The address of a web server, without a slash at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HttpUrl(String);

impl std::str::FromStr for HttpUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::from_text(text)
    }
}

impl HttpUrl {
    pub(super) fn new(url: &str) -> Self {
        Self(url.into())
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Shell {
    pub(super) fn new(path: &str) -> Self {
        Self(path.into())
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An absolute path without control characters.
pub(super) fn absolute(text: &str) -> Result<PathBuf, String> {
    if text.contains(char::is_control) {
        return Err(format!("the path {} contains a control character", quoted(text)));
    }
    if text.starts_with('~') {
        return Err(format!("{} is no path that can be expanded here: write an absolute one", quoted(text)));
    }
    if !text.starts_with('/') {
        return Err(format!("expected {}, found {}", PathBuf::EXPECTED, quoted(text)));
    }
    Ok(PathBuf::from(text))
}

impl FromConfig for AccountName {
    const EXPECTED: &'static str = "the name of an account or group, such as `podspawn`";

    fn from_text(text: &str) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
        if !text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
            || !text.chars().all(fits)
            || text.len() > 32
        {
            return Err(format!("expected {}, found {}", Self::EXPECTED, quoted(text)));
        }
        Ok(Self(text.into()))
    }
}

impl FromConfig for HttpUrl {
    const EXPECTED: &'static str = "an address that begins with `https://` or `http://`";

    fn from_text(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let host = rest.filter(|rest| !rest.is_empty() && !rest.starts_with('/'));
        if host.is_none() || text.contains(|c: char| c.is_control() || c.is_whitespace()) {
            return Err(format!("expected {}, found {}", Self::EXPECTED, quoted(text)));
        }
        Ok(Self(text.trim_end_matches('/').into()))
    }
}

impl FromConfig for PathBuf {
    const EXPECTED: &'static str = "an absolute path";

    fn from_text(text: &str) -> Result<Self, String> {
        absolute(text)
    }
}

impl FromConfig for Shell {
    const EXPECTED: &'static str = "the absolute path of a shell, such as `/bin/bash`";

    fn from_text(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') || text.ends_with('/') || text.contains(char::is_whitespace) {
            return Err(format!("expected {}, found {}", Self::EXPECTED, quoted(text)));
        }
        absolute(text).map(|_| Self(text.into()))
    }
}

impl FromConfig for ImageRef {
    const EXPECTED: &'static str = "an image reference, such as `ubuntu:24.04`";

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error: crate::names::NameError| match &error.suggestion {
            Some(near) => format!("{error}; did you mean `{near}`?"),
            None => error.to_string(),
        })
    }
}

impl FromConfig for OciRuntime {
    const EXPECTED: &'static str = "the name of an OCI runtime, such as `runsc`";

    fn from_text(text: &str) -> Result<Self, String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !text.starts_with(|c: char| c.is_ascii_alphanumeric())
            || !text.chars().all(fits)
            || text.len() > 64
        {
            return Err(format!("expected {}, found {}", Self::EXPECTED, quoted(text)));
        }
        Ok(Self(text.into()))
    }
}

impl FromConfig for Cpus {
    const EXPECTED: &'static str = "a number of CPUs, such as `2` or `0.5` (0 for no limit)";

    fn from_number(number: &str) -> Result<Self, String> {
        let cpus = number.parse::<f64>().unwrap_or(f64::NAN);
        if cpus < 0.0 {
            return Err(format!("{number} is negative: expected {}", Self::EXPECTED));
        }
        if cpus > 0.0 && cpus < 0.01 {
            return Err(format!("{number} is too small: engines share out no less than 0.01 CPUs"));
        }
        if !(0.0..=65536.0).contains(&cpus) {
            return Err(format!("{number} is too large: expected {}", Self::EXPECTED));
        }
        Ok(Self(cpus))
    }
}

impl FromConfig for Count {
    const EXPECTED: &'static str = "a whole number (0 for no limit)";

    fn from_number(number: &str) -> Result<Self, String> {
        if number.starts_with('-') {
            return Err(format!("{number} is negative: expected {}", Self::EXPECTED));
        }
        number
            .parse()
            .map(Self)
            .map_err(|_| format!("expected {}, found the number {number}", Self::EXPECTED))
    }
}

impl FromConfig for TimeSpan {
    const EXPECTED: &'static str = Self::EXPECTED;

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
    }

    fn from_number(number: &str) -> Result<Self, String> {
        number.parse::<Self>()
    }
}

impl FromConfig for ByteSize {
    const EXPECTED: &'static str = Self::EXPECTED;

    fn from_text(text: &str) -> Result<Self, String> {
        text.parse()
    }

    fn from_number(number: &str) -> Result<Self, String> {
        number.parse()
    }
}
