//! A target whose meaning depends on whether the command works locally or for a server.

use super::UsageError;
use crate::names::{NameError, SessionKey, Target, UserName};

/// A target as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypedTarget(String);

impl TypedTarget {
    /// Keeps it for later: whoever knows where the command works checks it.
    pub fn new(typed: String) -> Self {
        Self(typed)
    }

    /// As typed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The machine that is meant when `owner` asks: `name` or `user@name`.
    pub fn machine(&self, owner: &UserName) -> Result<SessionKey, UsageError> {
        Ok(self.0.parse::<Target>()?.key(owner))
    }

    /// The server's session that is meant: `user` (the default session) or `user@project`.
    pub fn session(&self) -> Result<SessionKey, UsageError> {
        match self.0.parse::<Target>() {
            Ok(Target { user: Some(user), name }) => Ok(SessionKey { user, name: Some(name) }),
            // Names of projects and of machines have one grammar.
            Err(error) if error.kind == "machine name" && self.0.contains('@') => {
                Err(NameError { kind: "project name", ..error }.into())
            }
            Err(error) if self.0.contains('@') => Err(error.into()),
            _ => Ok(SessionKey { user: self.0.parse()?, name: None }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_is_a_machine_here_and_a_user_on_a_server() {
        let owner: UserName = "ann".parse().unwrap();
        let target = TypedTarget::new("bob".into());
        assert_eq!(target.machine(&owner).unwrap().to_string(), "ann@bob");
        assert_eq!(target.session().unwrap().to_string(), "bob");
        let target = TypedTarget::new("bob@backend".into());
        assert_eq!(target.machine(&owner).unwrap(), target.session().unwrap());
    }

    #[test]
    fn what_stands_behind_a_user_of_a_server_is_called_a_project() {
        let owner: UserName = "ann".parse().unwrap();
        let target = TypedTarget::new("alice@Backend".into());
        let said = |error: UsageError| error.to_string();
        assert!(said(target.session().unwrap_err()).starts_with(r#"invalid project name "Backend": "#));
        assert!(said(target.machine(&owner).unwrap_err()).starts_with(r#"invalid machine name "Backend": "#));
        let user = TypedTarget::new("Alice@backend".into()).session().unwrap_err();
        assert!(said(user).starts_with(r#"invalid user name "Alice": "#));
    }

    #[test]
    fn half_a_target_is_refused_on_both() {
        let owner: UserName = "ann".parse().unwrap();
        for typed in ["bob@", "@backend", "", "-x", "a@b@c"] {
            let target = TypedTarget::new(typed.into());
            assert!(target.machine(&owner).is_err(), "{typed}");
            assert!(target.session().is_err(), "{typed}");
        }
    }
}
