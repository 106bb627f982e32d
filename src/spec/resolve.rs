//! From a request and the layers of configuration to one [`SessionSpec`]. Pure: the same input gives the same result.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::session_spec::{Account, HostMount, Kind, Limits, Mode, Resources, Security, SessionSpec};
use crate::config::{ByteSize, Deployment, EngineChoice, Layers, Origin};
use crate::names::{ImageRef, SessionKey, UserName};

/// Least memory that engines accept as a limit, and that a shell needs.
const MIN_MEMORY: u64 = 6 << 20;
/// Fewest processes that podspawn itself and a shell need.
const MIN_PIDS: u32 = 16;
/// Longest host name that every program accepts.
const MAX_HOSTNAME: usize = 63;
/// Account inside if the owner's name cannot be one.
const FALLBACK_ACCOUNT: &str = "user";
/// Uid and gid inside, unless a host directory says otherwise.
const ACCOUNT_ID: u32 = 1000;

/// What a caller asks for, already valid by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Owner and name.
    pub key: SessionKey,
    /// Machine, throw-away machine or session.
    pub kind: Kind,
    /// `--image`.
    pub image: Option<ImageRef>,
    /// Time zone of the invoking user (the content of `TZ`); passed in if it looks like one.
    pub timezone: Option<String>,
    /// Host directories to mount.
    pub mounts: Vec<MountRequest>,
    /// Environment that the administrator decided for the owner.
    pub user_env: BTreeMap<String, String>,
    /// Who owns the host directory of a persistent home, or will when it is made, as a container sees it; none if the
    /// container sees other ids (rootless engine): there the guest takes the directory over.
    pub home_owner: Option<Owner>,
}

impl Request {
    /// A request for nothing but what configuration says.
    pub fn new(key: SessionKey, kind: Kind) -> Self {
        Self {
            key,
            kind,
            image: None,
            timezone: None,
            mounts: Vec::new(),
            user_env: BTreeMap::new(),
            home_owner: None,
        }
    }
}

/// A host directory to mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountRequest {
    /// What to mount where.
    pub mount: HostMount,
    /// Who owns the directory, as a container sees it; none where nobody inside needs to own it.
    pub owner: Option<Owner>,
}

/// Owner of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// A spec, and where each of its values came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// The spec.
    pub spec: SessionSpec,
    /// Engine that is asked for; none leaves it to detection.
    pub engine: Option<EngineChoice>,
    /// Origin of every value, by the key that `podspawn spec` shows.
    pub origins: BTreeMap<String, Origin>,
}

/// A request that cannot be granted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{key}`: {reason} (from {origin})")]
pub struct ResolveError {
    /// The spec's key.
    pub key: &'static str,
    /// What is wrong, as a fragment.
    pub reason: String,
    /// Where the value came from.
    pub origin: Origin,
}

/// Resolves a request.
pub fn resolve(request: &Request, layers: &Layers) -> Result<Resolved, ResolveError> {
    let mut resolving = Resolving { layers, origins: BTreeMap::new() };
    for (key, rule) in [
        ("owner", "who asks"),
        ("name", "as asked for"),
        ("container", "made of owner and name"),
        ("kind", "command"),
    ] {
        resolving.origins.insert(key.to_owned(), Origin::Rule(rule));
    }
    let mode = resolving.mode(request.kind);
    let account = resolving.account(request, mode);
    let (grace_period, max_lifetime) = resolving.times(request.kind);
    let spec = SessionSpec {
        key: request.key.clone(),
        kind: request.kind,
        hostname: resolving.hostname(&request.key),
        image: resolving.image(request),
        resources: resolving.resources()?,
        security: resolving.security(),
        mode,
        grace_period,
        max_lifetime,
        env: resolving.env(request),
        mounts: resolving.mounts(request),
        persistent_home: resolving.persistent_home(mode, &request.key.user),
        limits: resolving.limits(),
        guarded_network: resolving.guarded_network(),
        account,
    };
    let engine = resolving.engine();
    Ok(Resolved { spec, engine, origins: resolving.origins })
}

struct Resolving<'a> {
    layers: &'a Layers,
    origins: BTreeMap<String, Origin>,
}

impl Resolving<'_> {
    /// Notes that `value` came from `origin`.
    fn from<T>(&mut self, key: &str, origin: Origin, value: T) -> T {
        self.origins.insert(key.to_owned(), origin);
        value
    }

    /// Notes that `value` is what the configuration says at `source`.
    fn configured<T>(&mut self, key: &str, source: &str, value: T) -> T {
        let origin = self.layers.origin(source);
        self.from(key, origin, value)
    }

    fn engine(&mut self) -> Option<EngineChoice> {
        let config = &self.layers.config;
        let engine = config.engine();
        let origin = match (engine, config.runtime) {
            (None, _) => Origin::Rule("detected"),
            (engine, runtime) if engine == runtime => self.layers.origin("runtime"),
            _ => self.layers.origin("security.runtime"),
        };
        self.from("engine", origin, engine)
    }

    fn image(&mut self, request: &Request) -> ImageRef {
        match &request.image {
            Some(image) => self.from("image", Origin::Flag("--image".into()), image.clone()),
            None => self.configured("image", "defaults.image", self.layers.config.defaults.image.clone()),
        }
    }

    fn mode(&mut self, kind: Kind) -> Mode {
        match kind {
            Kind::Throwaway => {
                let rule = Origin::Rule("a throw-away machine goes with its shell");
                self.from("mode", rule, Mode::DestroyOnDisconnect)
            }
            Kind::Machine | Kind::Session => {
                self.configured("mode", "session.mode", self.layers.config.session.mode)
            }
        }
    }

    fn times(&mut self, kind: Kind) -> (Duration, Duration) {
        let session = &self.layers.config.session;
        let (grace, lifetime) = (session.grace_period.get(), session.max_lifetime.get());
        let origins = match kind {
            Kind::Machine => [(); 2].map(|()| Origin::Rule("not used: a machine lives until it is stopped")),
            Kind::Throwaway => {
                [(); 2].map(|()| Origin::Rule("not used: a throw-away machine goes with its shell"))
            }
            Kind::Session => {
                [self.layers.origin("session.grace_period"), self.layers.origin("session.max_lifetime")]
            }
        };
        let [grace_origin, lifetime_origin] = origins;
        (self.from("grace_period", grace_origin, grace), self.from("max_lifetime", lifetime_origin, lifetime))
    }

    /// The machine's own name for local commands; a server's sessions are called as their containers are.
    fn hostname(&mut self, key: &SessionKey) -> String {
        let (name, rule) = match (self.layers.deployment, &key.name) {
            (Deployment::Server, _) => (key.container_name(), "name of the container"),
            (Deployment::Local, Some(name)) => (name.as_str().to_owned(), "name of the machine"),
            (Deployment::Local, None) => (key.user.as_str().to_owned(), "name of the owner"),
        };
        let cut: String = name.chars().take(MAX_HOSTNAME).collect();
        self.from("hostname", Origin::Rule(rule), cut.trim_end_matches(['-', '_']).to_owned())
    }

    fn account(&mut self, request: &Request, mode: Mode) -> Account {
        let owner = &request.key.user;
        let name = if owner.as_str() == "root" {
            let rule = Origin::Rule("sessions never run as root");
            self.from("account.name", rule, FALLBACK_ACCOUNT.to_owned())
        } else {
            self.from("account.name", Origin::Rule("name of the owner"), owner.as_str().to_owned())
        };
        let home = self.from("account.home", Origin::Rule("home of the account"), format!("/home/{name}"));
        let shell = self.configured(
            "account.shell",
            "defaults.shell",
            self.layers.config.defaults.shell.as_str().to_owned(),
        );

        // Files of a mounted host directory keep their owner, who is somebody else than root inside.
        let mounted = request.mounts.iter().filter_map(|mount| mount.owner);
        let home_owner = request.home_owner.filter(|_| mode == Mode::Persistent);
        let foreign = mounted.chain(home_owner).find(|owner| owner.uid != 0 && owner.uid != ACCOUNT_ID);
        let (uid, gid, rule) = match foreign {
            None => (ACCOUNT_ID, ACCOUNT_ID, "always 1000"),
            Some(Owner { uid, gid: 0 }) => (uid, uid, "owner of a mounted host directory"),
            Some(Owner { uid, gid }) => (uid, gid, "owner of a mounted host directory"),
        };
        let uid = self.from("account.uid", Origin::Rule(rule), uid);
        let gid = self.from("account.gid", Origin::Rule(rule), gid);
        Account { name, uid, gid, home, shell }
    }

    fn resources(&mut self) -> Result<Resources, ResolveError> {
        let config = &self.layers.config;
        let cpus = self.capped(
            ("resources.cpus", "defaults.cpus", "resources.max_cpus"),
            config.defaults.cpus.limit(),
            config.resources.max_cpus.limit(),
            |cpus| cpus.to_string(),
        );
        let memory = self.capped(
            ("resources.memory", "defaults.memory", "resources.max_memory"),
            config.defaults.memory.limit(),
            config.resources.max_memory.limit(),
            |bytes| ByteSize::from_bytes(bytes).to_string(),
        );
        if let Some(bytes) = memory.filter(|bytes| *bytes < MIN_MEMORY) {
            return Err(self.refuse(
                "resources.memory",
                format!("{bytes} bytes are too little: at least 6m are needed"),
            ));
        }
        let pids = config.security.pids_limit.limit();
        let pids = self.configured("resources.pids_limit", "security.pids_limit", pids);
        if let Some(pids) = pids.filter(|pids| *pids < MIN_PIDS) {
            let reason = format!("{pids} processes are too few: at least {MIN_PIDS} are needed");
            return Err(self.refuse("resources.pids_limit", reason));
        }
        Ok(Resources { cpus, memory, pids_limit: pids.map(i64::from) })
    }

    fn refuse(&self, key: &'static str, reason: String) -> ResolveError {
        let origin = self.origins.get(key).cloned().unwrap_or(Origin::Default);
        ResolveError { key, reason, origin }
    }

    /// The lower of what was asked for and the ceiling; no limit asked for is more than any ceiling.
    fn capped<T: PartialOrd + Copy, D: Display>(
        &mut self,
        (key, source, ceiling): (&str, &str, &'static str),
        asked: Option<T>,
        most: Option<T>,
        show: impl Fn(T) -> D,
    ) -> Option<T> {
        let from = self.layers.origin(source);
        match most.filter(|most| asked.is_none_or(|asked| asked > *most)) {
            None => self.from(key, from, asked),
            Some(most) => {
                let asked = asked.map_or_else(|| "no limit".to_owned(), |asked| show(asked).to_string());
                let by = Box::new(self.layers.origin(ceiling));
                self.from(key, Origin::Capped { ceiling, by, asked, from: Box::new(from) }, Some(most))
            }
        }
    }

    fn limits(&mut self) -> Limits {
        let resources = &self.layers.config.resources;
        let (per_user, in_all) = (resources.max_per_user.limit(), resources.max_containers.limit());
        Limits {
            max_per_user: self.configured("limits.max_per_user", "resources.max_per_user", per_user),
            max_containers: self.configured("limits.max_containers", "resources.max_containers", in_all),
        }
    }

    /// Only root can filter packets, and only an engine of root has bridges that the host's filter sees.
    fn guarded_network(&mut self) -> bool {
        let (guarded, rule) = match (self.layers.deployment, self.layers.config.engine()) {
            (Deployment::Local, _) => (false, "only on a server"),
            (Deployment::Server, Some(EngineChoice::Podman)) => {
                (false, "a rootless engine's traffic is filtered by its account, not by its bridges")
            }
            (Deployment::Server, Some(EngineChoice::Docker | EngineChoice::Gvisor) | None) => {
                (true, "on a server the host is out of reach")
            }
        };
        self.from("guarded_network", Origin::Rule(rule), guarded)
    }

    fn security(&mut self) -> Security {
        let security = &self.layers.config.security;
        let names = |capabilities: &[crate::config::Capability]| {
            capabilities.iter().map(|capability| capability.as_str().to_owned()).collect()
        };
        for key in [
            "cap_drop",
            "cap_add",
            "no_new_privileges",
            "readonly_rootfs",
            "tmpfs",
            "runtime",
            "seccomp_profile",
        ] {
            let key = format!("security.{key}");
            let origin = self.layers.origin(&key);
            self.origins.insert(key, origin);
        }
        let mut runtime = security.runtime.as_ref().map(|runtime| runtime.as_str().to_owned());
        if runtime.is_none() && self.layers.config.engine() == Some(EngineChoice::Gvisor) {
            let origin = self.layers.origin("runtime");
            runtime = self.from("security.runtime", origin, Some("runsc".to_owned()));
        }
        Security {
            cap_drop: names(&security.cap_drop),
            cap_add: names(&security.cap_add),
            no_new_privileges: security.no_new_privileges,
            readonly_rootfs: security.readonly_rootfs,
            tmpfs: security.tmpfs.clone(),
            runtime,
            seccomp: security.seccomp_profile.clone(),
        }
    }

    fn env(&mut self, request: &Request) -> BTreeMap<String, String> {
        let is_timezone = |text: &&String| {
            (1..=64).contains(&text.len())
                && text.chars().all(|c| {
                    c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+' | ':' | ',' | '.')
                })
        };
        let timezone = request.timezone.as_ref().filter(is_timezone).cloned();
        let timezone = timezone.map(|zone| self.from("env.TZ", Origin::Env("TZ".into()), zone));
        let mut env: BTreeMap<String, String> =
            timezone.map(|zone| ("TZ".to_owned(), zone)).into_iter().collect();
        for (name, value) in &request.user_env {
            let value = value
                .replace("${PODSPAWN_USER}", request.key.user.as_str())
                .replace("${PODSPAWN_PROJECT}", request.key.project());
            let key = format!("env.{name}");
            let value = self.from(&key, Origin::Rule("decided for this user"), value);
            env.insert(name.clone(), value);
        }
        env
    }

    fn mounts(&mut self, request: &Request) -> Vec<HostMount> {
        let mounts = request.mounts.iter().map(|mount| mount.mount.clone()).collect();
        self.from("mounts", Origin::Rule("as asked for"), mounts)
    }

    fn persistent_home(&mut self, mode: Mode, user: &UserName) -> Option<PathBuf> {
        match mode {
            Mode::Persistent => {
                let home = self.layers.config.state.homes_dir.join(user.as_str());
                self.configured("persistent_home", "state.homes_dir", Some(home))
            }
            Mode::GracePeriod | Mode::DestroyOnDisconnect => {
                self.from("persistent_home", Origin::Rule("only in mode persistent"), None)
            }
        }
    }
}
