//! An sshd of the test's own: PAM service, users, log and run directory; and a network that is not the host's.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use podspawn::config::{Config, Deployment, Sources, load};
use podspawn::server::pam::{self, Outcome, PamLine};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

use crate::harness::command::Invocation;
use crate::harness::greeter::Greeter;
use crate::harness::sshd::{Lines, Sshd};
use crate::harness::system::run;
use crate::harness::{Env, Run, system};

/// Longer than anything that is waited for takes, unless it fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What answers on the host's loopback.
pub const HOST: &str = "this is the host\n";
/// What answers on the loopback of a [`Network`].
pub const INSIDE: &str = "this is the container\n";

/// The service file before it is wired. What comes after our line writes down for whom and when it ran.
const SERVICE: &str = "\
account required pam_permit.so
# The first line of the session stack.
session optional pam_exec.so quiet WITNESS
session required pam_permit.so
";

/// What the host's programs know of name servers.
pub const RESOLVERS: &str = "nameserver 127.0.0.53\n";

/// What sshd may do.
#[derive(Clone, Copy)]
enum Powers {
    All,
    NoNamespaces,
}

/// See the module. Everything goes when it is dropped.
pub struct Lab {
    pub config: Config,
    /// Of the container users' group.
    pub member: String,
    /// An ordinary user.
    pub stranger: String,
    /// Something that listens on the host's loopback.
    pub host: Greeter,
    env: Env,
    group: String,
    service: PathBuf,
    log: Lines,
    // None once it is ended.
    sshd: Option<Sshd>,
    dir: TempDir,
}

impl Lab {
    /// With the module in place and wired, and no broker.
    pub fn new() -> Self {
        Self::make(None, Powers::All)
    }

    /// With a program that the module starts where no broker answers: a shell script with this text.
    pub fn with_broker(script: &str) -> Self {
        Self::make(Some(script), Powers::All)
    }

    /// With an sshd that cannot make or enter namespaces.
    pub fn powerless() -> Self {
        Self::make(None, Powers::NoNamespaces)
    }

    fn make(script: Option<&str>, powers: Powers) -> Self {
        let dir = tempfile::Builder::new().prefix("podspawn-pam-").tempdir().expect("a temporary directory");
        let at = |name: &str| dir.path().join(name);
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        for name in ["run", "home", "keys", "dev", "etc"] {
            fs::create_dir(at(name)).expect("mkdir");
        }
        fs::write(at("witnessed"), "").expect("write");
        write_script(&at("witness"), &format!("echo $PAM_USER $PAM_TYPE >>{}\n", at("witnessed").display()));

        let id = system::random_hex()[..8].to_owned();
        let (member, stranger, group) = (format!("pm{id}"), format!("po{id}"), format!("pg{id}"));
        run(Command::new("groupadd").arg(&group));
        for (user, groups) in [(&member, group.as_str()), (&stranger, "")] {
            run(Command::new("useradd")
                .args(["-M", "-N", "-g", "nogroup", "-G", groups, "-s", "/bin/sh", "-p", "*", "-d"])
                .args([at("home").as_os_str(), user.as_ref()]));
        }

        let text = format!(
            "server:\n  group: {group}\n  run_dir: {}\n  lib_dir: {}\n",
            at("run").display(),
            at("lib").display()
        );
        fs::write(at("etc/config.yaml"), text).expect("write");
        let sources = Sources {
            deployment: Deployment::Server,
            local_root: "/".into(),
            home: None,
            file: Some(at("etc/config.yaml")),
            env: BTreeMap::new(),
            flags: Vec::new(),
        };
        let config = load(&sources).expect("a configuration").config;

        // sshd's own name is the name of its PAM service.
        let service = PathBuf::from(format!("/etc/pam.d/podspawn-{id}"));
        fs::write(&service, SERVICE.replace("WITNESS", at("witness").to_str().expect("text")))
            .expect("write");
        pam::install_module(&config.server.lib_dir).expect("install the module");
        let config_file = at("etc/config.yaml");
        let broker = at("broker");
        if let Some(script) = script {
            write_script(&broker, script);
        }
        let line = PamLine::new(&config, &broker, Some(&config_file)).expect("a line");
        assert_eq!(pam::wire(&service, &line).expect("wire"), Outcome::Changed);
        pam::record_service_file(&at("etc"), &service).expect("record");

        for key in ["host_key", "key"] {
            run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(at(key)));
        }
        for user in [&member, &stranger] {
            fs::copy(at("key.pub"), at("keys").join(user)).expect("copy the key");
        }
        let log = collect_log(&at("log.sock"));
        let sshd = Some(start_sshd(dir.path(), &id, powers));
        let host = Greeter::listen(0, HOST);
        let env = Env::without_engine();
        Self { config, member, stranger, host, env, group, service, log, sshd, dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The directory of the configuration file.
    pub fn config_dir(&self) -> PathBuf {
        self.path("etc")
    }

    pub fn socket(&self) -> PathBuf {
        self.path("run/broker.sock")
    }

    pub fn module(&self) -> PathBuf {
        pam::module(&self.config)
    }

    /// An `ssh` as this user with these arguments before the destination and these after it.
    pub fn ssh(&self, user: &str, before: &[&str], after: &[&str]) -> Invocation {
        let mut args: Vec<String> =
            ["-F", "none", "-p", &self.sshd().port.to_string()].map(String::from).into();
        args.extend(["-i".into(), self.path("key").display().to_string()]);
        for option in [
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ExitOnForwardFailure=yes",
        ] {
            args.extend(["-o".into(), option.into()]);
        }
        args.extend(before.iter().map(|arg| (*arg).to_owned()));
        args.push(format!("{user}@127.0.0.1"));
        args.extend(after.iter().map(|arg| (*arg).to_owned()));
        self.env.program("ssh", args).limit(PATIENCE)
    }

    /// Runs a command as this user, which must succeed; its output.
    #[track_caller]
    pub fn login(&self, user: &str, command: &str) -> String {
        self.ssh(user, &[], &[command]).run().ok().out()
    }

    /// What a connection through sshd to a port of its loopback brings, as `-L` would.
    pub fn forward(&self, user: &str, port: u16) -> Run {
        self.ssh(user, &["-W", &format!("127.0.0.1:{port}")], &[]).run()
    }

    /// A container user's forwarding to the host's loopback fails, and their login works.
    #[track_caller]
    pub fn assert_cut_off(&self) {
        let run = self.forward(&self.member, self.host.port);
        assert_eq!((run.status, run.out().as_str()), (255, ""), "{}", run.stderr);
        assert_eq!(self.login(&self.member, "echo in"), "in\n");
    }

    /// An ordinary user logs in and forwards as ever.
    #[track_caller]
    pub fn assert_ordinary(&self) {
        assert_eq!(self.forward(&self.stranger, self.host.port).ok().out(), HOST);
        let network = self.login(&self.stranger, "readlink /proc/self/ns/net");
        assert_eq!(network.trim_end(), host_network());
    }

    /// Waits until a PAM module has logged a line that contains this.
    #[track_caller]
    pub fn logged(&self, part: &str) {
        self.log.wait(part, PATIENCE);
    }

    /// What PAM modules have logged so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// For whom and when the rest of the session stack ran.
    pub fn witnessed(&self) -> String {
        fs::read_to_string(self.path("witnessed")).expect("read")
    }

    /// The processes of sshd that serve connections, the privileged ones first.
    pub fn serving(&self) -> Vec<i32> {
        self.sshd().serving()
    }

    fn sshd(&self) -> &Sshd {
        self.sshd.as_ref().expect("sshd runs")
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.sshd = None;
        let _ = fs::remove_file(&self.service);
        for user in [&self.member, &self.stranger] {
            let _ = Command::new("userdel").arg("-f").arg(user).stderr(Stdio::null()).status();
        }
        let _ = Command::new("groupdel").arg(&self.group).status();
    }
}

/// Collects what PAM modules log, which is sent to a socket like the log daemon's.
fn collect_log(path: &Path) -> Lines {
    let socket = UnixDatagram::bind(path).expect("bind");
    let (log, mut buffer) = (Lines::default(), vec![0; 64 * 1024]);
    let lines = log.clone();
    std::thread::spawn(move || {
        while let Ok(length) = socket.recv(&mut buffer) {
            lines.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
    });
    log
}

/// Starts a daemon with a `/dev` of its own, in which `/dev/log` is ours, on a host that asks itself for names.
fn start_sshd(dir: &Path, id: &str, powers: Powers) -> Sshd {
    let program = Sshd::program(dir, &format!("podspawn-{id}"));
    let config = format!(
        "ListenAddress 127.0.0.1\nHostKey {0}/host_key\nPidFile none\nUsePAM yes\nStrictModes no\nUseDNS no\n\
         AuthorizedKeysFile {0}/keys/%u\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
         AllowTcpForwarding yes\nPrintMotd no\nMaxStartups 100\n",
        dir.display()
    );
    fs::write(dir.join("sshd_config"), config).expect("write");
    fs::write(dir.join("resolv.conf"), RESOLVERS).expect("write");
    let script = "set -e; cd \"$1\"; mount -t tmpfs none dev\n\
         cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/ptmx /dev/fd dev\n\
         mkdir dev/pts dev/shm; mount --bind /dev/pts dev/pts; ln -s \"$1/log.sock\" dev/log\n\
         mount --bind resolv.conf /etc/resolv.conf; mount --rbind dev /dev; cd /; exec setpriv $4 \"$2\" -D -e -f \"$1/sshd_config\" -p \"$3\"";
    Sshd::start(|port| {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", script, "sh"])
            .args([dir.as_os_str(), program.as_os_str(), port.to_string().as_ref()])
            .arg(match powers {
                Powers::All => "--reset-env",
                Powers::NoNamespaces => "--bounding-set=-sys_admin",
            });
        command
    })
}

fn write_script(path: &Path, text: &str) {
    fs::write(path, format!("#!/bin/sh\n{text}")).expect("write");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// The host's network namespace as `/proc` names it.
pub fn host_network() -> String {
    fs::read_link("/proc/self/ns/net").expect("readlink").display().to_string()
}

/// A network of a container: a namespace with its loopback up. It lives as long as anything in it.
pub struct Network {
    file: fs::File,
}

impl Network {
    pub fn new() -> Self {
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "ip link set lo up && echo up && read end"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start unshare");
        let mut up = [0; 3];
        child.stdout.take().expect("a pipe").read_exact(&mut up).expect("a network");
        let file = fs::File::open(format!("/proc/{}/ns/net", child.id())).expect("open the namespace");
        drop(child.stdin.take());
        child.wait().expect("wait for a child");
        Self { file }
    }

    /// With [`INSIDE`] on a port of its loopback.
    pub fn with_server(port: u16) -> Self {
        let network = Self::new();
        network.inside(move || Greeter::listen(port, INSIDE));
        network
    }

    pub fn file(&self) -> fs::File {
        self.file.try_clone().expect("dup")
    }

    /// As `/proc` names it.
    pub fn name(&self) -> String {
        format!("net:[{}]", self.file.metadata().expect("metadata").ino())
    }

    /// Does something in it, in a thread of its own.
    pub fn inside<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let file = self.file();
        let (done, result) = mpsc::channel();
        std::thread::spawn(move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("setns");
            done.send(work()).expect("send");
        });
        result.recv_timeout(PATIENCE).expect("a result")
    }
}

/// Everything that a connection brings until its end.
pub fn greeting(mut client: TcpStream) -> String {
    client.set_read_timeout(Some(PATIENCE)).expect("a limit");
    let mut text = String::new();
    client.read_to_string(&mut text).expect("a greeting");
    text
}

/// A moment far enough away.
pub fn later() -> Instant {
    Instant::now() + PATIENCE
}
