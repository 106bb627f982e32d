//! The broker: owns the engine and the state, and gives out connections to containers.
//!
//! It never touches a session's bytes. Who asks is told by the kernel, never by the asker. Each request is decided in a
//! thread of its own, so that whoever waits (for an engine, for a container that does not answer) waits alone; what only
//! has to be watched (the end of a connection, a deadline) costs a task.

mod admin;
mod again;
mod complaints;
mod connections;
mod deadlines;
mod door;
mod fetch;
mod follow;
mod identity;
mod limits;
mod link;
mod listen;
mod network;
mod registry;
mod serve;
mod sessions;
mod start;
mod tell;

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use self::complaints::Complaints;
use self::connections::Connections;
use self::follow::Followed;
use self::limits::{Links, OpenRequests};
use self::registry::Registry;
use super::Installation;
use super::firewall::Guard;
use super::installation::state_dir;
use crate::config::{ConfigError, Layers};
use crate::engine::{self, LazyEngine};
use crate::names::UserName;
use crate::session::attach::Guests;
use crate::session::audit::{Actor, Audit, Event, ITSELF};
use crate::session::{Core, Dirs, Observer, Orphan, Reason};
use crate::state::{SessionRecord, Store, StoreError};
use crate::system::{Clock, Host, SystemClock, process};

pub use listen::start_detached;

/// How the broker is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerOptions {
    /// The server's configuration file, if it is not the usual one.
    pub config_file: Option<PathBuf>,
    /// End when nothing is left to do.
    pub exit_when_idle: bool,
    /// The socket and the lock were handed over by whoever started it.
    pub inherited: bool,
    /// This very program.
    pub program: PathBuf,
}

/// Why the broker cannot work.
#[derive(Debug, Error)]
pub enum BrokerError {
    /// Configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The group of container users is not known to the system.
    #[error("there is no group `{0}`")]
    NoGroup(String),
    /// The account that it is to work as is not known to the system.
    #[error("there is no account `{0}`")]
    NoAccount(String),
    /// Somebody else does this already.
    #[error("a broker works on `{}` already", .0.display())]
    Running(PathBuf),
    /// Somebody else holds the lock and neither listens nor ends.
    #[error("a broker runs, and nobody answers at `{}`", .0.display())]
    Deaf(PathBuf),
    /// The socket was removed, or another one has its name.
    #[error("the socket `{}` is another broker's now, or gone", .0.display())]
    Displaced(PathBuf),
    /// Root works on what a broker would open.
    #[error("no broker is started while `{}` is there", .0.display())]
    Maintenance(PathBuf),
    /// It has to be root to begin with.
    #[error("the broker must be started as root")]
    NotRoot,
    /// The system refused.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: String,
        /// The system's error.
        source: io::Error,
    },
}

impl BrokerError {
    fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}

/// Everything that requests are served with.
struct Broker {
    installation: Installation,
    /// This very program.
    program: PathBuf,
    /// It works with root's rights.
    is_root: bool,
    core: Core<LazyEngine, Guests>,
    /// Name of the group of container users.
    group: String,
    audit: Arc<Audit>,
    attached: Arc<Registry>,
    /// Keeps containers away from the host; no session is made on Docker while it cannot.
    guard: Guard,
    open: OpenRequests,
    /// What clients do wrong.
    complaints: Complaints,
    connections: Connections,
    /// Containers whose end is waited for.
    followed: Followed,
    /// What keeps the broker alive besides deadlines: requests, connections, leases that are watched.
    duties: Duties,
    /// How many connections each user has.
    links: Links,
    /// Something was made, joined, left or removed: deadlines are to be looked at anew.
    changed: Notify,
    /// Something that was to be done could not be: the next pass, which comes at once, looks for it.
    owes_a_pass: AtomicBool,
    /// Users whose sessions could not be brought into order when the broker began.
    untidy: Mutex<BTreeSet<UserName>>,
    handle: Handle,
}

impl Broker {
    fn new(
        installation: Installation,
        program: PathBuf,
        layers: &Layers,
        host: &Host,
        handle: Handle,
    ) -> Result<Self, BrokerError> {
        let config = &layers.config;
        let state = state_dir(config);
        let dirs = Dirs {
            locks: config.state.lock_dir.clone(),
            sessions: state.join("sessions"),
            guest: state.join("guest"),
        };
        let store = Store::open(&config.state.db_path)?;
        let engines = LazyEngine::new(host, config.engine());
        let audit = Arc::new(Audit::new(config.log.audit_log.clone()));
        let attached = Arc::new(Registry::default());
        let observer = Watcher { audit: audit.clone(), attached: attached.clone() };
        let core = Core::new(store, engines, Guests, Arc::new(SystemClock), dirs, host.uid());
        Ok(Self {
            installation,
            program,
            is_root: host.uid() == 0,
            core: core.building_with(engine::builder(host)).observed_by(Arc::new(observer)),
            group: config.server.group.as_str().to_owned(),
            audit,
            attached,
            guard: Guard::default(),
            open: OpenRequests::default(),
            complaints: Complaints::default(),
            connections: Connections::default(),
            followed: Followed::default(),
            duties: Duties::default(),
            links: Links::default(),
            changed: Notify::new(),
            owes_a_pass: AtomicBool::new(false),
            untidy: Mutex::default(),
            handle,
        })
    }
}

impl Broker {
    /// Has everything looked at soon, and again until nothing is left to be done.
    fn owe_a_pass(&self) {
        self.owes_a_pass.store(true, Ordering::SeqCst);
        self.changed.notify_one();
    }

    fn untidy(&self) -> MutexGuard<'_, BTreeSet<UserName>> {
        self.untidy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a pass was owed; it is not any more.
    fn owes_a_pass(&self) -> bool {
        self.owes_a_pass.swap(false, Ordering::SeqCst)
    }
}

tokio::task_local! {
    /// The administrator whose command is worked on. Not set where the broker acts by itself or for a session's owner.
    static ASKER: String;
}

/// Tells the audit log and those who are connected what becomes of a session.
struct Watcher {
    audit: Arc<Audit>,
    attached: Arc<Registry>,
}

impl Observer for Watcher {
    fn created(&self, record: &SessionRecord) {
        self.audit.write(&Event::Create, record, Actor::Owner, SystemClock.now());
    }

    fn removing(&self, record: &SessionRecord, reason: Reason) {
        if let Some(text) = tell::ending(reason) {
            self.attached.tell_end(&record.id, text);
        }
    }

    fn removed(&self, record: &SessionRecord, reason: Reason) {
        self.attached.over(&record.id);
        if record.container_id.is_empty() {
            return;
        }
        let asker = asker();
        let actor = match (&asker, reason) {
            (Some(asker), _) => Actor::Operator(asker),
            // The mode of the session has it end with the last connection, and its owner has left.
            (None, Reason::Disconnect) => Actor::Owner,
            (None, _) => Actor::Operator(ITSELF),
        };
        self.audit.write(&Event::Destroy { reason: reason.as_str() }, record, actor, SystemClock.now());
    }

    fn orphan_removed(&self, orphan: &Orphan<'_>) {
        let asker = asker();
        let actor = Actor::Operator(asker.as_deref().unwrap_or(ITSELF));
        self.audit.write_orphan(orphan, actor, SystemClock.now());
    }
}

/// Whose command this thread works on, if it is one.
fn asker() -> Option<String> {
    ASKER.try_with(String::clone).ok()
}

/// Counts what the broker must stay for.
#[derive(Debug, Default)]
struct Duties {
    count: AtomicUsize,
    ended: Notify,
}

/// One thing that the broker must stay for, until it is dropped.
struct Duty(Arc<Broker>);

impl Duty {
    fn new(broker: &Arc<Broker>) -> Self {
        broker.duties.count.fetch_add(1, Ordering::SeqCst);
        Self(broker.clone())
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        self.0.duties.count.fetch_sub(1, Ordering::SeqCst);
        self.0.duties.ended.notify_one();
    }
}

/// Runs the broker until it is asked to end, or has nothing left to do.
pub fn run(options: &BrokerOptions, host: &Host) -> Result<(), BrokerError> {
    // Each connection costs two descriptors, and each container one.
    process::raise_descriptor_limit();
    let installation = Installation::new(options.config_file.clone());
    let layers = installation.load()?;
    let (listening, host) = listen::begin(&layers.config, options, host)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // Each waiting request has a thread; `limits` keeps one user from taking them all.
        .max_blocking_threads(1024)
        .enable_all()
        .build()
        .map_err(BrokerError::io("start the asynchronous runtime"))?;
    let broker = Arc::new(Broker::new(
        installation,
        options.program.clone(),
        &layers,
        &host,
        runtime.handle().clone(),
    )?);
    drop(layers);
    runtime.block_on(serve::serve(broker, listening, options.exit_when_idle))?;
    // Threads that wait for leases are not waited for: their sessions go on without a broker.
    runtime.shutdown_background();
    Ok(())
}
