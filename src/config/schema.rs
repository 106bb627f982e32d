//! Every key of `config.yaml`, its type and its default.
//!
//! `config.example.yaml` says the same to people; a test holds the two together.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::read;
use super::text::{AccountName, Count, Cpus, HttpUrl, OciRuntime, Shell};
use super::tmpfs;
use super::units::{ByteSize, TimeSpan};
use super::words::{AccountWay, Capability, EngineChoice, Forwarding, Mode, ProfileName, SeccompChoice};
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
    /// How `add-user` makes accounts.
    #[serde(deserialize_with = "read::value")]
    pub accounts: AccountWay,
    /// Where the public keys of `add-user --github` come from.
    #[serde(deserialize_with = "read::value")]
    pub github_url: HttpUrl,
    /// The registry of projects; their clones and the checkouts of machines lie beside it.
    #[serde(deserialize_with = "read::value")]
    pub projects_file: PathBuf,
    /// Keys of container users.
    pub auth: Auth,
    /// The sshd hook.
    pub server: Server,
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
    /// What Podfiles list as packages.
    pub packages: Packages,
}

/// Section `auth`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// One file of public keys for each container user.
    #[serde(deserialize_with = "read::value")]
    pub key_dir: PathBuf,
}

/// Section `server`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Network of an SSH connection's forwarding.
    #[serde(deserialize_with = "read::value")]
    pub forwarding: Forwarding,
    /// Group of every container user.
    #[serde(deserialize_with = "read::value")]
    pub group: AccountName,
    /// Account that the broker works as; none for root.
    #[serde(deserialize_with = "read::optional")]
    pub account: Option<AccountName>,
    /// Account that sshd runs `auth-keys` as.
    #[serde(deserialize_with = "read::value")]
    pub auth_account: AccountName,
    /// Account that git fetches the repositories of projects as.
    #[serde(deserialize_with = "read::value")]
    pub git_account: AccountName,
    /// What is gone after a boot: the broker's socket, the homes of accounts.
    #[serde(deserialize_with = "read::value")]
    pub run_dir: PathBuf,
    /// Where the login shell and the PAM module are.
    #[serde(deserialize_with = "read::value")]
    pub lib_dir: PathBuf,
    /// First uid of accounts that `add-user` makes.
    #[serde(deserialize_with = "read::value")]
    pub first_uid: Count,
    /// Last uid of accounts that `add-user` makes.
    #[serde(deserialize_with = "read::value")]
    pub last_uid: Count,
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
    /// File that the audit log is appended to; none for no audit log.
    #[serde(deserialize_with = "read::optional")]
    pub audit_log: Option<PathBuf>,
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

/// Section `packages`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packages {
    /// Where releases of languages come from.
    pub sources: PackageSources,
}

/// Section `packages.sources`: web servers, or mirrors of them, that are asked while images are built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PackageSources {
    /// Has `index.tab`, `latest-v22.x/SHASUMS256.txt` and the tarballs beside that.
    #[serde(deserialize_with = "read::value")]
    pub nodejs: HttpUrl,
    /// Has `SHA256SUMS` and the `install_only` tarballs of a release of python-build-standalone.
    #[serde(deserialize_with = "read::value")]
    pub python: HttpUrl,
    /// Has `go1.25.0.linux-amd64.tar.gz`, and a page that names what there is.
    #[serde(deserialize_with = "read::value")]
    pub go: HttpUrl,
    /// Has `rustup/dist/<target>/rustup-init` and `dist/`.
    #[serde(deserialize_with = "read::value")]
    pub rust: HttpUrl,
}

impl Default for PackageSources {
    fn default() -> Self {
        Self {
            nodejs: HttpUrl::new("https://nodejs.org/dist"),
            python: HttpUrl::new(
                "https://github.com/astral-sh/python-build-standalone/releases/latest/download",
            ),
            go: HttpUrl::new("https://go.dev/dl"),
            rust: HttpUrl::new("https://static.rust-lang.org"),
        }
    }
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
            accounts: AccountWay::Auto,
            github_url: HttpUrl::new("https://github.com"),
            projects_file: "/etc/podspawn/projects.yaml".into(),
            auth: Auth { key_dir: "/etc/podspawn/keys".into() },
            server: Server {
                forwarding: Forwarding::OnDemand,
                group: AccountName::new("podspawn-users"),
                account: None,
                auth_account: AccountName::new("podspawn-auth"),
                git_account: AccountName::new("podspawn-git"),
                run_dir: "/run/podspawn".into(),
                lib_dir: "/usr/local/lib/podspawn".into(),
                first_uid: Count::new(50_000),
                last_uid: Count::new(59_999),
            },
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
            log: Log { file: None, audit_log: None },
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
            packages: Packages { sources: PackageSources::default() },
        }
    }
}
