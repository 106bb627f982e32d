//! Addresses and branches of git repositories. They end as arguments of git: none may be read as an option, as another
//! transport, or as a path of this host.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::NameError;

/// Longest address or branch, in bytes.
const MAX: usize = 1024;

/// Address of a git repository: `https://`, `ssh://`, `git://`, or `user@host:path`. One without a scheme, as in
/// `github.com/org/repo`, means `https://`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GitUrl(String);

impl GitUrl {
    /// The whole address, with its scheme.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The directory that git would clone into: the last part, without `.git`.
    pub fn directory(&self) -> &str {
        let path = self.0.trim_end_matches('/');
        let last = path.rsplit(['/', ':']).next().unwrap_or(path);
        last.strip_suffix(".git").unwrap_or(last)
    }
}

impl FromStr for GitUrl {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = |rule: &str| Err(NameError::new("repository address", text, rule));
        if text.is_empty() {
            return wrong("it must not be empty");
        }
        if text.len() > MAX {
            return wrong("it is longer than 1024 bytes");
        }
        if text.starts_with('-') {
            return wrong("it must not begin with `-`: it would be read as an option");
        }
        if text.contains(|c: char| c.is_control() || c.is_whitespace() || super::misleads(c)) {
            return wrong("it must not contain spaces or control characters");
        }
        if text.contains("::") {
            return wrong("transports written as `name::address` are not allowed");
        }
        // git decodes these before it speaks to anybody: a line break would begin another line of its request.
        let lower = text.to_ascii_lowercase();
        if ["%00", "%0a", "%0d"].iter().any(|code| lower.contains(code)) {
            return wrong("it must not contain encoded control characters");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Self::without_scheme(text);
        };
        if !matches!(scheme, "https" | "ssh" | "git") {
            return wrong("use https://, ssh:// or git://");
        }
        let host = rest.split('/').next().unwrap_or_default();
        // A password may need it; what ssh is called with may not.
        if !is_host(host) || (scheme != "https" && host.contains('%')) {
            return wrong("expected a host name behind the scheme");
        }
        if rest.split_once('/').is_none_or(|(_, path)| path.trim_matches('/').is_empty()) {
            return wrong("expected a path behind the host name");
        }
        Ok(Self(text.to_owned()))
    }
}

impl GitUrl {
    /// `user@host:path`, or `host/path`.
    fn without_scheme(text: &str) -> Result<Self, NameError> {
        let wrong = |rule: &str| Err(NameError::new("repository address", text, rule));
        if text.starts_with(['/', '.', '~']) {
            return wrong("paths of this host are not allowed: use https://, ssh:// or git://");
        }
        let (before_slash, after_slash) = text.split_once('/').unwrap_or((text, ""));
        if let Some((host, path)) = text.split_once(':').filter(|(host, _)| !host.contains('/')) {
            let port = path.split('/').next().unwrap_or_default();
            let is_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
            if host.contains('@') && is_host(host) && !path.is_empty() && !path.starts_with('-') {
                return Ok(Self(text.to_owned()));
            }
            if !(is_port && is_host(before_slash) && !after_slash.is_empty()) {
                return wrong("expected an address such as `https://host/path` or `git@host:path`");
            }
        }
        if !is_host(before_slash) || !before_slash.contains(['.', ':']) || after_slash.is_empty() {
            return wrong("expected an address such as `https://host/path` or `host.example/path`");
        }
        Ok(Self(format!("https://{text}")))
    }
}

/// `[user[:password]@]host[:port]`, where ssh reads none of it as an option.
fn is_host(text: &str) -> bool {
    let host = text.rsplit_once('@').map_or(text, |(_, host)| host);
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    !host.is_empty() && !text.starts_with('-') && !host.starts_with('-') && host.chars().all(fits)
}

impl fmt::Display for GitUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for GitUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// A branch, by the rules of `git check-ref-format`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BranchName(String);

impl BranchName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BranchName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = |rule: &str| Err(NameError::new("branch name", text, rule));
        if text.is_empty() {
            return wrong("it must not be empty");
        }
        if text.len() > 255 {
            return wrong("it is longer than 255 bytes");
        }
        if text.starts_with('-') {
            return wrong("it must not begin with `-`: it would be read as an option");
        }
        if text == "@" || text.contains("..") || text.contains("@{") || text.contains("//") {
            return wrong("`..`, `//`, `@{` and a lone `@` are not allowed");
        }
        let bad = |c: char| {
            c.is_control()
                || super::misleads(c)
                || matches!(c, ' ' | '~' | '^' | ':' | '?' | '*' | '[' | '\\')
        };
        if let Some(bad) = text.chars().find(|c| bad(*c)) {
            return wrong(&format!("{bad:?} is not allowed"));
        }
        let part_is_bad = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
        if text.ends_with('.') || text.split('/').any(part_is_bad) {
            return wrong("no part of it may be empty, begin with `.` or end with `.` or `.lock`");
        }
        if text.starts_with("refs/") || text == "HEAD" {
            return wrong("write the branch's own name");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for BranchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for BranchName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_without_a_scheme_mean_https() {
        for (text, meant) in [
            ("github.com/company/node-api", "https://github.com/company/node-api"),
            ("127.0.0.1:8443/a/b.git", "https://127.0.0.1:8443/a/b.git"),
            ("https://github.com/a/b.git", "https://github.com/a/b.git"),
            ("git@github.com:a/b.git", "git@github.com:a/b.git"),
            ("ssh://git@host:22/a", "ssh://git@host:22/a"),
            ("git://127.0.0.1:9418/api", "git://127.0.0.1:9418/api"),
            ("https://me:p%40ss@host.example/a%20b", "https://me:p%40ss@host.example/a%20b"),
        ] {
            assert_eq!(text.parse::<GitUrl>().expect(text).as_str(), meant);
        }
        assert_eq!("git@github.com:a/b.git".parse::<GitUrl>().unwrap().directory(), "b");
        assert_eq!("github.com/a/node-api/".parse::<GitUrl>().unwrap().directory(), "node-api");
    }

    #[test]
    fn nothing_that_git_or_ssh_would_take_for_something_else_is_an_address() {
        for bad in [
            "",
            "-uorigin",
            "--upload-pack=touch x",
            "ext::sh -c id",
            "ext::sh",
            "file:///etc",
            "/etc",
            "../x",
            "~/x",
            "ssh://-oProxyCommand=id/x",
            "-oProxyCommand=id@h:x",
            "git@-oProxyCommand=id:x",
            "http://plain.example/x",
            "https:///x",
            "https://host",
            "https://host/",
            "plain",
            "a/b",
            "host.example/a b",
            "host.example/a\nb",
            "git://host.example/a%0aHost:%20b",
            "https://host.example/a%0D",
            "ssh://%2doProxyCommand=id@host/x",
            "ssh://git%40host/x",
        ] {
            assert!(bad.parse::<GitUrl>().is_err(), "{bad}");
        }
    }

    #[test]
    fn branches_follow_gits_rules() {
        for good in ["main", "feat/x", "release-1.2", "feat/ümlaut", "a@b"] {
            assert_eq!(good.parse::<BranchName>().expect(good).as_str(), good);
        }
        for bad in [
            "",
            "-b",
            "a b",
            "a..b",
            "a~1",
            "a^",
            "a:b",
            "a?",
            "a*",
            "a[",
            "a\\b",
            "/a",
            "a/",
            "a//b",
            ".a",
            "a/.b",
            "a.lock",
            "a.",
            "@",
            "a@{1}",
            "a\nb",
            "refs/heads/x",
            "HEAD",
            "--upload-pack=x",
        ] {
            assert!(bad.parse::<BranchName>().is_err(), "{bad}");
        }
    }
}
