//! The socket of `sudo` in the loop of the first process: accepts, looks who it is, and starts a root helper.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use podspawn_wire::{USER_DIR, User};
use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::protocol::{Channel, FromHelper};
use super::{MONITOR, NOT_ALLOWED, SOCKET, peer};
use crate::spawn::{self, Command, Identity};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 128;

/// Accepts calls of `sudo`. To be called when its descriptor is readable; never blocks. The root helpers are children of
/// the calling process, which only has to reap them.
#[derive(Debug)]
pub struct Server {
    listener: OwnedFd,
    /// Given up for a moment when no descriptor is left, so that a waiting connection can be taken and closed instead of
    /// making the listener readable for ever.
    spare: Option<OwnedFd>,
    /// The one user, besides root, who may call.
    uid: u32,
    env: Vec<CString>,
    /// Soft limit on open files of the commands; the first process's own is higher.
    nofile: Option<u64>,
    /// Limit on the processes of each account, as everything that is started here has it.
    nproc: Option<u64>,
}

impl Server {
    /// Listens for the session's user and root.
    pub fn bind(user: &User, nofile: Option<u64>, nproc: Option<u64>) -> io::Result<Self> {
        let listener = listen(Path::new(USER_DIR), user.gid)?;
        let spare = Some(listener.try_clone()?);
        let path = std::env::vars_os().find(|(name, _)| name == "PATH").map(|(_, path)| path);
        let env = path.and_then(|path| CString::new([b"PATH=", path.as_encoded_bytes()].concat()).ok());
        Ok(Self { listener, spare, uid: user.uid, env: env.into_iter().collect(), nofile, nproc })
    }

    /// Accepts every call that waits.
    pub fn accept(&mut self) {
        loop {
            match rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) {
                Ok(connection) => self.serve(connection),
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::MFILE | Errno::NFILE) if self.spare.take().is_some() => {
                    if let Ok(connection) = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) {
                        refuse(connection, "the first process has no descriptor left");
                    }
                    self.spare = self.listener.try_clone().ok();
                }
                Err(_) => return,
            }
        }
    }

    fn serve(&self, connection: OwnedFd) {
        // A peer without a pid here is none of this container's processes.
        let Ok(peer) = peer::of(&connection) else { return };
        if peer.pid == 0 || peer.uid != 0 && peer.uid != self.uid {
            return refuse(connection, NOT_ALLOWED);
        }
        if let Err(error) = self.start(&connection) {
            refuse(connection, &format!("no further process can be had: {error}"));
        }
    }

    fn start(&self, connection: &OwnedFd) -> io::Result<()> {
        const PROGRAM: &CStr = c"/proc/self/exe";
        let name = |text: &str| CString::new(text).map_err(io::Error::from);
        // How the start went is seen on the connection, which the helper answers or closes.
        spawn::spawn(&Command {
            programs: vec![PROGRAM.to_owned()],
            argv: vec![name("podspawn-guest")?, name(MONITOR)?, name(&self.uid.to_string())?],
            env: self.env.clone(),
            cwd: Some(name("/")?),
            cwd_fd: None,
            identity: Identity::root(),
            stdio: [connection.as_fd(); 3],
            terminal: false,
            keeper: None,
            nproc: self.nproc,
            nofile: self.nofile,
            umask: 0o022,
        })?;
        Ok(())
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
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
