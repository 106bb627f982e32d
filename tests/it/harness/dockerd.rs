//! A dockerd that a story may restart: own data, own sockets, own network namespace. At most one at a time in this process.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::engines::{EngineName, fact};
use super::sshd::Lines;
use super::system;

/// Longest that it may take to start or to end; it gives its containers some time.
const PATIENCE: Duration = Duration::from_secs(60);

fn root() -> &'static PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| PathBuf::from(format!("/var/lib/podspawn-it-dockerd-{}", std::process::id())))
}

/// Path of its API socket.
pub fn socket() -> &'static str {
    static SOCKET: OnceLock<String> = OnceLock::new();
    SOCKET.get_or_init(|| root().join("docker.sock").display().to_string())
}

/// It runs until this is dropped.
pub struct Dockerd {
    // None while it does not run.
    child: Option<Child>,
    _alone: MutexGuard<'static, ()>,
}

impl Dockerd {
    /// Starts one that has the smallest of the test images.
    pub fn start() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        std::fs::create_dir_all(root()).expect("mkdir");
        // Room for its own bridge and three networks; and gVisor.
        let config = r#"{"default-address-pools": [{"base": "10.231.0.0/24", "size": 26}],
            "runtimes": {"runsc": {"path": "/usr/bin/runsc", "runtimeArgs": ["--platform=ptrace", "--network=host", "--oci-seccomp"]}}}"#;
        std::fs::write(root().join("daemon.json"), config).expect("write");
        let dockerd = Self { child: Some(spawn()), _alone: alone };
        let mut save = EngineName::Docker.cli();
        let mut save =
            save.args(["save", fact("IMAGE_BUSYBOX")]).stdout(Stdio::piped()).spawn().expect("start docker");
        run_with(EngineName::Private.cli().arg("load"), save.stdout.take().expect("a pipe").into());
        assert!(save.wait().expect("wait for docker").success());
        dockerd
    }

    /// Asks it to end, as an administrator does, and waits: its containers are stopped.
    pub fn end(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pidfd = system::pidfd(&child);
        let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        let ended = system::ends_by(&pidfd, Instant::now() + PATIENCE);
        if !ended {
            let _ = child.kill();
        }
        let _ = child.wait();
        assert!(ended || std::thread::panicking(), "dockerd does not end");
    }

    /// Ends it as a crash does, together with its containerd: its containers go on.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let id = root().join("run/containerd/containerd.pid");
        let containerd =
            std::fs::read_to_string(&id).expect("a pid").trim().parse().ok().and_then(Pid::from_raw);
        for pid in [Pid::from_child(&child), containerd.expect("a pid")] {
            let _ = kill_process(pid, Signal::KILL);
        }
        child.wait().expect("wait for dockerd");
        // Where nobody reaps it, the next one would believe that it runs.
        let _ = std::fs::remove_file(id);
    }

    /// Starts it again after [`Dockerd::end`] or [`Dockerd::kill`].
    pub fn again(&mut self) {
        self.child = Some(spawn());
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        if self.child.is_none() {
            // What a crashed one left runs on until another one ends it. A second panic would end all tests.
            self.child = std::panic::catch_unwind(spawn).ok();
        }
        self.end();
        // It mounts its data over itself and leaves that behind.
        let _ = Command::new("umount").arg("--lazy").arg(root().join("data")).stderr(Stdio::null()).status();
        let _ = std::fs::remove_dir_all(root());
    }
}

/// Two daemons cannot share one set of packet filter rules, so it has a network namespace of its own.
fn spawn() -> Child {
    let at = |name: &str| root().join(name).display().to_string();
    let script = "ip link set lo up && exec dockerd \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--net", "sh", "-c", script, "dockerd"]);
    command.args(["--config-file", &at("daemon.json"), "--host", &format!("unix://{}", socket())]);
    command.args(["--pidfile", &at("pid"), "--data-root", &at("data"), "--exec-root", &at("run")]);
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("start dockerd");
    Lines::of(&mut child).wait("API listen on", PATIENCE);
    child
}

fn run_with(command: &mut Command, stdin: Stdio) {
    let output = command.stdin(stdin).output().expect("start docker");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
