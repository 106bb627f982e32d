//! `doctor`

use std::path::PathBuf;

use clap::Args;

use super::{OutputArg, UsageError};

/// As typed.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  podspawn doctor --verbose")]
pub struct DoctorArgs {
    /// Show what each check found [default: off].
    #[arg(short, long)]
    pub verbose: bool,
    /// Text for people or JSON for programs.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub output: OutputArg,
    /// sshd's configuration file, of which a server's checks are.
    #[arg(long, value_name = "FILE", default_value = "/etc/ssh/sshd_config")]
    pub sshd_config: PathBuf,
}

/// Valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DoctorRequest {
    /// Show what each check found.
    pub verbose: bool,
    /// How to write it.
    pub output: OutputArg,
    /// sshd's configuration file.
    pub sshd_config: PathBuf,
}

impl TryFrom<DoctorArgs> for DoctorRequest {
    type Error = UsageError;

    fn try_from(args: DoctorArgs) -> Result<Self, UsageError> {
        let DoctorArgs { verbose, output, sshd_config } = args;
        if !sshd_config.is_absolute() {
            return Err(UsageError::argument(
                format!(
                    "`--sshd-config` needs an absolute path, not {:?}",
                    sshd_config.display().to_string()
                ),
                "--sshd-config /etc/ssh/sshd_config",
            ));
        }
        Ok(Self { verbose, output, sshd_config })
    }
}
