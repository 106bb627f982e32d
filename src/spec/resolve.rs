//! From a request and the layers of configuration to one [`SessionSpec`]. Pure: the same input gives the same result.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use super::session_spec::{
    Account, CopySpec, Environment, HostMount, Kind, Limits, Mode, PortBinding, Recipe, Resources, Security,
    ServiceSpec, SessionSpec, Setup, VolumeMount,
};
use crate::config::{ByteSize, Deployment, EngineChoice, Layers, Origin};
use crate::names::{ImageRef, SessionKey, quoted};
use crate::podfile::{Dotfiles, Podfile, VolumeUse, is_dynamic};

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
#[derive(Debug, Clone, PartialEq)]
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
    /// Mode that a flag asks for.
    pub mode: Option<Mode>,
    /// Dotfiles that were decided for the owner; they replace a Podfile's.
    pub user_dotfiles: Option<Dotfiles>,
    /// Directory where shells and commands start if no Podfile says another one; none for the home.
    pub start_dir: Option<String>,
    /// A Podfile, and what goes with it.
    pub project: Option<ProjectRequest>,
    /// Files that are copied in where there is no Podfile.
    pub copy: Option<CopySpec>,
    /// Mode that the registry says of a project that has no Podfile.
    pub project_mode: Option<Mode>,
}

/// A session whose environment a Podfile describes.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectRequest {
    /// The Podfile, merged and valid.
    pub podfile: Podfile,
    /// Where its values came from, by the keys of `podspawn spec`.
    pub origins: BTreeMap<String, Origin>,
    /// Name of its image.
    pub image: ImageRef,
    /// How that is made.
    pub recipe: Recipe,
    /// Mode that the registry of projects says; it wins over the Podfile's.
    pub mode: Option<Mode>,
    /// Files that are copied in.
    pub copy: Option<CopySpec>,
    /// Directory where shells and commands start; none for the home.
    pub start_dir: Option<String>,
    /// Published ports.
    pub ports: Vec<PortBinding>,
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
            mode: None,
            user_dotfiles: None,
            start_dir: None,
            project: None,
            copy: None,
            project_mode: None,
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
    let mode = resolving.mode(request);
    let account = resolving.account(request, mode);
    let (grace_period, max_lifetime) = resolving.times(request.kind);
    let spec = SessionSpec {
        key: request.key.clone(),
        kind: request.kind,
        hostname: resolving.hostname(&request.key),
        image: resolving.image(request),
        resources: resolving.resources(request)?,
        security: resolving.security(),
        mode,
        grace_period,
        max_lifetime,
        env: resolving.env(request),
        mounts: resolving.mounts(request),
        environment: resolving.environment(request),
        persistent_home: resolving.persistent_home(mode, request),
        limits: resolving.limits(),
        guarded_network: resolving.guarded_network(),
        account,
    };
    let engine = resolving.engine();
    resolving.each_place_once(&spec)?;
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
        match (&request.image, &request.project) {
            (Some(image), _) => self.from("image", Origin::Flag("--image".into()), image.clone()),
            (None, Some(project)) => {
                self.from("image", Origin::Rule("built from the Podfile"), project.image.clone())
            }
            (None, None) => {
                self.configured("image", "defaults.image", self.layers.config.defaults.image.clone())
            }
        }
    }

    fn mode(&mut self, request: &Request) -> Mode {
        if request.kind == Kind::Throwaway {
            let rule = Origin::Rule("a throw-away machine goes with its shell");
            return self.from("mode", rule, Mode::DestroyOnDisconnect);
        }
        if let Some(mode) = request.mode {
            return self.from("mode", Origin::Flag("--ephemeral".into()), mode);
        }
        let decided = request.project.as_ref().map_or(request.project_mode, |project| project.mode);
        if let Some(mode) = decided {
            return self.from("mode", Origin::Rule("decided for the project"), mode);
        }
        if let Some(project) = &request.project
            && let Some(mode) = project.podfile.mode
        {
            return self.from("mode", project.origin("mode"), mode);
        }
        self.configured("mode", "session.mode", self.layers.config.session.mode)
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
        let asked =
            request.project.as_ref().and_then(|project| Some((project, project.podfile.user.as_ref()?)));
        let asked = asked.filter(|(_, user)| user.as_str() != "root");
        let name = if let Some((project, user)) = asked {
            self.from("account.name", project.origin("user"), user.as_str().to_owned())
        } else if owner.as_str() == "root" {
            let rule = Origin::Rule("sessions never run as root");
            self.from("account.name", rule, FALLBACK_ACCOUNT.to_owned())
        } else {
            self.from("account.name", Origin::Rule("name of the owner"), owner.as_str().to_owned())
        };
        let home = self.from("account.home", Origin::Rule("home of the account"), format!("/home/{name}"));
        let asked =
            request.project.as_ref().and_then(|project| Some((project, project.podfile.shell.as_ref()?)));
        let shell = match asked.filter(|_| !self.layers.is_by_user("defaults.shell")) {
            Some((project, shell)) => self.from("account.shell", project.origin("shell"), shell.clone()),
            None => self.configured(
                "account.shell",
                "defaults.shell",
                self.layers.config.defaults.shell.as_str().to_owned(),
            ),
        };

        // Files of a mounted host directory keep their owner, who is somebody else than root inside.
        let mounted = request.mounts.iter().filter_map(|mount| mount.owner);
        let with_home = mode == Mode::Persistent && !self.is_wish_of_podfile(request);
        let home_owner = request.home_owner.filter(|_| with_home);
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

    fn resources(&mut self, request: &Request) -> Result<Resources, ResolveError> {
        let config = &self.layers.config;
        let project = request.project.as_ref();
        // What was decided for a user stands above what a repository asks for, and that above the defaults.
        let asked_cpus = project
            .filter(|_| !self.layers.is_by_user("defaults.cpus"))
            .and_then(|project| Some((project.origin("resources.cpus"), project.podfile.resources.cpus?)));
        let asked_memory =
            project.filter(|_| !self.layers.is_by_user("defaults.memory")).and_then(|project| {
                Some((project.origin("resources.memory"), project.podfile.resources.memory?))
            });
        let (cpus_from, cpus) = match asked_cpus {
            Some((origin, cpus)) => (origin, Some(cpus)),
            None => (self.layers.origin("defaults.cpus"), config.defaults.cpus.limit()),
        };
        let (memory_from, memory) = match asked_memory {
            Some((origin, memory)) => (origin, Some(memory)),
            None => (self.layers.origin("defaults.memory"), config.defaults.memory.limit()),
        };
        let cpus = self.capped(
            ("resources.cpus", cpus_from, "resources.max_cpus"),
            cpus,
            config.resources.max_cpus.limit(),
            |cpus| cpus.to_string(),
        );
        let memory = self.capped(
            ("resources.memory", memory_from, "resources.max_memory"),
            memory,
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
        (key, from, ceiling): (&str, Origin, &'static str),
        asked: Option<T>,
        most: Option<T>,
        show: impl Fn(T) -> D,
    ) -> Option<T> {
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
        if let Some(project) = &request.project {
            // Static values are in the image: given here again they would hide what a profile file makes of them.
            for (name, value) in project.podfile.env.iter().filter(|(_, value)| is_dynamic(value)) {
                let key = format!("env.{name}");
                let value = self.from(&key, project.origin(&key), expand(value, &request.key));
                env.insert(name.clone(), value);
            }
        }
        for (name, value) in &request.user_env {
            let key = format!("env.{name}");
            let value = self.from(&key, Origin::Rule("decided for this user"), expand(value, &request.key));
            env.insert(name.clone(), value);
        }
        env
    }

    fn environment(&mut self, request: &Request) -> Environment {
        let Some(project) = &request.project else {
            let setup = Setup { dotfiles: self.dotfiles(request), ..Setup::default() };
            let start_dir = request.start_dir.clone();
            if start_dir.is_some() {
                self.origins.insert("start_dir".into(), Origin::Rule("as asked for"));
            }
            return Environment { setup, start_dir, copy: request.copy.clone(), ..Environment::default() };
        };
        let podfile = &project.podfile;
        let key = &request.key;
        let mount = |volume: &VolumeUse| VolumeMount {
            name: key.volume_name(&volume.name),
            target: volume.target.clone(),
        };
        for name in ["services", "volumes", "ports", "repos", "hooks"] {
            let origin = project.origin(name);
            self.origins.insert(name.to_owned(), origin);
        }
        let services = podfile.services.iter().map(|service| ServiceSpec {
            name: service.name.clone(),
            image: service.image.clone(),
            ports: service.ports.clone(),
            env: service.env.iter().map(|(name, value)| (name.clone(), expand(value, key))).collect(),
            volumes: service.volumes.iter().map(mount).collect(),
        });
        Environment {
            recipe: Some(project.recipe.clone()),
            volumes: podfile.volumes.iter().map(mount).collect(),
            copy: project.copy.clone(),
            start_dir: self.from(
                "start_dir",
                Origin::Rule("as asked for"),
                project.start_dir.clone().or_else(|| request.start_dir.clone()),
            ),
            ports: project.ports.clone(),
            services: services.collect(),
            setup: Setup {
                dotfiles: self.dotfiles(request),
                repos: podfile.repos.clone(),
                hooks: podfile.hooks.clone(),
            },
        }
    }

    fn dotfiles(&mut self, request: &Request) -> Option<Dotfiles> {
        let project = request.project.as_ref();
        match (
            &request.user_dotfiles,
            project.and_then(|project| Some((project, project.podfile.dotfiles.as_ref()?))),
        ) {
            (Some(dotfiles), _) => {
                self.from("dotfiles", Origin::Rule("decided for this user"), Some(dotfiles.clone()))
            }
            (None, Some((project, dotfiles))) => {
                self.from("dotfiles", project.origin("dotfiles"), Some(dotfiles.clone()))
            }
            (None, None) => None,
        }
    }

    /// No two things can be mounted at one place: an engine would refuse them, or hide one of them.
    fn each_place_once(&self, spec: &SessionSpec) -> Result<(), ResolveError> {
        let mut places: Vec<&str> = spec.mounts.iter().map(|mount| mount.target.as_str()).collect();
        places.extend(spec.persistent_home.as_ref().map(|_| spec.account.home.as_str()));
        places.extend(spec.environment.volumes.iter().map(|volume| volume.target.as_str()));
        places.sort_unstable();
        match places.windows(2).find(|pair| pair[0] == pair[1]) {
            None => Ok(()),
            Some(pair) => {
                Err(self.refuse("mounts", format!("two things would be mounted at {}", quoted(pair[0]))))
            }
        }
    }

    fn mounts(&mut self, request: &Request) -> Vec<HostMount> {
        let mounts = request.mounts.iter().map(|mount| mount.mount.clone()).collect();
        self.from("mounts", Origin::Rule("as asked for"), mounts)
    }

    /// Whether the mode is what a repository's Podfile says and nobody else would have it.
    fn is_wish_of_podfile(&self, request: &Request) -> bool {
        let said = |project: &ProjectRequest| project.mode.is_none() && project.podfile.mode.is_some();
        request.kind != Kind::Throwaway
            && request.mode.is_none()
            && request.project.as_ref().is_some_and(said)
            && self.layers.config.session.mode != Mode::Persistent
    }

    fn persistent_home(&mut self, mode: Mode, request: &Request) -> Option<PathBuf> {
        match mode {
            // All persistent sessions of a user share it: no repository opens it to its own code.
            Mode::Persistent if self.is_wish_of_podfile(request) => {
                let rule = Origin::Rule("not for a mode that only the Podfile asks for");
                self.from("persistent_home", rule, None)
            }
            Mode::Persistent => {
                let home = self.layers.config.state.homes_dir.join(request.key.user.as_str());
                self.configured("persistent_home", "state.homes_dir", Some(home))
            }
            Mode::GracePeriod | Mode::DestroyOnDisconnect => {
                self.from("persistent_home", Origin::Rule("only in mode persistent"), None)
            }
        }
    }
}

impl ProjectRequest {
    /// Where a value of the Podfile came from.
    fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Rule("the Podfile"))
    }
}

/// Dynamic values: the two variables that stand for who and what a session is.
fn expand(value: &str, key: &SessionKey) -> String {
    value.replace("${PODSPAWN_USER}", key.user.as_str()).replace("${PODSPAWN_PROJECT}", key.project())
}
