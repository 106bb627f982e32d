//! Packet filter rules that keep the containers of a Docker server away from the host itself, from the cloud's metadata and
//! from each other.
//!
//! Two chains of podspawn's own in the table `mangle`, for each of IPv4 and IPv6, are jumped to for packets that come in
//! through podspawn's bridges: one first in `INPUT`, one first in `FORWARD`. They only take
//! away: nothing is accepted that the host's other rules would not accept. What the rules are is decided in [`rules`],
//! which is pure; [`tool`] runs the host's commands. Rules are put into force by one transaction per family, chain
//! contents before the jump, and what is there already and sound is left alone.

mod guard;
mod rules;
mod tool;

use thiserror::Error;

pub use guard::Guard;
pub use rules::{Family, Flaw};

use crate::session::GUARDED_BRIDGE_PREFIX;

/// Longest name of a chain that the kernel takes.
const CHAIN_MAX: usize = 28;
/// Longest prefix of interface names that leaves room for something after it.
const PREFIX_MAX: usize = 14;

/// Why containers cannot be kept away from the host.
#[derive(Debug, Error)]
pub enum FirewallError {
    /// A command is not installed.
    #[error("find `{0}` in /usr/sbin, /sbin, /usr/bin or /usr/local/sbin")]
    Missing(&'static str),
    /// A command could not be started or spoken to.
    #[error("run `{command}`")]
    Run {
        /// Its name.
        command: &'static str,
        /// The system's error.
        source: std::io::Error,
    },
    /// A command refused.
    #[error("change or read packet filter rules: `{command}` said: {said}")]
    Refused {
        /// Its name.
        command: &'static str,
        /// What it wrote, in one line.
        said: String,
    },
    /// The rules are not as they should be.
    #[error("find podspawn's {family} rules in force: {flaw}")]
    NotInForce {
        /// Which of the two tables.
        family: Family,
        /// What is wrong.
        flaw: Flaw,
    },
    /// A name that no rule can carry.
    #[error("name packet filter rules: {0}")]
    Name(String),
}

impl FirewallError {
    /// What an administrator does about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Missing(_) => "install the package `iptables`".into(),
            Self::Run { command, .. } | Self::Refused { command, .. } => format!(
                "run `{command} -S` as root: the broker needs root's right to filter packets (CAP_NET_ADMIN)"
            ),
            Self::NotInForce { .. } => {
                "something else rewrites the host's rules; restart the broker to put them back, and see docs/firewall.md"
                    .into()
            }
            Self::Name(_) => "use letters, digits, `-` and `_`".into(),
        }
    }
}

/// Which bridges are kept away from the host, and the names of the chains that do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firewall {
    bridge_prefix: String,
    input_chain: String,
    forward_chain: String,
}

impl Default for Firewall {
    /// The rules for a server's sessions: every installation of a host shares them.
    fn default() -> Self {
        Self {
            bridge_prefix: GUARDED_BRIDGE_PREFIX.into(),
            input_chain: "PODSPAWN-INPUT".into(),
            forward_chain: "PODSPAWN-FORWARD".into(),
        }
    }
}

impl Firewall {
    /// Rules for the bridges whose names start with `bridge_prefix`, in chains called `<chains>-INPUT` and
    /// `<chains>-FORWARD`. Fails on names that the kernel does not take.
    pub fn named(bridge_prefix: &str, chains: &str) -> Result<Self, FirewallError> {
        let is_word = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        };
        let (input_chain, forward_chain) = (format!("{chains}-INPUT"), format!("{chains}-FORWARD"));
        for (what, name, most) in
            [("bridge prefix", bridge_prefix, PREFIX_MAX), ("chain", forward_chain.as_str(), CHAIN_MAX)]
        {
            if !is_word(name) || name.len() > most {
                return Err(FirewallError::Name(format!(
                    "`{name}` is no {what} of at most {most} letters, digits, `-` and `_`"
                )));
            }
        }
        Ok(Self { bridge_prefix: bridge_prefix.into(), input_chain, forward_chain })
    }

    /// Puts the rules into force, and changes nothing where they are. Blocks for some milliseconds.
    pub fn ensure(&self) -> Result<(), FirewallError> {
        for family in tool::families() {
            let tools = tool::Tools::find(family)?;
            let found = tools.save()?;
            if rules::check(self, family, tool::host(family), &found).is_ok() {
                continue;
            }
            tools.restore(&rules::install(self, family, tool::host(family), &found))?;
            // Looked at again: a command that reports success is no proof that another backend's rules were meant.
            rules::check(self, family, tool::host(family), &tools.save()?)
                .map_err(|flaw| FirewallError::NotInForce { family, flaw })?;
        }
        Ok(())
    }

    /// Whether the rules are in force; changes nothing. Blocks for some milliseconds.
    pub fn check(&self) -> Result<(), FirewallError> {
        for family in tool::families() {
            let found = tool::Tools::find(family)?.save()?;
            rules::check(self, family, tool::host(family), &found)
                .map_err(|flaw| FirewallError::NotInForce { family, flaw })?;
        }
        Ok(())
    }

    /// Takes the rules away. Where there are none, or no command that could have made any, that is no error.
    pub fn remove(&self) -> Result<(), FirewallError> {
        for family in [Family::V4, Family::V6] {
            let tools = match tool::Tools::find(family) {
                Err(FirewallError::Missing(_)) => continue,
                tools => tools?,
            };
            // A kernel without IPv6 has no rules to save.
            let found = match tools.save() {
                Err(_) if !tool::families().any(|present| present == family) => continue,
                found => found?,
            };
            if let Some(script) = rules::removal(self, &found) {
                tools.restore(&script)?;
            }
        }
        Ok(())
    }
}

/// What `doctor` says about a server's rules.
#[derive(Debug)]
pub enum Status {
    /// In force.
    InForce,
    /// The commands work, the rules are not there or not as they should be.
    NotInForce {
        /// What was found, as a fragment.
        detail: String,
        /// What to do.
        remedy: String,
    },
    /// It could not be found out.
    Unknown {
        /// Why, as a fragment that fits after "failed to".
        detail: String,
        /// What to do.
        remedy: String,
    },
}

/// Looks at the rules for a server's sessions; changes nothing.
pub fn status() -> Status {
    match Firewall::default().check() {
        Ok(()) => Status::InForce,
        Err(error) => {
            let remedy = error.remedy();
            match error {
                FirewallError::NotInForce { family, flaw } => {
                    Status::NotInForce { detail: format!("{family}: {flaw}"), remedy }
                }
                error => Status::Unknown { detail: error.to_string(), remedy },
            }
        }
    }
}
