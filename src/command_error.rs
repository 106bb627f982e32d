//! Every error meets its hint here.
//!
//! Libraries say what went wrong; this module says what to do about it. `main` prints the result once.

use std::error::Error;

use podspawn_runtimes::{DiscoveryError, EngineError};

use crate::cli::UsageError;
use crate::config::ConfigError;
use crate::local::ports::PortError;
use crate::local::{EnterError, EnvironmentError, GitError, LocalError, MachineError, ProjectError};
use crate::podfile::PodfileError;
use crate::server::accounts::{AccountError, RemoveError};
use crate::server::github::GithubError;
use crate::server::key_sources::SourceError;
use crate::server::pam::PamError;
use crate::server::setup::SetupError;
use crate::session::attach::AttachError;
use crate::session::{BuildPart, SessionError};
use crate::spec::ResolveError;
use crate::state::{LockError, StoreError};

/// Why a command failed, as the person reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandError {
    /// What kind of failure.
    pub kind: ErrorKind,
    /// One line: what could not be done and why.
    pub text: String,
    /// Imperative lines: what to do, or which file to look at.
    pub hints: Vec<String>,
}

/// Kinds of failures; each has one exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The command line makes no sense, or names something that cannot be.
    Usage,
    /// Configuration is wrong.
    Config,
    /// The thing does not exist, or exists already.
    State,
    /// The engine is missing or said no.
    Engine,
    /// podspawn or the system failed.
    Failure,
    /// What was to run in a session could not; the status is what a shell would give.
    Session(u8),
    /// A signal came while the command was at work.
    Interrupted(u8),
}

impl ErrorKind {
    /// The exit code that this kind of failure has.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Usage | Self::Config | Self::State | Self::Engine | Self::Failure => crate::exit::FAILURE,
            Self::Session(status) => status,
            Self::Interrupted(signal) => crate::exit::SIGNAL_BASE.saturating_add(signal),
        }
    }
}

impl CommandError {
    /// An error without a hint.
    pub fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), hints: Vec::new() }
    }

    /// An error that says "failed to …", with the whole chain of causes.
    pub fn failed_to(kind: ErrorKind, error: &dyn Error) -> Self {
        Self::new(kind, format!("failed to {}", chain(error)))
    }

    /// The same with a further hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

/// An error and its causes on one line, each said once.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

impl From<UsageError> for CommandError {
    fn from(error: UsageError) -> Self {
        let text = error.to_string();
        let hints = match error {
            UsageError::Name(error) => {
                error.suggestion.map(|name| format!("did you mean `{name}`?")).into_iter().collect()
            }
            UsageError::Argument { hints, .. } => hints,
        };
        Self { kind: ErrorKind::Usage, text, hints }
    }
}

impl From<DiscoveryError> for CommandError {
    fn from(error: DiscoveryError) -> Self {
        Self { hints: error.hints(), ..Self::failed_to(ErrorKind::Engine, &error) }
    }
}

impl From<EngineError> for CommandError {
    fn from(error: EngineError) -> Self {
        let told = Self::failed_to(ErrorKind::Engine, &error);
        match error {
            EngineError::Unreachable { .. } | EngineError::Timeout { .. } => {
                told.hint("`podspawn doctor` checks the engine")
            }
            EngineError::NoAddresses { .. } => {
                told.hint("end sessions, or give Docker more: `default-address-pools`, see docs/engines.md")
            }
            EngineError::Pull { .. } => {
                told.hint("check the name of the image, and that you may pull it from there")
            }
            _ => told,
        }
    }
}

impl From<ConfigError> for CommandError {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Read { .. } | ConfigError::Missing { .. } => {
                Self::failed_to(ErrorKind::Config, &error)
            }
            ConfigError::Malformed { .. } | ConfigError::UnknownKey { .. } | ConfigError::Value { .. } => {
                Self::new(ErrorKind::Config, chain(&error))
            }
        }
    }
}

impl From<PodfileError> for CommandError {
    fn from(error: PodfileError) -> Self {
        match error {
            PodfileError::Read { .. } => Self::failed_to(ErrorKind::Config, &error),
            PodfileError::Malformed { .. } => Self::new(ErrorKind::Config, error.to_string())
                .hint("`podspawn schema podfile` is what an editor needs to check it while you write"),
            PodfileError::UnknownKey { .. } => Self::new(ErrorKind::Config, error.to_string())
                .hint("docs/podfile.md lists every field; `podspawn podfile check` checks the file"),
            PodfileError::Value { .. } => Self::new(ErrorKind::Config, error.to_string())
                .hint("correct the file; `podspawn podfile check` checks it and starts nothing"),
            PodfileError::Extends { .. } => Self::new(ErrorKind::Config, error.to_string())
                .hint("`extends` takes a file of the repository, the name of a base, or `github.com/<org>/<repo>/<path>`"),
        }
    }
}

impl From<ResolveError> for CommandError {
    fn from(error: ResolveError) -> Self {
        Self::new(ErrorKind::Config, chain(&error)).hint("`podspawn spec` shows where each value comes from")
    }
}

impl From<StoreError> for CommandError {
    fn from(error: StoreError) -> Self {
        let told = Self::new(ErrorKind::Failure, chain(&error));
        match error {
            StoreError::Full { path } => told.hint(format!("make room: `df -h {}`", path.display())),
            StoreError::NotWritable { path, .. } => {
                let dir = path.parent().unwrap_or(&path);
                told.hint(format!("`ls -ld {}` shows who may write there", dir.display()))
            }
            StoreError::Corrupt { path, .. } => told.hint(format!(
                "put a backup back, or move {} away; `podspawn cleanup` then has no say over what it held",
                path.display()
            )),
            StoreError::Newer { .. } => told.hint("use the newer podspawn that wrote it"),
            _ => told,
        }
    }
}

impl From<LockError> for CommandError {
    fn from(error: LockError) -> Self {
        Self::new(ErrorKind::Failure, chain(&error))
    }
}

impl From<LocalError> for CommandError {
    fn from(error: LocalError) -> Self {
        match error {
            LocalError::Config(error) => error.into(),
            LocalError::Store(error) => error.into(),
            LocalError::NoUser => {
                Self::new(ErrorKind::Usage, error.to_string()).hint("set it to the name of your account")
            }
            LocalError::NoHome => {
                Self::new(ErrorKind::Usage, error.to_string()).hint("set it to your home directory")
            }
            LocalError::Look { .. } | LocalError::Runtime(_) => Self::failed_to(ErrorKind::Failure, &error),
        }
    }
}

impl From<SessionError> for CommandError {
    fn from(error: SessionError) -> Self {
        let told = |kind| Self::new(kind, chain(&error));
        match error {
            SessionError::Store(error) => error.into(),
            SessionError::Lock(error) => error.into(),
            SessionError::Engine(error) => error.into(),
            SessionError::Limit(_) => {
                told(ErrorKind::State).hint("`podspawn list` shows them, `podspawn stop` ends one")
            }
            SessionError::InUse { ref name } => {
                let hint = format!("podspawn shell {name}");
                told(ErrorKind::State).hint(hint)
            }
            SessionError::OtherEngine { .. } => {
                told(ErrorKind::State).hint("choose the engine that has it with `--runtime` or `DOCKER_HOST`")
            }
            SessionError::Foreign { .. } => {
                told(ErrorKind::State).hint("choose another name, or remove it with the engine's own command")
            }
            SessionError::Ended { .. } => {
                told(ErrorKind::Engine).hint("`podspawn verify-image` shows what the image offers")
            }
            SessionError::DiskNearlyFull { .. } => {
                told(ErrorKind::Engine).hint("remove images and containers that nobody needs any more")
            }
            SessionError::Service { .. } => told(ErrorKind::Engine)
                .hint("look at `image`, `env` and `ports` of the service in the Podfile"),
            SessionError::NoService { .. } => told(ErrorKind::State),
            SessionError::CopyTooLarge { .. } => {
                told(ErrorKind::State).hint("move it out of the directory, or use `mount: bind`")
            }
            SessionError::Impossible(_) | SessionError::ImageMissing { .. } => told(ErrorKind::Engine),
            SessionError::Build { ref part, .. } => {
                Self::failed_to(ErrorKind::Engine, &error).hint(build_hint(part))
            }
            SessionError::NotRemoved { .. } => {
                Self::failed_to(ErrorKind::Engine, &error).hint("`podspawn cleanup` tries again")
            }
            SessionError::Guest { .. } | SessionError::Prepare { .. } => {
                Self::failed_to(ErrorKind::Failure, &error)
            }
            SessionError::StoppedInSetup { .. } => told(ErrorKind::State),
            SessionError::Cancelled => told(ErrorKind::Failure),
        }
    }
}

/// What to do about a part of a build.
fn build_hint(part: &BuildPart) -> String {
    match part {
        BuildPart::Runtime(entry) => {
            let name = entry.split('@').next().unwrap_or_default();
            format!(
                "`packages.sources.{name}` of the configuration says where it comes from: see docs/images.md"
            )
        }
        BuildPart::Packages(_) | BuildPart::Tools => {
            "correct `packages` in the Podfile; the distribution's come from where the base image says".into()
        }
        BuildPart::Command(_) => "correct it in `extra_commands` of the Podfile".into(),
        BuildPart::Dockerfile { .. } => "correct it in the repository; devcontainer.json names it".into(),
        BuildPart::Whole(_) => "the Podfile says what is installed: `packages`, `extra_commands`".into(),
    }
}

impl From<MachineError> for CommandError {
    fn from(error: MachineError) -> Self {
        match error {
            MachineError::Session(error) => error.into(),
            MachineError::Local(error) => error.into(),
            MachineError::Unknown(_) => {
                Self::new(ErrorKind::State, error.to_string()).hint("`podspawn list` shows your machines")
            }
            MachineError::Taken { .. } => Self::new(ErrorKind::State, error.to_string())
                .hint("choose another name; `podspawn list` shows which are taken"),
            MachineError::Interrupted(signal) => {
                let number = u8::try_from(signal.number()).unwrap_or_default();
                Self::new(ErrorKind::Interrupted(number), "interrupted")
            }
            MachineError::Signals(_) => Self::failed_to(ErrorKind::Failure, &error),
        }
    }
}

impl From<PortError> for CommandError {
    fn from(error: PortError) -> Self {
        Self::new(ErrorKind::State, error.to_string()).hint(error.hint())
    }
}

impl From<EnvironmentError> for CommandError {
    fn from(error: EnvironmentError) -> Self {
        match error {
            EnvironmentError::Podfile(error) => error.into(),
            EnvironmentError::Resolve(error) => error.into(),
            EnvironmentError::Recipe(_) => Self::new(ErrorKind::Config, error.to_string())
                .hint("`podspawn podfile check` shows what the Podfile says"),
            EnvironmentError::Directory { .. } => Self::failed_to(ErrorKind::State, &error),
            EnvironmentError::Own { .. } => Self::new(ErrorKind::State, error.to_string())
                .hint("work in a directory of the project's own; for a registered project: podspawn create <name> --project <project>"),
        }
    }
}

impl From<GitError> for CommandError {
    fn from(error: GitError) -> Self {
        let told = Self::failed_to(ErrorKind::Failure, &error);
        match error {
            GitError::Missing => Self::new(ErrorKind::State, error.to_string()).hint("apt-get install git"),
            GitError::Failed { .. } => told.hint(
                "check the address, the branch and your access: https:// without a login, or ssh:// with your agent",
            ),
            GitError::Timeout { .. } => told.hint("check the network, and try again"),
            GitError::Cancelled | GitError::Io(_) | GitError::Sandbox(_) => told,
        }
    }
}

impl From<ProjectError> for CommandError {
    fn from(error: ProjectError) -> Self {
        let told = Self::new(ErrorKind::State, error.to_string());
        match error {
            ProjectError::Unknown(ref name) => {
                told.hint(format!("podspawn add-project {name} --repo <url>"))
            }
            ProjectError::Registered(ref name) => told.hint(format!(
                "`podspawn update-project {name}` fetches it anew, `podspawn remove-project {name}` forgets it"
            )),
            ProjectError::Configured { .. } => told.hint("edit or remove it there"),
            ProjectError::NoAccount(_) => told.hint("`podspawn server-setup` makes what is missing"),
            ProjectError::Bound { ref name, .. } => told
                .hint(format!("podspawn switch-branch {name} <branch>"))
                .hint(format!("to have it made anew: podspawn rm {name}")),
            ProjectError::InUse(ref name) => {
                told.hint(format!("choose another name, or end it: podspawn stop {name}"))
            }
            ProjectError::Occupied(_) => told.hint("move it away or remove it"),
            ProjectError::NoWorkspace(_) => told.hint("`podspawn list --machines` shows them"),
            ProjectError::NoCheckout(ref name) => told
                .hint(format!("`podspawn create {name}` makes it anew, `podspawn rm {name}` forgets it")),
            ProjectError::NotStopped(ref name) => told.hint(format!("podspawn stop {name}")),
            ProjectError::Dirty { ref name, .. } => {
                told.hint(format!("commit or discard them in `podspawn shell {name}`, then `podspawn stop {name}`"))
            }
            ProjectError::NoGit(_) => told.hint("add `git` to the packages of the Podfile, or use an image that has it"),
            ProjectError::Inside { .. } => Self::failed_to(ErrorKind::Failure, &error)
                .hint("git runs inside a container, without the logins and the agent of this host"),
            ProjectError::Files { .. } => Self::failed_to(ErrorKind::Failure, &error),
            ProjectError::Git(error) => error.into(),
            ProjectError::Registry(error) => error.into(),
            ProjectError::Environment(error) => error.into(),
            ProjectError::Resolve(error) => error.into(),
            ProjectError::Machine(error) => error.into(),
            ProjectError::Enter(error) => error.into(),
        }
    }
}

impl From<EnterError> for CommandError {
    fn from(error: EnterError) -> Self {
        match error {
            EnterError::Attach(error) => error.into(),
            EnterError::Engine(error) => error.into(),
            EnterError::Local(error) => error.into(),
        }
    }
}

impl From<AttachError> for CommandError {
    fn from(error: AttachError) -> Self {
        let kind = error.status().map_or(ErrorKind::Failure, ErrorKind::Session);
        let told = Self::new(kind, chain(&error));
        match error {
            AttachError::NotRunning(_) | AttachError::Stopped | AttachError::Lost => {
                told.hint("`podspawn list` shows your machines")
            }
            AttachError::Version { .. } => told.hint("`podspawn stop` it and make it anew"),
            AttachError::Engine(error) => error.into(),
            _ => told,
        }
    }
}

impl From<SourceError> for CommandError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Key { .. } => Self::new(ErrorKind::Usage, error.to_string())
                .hint("a public key is one line: type, key, comment, as in a file that ends in `.pub`"),
            SourceError::File { .. } => Self::failed_to(ErrorKind::State, &error),
            SourceError::NoKeys(_) => Self::new(ErrorKind::State, error.to_string())
                .hint("give a file or a login that has at least one public key"),
            SourceError::Github(error) => error.into(),
        }
    }
}

impl From<GithubError> for CommandError {
    fn from(error: GithubError) -> Self {
        let told = Self::failed_to(ErrorKind::Failure, &error);
        match error {
            GithubError::NoUser { .. } => {
                told.hint("check the login; it is part of the address of a profile")
            }
            GithubError::Redirect { .. } => told.hint("set `github_url` to where the keys really are"),
            GithubError::Status { .. }
            | GithubError::TooLarge { .. }
            | GithubError::Timeout { .. }
            | GithubError::Transport { .. } => {
                told.hint("check `github_url` and the network, or give the keys with `--key-file`")
            }
        }
    }
}

impl From<AccountError> for CommandError {
    fn from(error: AccountError) -> Self {
        let told = |kind| Self::new(kind, chain(&error));
        match &error {
            AccountError::Exists(_) => told(ErrorKind::State)
                .hint("choose another name, or use the account with `--existing`: its SSH logins then end in a container"),
            AccountError::NoAccount(_) => {
                told(ErrorKind::State).hint("leave `--existing` out to have an account made")
            }
            AccountError::Own(_) => told(ErrorKind::State).hint("leave `--existing` out to add keys to it"),
            AccountError::System { .. } | AccountError::Privileged { .. } | AccountError::Elsewhere(_) => {
                told(ErrorKind::State).hint("leave `--existing` out and choose another name to have an account made")
            }
            AccountError::NoUserdb(_) => {
                told(ErrorKind::Config).hint("set `accounts: useradd`, or `auto` to use what works here")
            }
            AccountError::Range { .. } => told(ErrorKind::Config),
            AccountError::NoUid { .. } => told(ErrorKind::Config).hint("raise `server.last_uid`"),
            AccountError::Unknown(_) => told(ErrorKind::State).hint("`podspawn list-users` shows them"),
            AccountError::TooManyKeys(_) => told(ErrorKind::State).hint("remove keys that are of no use any more"),
            AccountError::KeyDir { path, .. } => told(ErrorKind::State)
                .hint(format!("`chown root {}`, or name another directory as `auth.key_dir`", path.display())),
            AccountError::Trust(_) => {
                Self::failed_to(ErrorKind::State, &error).hint("let only root own it and write to it")
            }
            AccountError::Unseen(_) => told(ErrorKind::Failure)
                .hint("`getent passwd` shows what the system knows; look at /etc/nsswitch.conf"),
            AccountError::NotRemoved { user, .. } => Self::failed_to(ErrorKind::Failure, &error)
                .hint(format!("`podspawn remove-user {user}` goes on where this one stopped")),
            AccountError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
                Self::failed_to(ErrorKind::Failure, &error).hint("run it with `sudo`")
            }
            AccountError::Io { .. }
            | AccountError::LookUp { .. }
            | AccountError::Tool { .. }
            | AccountError::Record { .. }
            | AccountError::Processes { .. } => Self::failed_to(ErrorKind::Failure, &error),
        }
    }
}

impl From<RemoveError<Self>> for CommandError {
    fn from(error: RemoveError<Self>) -> Self {
        match error {
            RemoveError::Sessions(error) => error,
            RemoveError::InUse { ref user, .. } => Self::new(ErrorKind::State, error.to_string())
                .hint(format!("`podspawn remove-user {user} --force` destroys them")),
            RemoveError::Account(error) => error.into(),
        }
    }
}

impl From<PamError> for CommandError {
    fn from(error: PamError) -> Self {
        let told = Self::failed_to(ErrorKind::Failure, &error);
        match error {
            PamError::Io { .. } => told,
            ref error => {
                let told = Self::new(ErrorKind::Config, chain(error));
                match error {
                    PamError::Service(_) | PamError::NotText(_) => {
                        told.hint("`--pam-service` names another file, if sshd's is not /etc/pam.d/sshd")
                    }
                    PamError::Directory(path) => told.hint(root_only(path)),
                    PamError::Record(path) => told.hint(format!("remove {}", path.display())),
                    _ => told,
                }
            }
        }
    }
}

impl From<SetupError> for CommandError {
    fn from(error: SetupError) -> Self {
        let told = |kind| Self::new(kind, chain(&error));
        match error {
            SetupError::Config(error) => error.into(),
            SetupError::Account(error) => error.into(),
            SetupError::Pam(error) => error.into(),
            SetupError::Store(error) => error.into(),
            SetupError::Firewall(error) => {
                let remedy = error.remedy();
                Self::failed_to(ErrorKind::Failure, &error).hint(remedy)
            }
            SetupError::NotRoot => told(ErrorKind::State).hint("sudo"),
            SetupError::NoSshd => {
                Self::failed_to(ErrorKind::State, &error).hint("install the package `openssh-server`")
            }
            SetupError::Broken { ref said, ref path } => {
                let repair = match said.strip_prefix("Missing privilege separation directory: ") {
                    Some(dir) => format!("start sshd once, or `mkdir -m 0755 {dir}`"),
                    None => format!("repair it first: `sshd -t -f {}`", path.display()),
                };
                told(ErrorKind::Config).hint(repair).hint("nothing was changed")
            }
            SetupError::Rehearsal(_) | SetupError::RolledBack { .. } => told(ErrorKind::Failure).hint(
                "look for lines of sshd's configuration that include files, or that come before all others",
            ),
            SetupError::NotRolledBack { ref path, .. } => {
                let hint = format!(
                    "put it back yourself before sshd is reloaded: the copy is {}.podspawn.bak",
                    path.display()
                );
                told(ErrorKind::Failure).hint(hint)
            }
            SetupError::Untrusted { ref path, .. } => {
                let hint = root_only(path);
                told(ErrorKind::Config).hint(hint)
            }
            SetupError::Name(_) => told(ErrorKind::Config),
            SetupError::MaxStartups(_) => told(ErrorKind::Usage).hint("--max-startups 100:30:200"),
            SetupError::Reload { ref service, .. } => {
                let hint = format!("reload it yourself: `systemctl reload {service}`");
                Self::failed_to(ErrorKind::Failure, &error).hint(hint)
            }
            _ => Self::failed_to(ErrorKind::Failure, &error),
        }
    }
}

/// How a path becomes root's alone.
fn root_only(path: &std::path::Path) -> String {
    let path = path.display();
    format!("`chown root {path}` and `chmod go-w {path}`, or use another place")
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        Self::new(ErrorKind::Failure, format!("failed to write the output: {error}"))
    }
}
