//! Serving the PAM module: the network of a user's default session, for the forwarding of their SSH connection.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use podspawn_runtimes::{Engine, Gap};
use podspawn_wire::WireError;
use podspawn_wire::broker::FromBroker;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::limits::{LinkCount, OpenRequest};
use super::link::Link;
use super::tell::Refusal;
use super::{Broker, Duty};
use crate::config::Forwarding;
use crate::names::SessionKey;
use crate::server::forwarding::{self, Reason};
use crate::session::{Caller, Cancel, EngineSource, Session};
use crate::state::{AttachWay, HandedLease, Holder, SessionRecord};
use crate::system::files::open_file_in_root;
use crate::system::peer::Peer;
use crate::system::process::{self, Pinned};

/// The module waits 5 s in all; a login must not wait longer for its forwarding.
const LIMIT: Duration = Duration::from_millis(4500);

/// Most that is read of a container's list of name servers, in bytes, and most of them that are passed on.
const RESOLVERS_LIMIT: u64 = 4096;
const MOST_RESOLVERS: usize = 3;

/// Why nothing is forwarded on an engine like that.
const OWN_NETWORKS: &str =
    "port forwarding is off on this host: its containers have networks that nothing else can enter";

/// Why nothing is forwarded where this connection's sshd has not loaded the module.
const NOT_IN_USE: &str = "port forwarding is off on this connection: this host's PAM module is not in use";

/// Processes above one that are looked at: sshd's are the next two or three.
const ABOVE: usize = 8;

struct Joined {
    namespace: OwnedFd,
    resolvers: Vec<IpAddr>,
    lease: OwnedFd,
    handed: HandedLease,
    record: SessionRecord,
    count: LinkCount,
}

pub(super) async fn serve(
    broker: &Arc<Broker>,
    peer: Peer,
    mut link: Link,
    user: String,
    open: OpenRequest,
) -> Result<(), WireError> {
    if peer.uid != 0 {
        broker.complaints.log(peer.uid, peer.pid, &"somebody who is not root asked for a network");
        return link.send(&Refusal::new("only root may ask this").into_message(), Vec::new()).await;
    }
    let Some(connection) = name_of(peer.pid) else { return Ok(()) };
    let (handle, cancel) = Cancel::new();
    let (lines, mut said) = unbounded_channel();
    let mut work = {
        let broker = broker.clone();
        let duty = Duty::new(&broker);
        tokio::task::spawn_blocking(move || {
            let joined = broker.join_network(&user, connection, &lines, &cancel);
            drop(duty);
            joined
        })
    };
    let joined = match tokio::time::timeout(LIMIT, &mut work).await {
        Ok(Ok(joined)) => joined,
        Ok(Err(panic)) => Err(format!("the broker failed: {panic}")),
        Err(_) => {
            // Who still waits for others of the same user gives up. What is being made goes on: the login that comes next wants
            // the same container, and waits for it; if it does not come, the container goes again.
            if said.try_recv().is_ok() {
                handle.cancel();
            }
            let broker = broker.clone();
            tokio::spawn(async move {
                let _uncancelled = handle;
                if let Ok(Ok(late)) = work.await {
                    let Joined { namespace, lease, handed, record, count, .. } = late;
                    drop((namespace, lease));
                    super::sessions::depart(&broker, handed, record).await;
                    drop(count);
                }
            });
            Err("the container was not ready in time".to_owned())
        }
    };
    drop(open);
    let Joined { namespace, resolvers, lease, handed, record, count } = match joined {
        Ok(joined) => joined,
        Err(reason) => return link.send(&FromBroker::NoNetwork { reason }, Vec::new()).await,
    };
    broker.arrived(&record, &handed);
    super::follow::follow(broker, &record);
    if link.send(&FromBroker::Network { resolvers }, vec![namespace, lease]).await.is_ok() {
        // The module says nothing more: this is the end of the SSH connection.
        let _ = link.receive().await;
    }
    // Nothing of this side may hold what is waited for below.
    drop(link);
    super::sessions::depart(broker, handed, record).await;
    drop(count);
    Ok(())
}

impl Broker {
    /// Joins the network of a user's default session, which is made if the configuration says so. Blocks.
    fn join_network(
        &self,
        name: &str,
        connection: String,
        lines: &UnboundedSender<String>,
        cancel: &Cancel,
    ) -> Result<Joined, String> {
        let identity = self.named(name).map_err(|error| error.to_string())?;
        let count =
            self.links.begin(&identity.user).ok_or("the user has too many connections to this host")?;
        let layers = self.installation.load().map_err(|error| {
            tracing::error!("{error}");
            "the configuration of this host is not valid".to_owned()
        })?;
        let key = SessionKey { user: identity.user.clone(), name: None };
        let caller = Caller { holder: Holder::Connection(connection), network_only: true };
        if self.lacks_networks() {
            return Err(OWN_NETWORKS.into());
        }
        let session = match layers.config.server.forwarding {
            Forwarding::Off => return Err("forwarding is switched off on this host".into()),
            Forwarding::Running => self
                .core
                .try_join_as(&key, &caller)
                .map_err(|error| error.to_string())?
                .ok_or("the default session does not run")?,
            Forwarding::OnDemand => {
                self.acquire(&identity, key, &caller, lines, cancel).map_err(|refusal| refusal.text)?
            }
        };
        match network_of(&session.record) {
            Ok(namespace) => {
                let (record, lease, handed) = session.hand_over();
                let resolvers = resolvers_of(&record);
                Ok(Joined { namespace, resolvers, lease, handed, record, count })
            }
            Err(reason) => {
                self.give_back(session);
                Err(reason)
            }
        }
    }

    /// Whether a process that enters a container's network gets nowhere. An engine that does not answer is asked no more.
    fn lacks_networks(&self) -> bool {
        let engine = self.handle.block_on(self.core.engines.engine());
        engine.is_ok_and(|engine| engine.facts().lacks(Gap::JoinNetwork))
    }

    /// Why what a person forwards does not end in the session that they are in; none if it does.
    pub(super) fn forwarding_trouble(&self, peer: Peer, session: &Session) -> Option<String> {
        let layers = self.installation.load().ok()?;
        let config_dir = self.installation.beside("config.yaml");
        // Asked first: without it keys grant nothing, wherever the connection is, and the next one is no better.
        if let Err(reason) = forwarding::ready(&layers.config, config_dir.parent()?) {
            return Some(switched_off(&reason));
        }
        let process = session.record.process.as_ref()?;
        let (inside, host) = (network_seen(process.pid).ok()?, network_seen(process::own_pid()).ok()?);
        let joined = match network_seen(peer.pid) {
            Ok(theirs) if theirs == host => return Some(NOT_IN_USE.into()),
            Ok(theirs) => theirs == inside,
            // Processes of others are hidden here; a lease of the PAM module tells as much.
            Err(_) => session.record.key.name.is_none() && self.connection_of(peer.pid).is_some(),
        };
        if joined {
            return None;
        }
        // After that: whoever is in the right network waits for no engine.
        if self.lacks_networks() {
            return Some(OWN_NETWORKS.into());
        }
        Some(if session.record.key.name.is_some() {
            "port forwarding of this connection ends in your default session, not in this one".into()
        } else if layers.config.server.forwarding == Forwarding::Running {
            "port forwarding works for connections that begin while your container runs".into()
        } else {
            "port forwarding works from your next connection on".into()
        })
    }
}

/// The network namespace of a session's container.
fn network_of(record: &SessionRecord) -> Result<OwnedFd, String> {
    let gone = "the container has just ended";
    let process = record.process.as_ref().ok_or("the container's network cannot be joined from this host")?;
    let pinned = Pinned::recorded(process.pid, process.start_time, &process.boot_id).map_err(|_| gone)?;
    let file = File::open(format!("/proc/{}/ns/net", pinned.pid()))
        .map_err(|error| format!("the container's network cannot be opened: {error}"))?;
    if !pinned.is_alive() {
        return Err(gone.into());
    }
    let facts = file.metadata().map_err(|error| error.to_string())?;
    // A container that shares the host's network would open the host to whoever forwards.
    if namespace(process::own_pid()).is_ok_and(|own| own == (facts.dev(), facts.ino())) {
        return Err("the container uses the host's own network".into());
    }
    Ok(file.into())
}

/// The name servers that a container asks, by its own word; none if that cannot be had.
fn resolvers_of(record: &SessionRecord) -> Vec<IpAddr> {
    let Some(process) = &record.process else { return Vec::new() };
    if record.attach == AttachWay::Engine {
        // A sandbox shows none of its files. Docker answers in every network that was made.
        return vec![IpAddr::from([127, 0, 0, 11])];
    }
    let read = || {
        let root = File::open(format!("/proc/{}/root", process.pid))?;
        // The container may have put anything there: a file, or nothing.
        let file = open_file_in_root(&root, Path::new("etc/resolv.conf"))?;
        let mut text = String::new();
        file.take(RESOLVERS_LIMIT).read_to_string(&mut text)?;
        std::io::Result::Ok(text)
    };
    resolvers(&read().unwrap_or_default())
}

fn resolvers(text: &str) -> Vec<IpAddr> {
    let servers = text.lines().filter_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok());
    servers.take(MOST_RESOLVERS).collect()
}

/// The same in the words of the user, without a path of this host.
fn switched_off(reason: &Reason) -> String {
    let why = match reason {
        Reason::Off(_) => return "port forwarding is switched off on this host".into(),
        Reason::Missing(_) => "its PAM module is missing",
        Reason::Other(_) => "its PAM module is of another version of podspawn",
        Reason::Untrusted(_) | Reason::Closed(_) => "its PAM module cannot be used",
        Reason::NotWired { .. } | Reason::Service(_) | Reason::NotLoaded(_) => "its PAM module is not in use",
    };
    format!("port forwarding is off on this host: {why}")
}

/// What tells one network from another, also to those who may not look at a process: each network has files of its own.
fn network_seen(pid: i32) -> std::io::Result<(u64, u64)> {
    let facts = std::fs::metadata(format!("/proc/{pid}/net/dev"))?;
    Ok((facts.dev(), facts.ino()))
}

fn namespace(pid: i32) -> std::io::Result<(u64, u64)> {
    let facts = std::fs::metadata(format!("/proc/{pid}/ns/net"))?;
    Ok((facts.dev(), facts.ino()))
}

/// What a lease of the SSH connection of a process is called: the process cannot be mistaken for a later one.
pub(super) fn name_of(pid: i32) -> Option<String> {
    let start = process::start_time(pid).ok()??;
    Some(format!("c{pid}.{start}"))
}

/// The same for the processes above one, nearest first.
pub(super) fn names_above(pid: i32) -> Vec<String> {
    let above = std::iter::successors(process::parent(pid), |pid| process::parent(*pid));
    above.take_while(|pid| *pid > 1).take(ABOVE).filter_map(name_of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_containers_list_only_addresses_count() {
        let text = "# made by an engine\nsearch dns.podman\nnameserver 10.89.0.1\nnameserver x\nnameserver fd00::1\n";
        assert_eq!(resolvers(text), ["10.89.0.1", "fd00::1"].map(|one| one.parse::<IpAddr>().unwrap()));
        assert_eq!(resolvers(&"nameserver 10.0.0.1\n".repeat(9)).len(), MOST_RESOLVERS);
        assert_eq!(resolvers(""), Vec::<IpAddr>::new());
    }
}
