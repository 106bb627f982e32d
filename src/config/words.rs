//! Values that are one of a known set of words, and the nearest valid one for a misspelt one.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize, Serializer};

use super::read::FromConfig;
use crate::names::quoted;

/// What happens when the last connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Kept for the grace period.
    GracePeriod,
    /// Removed at once.
    DestroyOnDisconnect,
    /// Kept, without a lifetime, with a home that outlives the container.
    Persistent,
}

/// Which kind of engine runs the containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EngineChoice {
    /// Docker with its default OCI runtime.
    Docker,
    /// Podman, as a rule without root's rights.
    Podman,
    /// Docker with gVisor's `runsc`.
    Gvisor,
}

/// How `add-user` makes the account that sshd has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccountWay {
    /// The first of the others that this host has what it needs for.
    Auto,
    /// A drop-in file below `/etc/userdb`.
    Userdb,
    /// `useradd`.
    Useradd,
}

/// What the network of an SSH connection's forwarding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Forwarding {
    /// That of the user's default session, which is made if it is not running.
    OnDemand,
    /// That of the user's default session if it runs, else an empty one.
    Running,
    /// Always an empty one.
    Off,
}

/// A deployment profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProfileName {
    /// A server with Docker.
    DockerHost,
    /// A server or laptop with Podman and without root's rights.
    RootlessPodman,
    /// A server for code that nobody trusts.
    HardenedGvisor,
    /// Machines of the invoking user.
    Local,
}

/// Which seccomp filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeccompChoice {
    /// The engine's own.
    Default,
    /// The embedded stricter one.
    Strict,
    /// A file of the administrator; read when the session is made.
    File(PathBuf),
}

/// A capability of the kernel, without `CAP_`, in capitals; or `ALL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Capability(&'static str);

/// Every capability that Linux knows, by number, without `CAP_`.
pub const CAPABILITIES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// A set of words that a value is chosen from.
trait Words: Copy + Sized + 'static {
    /// What the value is, with its article.
    const KIND: &'static str;
    const ALL: &'static [(Self, &'static str)];

    fn find(text: &str) -> Result<Self, String> {
        match Self::ALL.iter().find(|(_, word)| *word == text) {
            Some((value, _)) => Ok(*value),
            None => Err(unknown(Self::KIND, text, &words(Self::ALL))),
        }
    }
}

fn words<T>(all: &[(T, &'static str)]) -> Vec<&'static str> {
    all.iter().map(|(_, word)| *word).collect()
}

/// `"x" is not a mode (a, b, c); did you mean `a`?`
pub(super) fn unknown(kind: &str, text: &str, candidates: &[&str]) -> String {
    let all = candidates.join(", ");
    let guess = nearest(text, candidates).map_or(String::new(), |word| format!("; did you mean `{word}`?"));
    format!("{} is not {kind} ({all}){guess}", quoted(text))
}

/// The candidate that `text` was most likely meant to be, if any is near enough.
pub fn nearest<'a>(text: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let typed: String = text.chars().take(64).flat_map(char::to_lowercase).collect();
    if typed.len() >= 3
        && let Some(found) = candidates.iter().find(|c| c.to_lowercase().contains(&typed))
    {
        return Some(found);
    }
    candidates
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&typed, &candidate.to_lowercase()), *candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len().max(typed.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

macro_rules! words {
    ($type:ident, $kind:literal, $expected:literal, [$($variant:ident => $word:literal),+ $(,)?]) => {
        impl Words for $type {
            const KIND: &'static str = $kind;
            const ALL: &'static [(Self, &'static str)] = &[$((Self::$variant, $word)),+];
        }

        impl $type {
            /// The word in configuration.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }

            /// Every value.
            pub fn all() -> impl Iterator<Item = Self> {
                Self::ALL.iter().map(|(value, _)| *value)
            }
        }

        impl std::str::FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::find(text)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromConfig for $type {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Result<Self, String> {
                Self::find(text)
            }
        }
    };
}

words!(Mode, "a mode", "a mode (grace-period, destroy-on-disconnect, persistent)", [
    GracePeriod => "grace-period",
    DestroyOnDisconnect => "destroy-on-disconnect",
    Persistent => "persistent",
]);
words!(EngineChoice, "a runtime", "a runtime (docker, podman, gvisor)", [
    Docker => "docker",
    Podman => "podman",
    Gvisor => "gvisor",
]);
words!(AccountWay, "a way of making accounts", "a way of making accounts (auto, userdb, useradd)", [
    Auto => "auto",
    Userdb => "userdb",
    Useradd => "useradd",
]);
words!(Forwarding, "a rule for forwarding", "a rule for forwarding (on-demand, running, off)", [
    OnDemand => "on-demand",
    Running => "running",
    Off => "off",
]);
words!(ProfileName, "a profile", "a profile (docker-host, rootless-podman, hardened-gvisor, local)", [
    DockerHost => "docker-host",
    RootlessPodman => "rootless-podman",
    HardenedGvisor => "hardened-gvisor",
    Local => "local",
]);

impl Capability {
    /// Everything at once.
    pub const ALL: Self = Self("ALL");

    /// The name without `CAP_`.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl FromConfig for Capability {
    const EXPECTED: &'static str = "the name of a capability, such as `NET_RAW`";

    /// In either case, with or without `CAP_`.
    fn from_text(text: &str) -> Result<Self, String> {
        let name = text.to_ascii_uppercase();
        let name = name.strip_prefix("CAP_").unwrap_or(&name);
        if name == Self::ALL.0 {
            return Ok(Self::ALL);
        }
        CAPABILITIES.into_iter().find(|known| *known == name).map(Self).ok_or_else(|| {
            let guess = nearest(name, &CAPABILITIES)
                .map_or(String::new(), |word| format!("; did you mean `{word}`?"));
            format!("{} is not a capability that Linux knows{guess}", quoted(text))
        })
    }
}

impl FromConfig for SeccompChoice {
    const EXPECTED: &'static str = "`default`, `strict` or the absolute path of a profile";

    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "default" => Ok(Self::Default),
            "strict" => Ok(Self::Strict),
            path if path.starts_with('/') => super::text::absolute(path).map(Self::File),
            _ => Err(unknown("a seccomp profile", text, &["default", "strict", "/path/to/profile.json"])),
        }
    }
}

impl fmt::Display for SeccompChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Strict => f.write_str("strict"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Serialize for SeccompChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_word_is_answered_with_the_nearest_one() {
        assert_eq!(
            "grace".parse::<Mode>(),
            Err(r#""grace" is not a mode (grace-period, destroy-on-disconnect, persistent); did you mean `grace-period`?"#
                .into())
        );
        assert_eq!(
            "persistant".parse::<Mode>().unwrap_err().split("; ").nth(1),
            Some("did you mean `persistent`?")
        );
        assert_eq!(
            "gvisor".parse::<ProfileName>().unwrap_err().split("; ").nth(1),
            Some("did you mean `hardened-gvisor`?")
        );
        assert_eq!("ttl".parse::<Mode>().unwrap_err().split("; ").nth(1), None);
        assert_eq!(
            "dokcer".parse::<EngineChoice>().unwrap_err().split("; ").nth(1),
            Some("did you mean `docker`?")
        );
    }

    #[test]
    fn capabilities_are_known_with_and_without_their_prefix() {
        for text in ["NET_RAW", "CAP_NET_RAW", "net_raw", "cap_net_raw"] {
            assert_eq!(Capability::from_text(text).map(Capability::as_str), Ok("NET_RAW"));
        }
        assert_eq!(Capability::from_text("all"), Ok(Capability::ALL));
        assert_eq!(
            Capability::from_text("NET_RWA"),
            Err(r#""NET_RWA" is not a capability that Linux knows; did you mean `NET_RAW`?"#.into())
        );
        assert_eq!(Capability::from_text("FLY"), Err(r#""FLY" is not a capability that Linux knows"#.into()));
    }

    #[test]
    fn the_list_of_capabilities_reaches_to_the_last_one_of_this_kernel() {
        let last: usize =
            std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap().trim().parse().unwrap();
        assert!(last < CAPABILITIES.len(), "the kernel knows capability {last}, the list ends before it");
    }
}
