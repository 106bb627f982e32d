//! Asks the broker for a user's network, starting a broker where none answers.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use podspawn_wire::WireError;
use podspawn_wire::broker::{BROKER_PROTOCOL, ClientChannel, FromBroker, ToBroker};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, fstat, openat, stat, statat};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::arguments::Arguments;
use crate::reason::Reason;
use crate::starter;

/// What the broker gave.
pub(crate) struct Granted {
    pub(crate) namespace: OwnedFd,
    pub(crate) lease: OwnedFd,
    /// Open as long as the network is used.
    pub(crate) connection: OwnedFd,
    /// Name servers that answer in that network.
    pub(crate) resolvers: Vec<IpAddr>,
}

/// All of it by the deadline.
pub(crate) fn ask(arguments: &Arguments<'_>, user: &str, deadline: Instant) -> Result<Granted, Reason> {
    let path = arguments.socket.filter(|path| path.is_absolute()).ok_or(Reason::NoSocket)?;
    let connection = match reach(path, deadline) {
        Err(Reason::Connect(_, error)) if is_absent(&error) => match arguments.broker {
            None => return Err(Reason::Connect(path.to_owned(), error)),
            Some(program) => {
                starter::start(program, arguments.config, deadline)?;
                reach(path, deadline)?
            }
        },
        reached => reached?,
    };
    let mut channel = ClientChannel::new(connection);
    let request = ToBroker::Network { protocol: BROKER_PROTOCOL, user: user.to_owned() };
    channel.send(&request, Vec::new(), deadline)?;
    loop {
        let (answer, mut descriptors) = channel.receive(Some(deadline))?;
        match answer {
            FromBroker::Network { resolvers } => {
                let (Some(lease), Some(namespace)) = (descriptors.pop(), descriptors.pop()) else {
                    return Err(WireError::Descriptors.into());
                };
                return Ok(Granted { namespace, lease, connection: channel.into_socket(), resolvers });
            }
            FromBroker::NoNetwork { reason } => return Err(Reason::Refused(reason)),
            FromBroker::Failed { text, .. } => return Err(Reason::Refused(text)),
            FromBroker::Progress(_) | FromBroker::Notice(_) | FromBroker::Ending(_) | FromBroker::Over => {}
            FromBroker::Attached { .. } | FromBroker::Answer(_) | FromBroker::Done => {
                return Err(WireError::Malformed.into());
            }
        }
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Connects to a socket that only root can have put there.
fn reach(path: &Path, deadline: Instant) -> Result<OwnedFd, Reason> {
    let failed = |errno: Errno| Reason::Connect(path.to_owned(), errno.into());
    check_place(path)?;
    let address = SocketAddrUnix::new(path).map_err(failed)?;
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).map_err(failed)?;
    loop {
        // A broker that is busy accepts later: the kernel waits for that, as long as this allows.
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        set_socket_timeout(&socket, Timeout::Send, Some(left)).map_err(failed)?;
        match connect(&socket, &address) {
            Ok(()) => return Ok(socket),
            Err(Errno::INTR) if Instant::now() < deadline => {}
            Err(Errno::AGAIN | Errno::INTR) => return Err(WireError::TimedOut.into()),
            Err(errno) => return Err(failed(errno)),
        }
    }
}

/// The directory belongs to root and nobody else may write to it, nor put another in its place; the node is a socket.
fn check_place(path: &Path) -> Result<(), Reason> {
    let failed = |errno: Errno| Reason::Connect(path.to_owned(), errno.into());
    let untrusted = |path: &Path, why| Err(Reason::Untrusted(path.to_owned(), why));
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Reason::NoSocket) };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match openat(CWD, parent, flags, Mode::empty()) {
        Err(Errno::NOTDIR | Errno::LOOP) => return untrusted(parent, "not a directory"),
        opened => opened.map_err(failed)?,
    };
    let facts = fstat(&directory).map_err(failed)?;
    if facts.st_uid != 0 {
        return untrusted(parent, "the directory of the broker's socket does not belong to root");
    }
    if facts.st_mode & 0o022 != 0 {
        return untrusted(parent, "others may write to the directory of the broker's socket");
    }
    for above in parent.ancestors().skip(1) {
        let facts = stat(above).map_err(failed)?;
        // In a directory with the sticky bit nobody renames what belongs to root.
        if facts.st_uid != 0 || (facts.st_mode & 0o022 != 0 && facts.st_mode & 0o1000 == 0) {
            return untrusted(above, "others than root may replace what is in it");
        }
    }
    let node = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
    if FileType::from_raw_mode(node.st_mode) != FileType::Socket {
        return untrusted(path, "not a socket");
    }
    Ok(())
}
