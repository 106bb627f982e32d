//! An installation of the sshd hook of a test's own: group, accounts, keys, PAM service, sshd and broker, on a real engine.

mod clients;
mod setup;
mod users;
mod watching;

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use podspawn::state::UserLocks;
use rustix::process::{Pid, Signal, kill_process};

use super::Env;
use super::command::Invocation;
use super::engines::EngineName;
use super::sshd::{Lines, Sshd};
use super::system::{self, run};

/// Longer than anything that is waited for takes, unless it fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest that a session may outlive its grace period.
pub const LATE: Duration = Duration::from_secs(5);

/// What a story wants to be different from the usual.
pub struct Wishes {
    /// `session.grace_period`.
    pub grace: &'static str,
    /// `session.mode`.
    pub mode: &'static str,
    /// `resources.max_per_user`.
    pub most: u32,
    /// `session.max_lifetime`.
    pub lifetime: &'static str,
    /// `defaults.image`, as the set-up calls it.
    pub image: &'static str,
    /// `server.forwarding`.
    pub forwarding: &'static str,
    /// `defaults.memory`.
    pub memory: &'static str,
    /// `security.pids_limit`.
    pub processes: u32,
    /// Containers are sandboxes of gVisor, on [`EngineName::Private`].
    pub sandboxes: bool,
    /// Directory of the engine's socket, if it is not the usual one.
    pub engine_dir: Option<PathBuf>,
    /// Address of the name server that this host's programs ask, if it is not the usual one.
    pub resolver: Option<&'static str>,
    /// `MaxStartups` of sshd's own configuration; none if it has no such line.
    pub startups: Option<u32>,
    /// Where sshd listens besides the loopback.
    pub address: Option<String>,
    /// `ClientAliveInterval` and `ClientAliveCountMax`.
    pub alive: (u32, u32),
}

impl Default for Wishes {
    fn default() -> Self {
        Self {
            grace: "60s",
            mode: "grace-period",
            most: 3,
            lifetime: "8h",
            image: "IMAGE_SUDO",
            forwarding: "on-demand",
            memory: "2g",
            processes: 256,
            sandboxes: false,
            engine_dir: None,
            resolver: None,
            startups: Some(100),
            address: None,
            // As `server-setup` writes them.
            alive: (30, 4),
        }
    }
}

/// See the module. Everything goes when it is dropped, and nothing of its users may be left in the engine.
pub struct Server {
    /// Where sessions live.
    pub engine: EngineName,
    /// What sshd writes.
    pub sshd_log: Lines,
    env: Env,
    id: String,
    root: PathBuf,
    /// sshd's PAM service file.
    pub service: PathBuf,
    sshd: Option<Sshd>,
    engine_dir: Option<PathBuf>,
    broker: RefCell<Option<Child>>,
    broker_log: RefCell<Lines>,
    users: RefCell<Vec<String>>,
    removed: Cell<bool>,
}

impl Server {
    /// With a grace period of a minute.
    pub fn on(engine: EngineName) -> Self {
        Self::with(engine, &Wishes::default())
    }

    /// As the story wishes.
    pub fn with(engine: EngineName, wishes: &Wishes) -> Self {
        let id = system::random_hex()[..8].to_owned();
        // sshd trusts only what lies below directories of root's.
        let root = PathBuf::from(format!("/var/lib/podspawn-it-{id}"));
        let make = |name: &str, mode: u32| {
            fs::DirBuilder::new().recursive(true).mode(mode).create(root.join(name)).expect("mkdir");
        };
        for name in ["bin", "etc", "lib", "ssh", "ordinary", "run/homes", "homes"] {
            make(name, 0o755);
        }
        make("etc/keys", 0o700);
        let program = root.join("bin/podspawn");
        if fs::hard_link(system::podspawn(), &program).is_err() {
            // Copied by another process: a file that is open for writing here could not be executed.
            run(Command::new("cp").arg(system::podspawn()).arg(&program));
        }
        symlink(&program, root.join("lib/podspawn-shell")).expect("link");
        run(Command::new("groupadd").arg(format!("pg{id}")));
        let auth = format!("pa{id}");
        for account in [&auth, &format!("pv{id}")] {
            run(Command::new("useradd").args([
                "-M",
                "-N",
                "-g",
                "nogroup",
                "-r",
                "-s",
                "/bin/false",
                account,
            ]));
        }
        run(Command::new("chown").arg(&auth).arg(root.join("etc/keys")));

        let service = PathBuf::from(format!("/etc/pam.d/podspawn-{id}"));
        let server = Self {
            engine,
            sshd_log: Lines::default(),
            env: Env::without_engine(),
            id,
            root,
            service,
            sshd: None,
            engine_dir: wishes.engine_dir.clone(),
            broker: RefCell::new(None),
            broker_log: RefCell::default(),
            users: RefCell::default(),
            removed: Cell::new(false),
        };
        server.write_config(wishes);
        server.wire_pam();
        for key in ["ssh/host_key", "ssh/key", "ssh/other", "ssh/ca"] {
            run(Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(server.path(key)));
        }
        server.start_broker();
        server.with_sshd(wishes)
    }

    /// A path below this installation's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Its copy of the program.
    pub fn program(&self) -> PathBuf {
        self.path("bin/podspawn")
    }

    /// Its configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.path("etc/config.yaml")
    }

    /// The socket of its broker.
    pub fn socket(&self) -> PathBuf {
        self.path("run/broker.sock")
    }

    /// The home of a container user's account on this host.
    pub fn run_home(&self, user: &str) -> PathBuf {
        self.path("run/homes").join(user)
    }

    /// Starts a broker in the foreground; returns once it listens.
    pub fn start_broker(&self) {
        match &self.engine_dir {
            None => self.start_broker_by(Command::new(self.program())),
            // Its account finds it where it always is.
            Some(dir) => {
                let usual = Path::new(self.engine.socket()).parent().expect("a directory");
                self.start_broker_by(mounted(dir, usual, &self.program()));
            }
        }
    }

    /// The same, with the directory of state as a mount of its own: its unit makes it one, and so does a file system.
    pub fn start_broker_with_a_mount(&self) {
        let state = self.path("state");
        self.start_broker_by(mounted(&state, &state, &self.program()));
    }

    /// A command of root's, where the directory of state is a mount of its own.
    pub fn podspawn_with_a_mount(&self, args: &[&str]) -> Invocation {
        let (state, config) = (self.path("state"), self.config_file().display().to_string());
        let command = mounted(&state, &state, &self.program());
        let words = command.get_args().map(|word| word.to_str().expect("text"));
        let words: Vec<&str> = words.chain(["--config", &config]).chain(args.iter().copied()).collect();
        self.tool("unshare", &words)
    }

    fn start_broker_by(&self, mut command: Command) {
        command.args(["--config".as_ref(), self.config_file().as_os_str(), "broker".as_ref()]);
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        if self.engine == EngineName::Private {
            command.env("DOCKER_HOST", format!("unix://{}", self.engine.socket()));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start the broker");
        let log = Lines::of(&mut child);
        log.wait("broker started", PATIENCE);
        *self.broker.borrow_mut() = Some(child);
        *self.broker_log.borrow_mut() = log;
    }

    /// The process of the broker that was started last.
    pub fn broker_pid(&self) -> u32 {
        self.broker.borrow().as_ref().expect("a broker").id()
    }

    /// As an init system does it: the socket is there, and the broker starts with the first who connects.
    pub fn start_broker_with_its_first_client(&self) {
        let socket = self.socket();
        let _ = fs::remove_file(&socket);
        let mut command = Command::new("systemd-socket-activate");
        command.arg("--listen").arg(&socket).arg(self.program());
        command.args(["--config".as_ref(), self.config_file().as_os_str(), "broker".as_ref()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start systemd-socket-activate");
        let log = Lines::of(&mut child);
        log.wait("Listening on", PATIENCE);
        chown(&socket, None, Some(self.gid())).expect("chown");
        fs::set_permissions(&socket, fs::Permissions::from_mode(0o660)).expect("chmod");
        // It becomes the broker.
        *self.broker.borrow_mut() = Some(child);
        *self.broker_log.borrow_mut() = log;
    }

    /// Ends the broker as a crash does.
    pub fn kill_broker(&self) {
        let mut child = self.broker.borrow_mut().take().expect("a broker");
        child.kill().expect("kill the broker");
        child.wait().expect("wait for the broker");
    }

    /// What the broker that was started last has written.
    pub fn broker_log(&self) -> Lines {
        self.broker_log.borrow().clone()
    }

    /// Everything that its users have in the engine.
    fn objects(&self) -> Vec<(&'static str, String)> {
        let mut objects = Vec::new();
        for user in self.users.borrow().iter() {
            for kind in ["container", "network", "volume"] {
                let found = self.engine.labelled(kind, &format!("podspawn-user={user}"));
                objects.extend(found.into_iter().map(|id| (kind, id)));
            }
        }
        objects
    }

    fn remove(&mut self) {
        self.removed.set(true);
        self.sshd = None;
        // What is being made for a user would be finished by the engine after everything was looked for.
        let locks = UserLocks::new(self.path("state/locks"));
        let names = self.users.borrow().iter().filter_map(|user| user.parse().ok()).collect::<Vec<_>>();
        let held = names.iter().map(|user| locks.lock_blocking(user, PATIENCE)).collect::<Vec<_>>();
        if let Some(mut broker) = self.broker.borrow_mut().take() {
            let _ = kill_process(Pid::from_child(&broker), Signal::TERM);
            let _ = broker.wait();
        }
        self.end_brokers(Signal::TERM);
        drop(held);
        for (kind, id) in self.objects() {
            let args: &[&str] =
                if kind == "container" { &["rm", "-f", "-v", &id] } else { &[kind, "rm", &id] };
            // The listing afterwards tells.
            let _ = self.engine.cli().args(args).output();
        }
        let left = self.objects();
        let quiet = |command: &mut Command| {
            let _ = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        };
        for user in self.users.borrow().iter() {
            quiet(Command::new("userdel").arg("-f").arg(user));
        }
        for account in ["pa", "pv"] {
            quiet(Command::new("userdel").arg("-f").arg(format!("{account}{}", self.id)));
        }
        quiet(Command::new("groupdel").arg(format!("pg{}", self.id)));
        let _ = fs::remove_file(&self.service);
        let _ = fs::remove_dir_all(&self.root);
        assert_eq!(left, Vec::new(), "left behind in the engine");
    }

    /// Every broker of this installation, whoever started it.
    pub fn brokers(&self) -> Vec<Pid> {
        let holds = |pid: i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains("broker") && line.contains(self.config_file().to_str().expect("text"))
        };
        let pids = fs::read_dir("/proc")
            .expect("read /proc")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| holds(*pid)).filter_map(Pid::from_raw).collect()
    }

    /// Ends every broker of this installation: the next login starts another. Returns once they are gone.
    pub fn end_brokers(&self, signal: Signal) {
        for pid in self.brokers() {
            let Ok(watched) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else {
                continue;
            };
            let _ = kill_process(pid, signal);
            assert!(system::ends_by(&watched, Instant::now() + PATIENCE), "a broker does not end");
        }
        // The one that the test started is for the test to reap.
        if let Some(mut child) = self.broker.borrow_mut().take() {
            child.wait().expect("wait for the broker");
        }
    }

    /// Puts another build of the program in the place of this one, as an installation does: by its name.
    pub fn replace_program(&self) {
        let new = self.path("bin/new");
        // Copied by another process: a file that is open for writing here could not be executed.
        run(Command::new("sh")
            .args(["-c", "cp \"$0\" \"$1\" && echo >>\"$1\""])
            .arg(system::podspawn())
            .arg(&new));
        fs::rename(new, self.program()).expect("rename");
    }
}

/// A program that sees one directory mounted over another.
fn mounted(from: &Path, over: &Path, program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount --bind \"$0\" \"$1\" && shift && exec \"$@\""]);
    command.args([from, over, program]);
    command
}

impl Drop for Server {
    #[expect(clippy::print_stderr, reason = "shown with the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.story());
            // A second panic would end all tests, so nothing here may assert.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.remove()));
        } else {
            self.remove();
        }
    }
}
