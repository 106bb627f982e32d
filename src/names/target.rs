//! What commands take as the thing to act on: `name` or `user@name`.

use std::fmt;
use std::str::FromStr;

use super::{MachineName, NameError, SessionKey, UserName};

/// `name`, or `user@name` for somebody else's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The owner, if it was named.
    pub user: Option<UserName>,
    /// Machine (local) or project (server).
    pub name: MachineName,
}

impl Target {
    /// The session that is meant when `owner` asks.
    pub fn key(self, owner: &UserName) -> SessionKey {
        SessionKey::machine(self.user.unwrap_or_else(|| owner.clone()), self.name)
    }
}

impl FromStr for Target {
    type Err = NameError;

    /// Splits at the first `@`; both parts must be there.
    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once('@') {
            None => Ok(Self { user: None, name: text.parse()? }),
            Some(("", _)) => Err(NameError::new("target", text, "there is no user in front of `@`")),
            Some((_, "")) => Err(NameError::new("target", text, "there is no name behind `@`")),
            Some((user, name)) => Ok(Self { user: Some(user.parse()?), name: name.parse()? }),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            Some(user) => write!(f, "{user}@{}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_names_a_machine_and_perhaps_its_owner() {
        let me: UserName = "ann".parse().unwrap();
        assert_eq!("dev".parse::<Target>().unwrap().key(&me).to_string(), "ann@dev");
        assert_eq!("bob@dev".parse::<Target>().unwrap().key(&me).to_string(), "bob@dev");
    }

    #[test]
    fn both_parts_of_a_target_must_be_there_and_valid() {
        for (text, message) in [
            ("@dev", r#"invalid target "@dev": there is no user in front of `@`"#),
            ("bob@", r#"invalid target "bob@": there is no name behind `@`"#),
            ("bob@a@b", r#"invalid machine name "a@b": '@' is not allowed (use a-z, 0-9, `_` and `-`)"#),
            ("../x@dev", r#"invalid user name "../x": it must not contain `/`: this is a name, not a path"#),
        ] {
            assert_eq!(text.parse::<Target>().unwrap_err().to_string(), message);
        }
    }
}
