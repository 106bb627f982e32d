//! A place to make sessions in, with an engine that exists only in a model.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use podspawn::names::{MachineName, SessionKey, UserName, VolumeName};
use podspawn::session::{
    Acquired, Cancel, Core, Dirs, Exists, GuestAddress, GuestPort, GuestReady, Session, SessionError, Silent,
};
use podspawn::spec::{
    Account, Environment, Kind, Limits, Mode, PortBinding, Resources, SeccompChoice, Security, ServiceSpec,
    SessionSpec, VolumeMount,
};
use podspawn::state::{AttachWay, Store};
use podspawn::system::SettableClock;
use podspawn_runtimes::testing::Fake;
use podspawn_runtimes::{Facts, Runtime};
use tempfile::TempDir;

pub const IMAGE: &str = "podspawn-test/debian:12";
pub const SERVICE_IMAGE: &str = "podspawn-test/service:1";

/// Guests that are ready at once.
#[derive(Debug, Clone, Default)]
pub struct ReadyGuests;

impl GuestPort for ReadyGuests {
    type Error = std::io::Error;

    async fn wait_ready(
        &self,
        _: &Runtime,
        _: &GuestAddress,
        _: Duration,
    ) -> Result<GuestReady, Self::Error> {
        Ok(GuestReady { attach: AttachWay::Direct, shell: "/bin/bash".into(), warnings: Vec::new() })
    }
}

pub type FakeCore = Core<Runtime, ReadyGuests>;

/// A state directory, an engine and a clock that several processes share.
pub struct Lab {
    pub fake: Fake,
    pub clock: SettableClock,
    /// The uid that podspawn believes to have.
    pub uid: u32,
    dir: TempDir,
}

impl Lab {
    pub fn new() -> Self {
        Self::around(Fake::new())
    }

    pub fn with_facts(change: impl FnOnce(&mut Facts)) -> Self {
        use podspawn_runtimes::Engine;
        let mut facts = Fake::new().facts().clone();
        change(&mut facts);
        Self::around(Fake::with_facts(facts))
    }

    fn around(fake: Fake) -> Self {
        fake.add_image(IMAGE);
        fake.add_image(SERVICE_IMAGE);
        let now = fake.world().now;
        let dir = tempfile::Builder::new().prefix("podspawn-it-").tempdir().expect("a temporary directory");
        Self { fake, clock: SettableClock::new(Timestamp::from_second(now).expect("a time")), uid: 0, dir }
    }

    pub fn dirs(&self) -> Dirs {
        let root = self.dir.path();
        Dirs { locks: root.join("locks"), sessions: root.join("sessions"), guest: root.join("guest") }
    }

    pub fn database(&self) -> PathBuf {
        self.dir.path().join("state.db")
    }

    /// What one process has: a store of its own, and its own handle to the engine.
    pub fn process(&self) -> (FakeCore, Fake) {
        let fake = self.fake.next_process();
        let store = Store::open(&self.database()).expect("open the store");
        let clock = Arc::new(self.clock.clone());
        (Core::new(store, Runtime::from(fake.clone()), ReadyGuests, clock, self.dirs(), self.uid), fake)
    }

    /// Moves the clock of podspawn and of the engine.
    pub fn pass(&self, seconds: i64) {
        self.clock.advance(jiff::SignedDuration::from_secs(seconds));
        self.fake.change(|world| world.now += seconds);
    }

    /// Asserts that nothing is left of any session: no object, row, lease or directory.
    #[track_caller]
    pub fn assert_nothing_left(&self, story: &str) {
        self.assert_left(story, true);
    }

    /// The same of a session that never ran, and so has no volumes either.
    pub fn assert_never_been(&self, story: &str) {
        self.assert_left(story, false);
    }

    fn assert_left(&self, story: &str, has_run: bool) {
        let world = self.fake.world();
        assert_eq!(world.containers, [], "{story}: containers");
        assert_eq!(world.networks, [], "{story}: networks");
        // Named volumes outlive a session that has run: they carry a project and no session.
        let kept = |volume: &&podspawn_runtimes::VolumeInfo| {
            let outlives = volume.labels.contains_key("podspawn-project")
                && !volume.labels.contains_key("podspawn-session");
            has_run && outlives || volume.name.starts_with("podspawn-guest-")
        };
        let volumes: Vec<_> = world.volumes.iter().filter(|volume| !kept(volume)).collect();
        assert!(volumes.is_empty(), "{story}: volumes {volumes:?}");
        let (core, _) = self.process();
        assert_eq!(core.store.all().expect("rows"), [], "{story}: rows");
        assert_eq!(entries(&self.dirs().sessions), Vec::<String>::new(), "{story}: directories");
        assert_eq!(entries(&self.dirs().locks.join("leases")), Vec::<String>::new(), "{story}: leases");
        for user in ["ann", "bob"] {
            let user: UserName = user.parse().expect("a name");
            assert!(
                core.locks().try_lock(&user).expect("a lock").is_some(),
                "{story}: the lock of {user} is held"
            );
        }
    }
}

fn entries(directory: &std::path::Path) -> Vec<String> {
    match std::fs::read_dir(directory) {
        Ok(found) => {
            found.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into()).collect()
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => panic!("{}: {error}", directory.display()),
    }
}

pub fn key(user: &str, name: &str) -> SessionKey {
    SessionKey { user: user.parse().expect("a user"), name: name.parse::<MachineName>().ok() }
}

/// What a machine of `podspawn create` is made from.
pub fn machine(user: &str, name: &str) -> SessionSpec {
    SessionSpec {
        key: key(user, name),
        kind: Kind::Machine,
        hostname: name.into(),
        image: IMAGE.parse().expect("an image"),
        account: Account {
            name: user.into(),
            uid: 1000,
            gid: 1000,
            home: format!("/home/{user}"),
            shell: "/bin/bash".into(),
        },
        resources: Resources { cpus: Some(2.0), memory: Some(2 << 30), pids_limit: Some(256) },
        security: Security {
            cap_drop: vec!["ALL".into()],
            cap_add: ["CHOWN", "SETUID", "SETGID", "DAC_OVERRIDE", "FOWNER", "NET_BIND_SERVICE", "KILL"]
                .map(String::from)
                .into(),
            no_new_privileges: true,
            readonly_rootfs: false,
            tmpfs: Default::default(),
            runtime: None,
            seccomp: SeccompChoice::Default,
        },
        mode: Mode::Persistent,
        grace_period: Duration::from_secs(60),
        max_lifetime: Duration::from_secs(8 * 3600),
        env: Default::default(),
        mounts: Vec::new(),
        environment: Default::default(),
        persistent_home: None,
        limits: Limits { max_per_user: None, max_containers: None },
        guarded_network: false,
    }
}

/// A machine with two services, a volume of its own, one that a service has, and a published port.
pub fn with_services(user: &str, name: &str) -> SessionSpec {
    let mut spec = machine(user, name);
    let volume = |volume: &str, target: &str| VolumeMount {
        name: spec.key.volume_name(&volume.parse::<VolumeName>().expect("a volume")),
        target: target.into(),
    };
    let service = |name: &str, ports: &[u16], volumes: Vec<VolumeMount>| ServiceSpec {
        name: name.parse().expect("a service"),
        image: SERVICE_IMAGE.parse().expect("an image"),
        ports: ports.into(),
        env: [("A".to_owned(), "b".to_owned())].into(),
        volumes,
    };
    spec.environment = Environment {
        volumes: vec![volume("cache", "/cache")],
        services: vec![service("db", &[5432], vec![volume("data", "/data")]), service("cache", &[], vec![])],
        ports: vec![PortBinding { container: 3000, host: 3001 }],
        ..Environment::default()
    };
    spec
}

/// A server session in one of the modes.
pub fn session(user: &str, name: &str, mode: Mode) -> SessionSpec {
    SessionSpec { kind: Kind::Session, mode, ..machine(user, name) }
}

/// What `podspawn run` makes.
pub fn throwaway(user: &str, name: &str) -> SessionSpec {
    SessionSpec { kind: Kind::Throwaway, mode: Mode::DestroyOnDisconnect, ..machine(user, name) }
}

/// Joins or makes it, and asserts that this works.
pub async fn acquire(core: &FakeCore, spec: &SessionSpec) -> Session {
    try_acquire(core, spec).await.expect("a session").session
}

pub async fn try_acquire(core: &FakeCore, spec: &SessionSpec) -> Result<Acquired, SessionError> {
    core.acquire(spec, Exists::Join, &mut Silent, &Cancel::never()).await
}

/// Drives a story on one thread.
pub fn drive<T>(story: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(story)
}
