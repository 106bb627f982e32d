//! Accepting connections, and reading the one request that each of them brings.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use podspawn_wire::broker::{BROKER_PROTOCOL, FromBroker, ToBroker};
use tokio::io::Interest;
use tokio::signal::unix::{SignalKind, signal};

use super::limits::OpenRequest;
use super::link::Link;
use super::listen::Listening;
use super::tell::Refusal;
use super::{Broker, BrokerError, Duty};
use crate::session::Cancel;
use crate::system::peer::{Peer, peer};
use crate::system::readiness::watched;

/// How long a client may take to say what it wants.
const SILENCE: Duration = Duration::from_secs(10);

/// How long an idle broker stays: the next connection of the same person is often not far.
const IDLE: Duration = Duration::from_secs(10);

/// How often is said that nobody can be accepted.
const COMPLAINT: Duration = Duration::from_secs(60);

/// Serves until a signal comes or nothing is left to do.
pub(super) async fn serve(
    broker: Arc<Broker>,
    mut listening: Listening,
    exit_when_idle: bool,
) -> Result<(), BrokerError> {
    let signals = |kind| signal(kind).map_err(BrokerError::io("catch signals"));
    let (mut terminate, mut interrupt) =
        (signals(SignalKind::terminate())?, signals(SignalKind::interrupt())?);
    super::deadlines::start(&broker);
    tracing::info!(socket = %listening.path().display(), "broker started");
    let mut complained: Option<Instant> = None;
    loop {
        let accepting =
            watched(listening.descriptor().map_err(BrokerError::io("watch the socket"))?, Interest::READABLE)
                .map_err(BrokerError::io("watch the socket"))?;
        let door = listening.door();
        loop {
            tokio::select! {
                ready = accepting.readable() => {
                    let mut ready = ready.map_err(BrokerError::io("watch the socket"))?;
                    match listening.accept() {
                        Ok(Some(socket)) => begin(&broker, socket),
                        Ok(None) => ready.clear_ready(),
                        Err(error) => {
                            // Out of descriptors, as a rule: those who are served go, and then there are some. Still ready:
                            // nothing would tell of this client again.
                            if complained.is_none_or(|at| at.elapsed() >= COMPLAINT) {
                                tracing::error!("a connection could not be accepted: {error}");
                                complained = Some(Instant::now());
                            }
                            tokio::time::sleep(Duration::from_millis(100)).await;
                        }
                    }
                }
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                () = idle(&broker), if exit_when_idle => break,
                // Nobody comes to this one any more, and whoever starts another needs its lock. No session ends.
                () = async {
                    match &door {
                        Some(door) => door.lost().await,
                        None => std::future::pending().await,
                    }
                } => return Err(BrokerError::Displaced(listening.path().to_owned())),
            }
        }
        // Whoever connected in this moment is still served.
        listening.close_door();
        let mut late = false;
        while let Ok(Some(socket)) = listening.accept() {
            begin(&broker, socket);
            late = true;
        }
        if !late {
            break;
        }
        listening.open_door(&broker.group)?;
    }
    tracing::info!("nothing is left to do, broker ends");
    Ok(())
}

/// Returns once nothing has been left to do for a while.
async fn idle(broker: &Arc<Broker>) {
    loop {
        let quiet = |broker: &Broker| {
            broker.duties.count.load(Ordering::SeqCst) == 0
                && matches!(broker.core.next_deadline(None), Ok(None))
        };
        if quiet(broker) {
            tokio::time::sleep(IDLE).await;
            if quiet(broker) {
                return;
            }
        } else {
            tokio::select! {
                () = broker.duties.ended.notified() => {}
                // What a deadline removed.
                () = tokio::time::sleep(IDLE) => {}
            }
        }
    }
}

fn begin(broker: &Arc<Broker>, socket: OwnedFd) {
    let peer = match peer(socket.as_fd()) {
        Ok(peer) => peer,
        Err(error) => return tracing::warn!("a client without a name: {error}"),
    };
    let Some(open) = OpenRequest::begin(broker, peer.uid) else {
        return broker.complaints.log(peer.uid, peer.pid, &"too many open requests, one was dropped");
    };
    let duty = Duty::new(broker);
    let broker = broker.clone();
    tokio::spawn(async move {
        if let Err(error) = request(&broker, peer, socket, open).await {
            broker.complaints.log(peer.uid, peer.pid, &format_args!("a request came to nothing: {error}"));
        }
        broker.changed.notify_one();
        drop(duty);
    });
}

/// Reads the request and serves it.
async fn request(
    broker: &Arc<Broker>,
    peer: Peer,
    socket: OwnedFd,
    open: OpenRequest,
) -> Result<(), podspawn_wire::WireError> {
    let mut link = Link::new(socket)?;
    let received = tokio::time::timeout(SILENCE, link.receive()).await;
    let Some((message, descriptors)) = received.map_err(|_| podspawn_wire::WireError::TimedOut)?? else {
        return Ok(());
    };
    let protocol = match &message {
        ToBroker::Spawn { protocol, .. }
        | ToBroker::Network { protocol, .. }
        | ToBroker::Admin { protocol, .. } => *protocol,
        ToBroker::Ended { .. } => return Err(podspawn_wire::WireError::Malformed),
    };
    if protocol != BROKER_PROTOCOL {
        let refusal = Refusal::new("the broker is of another version of podspawn")
            .hint("the administrator has to start it again");
        return link.send(&refusal.into_message(), Vec::new()).await;
    }
    match message {
        ToBroker::Spawn { spawn, .. } => {
            super::sessions::serve(broker, peer, link, *spawn, descriptors, open).await
        }
        ToBroker::Network { user, .. } => super::network::serve(broker, peer, link, user, open).await,
        ToBroker::Admin { request, .. } => {
            let own = broker.core.uid;
            if peer.uid != 0 && peer.uid != own {
                let refusal = Refusal::new("only root may ask the broker this").hint("sudo");
                return link.send(&refusal.into_message(), Vec::new()).await;
            }
            let (handle, cancel) = Cancel::new();
            let mut answering = std::pin::pin!(super::admin::answer(broker, peer.uid, &request, cancel));
            let answered = tokio::select! {
                answered = &mut answering => answered,
                // A command has nothing to say now: whatever comes is its end, or nonsense.
                _ = link.receive() => {
                    handle.cancel();
                    answering.await
                }
            };
            match answered {
                Ok(answers) => {
                    for answer in answers {
                        link.send(&FromBroker::Answer(answer), Vec::new()).await?;
                    }
                    link.send(&FromBroker::Done, Vec::new()).await
                }
                Err(refusal) => link.send(&refusal.into_message(), Vec::new()).await,
            }
        }
        ToBroker::Ended { .. } => Ok(()),
    }
}
