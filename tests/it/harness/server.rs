//! An installation of the sshd hook of a test's own: group, accounts, keys, PAM service, sshd and broker, on a real engine.

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use podspawn::config::{Deployment, Sources, load};
use podspawn::server::pam::{self, PamLine};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::command::{Invocation, Running};
use super::engines::{EngineName, fact};
use super::sshd::{Lines, Sshd};
use super::system::{self, run};
use super::{Env, Terminal, json};

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
}

impl Default for Wishes {
    fn default() -> Self {
        Self { grace: "60s", mode: "grace-period", most: 3 }
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
    service: PathBuf,
    sshd: Option<Sshd>,
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
        run(Command::new("useradd").args(["-M", "-N", "-g", "nogroup", "-r", "-s", "/bin/false", &auth]));
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
        server.with_sshd()
    }

    fn write_config(&self, wishes: &Wishes) {
        let Self { id, root, .. } = self;
        let root = root.display();
        let (runtime, account) = match self.engine {
            EngineName::Docker | EngineName::Docker26 => ("docker", "null"),
            EngineName::Gvisor => ("gvisor", "null"),
            EngineName::Podman => ("podman", fact("PODMAN_USER")),
        };
        let image = fact("IMAGE_SUDO");
        let text = format!(
            "runtime: {runtime}\ndefaults:\n  image: {image}\nsession:\n  grace_period: {grace}\n\
             \x20 mode: {mode}\nresources:\n  max_per_user: {most}\nserver:\n  group: pg{id}\n  account: {account}\n  auth_account: pa{id}\n  run_dir: {root}/run\n\
             \x20 lib_dir: {root}/lib\nauth:\n  key_dir: {root}/etc/keys\n\
             state:\n  db_path: {root}/state/state.db\n  lock_dir: {root}/state/locks\n  homes_dir: {root}/state/homes\n\
             log:\n  audit_log: {root}/state/audit.jsonl\n",
            grace = wishes.grace,
            mode = wishes.mode,
            most = wishes.most,
        );
        fs::write(self.config_file(), text).expect("write");
    }

    /// The service file of this host's sshd, with the module in front.
    fn wire_pam(&self) {
        let sources = Sources {
            deployment: Deployment::Server,
            local_root: "/".into(),
            home: None,
            file: Some(self.config_file()),
            env: Default::default(),
            flags: Vec::new(),
        };
        let config = load(&sources).expect("a configuration").config;
        fs::copy("/etc/pam.d/sshd", &self.service).expect("copy the service file");
        let _ = pam::unwire(&self.service).expect("a service file of nobody's");
        pam::install_module(&config.server.lib_dir).expect("install the module");
        let line = PamLine::new(&config, &self.program(), Some(&self.config_file())).expect("a line");
        let _ = pam::wire(&self.service, &line).expect("wire");
        pam::record_service_file(&self.path("etc"), &self.service).expect("record");
    }

    /// What an administrator has to have in sshd's configuration: the block of podspawn first.
    fn write_sshd_config(&self) -> PathBuf {
        let root = self.root.display();
        let (program, config) = (self.program(), self.config_file());
        let (program, config) = (program.display(), config.display());
        let block = format!(
            "Match Group pg{id}\n\
             AuthorizedKeysCommand {program} auth-keys --config {config} %u %t %k\n\
             AuthorizedKeysCommandUser pa{id}\n\
             AuthenticationMethods publickey\nAuthorizedKeysFile none\nTrustedUserCAKeys none\n\
             ForceCommand {program} spawn --socket {root}/run/broker.sock\n\
             AllowTcpForwarding yes\nX11Forwarding yes\nGatewayPorts no\nAllowStreamLocalForwarding no\n\
             PermitTunnel no\nPermitUserRC no\nClientAliveInterval 30\nClientAliveCountMax 4\n\
             AcceptEnv PODSPAWN_PROJECT LANG LC_*\n",
            id = self.id,
        );
        // Generous to everybody else, so that what container users are denied is denied by the block.
        let rest = format!(
            "Include {root}/ssh/podspawn.conf\n\
             ListenAddress 127.0.0.1\nHostKey {root}/ssh/host_key\nPidFile none\nUsePAM yes\nUseDNS no\n\
             LogLevel VERBOSE\nMaxStartups 100\nSubsystem sftp internal-sftp\n\
             PasswordAuthentication yes\nKbdInteractiveAuthentication no\nPermitUserEnvironment yes\n\
             AuthorizedKeysFile .ssh/authorized_keys {root}/ordinary/%u\nTrustedUserCAKeys {root}/ssh/ca.pub\n\
             AllowStreamLocalForwarding yes\nPermitTunnel yes\nX11Forwarding yes\nAcceptEnv *\n"
        );
        fs::write(self.path("ssh/podspawn.conf"), block).expect("write");
        let file = self.path("ssh/config");
        fs::write(&file, rest).expect("write");
        file
    }

    fn with_sshd(mut self) -> Self {
        let config = self.write_sshd_config();
        let program = Sshd::program(&self.path("ssh"), &format!("podspawn-{}", self.id));
        let sshd = Sshd::start(|port| {
            let mut command = Command::new(&program);
            command.args(["-D", "-e", "-p", &port.to_string(), "-f"]).arg(&config);
            command
        });
        self.sshd_log = sshd.log.clone();
        self.sshd = Some(sshd);
        self
    }

    /// A file that everybody on this host may read, and its text.
    pub fn marker(&self) -> (String, &'static str) {
        let path = self.path("etc/of-the-host");
        let text = "this is the host";
        fs::write(&path, text).expect("write");
        (path.display().to_string(), text)
    }

    /// Starts a broker in the foreground; returns once it listens.
    pub fn start_broker(&self) {
        let mut command = Command::new(self.program());
        command.args(["--config".as_ref(), self.config_file().as_os_str(), "broker".as_ref()]);
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start the broker");
        let log = Lines::of(&mut child);
        log.wait("broker started", PATIENCE);
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

    /// A container user with a key; the name is unique and ends in this.
    pub fn user(&self, name: &str) -> String {
        self.member(name, &self.path("lib/podspawn-shell"))
    }

    /// A container user whose account was made by somebody else, with a shell of this host.
    pub fn existing(&self, name: &str) -> String {
        self.member(name, Path::new("/bin/sh"))
    }

    fn member(&self, name: &str, shell: &Path) -> String {
        let user = format!("t{}{name}", &self.id[..6]);
        let home = self.run_home(&user);
        let group = format!("pg{}", self.id);
        run(Command::new("useradd")
            .args([
                "-M",
                "-N",
                "-g",
                &group,
                "-p",
                "*",
                "-K",
                "SUB_UID_COUNT=0",
                "-K",
                "SUB_GID_COUNT=0",
                "-s",
            ])
            .args([shell.as_os_str(), "-d".as_ref(), home.as_os_str(), user.as_ref()]));
        self.users.borrow_mut().push(user.clone());
        fs::DirBuilder::new().mode(0o700).create(&home).expect("mkdir");
        chown(&home, Some(self.uid(&user)), Some(self.gid())).expect("chown");
        let file = self.path("etc/keys").join(&user);
        fs::copy(self.path("ssh/key.pub"), &file).expect("copy the key");
        run(Command::new("chown").arg(format!("pa{}", self.id)).arg(&file));
        user
    }

    /// An ordinary user of the same sshd with the same key.
    pub fn ordinary(&self, name: &str) -> String {
        let user = format!("o{}{name}", &self.id[..6]);
        let home = self.path("homes").join(&user);
        run(Command::new("useradd")
            .args(["-M", "-N", "-g", "nogroup", "-s", "/bin/sh", "-p", "*", "-d"])
            .args([home.as_os_str(), user.as_ref()]));
        self.users.borrow_mut().push(user.clone());
        fs::create_dir(&home).expect("mkdir");
        chown(&home, Some(self.uid(&user)), None).expect("chown");
        fs::copy(self.path("ssh/key.pub"), self.path("ordinary").join(&user)).expect("copy the key");
        user
    }

    /// The uid of an account.
    pub fn uid(&self, user: &str) -> u32 {
        run(Command::new("id").args(["-u", user])).trim().parse().expect("a uid")
    }

    /// The gid of the container users' group.
    pub fn gid(&self) -> u32 {
        let entry = run(Command::new("getent").args(["group", &format!("pg{}", self.id)]));
        entry.split(':').nth(2).expect("a gid").parse().expect("a gid")
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

    /// A directory for what clients make.
    pub fn scratch(&self) -> &Path {
        self.env.directory()
    }

    /// Port of sshd.
    pub fn port(&self) -> u16 {
        self.sshd.as_ref().expect("sshd runs").port
    }

    /// What every client is told: ssh, scp, sftp alike.
    pub fn client_options(&self) -> Vec<String> {
        let mut args: Vec<String> = ["-F", "none"].map(String::from).into();
        for option in [
            format!("Port={}", self.port()),
            format!("IdentityFile={}", self.path("ssh/key").display()),
            "BatchMode=yes".into(),
            "IdentitiesOnly=yes".into(),
            "StrictHostKeyChecking=no".into(),
            "UserKnownHostsFile=/dev/null".into(),
            "LogLevel=ERROR".into(),
        ] {
            args.extend(["-o".into(), option]);
        }
        args
    }

    /// `ssh` with its options as one text, for programs that start it.
    pub fn ssh_text(&self) -> String {
        format!("ssh {}", self.client_options().join(" "))
    }

    /// An `ssh` as this user with these arguments before the destination and these after it.
    pub fn ssh(&self, user: &str, before: &[&str], after: &[&str]) -> Invocation {
        let mut args = self.client_options();
        args.extend(before.iter().map(|arg| (*arg).to_owned()));
        args.push(format!("{user}@127.0.0.1"));
        args.extend(after.iter().map(|arg| (*arg).to_owned()));
        self.env.program("ssh", args).limit(PATIENCE)
    }

    /// Any program of the host with a clean environment.
    pub fn tool(&self, program: &str, args: &[&str]) -> Invocation {
        self.env.program(program, args).limit(PATIENCE)
    }

    /// A shell script of the host, in a directory of its own, with the client's command line as `$SSH`.
    pub fn script(&self, text: &str) -> Invocation {
        let scratch = self.scratch().display();
        self.tool("bash", &["-c", &format!("set -euo pipefail; cd {scratch}; {text}")])
            .var("SSH", self.ssh_text())
            .var("OPTIONS", self.client_options().join(" "))
            .var("KEY", self.path("ssh/key"))
    }

    /// A process of this user's that runs when this returns: `command` after what tells so.
    #[track_caller]
    pub fn running(&self, user: &str, before: &[&str], command: &str) -> Running {
        let fifo = format!("/tmp/started-{}", system::random_hex());
        self.sh_with(user, before, &format!("mkfifo {fifo}"));
        let running = self.ssh(user, before, &[&format!("echo $$ >{fifo}; {command}")]).start();
        self.sh_with(user, before, &format!("cat {fifo}"));
        running
    }

    /// As [`Server::sh`] with arguments for ssh.
    #[track_caller]
    pub fn sh_with(&self, user: &str, before: &[&str], command: &str) -> String {
        self.ssh(user, before, &[command]).run().ok().out().trim_end_matches('\n').to_owned()
    }

    /// Runs a command as this user, which must succeed; its output without the last line end.
    #[track_caller]
    pub fn sh(&self, user: &str, command: &str) -> String {
        self.sh_with(user, &[], command)
    }

    /// A login with a terminal of 80 × 24.
    pub fn login(&self, user: &str, before: &[&str]) -> Terminal {
        self.ssh(user, before, &[]).terminal(24, 80)
    }

    /// A command of an administrator.
    pub fn podspawn(&self, args: &[&str]) -> Invocation {
        let config = self.config_file();
        let mut all = vec!["--config", config.to_str().expect("text")];
        all.extend(args);
        self.env.program(self.program().to_str().expect("text"), all).limit(PATIENCE)
    }

    /// The sessions as `list` has them.
    #[track_caller]
    pub fn list(&self) -> Vec<Value> {
        let run = self.podspawn(&["list", "--output", "json"]).run().ok();
        json::parse(&run).as_array().expect("a list").clone()
    }

    /// The engine's containers of a user.
    pub fn containers(&self, user: &str) -> Vec<String> {
        self.engine.labelled("container", &format!("podspawn-user={user}"))
    }

    /// Lines of the audit log so far.
    pub fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("state/audit.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// Waits until the audit log has an event of a user `count` times; returns the last of them.
    #[track_caller]
    pub fn audited(&self, user: &str, event: &str, count: usize, limit: Duration) -> Value {
        use rustix::fs::inotify;
        let deadline = Instant::now() + limit;
        let watch =
            inotify::init(inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC).expect("inotify");
        let flags = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
        inotify::add_watch(&watch, self.path("state"), flags).expect("watch the state directory");
        loop {
            let found: Vec<Value> = self
                .audit()
                .into_iter()
                .filter(|line| line["user"] == user && line["event"] == event)
                .collect();
            if found.len() >= count {
                return found.last().expect("an event").clone();
            }
            let more = system::readable(&[watch.as_fd()], deadline);
            assert!(more, "{event} of {user} did not come {count} times:\n{}", self.story());
            let _ = rustix::io::read(&watch, &mut [0u8; 4096]);
        }
    }

    /// Waits until a session of this user has been removed `count` times, and looks that its containers are gone.
    #[track_caller]
    pub fn gone(&self, user: &str, count: usize, limit: Duration) {
        self.audited(user, "container_destroy", count, limit);
        assert_eq!(self.containers(user), Vec::<String>::new());
    }

    /// Everything that was logged, for a failure.
    pub fn story(&self) -> String {
        let audit: Vec<String> = self.audit().iter().map(Value::to_string).collect();
        format!(
            "--- broker\n{}\n--- audit\n{}\n--- sshd\n{}",
            self.broker_log().text(),
            audit.join("\n"),
            self.sshd_log.text()
        )
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
        if let Some(mut broker) = self.broker.borrow_mut().take() {
            let _ = kill_process(Pid::from_child(&broker), Signal::TERM);
            let _ = broker.wait();
        }
        self.end_detached_broker();
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
        quiet(Command::new("userdel").arg("-f").arg(format!("pa{}", self.id)));
        quiet(Command::new("groupdel").arg(format!("pg{}", self.id)));
        let _ = fs::remove_file(&self.service);
        let _ = fs::remove_dir_all(&self.root);
        assert_eq!(left, Vec::new(), "left behind in the engine");
    }

    /// A broker that something else than the test started holds the lock of the state directory.
    fn end_detached_broker(&self) {
        let holds = |pid: i32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            line.contains("broker") && line.contains(self.config_file().to_str().expect("text"))
        };
        let pids = fs::read_dir("/proc")
            .expect("read /proc")
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        for pid in pids.filter(|pid| holds(*pid)) {
            let Some(pid) = Pid::from_raw(pid) else { continue };
            let Ok(watched) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else {
                continue;
            };
            let _ = kill_process(pid, Signal::TERM);
            assert!(system::ends_by(&watched, Instant::now() + PATIENCE), "a broker does not end");
        }
    }
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
