//! An installation of the sshd hook of this program's own: group, accounts, keys, PAM service, sshd on a free port of the
//! loopback, broker. What it made is written down before it is made, so that [`sweep`] removes also what a killed run left.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use podspawn::config::{Deployment, Sources, load};
use podspawn::server::pam::{self, PamLine};
use podspawn::system::process::{Pinned, boot_id, end_all_of, start_time};
use rustix::fs::{FlockOperation, flock};

use crate::Result;
use crate::engines::{Facts, output};

/// Below it, one directory for each installation. sshd trusts only what lies below directories of root's.
const PARENT: &str = "/var/lib";
const PREFIX: &str = "podspawn-bench-";
/// What was made, one `<kind> <name>` a line; locked by the run that owns it.
const MADE: &str = "made";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Longer than a program takes to end that was asked to.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where its sessions live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Docker,
    Podman,
    Gvisor,
}

impl Engine {
    pub(crate) const ALL: [Self; 3] = [Self::Docker, Self::Podman, Self::Gvisor];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Docker => "Docker",
            Self::Podman => "Podman",
            Self::Gvisor => "gVisor",
        }
    }
}

/// See the module. Everything goes when it is dropped.
pub(crate) struct Installation {
    pub(crate) engine: Engine,
    root: PathBuf,
    id: String,
    made: File,
    port: u16,
    engine_cli: String,
    base_image: String,
}

impl Installation {
    pub(crate) fn set_up(engine: Engine, facts: &Facts, program: &Path) -> Result<Self> {
        let id = random_id()?;
        let root = Path::new(PARENT).join(format!("{PREFIX}{id}"));
        let directory = |name: &str, mode| {
            let path = root.join(name);
            let made = fs::DirBuilder::new().recursive(true).mode(mode).create(&path);
            made.map_err(|error| format!("{}: {error}", path.display()))
        };
        directory("", 0o755)?;
        let made = fs::OpenOptions::new().append(true).create_new(true).open(root.join(MADE))?;
        flock(&made, FlockOperation::LockExclusive)?;
        let socket = facts.get(if engine == Engine::Podman { "PODMAN_SOCKET" } else { "DOCKER_SOCKET" })?;
        // Docker's program at the engine's socket: Podman answers to it as well.
        let cli = format!("{} -H unix://{socket}", facts.get("DOCKER_CLI")?);
        let base_image = facts.get("IMAGE_DEBIAN")?.to_owned();
        let mut new = Self { engine, root: root.clone(), id, made, port: 0, engine_cli: cli, base_image };
        new.note("engine", &new.engine_cli)?;
        for name in ["bin", "etc", "lib", "ssh", "ordinary", "run/homes", "homes"] {
            directory(name, 0o755)?;
        }
        directory("etc/keys", 0o700)?;
        fs::copy(program, new.program()).map_err(|error| format!("{}: {error}", program.display()))?;
        symlink(new.program(), root.join("lib/podspawn-shell"))?;
        new.note("group", &new.group())?;
        run("groupadd", &[&new.group()])?;
        let auth = new.auth_account();
        new.note("user", &auth)?;
        run("useradd", &["-M", "-N", "-g", "nogroup", "-r", "-s", "/bin/false", &auth])?;
        chown(root.join("etc/keys"), Some(uid(&auth)?), None)?;
        new.write_config(facts)?;
        new.wire_pam()?;
        for key in ["host_key", "key"] {
            let file = root.join("ssh").join(key);
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", text(&file)?])?;
        }
        new.start_broker()?;
        new.start_sshd()?;
        Ok(new)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Its copy of the program.
    pub(crate) fn program(&self) -> PathBuf {
        self.path("bin/podspawn")
    }

    pub(crate) fn config_file(&self) -> PathBuf {
        self.path("etc/config.yaml")
    }

    fn group(&self) -> String {
        format!("pg{}", self.id)
    }

    fn auth_account(&self) -> String {
        format!("pa{}", self.id)
    }

    fn note(&self, kind: &str, name: &str) -> Result<()> {
        Ok(writeln!(&self.made, "{kind} {name}")?)
    }

    fn note_process(&self, child: &Child) -> Result<()> {
        let pid = i32::try_from(child.id())?;
        let start = start_time(pid)?.ok_or("a program ended at once")?;
        self.note("process", &format!("{pid} {start} {}", boot_id()?))
    }

    fn write_config(&self, facts: &Facts) -> Result<()> {
        let root = self.root.display();
        let (runtime, account) = match self.engine {
            Engine::Docker => ("docker", "null"),
            Engine::Gvisor => ("gvisor", "null"),
            Engine::Podman => ("podman", facts.get("PODMAN_USER")?),
        };
        let image = &self.base_image;
        let group = self.group();
        let auth = self.auth_account();
        let config = format!(
            "runtime: {runtime}\naccounts: useradd\ndefaults:\n  image: {image}\nsession:\n  mode: grace-period\n  \
             grace_period: 10m\nserver:\n  group: {group}\n  account: {account}\n  auth_account: {auth}\n  run_dir: \
             {root}/run\n  lib_dir: {root}/lib\nauth:\n  key_dir: {root}/etc/keys\nstate:\n  db_path: \
             {root}/state/state.db\n  lock_dir: {root}/state/locks\n  homes_dir: {root}/state/homes\nlog:\n  audit_log: \
             {root}/state/audit.jsonl\n"
        );
        Ok(fs::write(self.config_file(), config)?)
    }

    /// The service file of this host's sshd, with the module in front, under a name of its own.
    fn wire_pam(&self) -> Result<()> {
        let sources = Sources {
            deployment: Deployment::Server,
            local_root: "/".into(),
            home: None,
            file: Some(self.config_file()),
            env: Default::default(),
            flags: Vec::new(),
        };
        let config = load(&sources)?.config;
        let service = PathBuf::from(format!("/etc/pam.d/{PREFIX}{}", self.id));
        self.note("file", text(&service)?)?;
        fs::copy("/etc/pam.d/sshd", &service).map_err(|error| format!("/etc/pam.d/sshd: {error}"))?;
        let _ = pam::unwire(&service)?;
        pam::install_module(&config.server.lib_dir)?;
        let _ = pam::wire(&service, &PamLine::new(&config, &self.program(), Some(&self.config_file()))?)?;
        pam::record_service_file(&self.path("etc"), &service)?;
        Ok(())
    }

    fn start_broker(&self) -> Result<()> {
        let mut command = Command::new(self.program());
        command.args(["--config".as_ref(), self.config_file().as_os_str(), "broker".as_ref()]);
        self.start(command, "broker started")
    }

    /// Starts a program that stays in the foreground; returns once its standard error has a line with `ready`. What it
    /// says goes to a file, so that nobody has to read it.
    fn start(&self, mut command: Command, ready: &str) -> Result<()> {
        command.env_clear().env("PATH", PATH).stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn()?;
        self.note_process(&child)?;
        let mut lines = BufReader::new(child.stderr.take().ok_or("no standard error")?).lines();
        let mut said = String::new();
        for line in lines.by_ref() {
            let line = line?;
            if line.contains(ready) {
                let mut log = fs::OpenOptions::new().append(true).create(true).open(self.path("log"))?;
                std::thread::spawn(move || {
                    lines.map_while(std::io::Result::ok).try_for_each(|line| writeln!(log, "{line}"))
                });
                return Ok(());
            }
            said.push_str(&line);
            said.push('\n');
        }
        Err(format!("{command:?}: {}: {said}", child.wait()?).into())
    }

    fn start_sshd(&mut self) -> Result<()> {
        let root = self.root.display();
        let (program, config) = (self.program(), self.config_file());
        let (program, config) = (program.display(), config.display());
        let id = &self.id;
        // What `server-setup` writes, and an ordinary sshd for everybody else.
        let text = format!(
            "ListenAddress 127.0.0.1\nHostKey {root}/ssh/host_key\nPidFile none\nUsePAM yes\nUseDNS no\nMaxStartups \
             100\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nSubsystem sftp \
             internal-sftp\nAuthorizedKeysFile {root}/ordinary/%u\nMatch Group pg{id}\n    AuthorizedKeysCommand \
             {program} auth-keys --config {config} %u %t %k\n    AuthorizedKeysCommandUser pa{id}\n    \
             AuthenticationMethods publickey\n    AuthorizedKeysFile none\n    TrustedUserCAKeys none\n    ForceCommand \
             {program} spawn --socket {root}/run/broker.sock\n    AllowTcpForwarding yes\n    X11Forwarding yes\n    \
             GatewayPorts no\n    AllowStreamLocalForwarding no\n    PermitTunnel no\n    PermitUserRC no\n    \
             ClientAliveInterval 30\n    ClientAliveCountMax 4\n    AcceptEnv PODSPAWN_PROJECT LANG LC_*\n"
        );
        let file = self.path("ssh/config");
        fs::write(&file, text)?;
        fs::create_dir_all("/run/sshd")?;
        // The name of the program is that of its PAM service.
        let program = self.path("ssh").join(format!("{PREFIX}{}", self.id));
        symlink("/usr/sbin/sshd", &program)?;
        // Another program may take a port between any look at it and its use, so it is sshd that tries.
        let seed = u16::from_str_radix(&self.id[..4], 16)?;
        let mut last = "no port was tried".into();
        for attempt in 0..20 {
            let port = 32_000 + seed.wrapping_add(attempt * 997) % 700;
            let mut command = Command::new(&program);
            command.args(["-D", "-e", "-p", &port.to_string(), "-f"]).arg(&file);
            match self.start(command, "Server listening") {
                Ok(()) => {
                    self.port = port;
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// A container user with the client's key in the last of `keys` lines.
    pub(crate) fn user(&self, name: &str, keys: usize) -> Result<String> {
        let user = format!("b{}{name}", &self.id[..6]);
        let home = self.path("run/homes").join(&user);
        let shell = self.path("lib/podspawn-shell");
        self.note("container-user", &user)?;
        run(
            "useradd",
            &["-M", "-N", "-g", &self.group(), "-p", "*", "-s", text(&shell)?, "-d", text(&home)?, &user],
        )?;
        fs::DirBuilder::new().mode(0o700).create(&home)?;
        let gid = output(command("id", &["-g", &user]))?.parse()?;
        chown(&home, Some(uid(&user)?), Some(gid))?;
        let mut lines = String::new();
        for number in 1..keys {
            let other = self.path("ssh").join(format!("other-{name}-{number}"));
            run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", text(&other)?])?;
            lines += &fs::read_to_string(other.with_extension("pub"))?;
        }
        lines += &fs::read_to_string(self.path("ssh/key.pub"))?;
        let file = self.path("etc/keys").join(&user);
        fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o644)
            .open(&file)?
            .write_all(lines.as_bytes())?;
        chown(&file, Some(uid(&self.auth_account())?), None)?;
        Ok(user)
    }

    /// An ordinary user of the same sshd with the same key.
    pub(crate) fn ordinary(&self) -> Result<String> {
        let user = format!("o{}", &self.id[..6]);
        let home = self.path("homes").join(&user);
        self.note("user", &user)?;
        run(
            "useradd",
            &["-M", "-N", "-g", "nogroup", "-s", "/bin/sh", "-p", "*", "-d", text(&home)?, &user],
        )?;
        fs::create_dir(&home)?;
        chown(&home, Some(uid(&user)?), None)?;
        fs::copy(self.path("ssh/key.pub"), self.path("ordinary").join(&user))?;
        Ok(user)
    }

    /// A stock client (`ssh`, `sftp`) without anybody's settings; more arguments follow, then the destination.
    pub(crate) fn client(&self, program: &str) -> Command {
        let mut command = command(program, &["-F", "none"]);
        for option in [
            format!("Port={}", self.port),
            format!("IdentityFile={}", self.path("ssh/key").display()),
            "BatchMode=yes".into(),
            "IdentitiesOnly=yes".into(),
            "StrictHostKeyChecking=no".into(),
            "UserKnownHostsFile=/dev/null".into(),
            "LogLevel=ERROR".into(),
        ] {
            command.args(["-o".into(), option]);
        }
        command
    }

    /// `ssh` as this user with a command.
    pub(crate) fn ssh(&self, user: &str, remote: &str) -> Command {
        let mut ssh = self.client("ssh");
        ssh.arg(format!("{user}@127.0.0.1")).arg(remote);
        ssh
    }

    /// Somebody who may use the engine: root, with the same key, at this sshd alone.
    pub(crate) fn administrator(&self) -> Result<&'static str> {
        fs::copy(self.path("ssh/key.pub"), self.path("ordinary/root"))?;
        Ok("root")
    }

    /// The engine's own program, as words of a shell.
    pub(crate) fn cli(&self) -> &str {
        &self.engine_cli
    }

    /// The running container of a user.
    pub(crate) fn container(&self, user: &str) -> Result<String> {
        let filter = format!("label=podspawn-user={user}");
        let list = engine(&self.engine_cli, &["ps", "-q", "--filter", &filter])?;
        Ok(list.lines().next().ok_or("the user has no container")?.to_owned())
    }

    /// The same, of a user's session of this name.
    pub(crate) fn container_named(&self, user: &str, name: &str) -> Result<String> {
        let filter = format!("name=^podspawn-{user}-{name}$");
        let list = self.engine(&["ps", "-q", "--filter", &filter])?;
        Ok(list.lines().next().ok_or("the session has no container")?.to_owned())
    }

    /// The engine's own program, run to its end.
    pub(crate) fn engine(&self, arguments: &[&str]) -> Result<String> {
        engine(&self.engine_cli, arguments)
    }

    /// The image that sessions are made of.
    pub(crate) fn base_image(&self) -> &str {
        &self.base_image
    }

    /// An image whose containers stay and do nothing.
    pub(crate) fn image_that_stays(&self) -> Result<String> {
        let image = format!("podspawn-bench/stays:{}", self.id);
        self.note("image", &image)?;
        let recipe = self.path("stays");
        fs::create_dir(&recipe)?;
        let lines = format!("FROM {}\nCMD [\"sleep\", \"infinity\"]\n", self.base_image);
        fs::write(recipe.join("Dockerfile"), lines)?;
        self.engine(&["build", "--quiet", "--tag", &image, text(&recipe)?])?;
        Ok(image)
    }

    /// What broker and sshd said last.
    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.root) {
            eprintln!("bench: {error}");
        }
    }
}

/// Removes what runs that were killed have left.
pub(crate) fn sweep() -> Result<()> {
    for entry in fs::read_dir(PARENT)? {
        let entry = entry?;
        let name = entry.file_name();
        if !name.to_str().is_some_and(|name| name.starts_with(PREFIX)) {
            continue;
        }
        let Ok(made) = File::open(entry.path().join(MADE)) else { continue };
        if flock(&made, FlockOperation::NonBlockingLockExclusive).is_ok() {
            eprintln!("bench: removing what an earlier run left in {}", entry.path().display());
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Goes on after what fails: the more is removed the better. The directory stays if something did fail.
fn remove(root: &Path) -> Result<()> {
    let mut failures = Vec::new();
    let mut attempt = |result: Result<()>| failures.extend(result.err().map(|error| error.to_string()));
    let made = fs::read_to_string(root.join(MADE))?;
    let made: Vec<(&str, &str)> = made.lines().rev().filter_map(|line| line.split_once(' ')).collect();
    let of = |kind: &'static str| made.iter().filter(move |(of, _)| *of == kind).map(|(_, name)| *name);
    for process in of("process") {
        attempt(end(process));
    }
    for user in of("container-user").chain(of("user")) {
        if let Ok(uid) = uid(user) {
            attempt(end_all_of(uid).map_err(Into::into));
        }
    }
    for cli in of("engine") {
        of("container-user").for_each(|user| attempt(remove_objects(user, cli)));
        of("image").for_each(|image| attempt(engine(cli, &["rmi", "--force", image]).map(drop)));
    }
    for user in of("container-user").chain(of("user")) {
        if uid(user).is_ok() {
            attempt(run("userdel", &["-f", user]));
        }
    }
    for group in of("group") {
        if output(command("getent", &["group", group])).is_ok() {
            attempt(run("groupdel", &[group]));
        }
    }
    for file in of("file") {
        match fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => attempt(Err(error.into())),
            _ => {}
        }
    }
    if failures.is_empty() {
        fs::remove_dir_all(root)?;
        return Ok(());
    }
    Err(format!("{} was not wholly removed: {}", root.display(), failures.join("; ")).into())
}

/// Ends a process that was noted, unless its pid belongs to another one by now.
fn end(noted: &str) -> Result<()> {
    let mut words = noted.split(' ');
    let mut word = || words.next().ok_or("a line that was cut off");
    let (pid, start, boot) = (word()?.parse()?, word()?.parse()?, word()?);
    let Ok(process) = Pinned::recorded(pid, start, boot) else { return Ok(()) };
    run("kill", &["-TERM", &pid.to_string()])?;
    if !process.ends_within(PATIENCE) {
        run("kill", &["-KILL", &pid.to_string()])?;
    }
    Ok(())
}

/// Removes everything that a container user has in the engine.
fn remove_objects(user: &str, cli: &str) -> Result<()> {
    let filter = format!("label=podspawn-user={user}");
    for (list, remove) in [
        (&["container", "ls", "-aq"][..], &["container", "rm", "-f", "-v"][..]),
        (&["network", "ls", "-q"], &["network", "rm"]),
        (&["volume", "ls", "-q"], &["volume", "rm"]),
    ] {
        let found = engine(cli, &[list, &["--filter", &filter]].concat())?;
        for id in found.lines() {
            engine(cli, &[remove, &[id]].concat())?;
        }
    }
    Ok(())
}

/// The engine's own program, run to its end.
fn engine(cli: &str, arguments: &[&str]) -> Result<String> {
    let words: Vec<&str> = cli.split(' ').chain(arguments.iter().copied()).collect();
    output(command(words[0], &words[1..]))
}

fn random_id() -> Result<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    Ok(text.chars().filter(char::is_ascii_hexdigit).take(8).collect())
}

fn uid(user: &str) -> Result<u32> {
    Ok(output(command("id", &["-u", user]))?.parse()?)
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PATH).stdin(Stdio::null());
    command
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    output(command(program, arguments)).map(drop)
}

fn text(path: &Path) -> Result<&str> {
    Ok(path.to_str().ok_or("a path that is no text")?)
}
