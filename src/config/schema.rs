//! Every key of `config.yaml`, its type and its default.
//!
//! `config.example.yaml` says the same to people; a test holds the two together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::read;
use super::text::{Count, Cpus, OciRuntime, Shell};
use super::tmpfs;
use super::units::{ByteSize, TimeSpan};
use super::words::{Capability, EngineChoice, Mode, ProfileName, SeccompChoice};
use crate::names::ImageRef;

/// The configuration, all layers merged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Deployment profile; none for the place's own: `local` for local commands, `docker-host` on a server.
    #[serde(deserialize_with = "read::optional")]
    pub profile: Option<ProfileName>,
    /// Engine; none for the one that is found. See [`Config::engine`].
    #[serde(deserialize_with = "read::optional")]
    pub runtime: Option<EngineChoice>,
    /// What a session gets unless something says otherwise.
    pub defaults: Defaults,
    /// How long sessions live.
    pub session: Session,
    /// Where state is kept.
    pub state: State,
    /// Logs.
    pub log: Log,
    /// What containers may do.
    pub security: Security,
    /// Ceilings.
    pub resources: Resources,
}

/// Section `defaults`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// Image of a session that names none.
    #[serde(deserialize_with = "read::value")]
    pub image: ImageRef,
    /// Login shell.
    #[serde(deserialize_with = "read::value")]
    pub shell: Shell,
    /// CPUs as a hard quota.
    #[serde(deserialize_with = "read::value")]
    pub cpus: Cpus,
    /// Memory.
    #[serde(deserialize_with = "read::value")]
    pub memory: ByteSize,
}

/// Section `session`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// How long a session is kept after its last connection ended.
    #[serde(deserialize_with = "read::value")]
    pub grace_period: TimeSpan,
    /// How long a session may live in all.
    #[serde(deserialize_with = "read::value")]
    pub max_lifetime: TimeSpan,
    /// What happens when the last connection ends.
    #[serde(deserialize_with = "read::value")]
    pub mode: Mode,
}

/// Section `state`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The database.
    #[serde(deserialize_with = "read::value")]
    pub db_path: PathBuf,
    /// Locks and leases.
    #[serde(deserialize_with = "read::value")]
    pub lock_dir: PathBuf,
    /// Homes of persistent sessions.
    #[serde(deserialize_with = "read::value")]
    pub homes_dir: PathBuf,
}

/// Section `log`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// File that the log is appended to; none for standard error.
    #[serde(deserialize_with = "read::optional")]
    pub file: Option<PathBuf>,
}

/// Section `security`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Security {
    /// Capabilities taken away.
    #[serde(deserialize_with = "read::list")]
    pub cap_drop: Vec<Capability>,
    /// Capabilities given back.
    #[serde(deserialize_with = "read::list")]
    pub cap_add: Vec<Capability>,
    /// No gains through setuid programs.
    #[serde(deserialize_with = "read::value")]
    pub no_new_privileges: bool,
    /// Processes and threads.
    #[serde(deserialize_with = "read::value")]
    pub pids_limit: Count,
    /// Read-only root file system.
    #[serde(deserialize_with = "read::value")]
    pub readonly_rootfs: bool,
    /// File systems in memory: path → mount options.
    #[serde(deserialize_with = "tmpfs::read")]
    pub tmpfs: BTreeMap<String, String>,
    /// OCI runtime; none for the engine's default.
    #[serde(deserialize_with = "read::optional")]
    pub runtime: Option<OciRuntime>,
    /// Seccomp filter.
    #[serde(deserialize_with = "read::value")]
    pub seccomp_profile: SeccompChoice,
}

/// Section `resources`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resources {
    /// Most sessions of one owner at a time.
    #[serde(deserialize_with = "read::value")]
    pub max_per_user: Count,
    /// Most sessions in all at a time.
    #[serde(deserialize_with = "read::value")]
    pub max_containers: Count,
    /// Most CPUs that a session can be given.
    #[serde(deserialize_with = "read::value")]
    pub max_cpus: Cpus,
    /// Most memory that a session can be given.
    #[serde(deserialize_with = "read::value")]
    pub max_memory: ByteSize,
}

impl Config {
    /// The engine that is asked for: `runtime`, where Docker (or no choice) with `security.runtime: runsc` means gVisor.
    /// None leaves the choice to detection.
    pub fn engine(&self) -> Option<EngineChoice> {
        let runsc = self.security.runtime.as_ref().is_some_and(|runtime| runtime.as_str() == "runsc");
        match self.runtime {
            None | Some(EngineChoice::Docker) if runsc => Some(EngineChoice::Gvisor),
            choice => choice,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let capabilities = |names: &[&str]| {
            let known =
                |name: &&str| <Capability as read::FromConfig>::from_text(name).expect("a known capability");
            names.iter().map(known).collect()
        };
        Self {
            profile: None,
            runtime: None,
            defaults: Defaults {
                image: "ubuntu:24.04".parse().expect("a valid reference"),
                shell: Shell::new("/bin/bash"),
                cpus: Cpus::new(2.0),
                memory: ByteSize::from_bytes(2 << 30),
            },
            session: Session {
                grace_period: TimeSpan::from_secs(60),
                max_lifetime: TimeSpan::from_secs(8 * 3600),
                mode: Mode::GracePeriod,
            },
            state: State {
                db_path: "/var/lib/podspawn/state.db".into(),
                lock_dir: "/var/lib/podspawn/locks".into(),
                homes_dir: "/var/lib/podspawn/homes".into(),
            },
            log: Log { file: None },
            security: Security {
                cap_drop: vec![Capability::ALL],
                cap_add: capabilities(&[
                    "CHOWN",
                    "SETUID",
                    "SETGID",
                    "DAC_OVERRIDE",
                    "FOWNER",
                    "NET_BIND_SERVICE",
                    "KILL",
                ]),
                no_new_privileges: true,
                pids_limit: Count::new(256),
                readonly_rootfs: false,
                tmpfs: BTreeMap::new(),
                runtime: None,
                seccomp_profile: SeccompChoice::Default,
            },
            resources: Resources {
                max_per_user: Count::new(3),
                max_containers: Count::new(0),
                max_cpus: Cpus::new(0.0),
                max_memory: ByteSize::from_bytes(0),
            },
        }
    }
}
