//! The first process of a container: makes it ready, listens, reaps, and ends in order.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use podspawn_wire::{Exit, GUEST_DIR, GUEST_SOCKET, InitConfig, PROTOCOL, USER_DIR};
use rustix::fs::{CWD, Mode, Uid, chmod, chown, mkdir, renameat, stat, unlink};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
use rustix::process::{Resource, Rlimit, WaitOptions, WaitStatus, getpid, getrlimit, setrlimit, umask, wait};

use crate::environment::Environment;
use crate::provision::{Ready, provision};
use crate::reactor::{Event, Interest, Key, Owner, Reactor};
use crate::sessions::Sessions;
use crate::signal;
use crate::start::Base;
use crate::{keeper, profile, spawn, sudo};

/// Clients that may wait to be taken.
const BACKLOG: i32 = 128;
/// How long processes may take to end once the container is being stopped.
const STOPPING: Duration = Duration::from_secs(3);
/// How long clients may then take to fetch the end.
const LEAVING: Duration = Duration::from_secs(1);

/// Keys of the loop itself.
const SIGNALS: Key = Key { owner: Owner::Init, id: 0, part: 0 };
const LISTENER: Key = Key { owner: Owner::Init, id: 1, part: 0 };
const KILL: Key = Key { owner: Owner::Init, id: 2, part: 0 };
const LEAVE: Key = Key { owner: Owner::Init, id: 3, part: 0 };
const SUDO: Key = Key { owner: Owner::Init, id: 4, part: 0 };

/// Runs until the container is stopped. The error is a line for the container's log.
pub fn run(config: &str, environment: impl IntoIterator<Item = (OsString, OsString)>) -> Result<(), String> {
    // It signals "everyone" when it stops: outside a container that would be the whole machine.
    if getpid().as_raw_nonzero().get() != 1 {
        return Err("this is the first process of a container and must not be run elsewhere".into());
    }
    spawn::close_inherited();
    umask(Mode::from_raw_mode(0o022));
    let cannot = |what: &'static str| move |error: io::Error| format!("cannot {what}: {error}");
    let signals = signal::receive().map_err(cannot("receive signals"))?;
    let nofile = raise_open_files();
    let config: InitConfig =
        serde_json::from_str(config).map_err(|error| format!("cannot read the configuration: {error}"))?;
    if config.protocol != PROTOCOL {
        return Err(format!("the host speaks protocol {}, this guest {PROTOCOL}", config.protocol));
    }
    directories(&config).map_err(cannot("make the directories of the sockets"))?;

    let reactor = Reactor::new().map_err(cannot("make the event loop"))?;
    reactor.add(&signals, SIGNALS, Interest::READ).map_err(cannot("watch signals"))?;
    let image = Environment::of_image(environment);
    let mut provisioned = provision(&config);
    if let Ok(ready) = &mut provisioned {
        keep_path(&config, &image, ready);
    }
    let sudo = provisioned.as_mut().ok().and_then(|ready| offer_sudo(&config, ready, nofile));
    if let Some(server) = &sudo {
        reactor.add(server, SUDO, Interest::READ).map_err(cannot("watch the socket of `sudo`"))?;
    }
    let listener = listen_for_the_host(&config).map_err(cannot("listen for the host"))?;
    let user = provisioned.as_ref().map_or_else(|_| config.user.clone(), |ready| ready.user.clone());
    let base = Base { config, user, image, nofile, keepers: keeper::is_needed() };
    let sessions = Sessions::new(&reactor, listener, LISTENER, base, provisioned);
    Init { reactor, signals, sessions, sudo, stopping: false, childless: false }.run()
}

struct Init {
    reactor: Reactor,
    signals: OwnedFd,
    sessions: Sessions,
    sudo: Option<sudo::Server>,
    stopping: bool,
    childless: bool,
}

impl Init {
    fn run(mut self) -> Result<(), String> {
        let mut events = Vec::new();
        loop {
            if self.stopping && self.childless && self.sessions.is_empty() {
                return Ok(());
            }
            self.reactor.wait(&mut events).map_err(|error| format!("the event loop failed: {error}"))?;
            for event in &events {
                let key = match *event {
                    Event::Ready { key, .. } | Event::Due(key) => key,
                };
                match key {
                    SIGNALS => self.signalled(),
                    LISTENER => self.sessions.accept(&mut self.reactor),
                    SUDO => {
                        if let Some(server) = &mut self.sudo {
                            server.accept();
                        }
                    }
                    KILL => signal::send_everyone(libc::SIGKILL, self.sessions.uid()),
                    LEAVE => return Ok(()),
                    Key { owner: Owner::Session, .. } => self.sessions.event(&mut self.reactor, *event),
                    Key { owner: Owner::Init, .. } => {}
                }
            }
        }
    }

    fn signalled(&mut self) {
        for signal in signal::taken(&self.signals) {
            match signal {
                libc::SIGTERM | libc::SIGINT if !self.stopping => self.stop(),
                _ => {}
            }
        }
        // Several ends may have come with one signal; and whatever else came, looking costs nothing.
        self.reap();
    }

    fn reap(&mut self) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    let (pid, exit) = (pid.as_raw_nonzero().get(), exit(status));
                    self.sessions.exited(&mut self.reactor, pid, exit);
                }
                Ok(None) => {
                    self.childless = false;
                    return;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => {
                    self.childless = true;
                    return;
                }
            }
        }
    }

    /// Ends the sessions in order: a hang-up as from a terminal and a request to end, later by force.
    fn stop(&mut self) {
        self.stopping = true;
        let _ = unlink(Path::new(GUEST_DIR).join(GUEST_SOCKET));
        self.sessions.stop(&mut self.reactor);
        if let Some(server) = self.sudo.take() {
            self.reactor.remove(&server);
        }
        signal::send_everyone(libc::SIGTERM, self.sessions.uid());
        self.reactor.after(STOPPING, KILL);
        self.reactor.after(STOPPING + LEAVING, LEAVE);
    }
}

/// Login shells have the same search path as everything else.
fn keep_path(config: &InitConfig, image: &Environment, ready: &mut Ready) {
    let asked = config.env.iter().rev().find_map(|(name, value)| (name == "PATH").then_some(value.as_str()));
    let Some(path) = asked.or_else(|| image.get("PATH")) else { return };
    if let Err(error) = profile::install(&ready.user.name, path, config.readonly_rootfs) {
        ready.warnings.push(format!("login shells may have another PATH: {error}"));
    }
}

/// A root helper for the session's user, where a setuid program cannot be one.
fn offer_sudo(config: &InitConfig, ready: &mut Ready, nofile: Option<u64>) -> Option<sudo::Server> {
    if !config.sudo {
        return None;
    }
    ready.warnings.append(&mut sudo::install::install(Path::new("/"), config.no_new_privileges));
    sudo::Server::bind(&ready.user, nofile, config.nproc_limit)
        .map_err(|error| ready.warnings.push(format!("`sudo` is not available: {error}")))
        .ok()
}

fn exit(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code as u8),
        (None, Some(signal)) => Exit::Signal(signal as u8),
        (None, None) => Exit::Code(255),
    }
}

/// A connection needs a handful of descriptors; processes get the old limit back.
fn raise_open_files() -> Option<u64> {
    let old = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: old.maximum, maximum: old.maximum };
    setrlimit(Resource::Nofile, raised).ok()?;
    old.current
}

fn directories(config: &InitConfig) -> io::Result<()> {
    for directory in ["/run", GUEST_DIR, USER_DIR] {
        match mkdir(directory, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    // One that the host has mounted for a user of its own has the mode that it needs.
    match config.socket_uid {
        None => chmod(GUEST_DIR, Mode::from_raw_mode(0o700))?,
        Some(uid) if stat(GUEST_DIR)?.st_uid != uid => chown(GUEST_DIR, Some(Uid::from_raw(uid)), None)?,
        Some(_) => {}
    }
    chmod(USER_DIR, Mode::from_raw_mode(0o711))?;
    Ok(())
}

/// The socket appears under its name when everything about it is in place: whoever sees it can use it.
fn listen_for_the_host(config: &InitConfig) -> io::Result<OwnedFd> {
    let directory = Path::new(GUEST_DIR);
    let unfinished = directory.join("guest.new");
    let _ = unlink(&unfinished);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&listener, &SocketAddrUnix::new(&unfinished)?)?;
    listen(&listener, BACKLOG)?;
    chmod(&unfinished, Mode::RUSR | Mode::WUSR)?;
    if let Some(uid) = config.socket_uid {
        chown(&unfinished, Some(Uid::from_raw(uid)), None)?;
    }
    renameat(CWD, &unfinished, CWD, directory.join(GUEST_SOCKET))?;
    Ok(listener)
}
