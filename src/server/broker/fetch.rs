//! Fetching what nobody has fetched yet: a project that an administrator wrote into the configuration by hand.
//!
//! git never works with the broker's rights. This very program, started as root, runs it as an account that owns nothing,
//! just as `update-project` does. A broker that has given up root's rights cannot do that, and says whom to ask.

use std::process::{Command, Stdio};

use super::Broker;
use super::identity::Identity;
use super::tell::Refusal;
use crate::names::{ProjectName, SessionKey, printable};
use crate::server::projects;
use crate::session::{Report, Step};

/// Most of its complaint that the log repeats, in characters.
const SAID_MAX: usize = 2000;

impl Broker {
    /// Sees to it that the repository of a session's project is there. Blocks.
    pub(super) fn fetch_missing(
        &self,
        identity: &Identity,
        key: &SessionKey,
        report: &mut dyn Report,
    ) -> Result<(), Refusal> {
        let name = key.name.as_ref().and_then(|name| name.as_str().parse::<ProjectName>().ok());
        let Some(name) = name.filter(|_| self.is_root) else { return Ok(()) };
        let layers = self.installation.load()?;
        let is_missing = projects::registered(&layers)?.get(&name).is_some()
            && !projects::clone_of(&layers.config, &name).is_dir();
        if !is_missing {
            return Ok(());
        }
        let text = format!("Fetching the repository of {name}...");
        report.step(Step::Now(&text));
        let mut command = Command::new(&self.program);
        if let Some(file) = self.installation.config_flag() {
            command.arg("--config").arg(file);
        }
        command.args(["fetch-project", name.as_str()]);
        // Whoever waits for the same one waits for its lock.
        let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
        let reason = match ended {
            Ok(ended) if ended.status.success() => {
                report.step(Step::Now(&format!("{text} done")));
                return Ok(());
            }
            Ok(ended) => {
                printable(String::from_utf8_lossy(&ended.stderr).trim()).chars().take(SAID_MAX).collect()
            }
            Err(error) => error.to_string(),
        };
        tracing::error!(user = %identity.user, project = %name, "its repository cannot be fetched: {reason}");
        Err(Refusal::new(format!("the repository of the project `{name}` cannot be fetched")).hint(format!(
            "ask the administrator of this host: `sudo podspawn update-project {name}` says why"
        )))
    }
}
