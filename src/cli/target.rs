//! Targets: `name`, `user@name`.

use crate::names::{MachineName, SessionKey, UserName};

use super::UsageError;

/// A machine, perhaps of another owner; or, on a server, a user's default session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// One word: a machine of the invoking user, or a server's user.
    Word(String),
    /// `user@name`.
    Of(UserName, MachineName),
}

impl Target {
    /// Splits at the first `@`; both parts must then be names.
    pub fn parse(text: &str) -> Result<Self, UsageError> {
        match text.split_once('@') {
            Some((user, name)) => Ok(Self::Of(user.parse()?, name.parse()?)),
            None => Ok(Self::Word(text.to_owned())),
        }
    }

    /// As a machine; one word means one of `owner`'s.
    pub fn machine(&self, owner: &UserName) -> Result<SessionKey, UsageError> {
        Ok(match self {
            Self::Word(name) => SessionKey::machine(owner.clone(), name.parse()?),
            Self::Of(user, name) => SessionKey::machine(user.clone(), name.clone()),
        })
    }

    /// As a server's session; one word means that user's default session.
    pub fn session(&self) -> Result<SessionKey, UsageError> {
        Ok(match self {
            Self::Word(user) => SessionKey { user: user.parse()?, name: None },
            Self::Of(user, name) => SessionKey { user: user.clone(), name: Some(name.clone()) },
        })
    }
}
