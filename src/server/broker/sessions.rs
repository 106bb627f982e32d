//! Serving a stub: a process in the session of the user whose uid the kernel vouches for.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use podspawn_runtimes::Engine;
use podspawn_wire::broker::{FromBroker, Spawn, ToBroker, Way};
use podspawn_wire::{RunAs, Start, WireError};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::follow::follow;
use super::identity::Identity;
use super::limits::{LinkCount, OpenRequest};
use super::link::Link;
use super::tell::{self, Lines, Refusal};
use super::{Broker, Duty, connections, network};
use crate::config::Layers;
use crate::names::{MachineName, SessionKey};
use crate::server::projects::{self, ServerProjectError};
use crate::session::attach::{Passable, open_direct, open_relay, passes};
use crate::session::audit::{Actor, Event};

use crate::session::{Audience, Caller, Cancel, EngineSource, Exists, GuestAddress, Session, Skip};
use crate::spec::{self, SessionSpec, Setup};
use crate::state::{AttachWay, HandedLease, Holder, SessionRecord, SetupState};
use crate::system::peer::Peer;

/// What a stub is given.
struct Served {
    way: Way,
    connection: OwnedFd,
    lease: OwnedFd,
    handed: HandedLease,
    record: SessionRecord,
    notices: Vec<String>,
    count: LinkCount,
}

pub(super) async fn serve(
    broker: &Arc<Broker>,
    peer: Peer,
    mut link: Link,
    spawn: Spawn,
    descriptors: Vec<OwnedFd>,
    open: OpenRequest,
) -> Result<(), WireError> {
    let Some(turn) = open.turn().await else { return Ok(()) };
    let (interactive, original) = (spawn.interactive, spawn.original.clone());
    let (lines, mut progress) = unbounded_channel();
    let (handle, cancel) = Cancel::new();
    let mut work = {
        let broker = broker.clone();
        tokio::task::spawn_blocking(move || broker.open_session(peer, spawn, descriptors, &lines, &cancel))
    };
    let mut gone = false;
    let outcome = loop {
        tokio::select! {
            biased;
            // All that was said before the end is told before the end.
            Some(line) = progress.recv() => {
                if interactive && !gone && link.send(&FromBroker::Progress(line), Vec::new()).await.is_err() {
                    gone = true;
                    handle.cancel();
                }
            }
            outcome = &mut work => break outcome,
            // A stub has nothing to say now: whatever comes is its end, or nonsense. What is being made is undone.
            _ = link.receive(), if !gone => {
                gone = true;
                handle.cancel();
            }
        }
    };
    drop(turn);
    let served = match outcome {
        Ok(Ok(served)) => served,
        Ok(Err(refusal)) if gone => {
            tracing::debug!("a stub has gone: {}", refusal.text);
            return Ok(());
        }
        Ok(Err(refusal)) => return link.send(&refusal.into_message(), Vec::new()).await,
        Err(panic) => {
            tracing::error!("a request failed: {panic}");
            let refusal = Refusal::new("podspawn's broker failed");
            return link.send(&refusal.into_message(), Vec::new()).await;
        }
    };
    // Answered: the request is no longer open, the connection is.
    drop(open);
    let Served { way, connection, lease, handed, record, notices, count } = served;
    // For a broker that comes after this one.
    if let Err(error) = handed.note(&original) {
        tracing::warn!(container = record.container_name, "a command cannot be noted: {error}");
    }
    let (number, mut told) = broker.attached.enter(&record.id, interactive);
    broker.arrived(&record, &handed);
    follow(broker, &record);
    let answer = FromBroker::Attached { way, notices };
    let sent = link.send(&answer, vec![connection, lease]).await;
    let status = match sent {
        Ok(()) => attend(&mut link, &mut told).await,
        Err(_) => None,
    };
    broker.attached.leave(number);
    // Nothing of this side may hold what is waited for below.
    drop(link);
    depart(broker, handed, record.clone()).await;
    drop(count);
    let event = Event::Command { command: &original, status };
    broker.audit.write(&event, &record, Actor::Owner, broker.core.clock.now());
    Ok(())
}

/// Passes on what the stub is to be told, until it ends. The status that it ended with, if it said so.
async fn attend(link: &mut Link, told: &mut tokio::sync::mpsc::UnboundedReceiver<FromBroker>) -> Option<u8> {
    let mut status = None;
    loop {
        tokio::select! {
            biased;
            // Once the container is gone, nothing more is to be told.
            Some(message) = told.recv() => {
                // One that does not listen any more is found out below.
                let _ = link.send(&message, Vec::new()).await;
            }
            message = link.receive() => match message {
                Ok(Some((ToBroker::Ended { status: ended }, _))) => status = Some(ended),
                Ok(Some(_)) | Ok(None) | Err(_) => return status,
            },
        }
    }
}

/// After the end of a connection: waits until the kernel has ended its lease too, and does what the session's mode says.
pub(super) async fn depart(broker: &Arc<Broker>, handed: HandedLease, record: SessionRecord) {
    let duty = Duty::new(broker);
    let (name, connection) = (handed.name(), handed.connection());
    connections::end_of(handed).await;
    let inner = broker.clone();
    let done = tokio::task::spawn_blocking(move || inner.departed(&record, &name, &connection));
    if let Err(panic) = done.await {
        tracing::error!("the end of a connection failed: {panic}");
    }
    drop(duty);
}

/// Logs what is wrong with a project and gives what its user is told of it.
fn no_project(identity: &Identity, layers: &Layers, project: &str, error: &ServerProjectError) -> Refusal {
    tracing::error!(user = %identity.user, project, "{}", tell::chain(error));
    tell::project(project, error, &layers.config)
}

/// Longest that an interactive login waits for the engine to say where its services are.
const SERVICES: Duration = Duration::from_secs(2);

impl Broker {
    /// Takes note of a lease that was given out.
    pub(super) fn arrived(&self, record: &SessionRecord, lease: &HandedLease) {
        if self.connections.enter(&record.id, lease) {
            let connections = self.core.leases().count(&record.id).unwrap_or_default();
            self.audit.write(&Event::Connect { connections }, record, Actor::Owner, self.core.clock.now());
        }
        self.changed.notify_one();
    }

    /// Does what a session's mode says after a lease of it has ended. Blocks.
    pub(super) fn departed(&self, record: &SessionRecord, lease: &str, connection: &str) {
        if self.connections.leave(&record.id, lease, connection) {
            let remaining = self.core.leases().count(&record.id).unwrap_or_default();
            self.audit.write(&Event::Disconnect { remaining }, record, Actor::Owner, self.core.clock.now());
        }
        if let Err(error) = self.handle.block_on(self.core.departed(record)) {
            tracing::warn!(
                user = %record.key.user,
                container = record.container_name,
                "after a connection had ended: {}",
                tell::chain(&error)
            );
            self.owe_a_pass();
        }
        self.changed.notify_one();
    }

    /// Joins or makes the session and starts the process in it. Blocks.
    fn open_session(
        &self,
        peer: Peer,
        spawn: Spawn,
        descriptors: Vec<OwnedFd>,
        lines: &UnboundedSender<String>,
        cancel: &Cancel,
    ) -> Result<Served, Refusal> {
        let identity = self.identify(peer.uid, spawn.user.as_deref()).inspect_err(|error| {
            self.complaints.log(peer.uid, peer.pid, &format_args!("a stub is not served: {error}"));
        })?;
        let count = self.links.begin(&identity.user).ok_or_else(|| {
            self.complaints.log(
                peer.uid,
                peer.pid,
                &"a stub is not served: its user has too many connections",
            );
            Refusal::new("you have too many connections to this host")
        })?;
        let name =
            match &spawn.project {
                None => None,
                Some(project) => Some(project.parse::<MachineName>().map_err(|error| {
                    Refusal::new(error.to_string().replace("machine name", "project name"))
                })?),
            };
        let passed: Vec<Passable> =
            descriptors.into_iter().map(Passable::check).collect::<Result<_, _>>().map_err(|error| {
                let complaint = format_args!("a stub is not served: {error}");
                self.complaints.log(peer.uid, peer.pid, &complaint);
                Refusal::new(error.to_string())
            })?;
        let start = Start {
            program: spawn.program,
            run_as: RunAs::User,
            cwd: None,
            env: spawn.env.into_iter().filter(|(name, value)| passes(name, value)).collect(),
            streams: spawn.streams,
            agent: spawn.agent,
            x11: spawn.x11,
        };
        let key = SessionKey { user: identity.user.clone(), name };
        let holder = match self.connection_of(peer.pid) {
            Some(connection) => Holder::Process(connection),
            None => Holder::Alone,
        };
        let caller = Caller { holder, network_only: false };
        let mut session = self.acquire(&identity, key.clone(), &caller, lines, cancel)?;
        let mut notices = Vec::new();
        if self.has_to_prepare(&session) {
            match self.set_up(&identity, &mut session, spawn.interactive, lines, cancel) {
                Ok(warning) => notices.extend(warning.filter(|_| spawn.interactive)),
                Err(refusal) => {
                    self.give_back(session);
                    return Err(refusal);
                }
            }
        }
        if spawn.interactive {
            // Whoever made the new session, the PAM module as a rule, had nobody to tell.
            let previous = self.core.previous_end(&key).unwrap_or_else(|error| {
                tracing::warn!("{}", tell::chain(&error));
                None
            });
            notices.extend(previous.as_deref().and_then(tell::replaced));
            notices.extend(self.services_of(&session));
            notices.extend(self.forwarding_trouble(peer, &session));
        }
        match self.enter(&session, start, passed) {
            Ok((way, connection)) => {
                let (record, lease, handed) = session.hand_over();
                Ok(Served { way, connection, lease, handed, record, notices, count })
            }
            Err(refusal) => {
                self.give_back(session);
                Err(refusal)
            }
        }
    }

    /// Sets the session up, or waits for the connection that is at it. Gives what whoever comes should know: a session that
    /// is set up is not closed to anybody because what it was made of cannot be read any more. Blocks.
    fn set_up(
        &self,
        identity: &Identity,
        session: &mut Session,
        interactive: bool,
        lines: &UnboundedSender<String>,
        cancel: &Cancel,
    ) -> Result<Option<String>, Refusal> {
        let setup = match self.setup(identity, &session.record.key) {
            Ok(setup) => setup,
            Err(refusal) if session.record.setup != SetupState::Pending => {
                return Ok(Some(format!("{}; `on_start` did not run", refusal.text)));
            }
            Err(refusal) => return Err(refusal),
        };
        let mut report = Lines::new(|line| {
            // Nobody listens any more: then nobody has to be told.
            let _ = lines.send(line);
        });
        let skip = Skip::never();
        let mut audience = match interactive {
            true => Audience::person(&mut report, cancel, &skip),
            false => Audience::program(&mut report, cancel, &skip),
        };
        self.handle
            .block_on(self.core.prepare(session, &setup, &mut audience))
            .map(|()| None)
            .map_err(|error| self.log(identity, error))
    }

    /// Where the services of a session are found. Blocks.
    fn services_of(&self, session: &Session) -> Vec<String> {
        // Nobody waits for an engine that does not answer in order to be told this.
        let asked = self.core.services(&session.record);
        let services = match self.handle.block_on(async { tokio::time::timeout(SERVICES, asked).await }) {
            Ok(Ok(services)) => services,
            Ok(Err(error)) => {
                tracing::warn!("the services of a session are not known: {}", tell::chain(&error));
                Vec::new()
            }
            Err(_) => {
                tracing::warn!("the services of a session are not known: the engine takes too long");
                Vec::new()
            }
        };
        services.iter().map(tell::service).collect()
    }

    /// Whether something has to happen in a session before its user works in it. A registered project may have hooks for
    /// each connection.
    fn has_to_prepare(&self, session: &Session) -> bool {
        session.record.setup == SetupState::Pending || session.record.key.name.is_some()
    }

    /// What is to happen inside a session, as the configuration says now.
    fn setup(&self, identity: &Identity, key: &SessionKey) -> Result<Setup, Refusal> {
        let (layers, _) = self.installation.load_for(&identity.user).inspect_err(|error| {
            tracing::error!(user = %identity.user, "{error}");
        })?;
        projects::setup(&layers, key).map_err(|error| no_project(identity, &layers, key.project(), &error))
    }

    /// What the configuration says now of a session.
    fn spec(&self, identity: &Identity, key: SessionKey) -> Result<SessionSpec, Refusal> {
        let (layers, user) = self.installation.load_for(&identity.user).inspect_err(|error| {
            tracing::error!(user = %identity.user, "{error}");
        })?;
        let project = key.project().to_owned();
        let request = projects::request(&layers, user, key)
            .map_err(|error| no_project(identity, &layers, &project, &error))?;
        let resolved = spec::resolve(&request, &layers)
            .inspect_err(|error| tracing::error!(user = %identity.user, "{error}"))?;
        Ok(resolved.spec)
    }

    /// Joins the session, or makes it as the configuration says now. Blocks.
    pub(super) fn acquire(
        &self,
        identity: &Identity,
        key: SessionKey,
        caller: &Caller,
        lines: &UnboundedSender<String>,
        cancel: &Cancel,
    ) -> Result<Session, Refusal> {
        if let Some(session) =
            self.core.try_join_as(&key, caller).map_err(|error| self.log(identity, error))?
        {
            return Ok(session);
        }
        let mut report = Lines::new(|line| {
            // Nobody listens any more: then nobody has to be told.
            let _ = lines.send(line);
        });
        self.fetch_missing(identity, &key, &mut report, cancel)?;
        let spec = self.spec(identity, key)?;
        if spec.security.readonly_rootfs && spec.environment.copy.is_some() {
            return Err(tell::no_room_for_files());
        }
        if spec.guarded_network {
            self.guard_host(identity)?;
        }
        let acquired = self
            .handle
            .block_on(self.core.acquire_as(&spec, Exists::Join, caller, &mut report, cancel))
            .map_err(|error| self.log(identity, error))?;
        Ok(acquired.session)
    }

    /// Makes sure that containers cannot reach this host: without that no session is made. Blocks.
    fn guard_host(&self, identity: &Identity) -> Result<(), Refusal> {
        let engine = self.handle.block_on(self.core.engines.engine());
        let engine = engine.map_err(|error| self.log(identity, error.into()))?;
        if engine.facts().rootless || !engine.facts().local {
            return Ok(());
        }
        self.guard.ensure().map_err(|error| {
            tracing::error!(
                "containers cannot be kept away from this host: {}; {}",
                tell::chain(&error),
                error.remedy()
            );
            Refusal::internal("containers cannot be kept away from this host's own network, so none is made")
        })
    }

    /// Logs an error in full and gives what the user is told of it.
    fn log(&self, identity: &Identity, error: crate::session::SessionError) -> Refusal {
        tracing::warn!(user = %identity.user, "a session is not to be had: {}", tell::chain(&error));
        error.into()
    }

    /// Starts the process, the way that leads into the session's container.
    fn enter(
        &self,
        session: &Session,
        start: Start,
        passed: Vec<Passable>,
    ) -> Result<(Way, OwnedFd), Refusal> {
        let record = &session.record;
        let opened = match record.attach {
            AttachWay::Direct => {
                open_direct(&GuestAddress::from(record), start, passed).map(|socket| (Way::Direct, socket))
            }
            AttachWay::Engine => self.handle.block_on(async {
                let engine = self.core.engines.engine().await?;
                open_relay(engine, &record.container_id).await.map(|socket| (Way::Relay, socket))
            }),
        };
        opened.map_err(|error| {
            tracing::warn!(
                user = %record.key.user, container = record.container_name,
                "no way into the container: {}", tell::chain(&error)
            );
            error.into()
        })
    }

    /// Ends a connection that was never handed over. Blocks.
    pub(super) fn give_back(&self, session: Session) {
        let container = session.record.container_name.clone();
        if let Err(error) = self.handle.block_on(self.core.release(session)) {
            tracing::warn!(container, "{}", tell::chain(&error));
            self.owe_a_pass();
        }
    }

    /// The SSH connection that a process belongs to: one of the processes above it is sshd's, whose PAM module holds a lease.
    pub(super) fn connection_of(&self, pid: i32) -> Option<String> {
        network::names_above(pid).into_iter().find(|name| self.connections.forwards(name))
    }
}
