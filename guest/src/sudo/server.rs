//! The socket of `sudo` in the loop of the first process: accepts, looks who it is, and starts a root helper.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use podspawn_wire::{Exit, InitConfig, USER_DIR};
use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::protocol::{Channel, FromHelper};
use super::{MONITOR, SOCKET};
use crate::reactor::{Event, Interest, Key, Owner, Reactor};
use crate::service::Service;
use crate::spawn::{self, Command, Identity};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;
/// How long accepting pauses when the process has no descriptor left.
const PAUSE: Duration = Duration::from_millis(200);

const LISTENER: u32 = 0;
const RESUME: u32 = 1;

/// Accepts calls of `sudo`.
#[derive(Debug)]
pub struct Server {
    listener: OwnedFd,
    /// The one user, besides root, who may call.
    uid: u32,
    helpers: BTreeSet<i32>,
    env: Vec<CString>,
}

impl Server {
    /// Listens for the session's user and root.
    pub fn new(reactor: &mut Reactor, config: &InitConfig) -> io::Result<Self> {
        let listener = listen(Path::new(USER_DIR), config.user.gid)?;
        reactor.add(&listener, key(LISTENER), Interest::READ)?;
        let path = std::env::vars_os().find(|(name, _)| name == "PATH").map(|(_, path)| path);
        let env = path.and_then(|path| CString::new([b"PATH=", path.as_encoded_bytes()].concat()).ok());
        Ok(Self { listener, uid: config.user.uid, helpers: BTreeSet::new(), env: env.into_iter().collect() })
    }

    fn accept(&mut self, reactor: &mut Reactor) {
        loop {
            match rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) {
                Ok(connection) => self.serve(connection),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => {
                    // The listener stays readable; asking again at once would keep the loop busy with it.
                    reactor.remove(&self.listener);
                    reactor.after(PAUSE, key(RESUME));
                    return;
                }
            }
        }
    }

    fn serve(&mut self, connection: OwnedFd) {
        let Ok(peer) = rustix::net::sockopt::socket_peercred(&connection) else { return };
        let uid = peer.uid.as_raw();
        if uid != 0 && uid != self.uid {
            return refuse(connection, "only the user of this machine may use it");
        }
        match self.start(&connection) {
            Ok(pid) => drop(self.helpers.insert(pid)),
            Err(error) => refuse(connection, &format!("no further process can be had: {error}")),
        }
    }

    fn start(&self, connection: &OwnedFd) -> io::Result<i32> {
        const PROGRAM: &CStr = c"/proc/self/exe";
        let name = |text: &str| CString::new(text).map_err(io::Error::from);
        let child = spawn::spawn(&Command {
            programs: vec![PROGRAM.to_owned()],
            argv: vec![name("podspawn-guest")?, name(MONITOR)?],
            env: self.env.clone(),
            cwd: Some(name("/")?),
            cwd_fd: None,
            identity: Identity::root(),
            stdio: [connection.as_fd(); 3],
            terminal: false,
            nproc: None,
            nofile: None,
            umask: 0o022,
        })?;
        Ok(child.pid)
    }
}

impl Service for Server {
    fn event(&mut self, reactor: &mut Reactor, event: Event) {
        match event {
            Event::Ready { key, .. } if key.part == LISTENER => self.accept(reactor),
            Event::Due(due) if due.part == RESUME => {
                if reactor.add(&self.listener, key(LISTENER), Interest::READ).is_err() {
                    reactor.after(PAUSE, key(RESUME));
                }
            }
            Event::Ready { .. } | Event::Due(_) => {}
        }
    }

    fn exited(&mut self, _: &mut Reactor, pid: i32, _: Exit) -> bool {
        self.helpers.remove(&pid)
    }

    fn stop(&mut self, reactor: &mut Reactor) {
        reactor.remove(&self.listener);
        let _ = rustix::fs::unlink(Path::new(USER_DIR).join(SOCKET));
    }
}

fn key(part: u32) -> Key {
    Key::new(Owner::Sudo, 0, part)
}

/// The answer is small and the socket's buffer empty: it never waits.
fn refuse(connection: OwnedFd, text: &str) {
    let _ = Channel::new(connection).send(&FromHelper::Refused(text.to_owned()), &[]);
}

/// Works from the moment it appears: bound under another name, and renamed when it is ready.
fn listen(directory: &Path, gid: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    let (path, staged) = (directory.join(SOCKET), directory.join(".sudo.sock"));
    let _ = rustix::fs::unlink(&staged);
    rustix::net::bind(&socket, &SocketAddrUnix::new(&staged)?)?;
    // Before anybody can connect, and checked again by credentials at each connection.
    rustix::fs::chmod(&staged, Mode::from_raw_mode(0o660))?;
    rustix::fs::chown(&staged, Some(Uid::ROOT), Some(Gid::from_raw(gid)))?;
    rustix::net::listen(&socket, BACKLOG)?;
    rustix::fs::rename(&staged, &path)?;
    Ok(socket)
}
