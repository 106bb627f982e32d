//! What may cross into a container: anonymous pipes and unix sockets that podspawn made. Nothing else, ever.
//!
//! Whatever is passed can be opened again inside through `/proc/self/fd`, with the rights of the container's root; for a
//! file or a device of the host these are the rights of the host's root. An internet socket can be disconnected and
//! connected anew inside the host's network.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::FileType;
use rustix::net::{AddressFamily, SocketType, sockopt};
use thiserror::Error;

/// File system of anonymous pipes; a named pipe lies on another.
const PIPEFS_MAGIC: u64 = 0x5049_5045;

/// A descriptor that must not be passed into a container.
#[derive(Debug, Error)]
#[error("{0} must not be passed into a container")]
pub struct MustNotCross(&'static str);

/// A descriptor that was looked at and may be passed.
#[derive(Debug)]
pub struct Passable(OwnedFd);

impl Passable {
    /// Looks at a descriptor that podspawn made.
    pub fn check(fd: OwnedFd) -> Result<Self, MustNotCross> {
        match kind_of(&fd) {
            Ok(()) => Ok(Self(fd)),
            Err(kind) => Err(MustNotCross(kind)),
        }
    }

    /// The descriptor, to be sent.
    pub fn into_inner(self) -> OwnedFd {
        self.0
    }
}

fn kind_of(fd: impl AsFd) -> Result<(), &'static str> {
    const UNKNOWN: &str = "a descriptor of unknown kind";
    let mode = rustix::fs::fstat(&fd).map_err(|_| UNKNOWN)?.st_mode;
    match FileType::from_raw_mode(mode) {
        FileType::Fifo => {
            let system = rustix::fs::fstatfs(&fd).map_err(|_| UNKNOWN)?;
            if system.f_type as u64 == PIPEFS_MAGIC { Ok(()) } else { Err("a named pipe") }
        }
        FileType::Socket => {
            if sockopt::socket_domain(&fd).map_err(|_| UNKNOWN)? != AddressFamily::UNIX {
                return Err("an internet socket");
            }
            match sockopt::socket_type(&fd).map_err(|_| UNKNOWN)? {
                SocketType::STREAM | SocketType::SEQPACKET => Ok(()),
                _ => Err("a datagram socket"),
            }
        }
        FileType::RegularFile => Err("a file"),
        FileType::Directory => Err("a directory"),
        FileType::CharacterDevice | FileType::BlockDevice => Err("a device"),
        _ => Err(UNKNOWN),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    fn refused(fd: impl Into<OwnedFd>) -> &'static str {
        Passable::check(fd.into()).expect_err("must not cross").0
    }

    #[test]
    fn anonymous_pipes_and_unix_streams_may_cross() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        assert!(Passable::check(read).is_ok());
        assert!(Passable::check(write).is_ok());
        let (one, other) = UnixStream::pair().unwrap();
        assert!(Passable::check(one.into()).is_ok());
        assert!(Passable::check(other.into()).is_ok());
    }

    #[test]
    fn files_directories_devices_and_named_pipes_must_not_cross() {
        assert_eq!(refused(File::open("/etc/passwd").unwrap()), "a file");
        assert_eq!(refused(File::open("/etc").unwrap()), "a directory");
        assert_eq!(refused(File::open("/dev/null").unwrap()), "a device");
        let path = std::env::temp_dir().join(format!("podspawn-crossing-{}", std::process::id()));
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
        let fifo = File::options().read(true).write(true).open(&path);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(refused(fifo.unwrap()), "a named pipe");
        let epoll = rustix::event::epoll::create(rustix::event::epoll::CreateFlags::CLOEXEC).unwrap();
        assert_eq!(refused(epoll), "a descriptor of unknown kind");
    }

    #[test]
    fn internet_and_datagram_sockets_must_not_cross() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(
            refused(TcpStream::connect(listener.local_addr().unwrap()).unwrap()),
            "an internet socket"
        );
        assert_eq!(refused(UdpSocket::bind("127.0.0.1:0").unwrap()), "an internet socket");
        assert_eq!(refused(UnixDatagram::unbound().unwrap()), "a datagram socket");
    }
}
