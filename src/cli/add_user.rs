//! `add-user`

use std::path::PathBuf;

use clap::Args;

use super::UsageError;
use crate::names::{GithubLogin, UserName};

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn add-user sarah --key-file sarah.pub")]
pub struct AddUserArgs {
    /// Login name.
    pub user: String,
    /// Public key, as in a file that ends in `.pub`; can be given several times [default: none].
    #[arg(long, value_name = "KEY")]
    pub key: Vec<String>,
    /// File with one public key a line; can be given several times [default: none].
    #[arg(long, value_name = "FILE")]
    pub key_file: Vec<PathBuf>,
    /// Login at GitHub whose public keys are added [default: none].
    #[arg(long, value_name = "LOGIN")]
    pub github: Option<String>,
    /// Use an account that exists already; every SSH login of it then leads into a container [default: make a new account].
    #[arg(long)]
    pub existing: bool,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddUserRequest {
    /// Login name.
    pub user: UserName,
    /// Public keys as typed.
    pub keys: Vec<String>,
    /// Files of public keys.
    pub key_files: Vec<PathBuf>,
    /// Login at GitHub.
    pub github: Option<GithubLogin>,
    /// Use an account that exists already.
    pub existing: bool,
}

impl TryFrom<AddUserArgs> for AddUserRequest {
    type Error = UsageError;

    fn try_from(args: AddUserArgs) -> Result<Self, UsageError> {
        let AddUserArgs { user, key, key_file, github, existing } = args;
        let user = user.parse()?;
        if key.is_empty() && key_file.is_empty() && github.is_none() {
            return Err(UsageError::argument(
                "no key was given",
                "give `--key`, `--key-file` or `--github`; only who has a key can log in",
            ));
        }
        let github = github.map(|login| login.parse()).transpose()?;
        Ok(Self { user, keys: key, key_files: key_file, github, existing })
    }
}
