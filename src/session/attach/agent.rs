//! The way from a container to the user's key agent: one connection at a time is made here and passed in.

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use podspawn_wire::MAX_AGENTS;
use rustix::event::epoll;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::crossing::Passable;

/// Requests beyond the limit that are answered with a no; a guest that goes on counts wrong or means harm.
const MAX_TOO_MANY: u32 = 1024;

/// What became of a request for one more connection.
#[derive(Debug)]
pub(super) enum Asked {
    /// Here it is.
    Opened(Passable),
    /// Not now.
    Refused,
    /// The other side does not keep to the limit.
    Abuse,
}

/// Opens connections to the agent, at most [`MAX_AGENTS`] at a time.
#[derive(Debug)]
pub(super) struct AgentDoor {
    socket: PathBuf,
    /// Knows which of the connections still exist. Nothing is held open here: an entry goes when the last descriptor of its
    /// connection is closed, wherever that is.
    alive: OwnedFd,
    too_many: u32,
}

impl AgentDoor {
    pub(super) fn new(socket: PathBuf) -> io::Result<Self> {
        Ok(Self { socket, alive: epoll::create(epoll::CreateFlags::CLOEXEC)?, too_many: 0 })
    }

    pub(super) fn ask(&mut self) -> Asked {
        if self.count().is_none_or(|count| count >= MAX_AGENTS) {
            self.too_many += 1;
            return if self.too_many > MAX_TOO_MANY { Asked::Abuse } else { Asked::Refused };
        }
        match self.connect() {
            Ok(connection) => Asked::Opened(connection),
            Err(error) => {
                tracing::debug!(socket = %self.socket.display(), %error, "no connection to the key agent");
                Asked::Refused
            }
        }
    }

    fn connect(&self) -> io::Result<Passable> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(&self.socket)?)?;
        let data = epoll::EventData::new_u64(0);
        epoll::add(&self.alive, &socket, data, epoll::EventFlags::empty())?;
        Passable::check(socket).map_err(io::Error::other)
    }

    /// How many of the connections still exist: the kernel lists them.
    fn count(&self) -> Option<usize> {
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", self.alive.as_raw_fd())).ok()?;
        Some(text.lines().filter(|line| line.starts_with("tfd:")).count())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn at_most_sixteen_connections_exist_at_a_time() {
        let path = std::env::temp_dir().join(format!("podspawn-agent-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        let mut door = AgentDoor::new(path.clone()).unwrap();
        let mut accepted = Vec::new();
        let mut ask = |door: &mut AgentDoor| match door.ask() {
            Asked::Opened(connection) => {
                accepted.push(listener.accept().unwrap());
                Some(connection)
            }
            Asked::Refused => None,
            Asked::Abuse => panic!("not that many"),
        };
        // As the kernel passes them: a second descriptor of the same connection, the first one closed.
        let mut passed: Vec<OwnedFd> = (0..MAX_AGENTS)
            .map(|_| ask(&mut door).unwrap().into_inner())
            .map(|fd| fd.try_clone().unwrap())
            .collect();
        assert!(ask(&mut door).is_none());
        passed.pop();
        passed.push(ask(&mut door).unwrap().into_inner());
        assert!(ask(&mut door).is_none());
        for _ in 0..MAX_TOO_MANY - 2 {
            assert!(matches!(door.ask(), Asked::Refused));
        }
        assert!(matches!(door.ask(), Asked::Abuse));
        fs::remove_file(&path).unwrap();
        passed.clear();
        assert!(matches!(door.ask(), Asked::Refused), "an agent that is gone is no error");
    }
}
