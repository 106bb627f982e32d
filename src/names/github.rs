//! Logins at GitHub.

use std::fmt;
use std::str::FromStr;

use super::NameError;

/// A login: letters, digits, `-` and `_`, at most 39, not beginning with a hyphen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GithubLogin(String);

impl GithubLogin {
    /// The login.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GithubLogin {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let wrong = |rule: &str| Err(NameError::new("GitHub login", text, rule));
        if text.is_empty() {
            return wrong("it must not be empty");
        }
        if text.len() > 39 {
            return wrong("it has more than 39 characters");
        }
        if text.starts_with('-') {
            return wrong("it must not begin with `-`: it would be read as an option");
        }
        if !text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
            return wrong("use letters, digits and hyphens only: the login, not an address");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for GithubLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_never_leads_to_another_address() {
        for good in ["octocat", "A-1", "ann_corp"] {
            assert_eq!(good.parse::<GithubLogin>().unwrap().as_str(), good);
        }
        let long = "a".repeat(40);
        for bad in
            ["", "-a", "a/b", "..", "a.keys", "a?b", "a@b", "a%2f", "a b", "ä", "https://github.com/a", &long]
        {
            assert!(bad.parse::<GithubLogin>().is_err(), "{bad}");
        }
    }
}
