//! What a command works with: who asks, which configuration is in force, the lifecycle core.

use std::cell::{Cell, OnceCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use podspawn_runtimes::EngineKind;
use thiserror::Error;

use super::audit::Recorder;
use super::environment::EnvironmentError;
use super::interrupts::Interrupts;
use super::machine::MachineError;
use crate::config::{
    self, ConfigError, Deployment, EngineChoice, Flag, Layers, Reach, SERVER_CONFIG, Sources,
};
use crate::engine::{self, LazyEngine};
use crate::names::{ImageRef, MachineName, SessionKey, UserName};
use crate::podfile::Https;
use crate::session::attach::Guests;
use crate::session::{Core, Dirs};
use crate::spec::{self, Kind, Owner, Request, ResolveError, Resolved, SessionSpec};
use crate::state::{Store, StoreError};
use crate::system::{Host, SystemClock, accounts};

/// Where stock sshd reads its configuration: a hint at whether this host is a server.
const SSHD_CONFIG: &str = "/etc/ssh/sshd_config";

/// What flags say about every command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Overrides {
    /// Configuration file; an absolute path.
    pub config: Option<PathBuf>,
    /// Log file.
    pub log_file: Option<PathBuf>,
    /// Engine.
    pub runtime: Option<EngineKind>,
}

/// What a command needs before it can do anything, and does not have.
#[derive(Debug, Error)]
pub enum LocalError {
    /// The owner's name cannot be known.
    #[error("the variable `USER` is not set")]
    NoUser,
    /// The place of state cannot be known.
    #[error("the variable `HOME` is not set to an absolute path")]
    NoHome,
    /// Whether this host is a server cannot be found out.
    #[error("look for `{}`: {source}", path.display())]
    Look {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The asynchronous runtime.
    #[error("start the asynchronous runtime: {0}")]
    Runtime(#[source] io::Error),
}

/// Who asks, and the configuration in force: everything that is known without opening or reaching anything.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the process was started with.
    pub host: Host,
    /// Owner of machines: the invoking user.
    pub owner: UserName,
    /// Configuration in force, with origins.
    pub layers: Layers,
}

impl Settings {
    /// Reads configuration.
    pub fn load(host: &Host, overrides: &Overrides, reach: Reach) -> Result<Self, LocalError> {
        let layers = load(host, overrides, reach)?;
        let owner = owner(host, layers.deployment)?;
        Ok(Self { host: host.clone(), owner, layers })
    }

    /// Whether the command works for a server.
    pub fn is_server(&self) -> bool {
        self.layers.deployment == Deployment::Server
    }

    /// Everything about a session that is to be made or joined, and where each value came from.
    pub fn resolve(
        &self,
        key: SessionKey,
        kind: Kind,
        image: Option<ImageRef>,
    ) -> Result<Resolved, ResolveError> {
        self.resolve_request(&Request { image, ..self.request(key, kind) })
    }

    /// As [`Settings::resolve`], for a request that says more.
    pub fn resolve_request(&self, request: &Request) -> Result<Resolved, ResolveError> {
        spec::resolve(request, &self.layers)
    }

    /// A machine that is made of the named image, or else of the user's own Podfile where there is one.
    pub fn machine_request(
        &self,
        kind: Kind,
        name: &MachineName,
        image: Option<ImageRef>,
    ) -> Result<Request, EnvironmentError> {
        let own = match image {
            Some(_) => None,
            None => self.own_podfile(&Https)?,
        };
        // What the user's own Podfile says, the user has decided.
        let project = own
            .map(|loaded| self.project_request(&loaded, name.as_str(), loaded.podfile.mode))
            .transpose()?;
        let key = SessionKey::machine(self.owner.clone(), name.clone());
        Ok(Request { image, project, ..self.request(key, kind) })
    }

    /// A request with what is known of the invoking user.
    pub fn request(&self, key: SessionKey, kind: Kind) -> Request {
        let timezone = self.host.var("TZ").map(str::to_owned);
        // Rootless Podman's containers see other ids: there the guest takes a persistent home over.
        let sees_ids = self.host.uid() != 0 && !self.is_podman();
        let home_owner = sees_ids.then(|| Owner { uid: self.host.uid(), gid: self.host.gid() });
        Request { timezone, home_owner, ..Request::new(key, kind) }
    }

    /// Whether machines are made by Podman, asked for or found: nobody is spoken to.
    fn is_podman(&self) -> bool {
        match self.layers.config.engine() {
            Some(choice) => choice == EngineChoice::Podman,
            None => LazyEngine::new(&self.host, None)
                .choose()
                .is_ok_and(|chosen| chosen.kind == EngineKind::Podman),
        }
    }
}

/// The invoking user, as podspawn names owners.
pub fn owner(host: &Host, deployment: Deployment) -> Result<UserName, LocalError> {
    Ok(match (host.var("USER"), deployment) {
        (Some(user), _) => UserName::derive(user),
        // Nothing on a server belongs to whoever asks.
        (None, Deployment::Server) => UserName::derive("root"),
        (None, Deployment::Local) => UserName::derive(&account(host).ok_or(LocalError::NoUser)?),
    })
}

/// The name of the invoking account where no variable says it, as in jobs of cron. An empty variable is a mistake.
fn account(host: &Host) -> Option<String> {
    if host.has("USER") {
        return None;
    }
    accounts::user_by_uid(host.uid()).ok().flatten().map(|account| account.name)
}

/// See the module.
pub struct Context {
    /// Who asks, and the configuration in force.
    pub settings: Settings,
    /// The lifecycle core.
    pub core: Core<LazyEngine, Guests>,
    pub(super) recorder: Recorder,
    runtime: OnceCell<tokio::runtime::Runtime>,
    /// Caught before anybody was told that something is made, for the work that makes it.
    interrupts: Cell<Option<Interrupts>>,
}

impl Context {
    /// Reads configuration and opens the store. No engine is spoken to.
    pub fn open(host: &Host, overrides: &Overrides, reach: Reach) -> Result<Self, LocalError> {
        let settings = Settings::load(host, overrides, reach)?;
        let config = &settings.layers.config;
        let store = Store::open(&config.state.db_path)?;
        let beside = |name| config.state.db_path.with_file_name(name);
        let dirs = Dirs {
            locks: config.state.lock_dir.clone(),
            sessions: beside("sessions"),
            guest: beside("guest"),
        };
        let engines = LazyEngine::new(host, config.engine());
        let recorder = Recorder::new(&settings);
        let core = Core::new(store, engines, Guests, Arc::new(SystemClock), dirs, host.uid())
            .building_with(engine::builder(host))
            .observed_by(Arc::new(recorder.clone()));
        Ok(Self { settings, core, recorder, runtime: OnceCell::new(), interrupts: Cell::new(None) })
    }

    /// From now on Ctrl-C and its like are for the work that comes next, which undoes what it made. To be called before a
    /// person is told that it begins.
    pub fn heed_interrupts(&self) -> Result<(), MachineError> {
        self.interrupts.set(Some(Interrupts::catch().map_err(MachineError::Signals)?));
        Ok(())
    }

    /// Signals for the work that begins here.
    pub(super) fn interrupts(&self) -> Result<Interrupts, MachineError> {
        match self.interrupts.take() {
            Some(early) => Ok(early),
            None => Interrupts::catch().map_err(MachineError::Signals),
        }
    }

    /// Owner of machines: the invoking user.
    pub fn owner(&self) -> &UserName {
        &self.settings.owner
    }

    /// Whether the command works for a server.
    pub fn is_server(&self) -> bool {
        self.settings.is_server()
    }

    /// Everything about a machine that is to be made or joined: from the named image, or else the user's own Podfile.
    pub fn spec(
        &self,
        kind: Kind,
        name: &MachineName,
        image: Option<ImageRef>,
    ) -> Result<SessionSpec, EnvironmentError> {
        let request = self.settings.machine_request(kind, name, image)?;
        Ok(self.settings.resolve_request(&request)?.spec)
    }

    /// Runs asynchronous work to its end. The runtime is made when it is first needed: joining a running machine
    /// needs none.
    pub fn block_on<T>(&self, work: impl Future<Output = T>) -> Result<T, LocalError> {
        if self.runtime.get().is_none() {
            let new = tokio::runtime::Builder::new_current_thread().enable_all().build();
            // Only this thread sets it, so it is not set yet.
            let _ = self.runtime.set(new.map_err(LocalError::Runtime)?);
        }
        Ok(self.runtime.get().expect("set above").block_on(work))
    }
}

/// The configuration in force.
pub fn load(host: &Host, overrides: &Overrides, reach: Reach) -> Result<Layers, LocalError> {
    let deployment = deployment(overrides, reach)?;
    let home = host.home().map(Path::to_owned);
    let local_root = match (&home, deployment) {
        (Some(home), _) => home.join(".podspawn"),
        // A server's state does not lie in anybody's home.
        (None, Deployment::Server) => PathBuf::from("/root/.podspawn"),
        (None, Deployment::Local) => return Err(LocalError::NoHome),
    };
    let mut flags = Vec::new();
    if let Some(kind) = overrides.runtime {
        flags.push(Flag { name: "--runtime", key: "runtime", value: word(kind).into() });
    }
    if let Some(file) = &overrides.log_file {
        flags.push(Flag { name: "--log-file", key: "log.file", value: absolute(host, file) });
    }
    let env = host.vars().map(|(name, value)| (name.to_owned(), value.to_owned()));
    Ok(config::load(&Sources {
        deployment,
        local_root,
        home,
        file: overrides.config.clone(),
        env: env.collect::<BTreeMap<_, _>>(),
        flags,
    })?)
}

/// For whom the command works.
pub fn deployment(overrides: &Overrides, reach: Reach) -> Result<Deployment, LocalError> {
    if reach == Reach::AlwaysLocal {
        return Ok(Deployment::Local);
    }
    let path = overrides.config.as_deref().unwrap_or(Path::new(SERVER_CONFIG));
    let exists = path.try_exists().map_err(|source| LocalError::Look { path: path.into(), source })?;
    Ok(config::detect(reach, exists, sshd_is_wired(Path::new(SSHD_CONFIG))))
}

/// Whether an sshd configuration, or a file that it names as one to be read too, makes podspawn the source of keys:
/// `server-setup` writes that into a file of its own. What cannot be read says nothing.
fn sshd_is_wired(file: &Path) -> bool {
    let text = |file: &Path| std::fs::read(file).map(|text| String::from_utf8_lossy(&text).into_owned());
    let Ok(main) = text(file) else { return false };
    let directory = file.parent().unwrap_or(Path::new("/"));
    config::sshd_is_wired(&main)
        || config::sshd_includes(&main)
            .any(|name| text(&directory.join(name)).is_ok_and(|text| config::sshd_is_wired(&text)))
}

fn absolute(host: &Host, path: &Path) -> String {
    match host.cwd() {
        Some(cwd) => cwd.join(path).display().to_string(),
        None => path.display().to_string(),
    }
}

/// An engine by the word in configuration.
fn word(kind: EngineKind) -> &'static str {
    match kind {
        EngineKind::Docker => "docker",
        EngineKind::Podman => "podman",
        EngineKind::Gvisor => "gvisor",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sshd_that_reads_a_file_of_podspawns_is_wired_as_one_that_asks_it_in_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (main, ours) = (dir.path().join("sshd_config"), dir.path().join("podspawn.conf"));
        let asks = "AuthorizedKeysCommand /usr/local/bin/podspawn auth-keys %u %t %k\n";
        let wired = |text: &[u8]| {
            std::fs::write(&main, text).unwrap();
            sshd_is_wired(&main)
        };
        let include = format!("# caf\u{e9}\nInclude {}\nUsePAM yes\n", ours.display());
        assert!(!sshd_is_wired(&main) && !wired(include.as_bytes()), "neither file is there");
        std::fs::write(&ours, format!("Match Group podspawn-users\n{asks}")).unwrap();
        assert!(wired(include.as_bytes()));
        assert!(
            wired(b"# caf\xe9 in latin-1\ninclude=\"podspawn.conf\"\n"),
            "below the directory of sshd's own"
        );
        assert!(wired(asks.as_bytes()));
        assert!(
            !wired(b"#Include podspawn.conf\nInclude /etc/ssh/sshd_config.d/none.conf\n"),
            "nothing reads it"
        );
    }
}
