//! `server-setup`

use std::path::PathBuf;

use clap::Args;

use super::UsageError;

/// As typed.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  podspawn server-setup --dry-run\n  podspawn server-setup\n  podspawn server-setup --remove"
)]
pub struct ServerSetupArgs {
    /// sshd's configuration file.
    #[arg(long, value_name = "FILE", default_value = "/etc/ssh/sshd_config")]
    pub sshd_config: PathBuf,
    /// sshd's service, to be reloaded [default: `ssh` if that is active, else `sshd`].
    #[arg(long, value_name = "NAME")]
    pub service_name: Option<String>,
    /// sshd's PAM service file [default: the one that is wired, else /etc/pam.d/sshd].
    #[arg(long, value_name = "FILE")]
    pub pam_service: Option<PathBuf>,
    /// Connections that sshd keeps open while they log in [default: what its configuration says].
    #[arg(long, value_name = "VALUE")]
    pub max_startups: Option<String>,
    /// Say what would be done, and change nothing [default: off].
    #[arg(long)]
    pub dry_run: bool,
    /// Take everything out again; accounts, keys and state stay [default: off].
    #[arg(long, conflicts_with = "max_startups")]
    pub remove: bool,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerSetupRequest {
    /// sshd's configuration file.
    pub sshd_config: PathBuf,
    /// sshd's service, if one was named.
    pub service_name: Option<String>,
    /// sshd's PAM service file, if one was named.
    pub pam_service: Option<PathBuf>,
    /// Connections that sshd keeps open while they log in, if it was said.
    pub max_startups: Option<String>,
    /// Change nothing.
    pub dry_run: bool,
    /// Take everything out again.
    pub remove: bool,
}

impl TryFrom<ServerSetupArgs> for ServerSetupRequest {
    type Error = UsageError;

    fn try_from(args: ServerSetupArgs) -> Result<Self, UsageError> {
        let ServerSetupArgs { sshd_config, service_name, pam_service, max_startups, dry_run, remove } = args;
        let paths = [("--sshd-config", Some(&sshd_config)), ("--pam-service", pam_service.as_ref())];
        for (flag, path) in paths {
            if let Some(path) = path.filter(|path| !path.is_absolute()) {
                return Err(UsageError::argument(
                    format!("`{flag}` needs an absolute path, not {:?}", path.display().to_string()),
                    "--sshd-config /etc/ssh/sshd_config",
                ));
            }
        }
        // systemctl would read it as a flag or as a pattern.
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@:".contains(c);
        if let Some(name) = service_name
            .as_ref()
            .filter(|name| name.is_empty() || name.starts_with('-') || !name.chars().all(plain))
        {
            return Err(UsageError::argument(
                format!("invalid value {name:?} for `--service-name`"),
                "--service-name ssh",
            ));
        }
        Ok(Self { sshd_config, service_name, pam_service, max_startups, dry_run, remove })
    }
}
