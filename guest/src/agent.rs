//! The agent socket of one connection: each client inside is joined to one descriptor that the host sends for it.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use podspawn_wire::MAX_AGENTS;
use rustix::fs::{Gid, Mode, Uid, chmod, chown, mkdir};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, socket_with,
};

use crate::copy::{Duplex, Watched};
use crate::files;
use crate::reactor::{Key, Owner, Reactor};

/// Name of the socket in the connection's directory.
const SOCKET: &str = "agent.sock";

/// First part number of the clients' descriptors in keys; each client has two.
const FIRST_PART: u32 = 16;

/// Clients ever served on one connection: their numbers must fit in a key.
const MAX_EVER: u32 = 4_000_000;

/// The socket and its clients.
#[derive(Debug)]
pub(crate) struct Agent {
    connection: u32,
    directory: PathBuf,
    listener: Watched,
    clients: BTreeMap<u32, Client>,
    next: u32,
}

#[derive(Debug)]
enum Client {
    /// The host has been asked for a descriptor.
    Waiting(OwnedFd),
    Joined(Box<Duplex>),
}

impl Agent {
    /// Listens in a directory that only `uid` may enter.
    pub(crate) fn new(directory: PathBuf, uid: u32, gid: u32, connection: u32, key: Key) -> io::Result<Self> {
        files::remove_directory(&directory);
        mkdir(&directory, Mode::RWXU)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let agent = Self {
            connection,
            listener: Watched::new(listener, key),
            directory,
            clients: BTreeMap::new(),
            next: 0,
        };
        let path = agent.path();
        bind(&agent.listener.fd, &SocketAddrUnix::new(&path)?)?;
        listen(&agent.listener.fd, 16)?;
        chmod(&path, Mode::RUSR | Mode::WUSR)?;
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        chown(&path, uid, gid)?;
        // The directory last: from then on the user may enter and rename what is in it.
        chown(&agent.directory, uid, gid)?;
        Ok(agent)
    }

    /// Path of the socket, for `SSH_AUTH_SOCK`.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.join(SOCKET)
    }

    /// Watches the listener while another client can be had.
    pub(crate) fn watch(&mut self, reactor: &Reactor) {
        let room = self.clients.len() < MAX_AGENTS && self.next < MAX_EVER;
        self.listener.want(reactor, room, false);
    }

    /// Takes clients that have come; gives the numbers to ask the host for.
    pub(crate) fn accept(&mut self, reactor: &Reactor) -> Vec<u32> {
        let mut wanted = Vec::new();
        while self.clients.len() < MAX_AGENTS && self.next < MAX_EVER {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let Ok(client) = accept_with(&self.listener.fd, flags) else { break };
            let id = self.next;
            self.next += 1;
            self.clients.insert(id, Client::Waiting(client));
            wanted.push(id);
        }
        self.watch(reactor);
        wanted
    }

    /// The host's descriptor for a client; what nobody waits for is closed.
    pub(crate) fn opened(&mut self, reactor: &Reactor, id: u32, remote: OwnedFd) {
        if !matches!(self.clients.get(&id), Some(Client::Waiting(_))) {
            return;
        }
        let Some(Client::Waiting(client)) = self.clients.remove(&id) else { return };
        if rustix::io::ioctl_fionbio(&remote, true).is_err() {
            return self.watch(reactor);
        }
        let part = FIRST_PART + id * 2;
        let key = |part| Key::new(Owner::Session, self.connection, part);
        let duplex = Duplex::new(Watched::new(client, key(part)), Watched::new(remote, key(part + 1)));
        self.clients.insert(id, Client::Joined(Box::new(duplex)));
        self.ready(reactor, part);
    }

    /// The host has no agent for a client.
    pub(crate) fn refused(&mut self, reactor: &Reactor, id: u32) {
        if matches!(self.clients.get(&id), Some(Client::Waiting(_))) {
            self.clients.remove(&id);
            self.watch(reactor);
        }
    }

    /// A client's descriptor is ready.
    pub(crate) fn ready(&mut self, reactor: &Reactor, part: u32) {
        let Some(id) = part.checked_sub(FIRST_PART).map(|offset| offset / 2) else { return };
        if let Some(Client::Joined(duplex)) = self.clients.get_mut(&id)
            && !duplex.pump(reactor)
        {
            duplex.release(reactor);
            self.clients.remove(&id);
            self.watch(reactor);
        }
    }

    /// Ends everything; nothing is left in the file system.
    pub(crate) fn close(mut self, reactor: &Reactor) {
        self.listener.release(reactor);
        for client in self.clients.values_mut() {
            if let Client::Joined(duplex) = client {
                duplex.release(reactor);
            }
        }
        files::remove_directory(&self.directory);
    }
}

impl AsFd for Agent {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.listener.fd.as_fd()
    }
}
