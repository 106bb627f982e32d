//! The broker's socket, its lock and its rights, before the first request.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::door::Door;
use super::{BrokerError, BrokerOptions, start};
use crate::config::Config;
use crate::server::Installation;
use crate::server::installation::{socket, state_dir};
use crate::system::accounts::{self, Passwd};
use crate::system::{Host, handover};

/// Clients that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Numbers of the descriptors that a starter hands over.
const SOCKET_FD: i32 = 3;
const LOCK_FD: i32 = 4;

/// Where clients come in.
pub(super) struct Listening {
    listener: UnixListener,
    path: PathBuf,
    /// The init system holds the socket too: clients wait there while no broker runs.
    activated: bool,
    /// One broker at a time works on a state directory.
    _lock: File,
}

impl Listening {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A descriptor to be watched.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.listener.as_fd().try_clone_to_owned()
    }

    /// The next client; none if nobody waits.
    pub(super) fn accept(&self) -> io::Result<Option<OwnedFd>> {
        match self.listener.accept() {
            Ok((stream, _)) => Ok(Some(stream.into())),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What tells when the socket is not this broker's any more; none where the init system holds it.
    pub(super) fn door(&self) -> Option<Door> {
        let door = (!self.activated).then(|| Door::of(&self.path))?;
        door.inspect_err(|error| tracing::warn!("the socket cannot be watched: {error}")).ok()
    }

    /// Nobody new finds the socket. Where the init system holds it, nothing has to be done.
    pub(super) fn close_door(&self) {
        if !self.activated {
            let _ = std::fs::remove_file(&self.path);
        }
    }

    /// The socket can be found again.
    pub(super) fn open_door(&mut self, group: &str) -> Result<(), BrokerError> {
        if !self.activated {
            self.listener = bind(&self.path, group)?;
        }
        Ok(())
    }
}

/// Takes the lock, opens the socket and gives up root's rights where the configuration names an account. Returns the facts
/// of the process as they are from then on.
pub(super) fn begin(
    config: &Config,
    options: &BrokerOptions,
    host: &Host,
) -> Result<(Listening, Host), BrokerError> {
    let path = socket(config);
    let account = account(config)?;
    let activated = if options.inherited { None } else { handover::activated_socket(host) };
    let is_activated = activated.is_some();
    let (listener, lock) = if options.inherited {
        (UnixListener::from(handover::inherited(SOCKET_FD)), File::from(handover::inherited(LOCK_FD)))
    } else {
        let lock = match lock(config, account.as_ref())? {
            Ok(lock) => lock,
            // Clients wait in the init system's socket. The holder ends as soon as it sees that this is not its own.
            Err(held) if is_activated => {
                tracing::info!("another broker works here: waiting for its end");
                match start::wait_for_end(held, start::HANDOVER) {
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                        return Err(BrokerError::Running(state_dir(config).into()));
                    }
                    locked => locked.map_err(BrokerError::io("wait for another broker's end"))?,
                }
            }
            Err(_) => return Err(BrokerError::Running(state_dir(config).into())),
        };
        let listener = match activated {
            Some(socket) => UnixListener::from(socket),
            None => open(config, &path)?,
        };
        (listener, lock)
    };
    listener.set_nonblocking(true).map_err(BrokerError::io("set up the socket"))?;
    let host = match account {
        Some(account) if host.uid() == 0 => {
            handover::become_user(account.uid, account.gid, &account.name)
                .map_err(BrokerError::io(format!("become `{}`", account.name)))?;
            host.of_account(account.uid, account.gid, &account.name, Path::new(&account.home))
        }
        _ => host.clone(),
    };
    Ok((Listening { listener, path, activated: is_activated, _lock: lock }, host))
}

/// Starts a broker that goes on by itself, unless one runs. Returns once clients can connect: they wait until it is ready.
pub fn start_detached(program: &Path, options: &BrokerOptions, host: &Host) -> Result<(), BrokerError> {
    let installation = Installation::new(options.config_file.clone());
    let config = installation.load()?.config;
    if host.uid() != 0 {
        return Err(BrokerError::NotRoot);
    }
    let path = socket(&config);
    start::refuse_in_maintenance(&path)?;
    if start::by_init_system(&installation, &path) {
        return Ok(());
    }
    make_run_dir(&config)?;
    let lock = match lock(&config, account(&config)?.as_ref())? {
        Ok(lock) => lock,
        Err(held) => match start::turn(held, &config, &path, start::PATIENCE)? {
            Some(lock) => lock,
            None => return Ok(()),
        },
    };
    // Root may have begun meanwhile.
    start::refuse_in_maintenance(&path)?;
    let listener = open(&config, &path)?;
    let mut args = vec!["broker".to_owned(), "--inherited".to_owned(), "--exit-when-idle".to_owned()];
    if let Some(file) = installation.config_flag() {
        args.extend(["--config".to_owned(), file.display().to_string()]);
    }
    let handed = [(listener.as_fd(), SOCKET_FD), (lock.as_fd(), LOCK_FD)];
    handover::start_detached(program, &args, &handed).map_err(BrokerError::io("start the broker"))
}

fn account(config: &Config) -> Result<Option<Passwd>, BrokerError> {
    let Some(name) = &config.server.account else { return Ok(None) };
    accounts::user_by_name(name.as_str())
        .map_err(BrokerError::io("look an account up"))?
        .map(Some)
        .ok_or_else(|| BrokerError::NoAccount(name.as_str().into()))
}

/// The lock that makes this the only broker of its state directory; what to wait for if there is one already.
fn lock(config: &Config, account: Option<&Passwd>) -> Result<Result<File, File>, BrokerError> {
    let directory = state_dir(config);
    let action = || format!("use `{}`", directory.display());
    if !directory.exists() {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(BrokerError::io(action()))?;
        if let Some(account) = account {
            chown(directory, Some(account.uid), Some(account.gid)).map_err(BrokerError::io(action()))?;
        }
    }
    let path = directory.join("broker.lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&path)
        .map_err(BrokerError::io(action()))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Ok(file)),
        Err(Errno::WOULDBLOCK) => Ok(Err(file)),
        Err(errno) => Err(BrokerError::io(action())(errno.into())),
    }
}

/// Makes the run-time directory and the socket in it.
fn open(config: &Config, path: &Path) -> Result<UnixListener, BrokerError> {
    make_run_dir(config)?;
    bind(path, config.server.group.as_str())
}

fn make_run_dir(config: &Config) -> Result<(), BrokerError> {
    let directory = &config.server.run_dir;
    let action = || format!("use `{}`", directory.display());
    // Nobody has to see whose homes there are.
    for (directory, mode) in [(directory.clone(), 0o755), (directory.join("homes"), 0o711)] {
        match std::fs::DirBuilder::new().mode(mode).create(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(BrokerError::io(action())(error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Binds the socket for a group: root and its members may connect.
fn bind(path: &Path, group: &str) -> Result<UnixListener, BrokerError> {
    let action = || format!("listen at `{}`", path.display());
    let gid = accounts::group_id(group)
        .map_err(BrokerError::io("look a group up"))?
        .ok_or_else(|| BrokerError::NoGroup(group.into()))?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(BrokerError::io(action())(error));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).map_err(BrokerError::io(action()))?;
    let opened = || -> io::Result<()> {
        chown(path, None, Some(gid))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
        Ok(rustix::net::listen(&listener, BACKLOG)?)
    };
    opened().map_err(BrokerError::io(action()))?;
    listener.set_nonblocking(true).map_err(BrokerError::io(action()))?;
    Ok(listener)
}
