//! References to container images.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::NameError;

const KIND: &str = "image reference";
/// Longest `[registry/]path` that registries accept.
const MAX_NAME: usize = 255;
const MAX_TAG: usize = 128;
const HEX_ID: usize = 64;

/// An image reference as engines accept it: `[registry[:port]/]path[:tag][@digest]`, or an image's own id `sha256:<64 hex>`.
///
/// Never empty, never beginning with `-`, without white space or control characters: safe as an argument and as a part of
/// a URL's path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef(String);

impl ImageRef {
    /// The reference as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ImageRef {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        check(text).map_err(|rule| {
            let lower = lower_case_name(text);
            let suggestion = (lower != text && check(&lower).is_ok()).then_some(lower);
            NameError { suggestion, ..NameError::new(KIND, text, rule) }
        })?;
        Ok(Self(text.to_owned()))
    }
}

impl AsRef<str> for ImageRef {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ImageRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Lower-cases the name and leaves tag and digest alone.
fn lower_case_name(text: &str) -> String {
    let (name, rest) = text.split_at(end_of_name(text));
    name.to_lowercase() + rest
}

/// Where tag or digest begin. A colon is a tag's only behind the last slash; otherwise it belongs to a port.
fn end_of_name(text: &str) -> usize {
    let at = text.find('@').unwrap_or(text.len());
    let last_part = text[..at].rfind('/').map_or(0, |slash| slash + 1);
    text[last_part..at].find(':').map_or(at, |colon| last_part + colon)
}

fn check(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("it must not be empty".into());
    }
    if let Some(bad) = text.chars().find(|c| c.is_control()) {
        return Err(format!("it contains the control character {bad:?}"));
    }
    if text.contains(char::is_whitespace) {
        return Err("it contains white space".into());
    }
    if text.starts_with('-') {
        return Err("it must not begin with `-`: it would be read as an option".into());
    }
    if text.contains("://") {
        return Err("it is a URL: leave out everything up to `//`".into());
    }
    if let Some(id) = text.strip_prefix("sha256:") {
        return hex(id, HEX_ID, HEX_ID)
            .map_err(|why| format!("an image id is `sha256:` and 64 hex digits, but {why}"));
    }

    let (name, rest) = text.split_at(end_of_name(text));
    let (tag, digest) = match rest.split_once('@') {
        Some((tag, digest)) => (tag, Some(digest)),
        None => (rest, None),
    };
    check_name(name)?;
    if let Some(tag) = tag.strip_prefix(':') {
        check_tag(tag)?;
    }
    digest.map_or(Ok(()), check_digest)
}

fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("it has no name in front of tag or digest".into());
    }
    if name.len() > MAX_NAME {
        return Err(format!("its name has {} characters, at most {MAX_NAME} are allowed", name.len()));
    }
    let path = match name.split_once('/') {
        Some((first, path)) if is_registry(first) => {
            check_registry(first)?;
            path
        }
        _ => name,
    };
    if path.len() == HEX_ID && hex(path, HEX_ID, HEX_ID).is_ok() {
        return Err("64 hex digits are an image id: write `sha256:` in front".into());
    }
    path.split('/').try_for_each(check_component)
}

/// Engines take the first part for a registry's address if it cannot be the name of an account on the default registry.
fn is_registry(first: &str) -> bool {
    first == "localhost" || (first.contains(['.', ':', '[']) && !matches!(first, "." | ".."))
}

fn check_registry(registry: &str) -> Result<(), String> {
    let bad = |why: &str| Err(format!("the registry address `{}` {why}", registry.escape_debug()));
    let (host, port) = match registry.strip_prefix('[') {
        Some(rest) => {
            let Some((address, after)) = rest.split_once(']') else {
                return bad("has no closing `]`");
            };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return bad("has no IPv6 address between `[` and `]`");
            }
            match (after.is_empty(), after.strip_prefix(':')) {
                (true, _) => ("", None),
                (false, Some(port)) => ("", Some(port)),
                (false, None) => return bad("has something behind `]` that is no port"),
            }
        }
        None => match registry.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (registry, None),
        },
    };
    let label_fits = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    if !registry.starts_with('[') && !host.split('.').all(label_fits) {
        return bad("is not a host name");
    }
    if port.is_some_and(|port| {
        !port.bytes().all(|b| b.is_ascii_digit()) || !port.parse().is_ok_and(|p: u16| p > 0)
    }) {
        return bad("has no valid port (1-65535)");
    }
    Ok(())
}

/// Lower-case letters and digits, joined by `.`, `_`, `__` or hyphens.
fn check_component(part: &str) -> Result<(), String> {
    if part.is_empty() {
        return Err("it has an empty part before, between or behind its slashes".into());
    }
    if matches!(part, "." | "..") {
        return Err(format!("`{part}` is not allowed in it: this is a name, not a path"));
    }
    if part.contains(|c: char| c.is_ascii_uppercase()) {
        return Err("its name must be in lower case".into());
    }
    if let Some(bad) = part.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-')) {
        return Err(format!("{bad:?} is not allowed in its name (use a-z, 0-9, `.`, `_` and `-`)"));
    }
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if !part.starts_with(word) || !part.ends_with(word) {
        return Err(format!("`{part}` must begin and end with a letter or a digit"));
    }
    let separators = part.split(word).filter(|s| !s.is_empty());
    for separator in separators {
        if !matches!(separator, "." | "_" | "__") && !separator.bytes().all(|b| b == b'-') {
            return Err(format!("`{separator}` is not allowed between letters of its name"));
        }
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), String> {
    if tag.is_empty() {
        return Err("its tag is empty: write one behind `:`, or leave out the colon".into());
    }
    if tag.len() > MAX_TAG {
        return Err(format!("its tag has {} characters, at most {MAX_TAG} are allowed", tag.len()));
    }
    if let Some(bad) = tag.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.' | '-')) {
        return Err(format!("{bad:?} is not allowed in its tag"));
    }
    if tag.starts_with(['.', '-']) {
        return Err("its tag must begin with a letter, a digit or `_`".into());
    }
    Ok(())
}

fn check_digest(digest: &str) -> Result<(), String> {
    let expected = "its digest must look like `sha256:` and 64 hex digits";
    let Some((algorithm, value)) = digest.split_once(':') else {
        return Err(expected.into());
    };
    let (min, max) = match algorithm {
        "sha256" => (64, 64),
        "sha384" => (96, 96),
        "sha512" => (128, 128),
        _ => return Err(expected.into()),
    };
    hex(value, min, max).map_err(|why| format!("{expected}, but {why}"))
}

fn hex(text: &str, min: usize, max: usize) -> Result<(), String> {
    if let Some(bad) = text.chars().find(|c| !matches!(c, '0'..='9' | 'a'..='f')) {
        return Err(format!("{bad:?} is not one (0-9, a-f)"));
    }
    if text.len() < min || text.len() > max {
        return Err(format!("there are {}", text.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> String {
        text.parse::<ImageRef>().expect_err(text).rule
    }

    #[test]
    fn references_that_engines_accept_are_accepted() {
        let digest = format!("sha256:{}", "0f".repeat(32));
        for text in [
            "ubuntu",
            "ubuntu:24.04",
            "library/ubuntu",
            "podspawn-test/debian:12",
            "docker.io/library/ubuntu:24.04",
            "localhost/podspawn-test/busybox:1",
            "localhost:5000/a",
            "127.0.0.1:5000/podspawn-test/busybox:1",
            "[::1]:5000/a/b:c",
            "[fe80::1]/a",
            "Registry.Example.COM/a/b",
            "a__b/c_d/e---f/g.h:V1_x-y.z",
            "podspawn/api:podfile-0123456789ab",
            &digest,
            &format!("ubuntu@{digest}"),
            &format!("localhost:5000/ubuntu:24.04@{digest}"),
        ] {
            assert_eq!(text.parse::<ImageRef>().map(|r| r.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_refused_reference_says_what_is_wrong_with_it() {
        assert_eq!(rule(""), "it must not be empty");
        assert_eq!(rule("a b"), "it contains white space");
        assert_eq!(rule("a\u{1b}[2J"), r"it contains the control character '\u{1b}'");
        assert_eq!(rule("-v"), "it must not begin with `-`: it would be read as an option");
        assert_eq!(rule("https://docker.io/ubuntu"), "it is a URL: leave out everything up to `//`");
        assert_eq!(rule("../x"), "`..` is not allowed in it: this is a name, not a path");
        assert_eq!(rule("a//b"), "it has an empty part before, between or behind its slashes");
        assert_eq!(rule("a/"), "it has an empty part before, between or behind its slashes");
        assert_eq!(rule(":tag"), "it has no name in front of tag or digest");
        assert_eq!(rule("ubuntu:"), "its tag is empty: write one behind `:`, or leave out the colon");
        assert_eq!(rule("ubuntu:a:b"), "':' is not allowed in its tag");
        assert_eq!(rule("ubuntu:-x"), "its tag must begin with a letter, a digit or `_`");
        assert_eq!(
            rule(&format!("ubuntu:{}", "x".repeat(129))),
            "its tag has 129 characters, at most 128 are allowed"
        );
        assert_eq!(rule(&"x/".repeat(150)), "its name has 300 characters, at most 255 are allowed");
        assert_eq!(rule("a___b"), "`___` is not allowed between letters of its name");
        assert_eq!(rule("a$b"), "'$' is not allowed in its name (use a-z, 0-9, `.`, `_` and `-`)");
        assert_eq!(rule("a.b-/c"), "the registry address `a.b-` is not a host name");
        assert_eq!(rule("a.b:0/c"), "the registry address `a.b:0` has no valid port (1-65535)");
        assert_eq!(rule("a.b:+1/c"), "the registry address `a.b:+1` has no valid port (1-65535)");
        assert_eq!(rule("[::1/c"), "the registry address `[::1` has no closing `]`");
        assert_eq!(rule(&"ab".repeat(32)), "64 hex digits are an image id: write `sha256:` in front");
        assert_eq!(rule("sha256:abc"), "an image id is `sha256:` and 64 hex digits, but there are 3");
        assert_eq!(rule("a@b"), "its digest must look like `sha256:` and 64 hex digits");
        assert_eq!(
            rule("a@sha256:xyz"),
            "its digest must look like `sha256:` and 64 hex digits, but 'x' is not one (0-9, a-f)"
        );
    }

    #[test]
    fn capitals_in_the_name_are_answered_with_the_name_that_would_do() {
        let error = "Ubuntu:24.04-RC".parse::<ImageRef>().expect_err("capitals");
        assert_eq!(error.rule, "its name must be in lower case");
        assert_eq!(error.suggestion.as_deref(), Some("ubuntu:24.04-RC"));
    }
}
