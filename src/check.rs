//! What a check of this host came to, whoever made it.

use serde::Serialize;

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Pass,
    /// It works, with a drawback.
    Warn,
    /// It does not work.
    Fail,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// How it went.
    pub outcome: Outcome,
    /// What was found.
    pub detail: String,
    /// What to do about it, unless it passed.
    pub fix: Option<String>,
    /// The detail belongs to the answer even where nothing is wrong.
    #[serde(skip)]
    pub always_shown: bool,
}

impl Check {
    /// Nothing is wrong.
    pub fn pass(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            outcome: Outcome::Pass,
            detail: detail.into(),
            fix: None,
            always_shown: false,
        }
    }

    /// Something works with a drawback; `fix` is what to do about it.
    pub fn warn(name: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { outcome: Outcome::Warn, fix: Some(fix.into()), ..Self::pass(name, detail) }
    }

    /// Something does not work; `fix` is what to do about it.
    pub fn fail(name: impl Into<String>, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { outcome: Outcome::Fail, fix: Some(fix.into()), ..Self::pass(name, detail) }
    }

    /// What only root can look at, and whoever asks is not root.
    pub fn unseen(name: impl Into<String>, what: impl std::fmt::Display) -> Self {
        Self::warn(name, format!("only root can look at {what}"), "sudo podspawn doctor")
    }

    /// The same with what was found shown in any case.
    pub fn shown(self) -> Self {
        Self { always_shown: true, ..self }
    }
}
