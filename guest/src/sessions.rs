//! All connections of the host, and what becomes of processes whose client has gone.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use podspawn_wire::Exit;
use rustix::net::{SocketFlags, accept_with};

use crate::connection::{Connection, Left, part};
use crate::copy::Watched;
use crate::provision::Ready;
use crate::reactor::{Event, Key, Owner, Reactor, Timer};
use crate::signal::{Target, send};
use crate::start::Base;

/// Most connections at once; further ones wait in the backlog.
const MAX_CONNECTIONS: usize = 512;

/// How long a process may live on after the hang-up of a client without a terminal.
const GRACE: Duration = Duration::from_secs(10);

/// Everything that the host has asked for.
#[derive(Debug)]
pub(crate) struct Sessions {
    base: Base,
    provisioned: Result<Ready, String>,
    listener: Option<Watched>,
    connections: HashMap<u32, Connection>,
    /// Connection by process.
    processes: HashMap<i32, u32>,
    /// Processes whose client has gone, by the number of its connection.
    left: HashMap<u32, (Left, Timer)>,
    next: u32,
}

impl Sessions {
    /// Takes clients from `listener`.
    pub(crate) fn new(
        reactor: &Reactor,
        listener: OwnedFd,
        key: Key,
        base: Base,
        provisioned: Result<Ready, String>,
    ) -> Self {
        let mut listener = Watched::new(listener, key);
        listener.want(reactor, true, false);
        Self {
            base,
            provisioned,
            listener: Some(listener),
            connections: HashMap::new(),
            processes: HashMap::new(),
            left: HashMap::new(),
            next: 0,
        }
    }

    /// No client is connected.
    pub(crate) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Takes the clients that have come.
    pub(crate) fn accept(&mut self, reactor: &mut Reactor) {
        while self.connections.len() < MAX_CONNECTIONS {
            let Some(listener) = &self.listener else { return };
            let socket = match accept_with(&listener.fd, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => socket,
                Err(rustix::io::Errno::AGAIN) => return self.watch(reactor, true),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => continue,
                // No descriptor is left: somebody has to go first, or the loop would spin here.
                Err(_) => return self.watch(reactor, self.connections.is_empty()),
            };
            if !may_connect(&socket) {
                continue;
            }
            let id = self.next;
            self.next = self.next.wrapping_add(1);
            if let Ok(connection) = Connection::new(reactor, id, socket) {
                self.connections.insert(id, connection);
            }
        }
        self.watch(reactor, false);
    }

    fn watch(&mut self, reactor: &Reactor, wanted: bool) {
        if let Some(listener) = &mut self.listener {
            listener.want(reactor, wanted, false);
        }
    }

    /// An event whose key belongs to a connection.
    pub(crate) fn event(&mut self, reactor: &mut Reactor, event: Event) {
        let (key, readable) = match event {
            Event::Ready { key, readable, hangup, .. } => (key, readable || hangup),
            Event::Due(key) => return self.due(reactor, key),
        };
        let Some(connection) = self.connections.get_mut(&key.id) else { return };
        let before = connection.process().map(|process| process.pid);
        let alive = connection.ready(reactor, &self.base, &self.provisioned, key.part, readable);
        let after = connection.process().map(|process| process.pid);
        if before.is_none()
            && let Some(pid) = after
        {
            self.processes.insert(pid, key.id);
        }
        if !alive {
            self.drop_connection(reactor, key.id);
        }
    }

    fn due(&mut self, reactor: &mut Reactor, key: Key) {
        match key.part {
            part::DEADLINE => self.drop_connection(reactor, key.id),
            part::KILL => {
                if let Some((left, _)) = self.left.remove(&key.id) {
                    send(Target::Process(left.pid), libc::SIGKILL, left.uid);
                }
            }
            _ => {}
        }
    }

    /// A client has gone or may not stay.
    fn drop_connection(&mut self, reactor: &mut Reactor, id: u32) {
        let Some(connection) = self.connections.remove(&id) else { return };
        // With a terminal this has hung it up: what ignores that lives on.
        if let Some(left) = connection.release(reactor)
            && !left.terminal
        {
            send(Target::Leader(left.pid), libc::SIGHUP, left.uid);
            let timer = reactor.after(GRACE, Key::new(Owner::Session, id, part::KILL));
            self.left.insert(id, (left, timer));
        }
        self.watch(reactor, true);
    }

    /// A child was reaped; nothing happens if it is none of a connection's.
    pub(crate) fn exited(&mut self, reactor: &mut Reactor, pid: i32, exit: Exit) {
        let Some(id) = self.processes.remove(&pid) else { return };
        if let Some((_, timer)) = self.left.remove(&id) {
            reactor.cancel(timer);
        }
        if let Some(connection) = self.connections.get_mut(&id)
            && !connection.exited(reactor, exit)
        {
            self.drop_connection(reactor, id);
        }
    }

    /// Takes no further client, and hangs up on every process.
    pub(crate) fn stop(&mut self, reactor: &mut Reactor) {
        if let Some(mut listener) = self.listener.take() {
            listener.release(reactor);
        }
        for process in self.connections.values().filter_map(Connection::process) {
            send(Target::Leader(process.pid), libc::SIGHUP, process.uid);
            send(Target::Leader(process.pid), libc::SIGCONT, process.uid);
        }
    }

    /// The user whose processes run here.
    pub(crate) fn uid(&self) -> u32 {
        self.base.user.uid
    }
}

/// The host, which is outside the container's process namespace, so that its processes have no number here; or root inside
/// (the relay). The directory of the socket keeps everybody else out as well.
fn may_connect(socket: &OwnedFd) -> bool {
    let mut peer = libc::ucred { pid: -1, uid: u32::MAX, gid: u32::MAX };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the pointers are to live locals of the size that is given.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut peer).cast(),
            &mut length,
        )
    };
    result == 0 && (peer.pid == 0 || peer.uid == 0)
}
