//! A service of the rootless Podman that a story may kill: the engine's own containers and images, and a socket of its own.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::engines::fact;
use super::sshd::Lines;
use super::system::{self, children};

/// Longest that it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// It runs until this is dropped.
pub struct PodmanService {
    dir: PathBuf,
    // None while it does not run.
    child: Option<Child>,
}

impl PodmanService {
    /// Starts one.
    pub fn start() -> Self {
        let dir = PathBuf::from(format!("/run/podspawn-it-podman-{}", &system::random_hex()[..8]));
        fs::create_dir(&dir).expect("mkdir");
        let id = |key| fact(key).parse().expect("an id");
        chown(&dir, Some(id("PODMAN_UID")), Some(id("PODMAN_GID"))).expect("chown");
        let mut service = Self { dir, child: None };
        service.again();
        service
    }

    /// The directory that its socket lies in, by the usual name.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Ends it as a crash does: the process, and the one in the account's namespaces that it is the keeper of.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let pid = child.id() as i32;
        for pid in children(pid).into_iter().chain([pid]) {
            let _ = kill_process(Pid::from_raw(pid).expect("a pid"), Signal::KILL);
        }
        let _ = child.wait();
    }

    /// Starts it again after [`PodmanService::kill`].
    pub fn again(&mut self) {
        let socket = self.dir.join("podman.sock");
        let _ = fs::remove_file(&socket);
        let mut command = Command::new("setpriv");
        command
            .args([&format!("--reuid={}", fact("PODMAN_UID")), &format!("--regid={}", fact("PODMAN_GID"))]);
        command.args(["--init-groups", "--", "podman", "--log-level=info", "system", "service", "--time=0"]);
        command.arg(format!("unix://{}", socket.display()));
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.env("HOME", fact("PODMAN_HOME")).env("USER", fact("PODMAN_USER"));
        command.env("XDG_RUNTIME_DIR", fact("PODMAN_RUNTIME_DIR")).current_dir(fact("PODMAN_HOME"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start podman");
        Lines::of(&mut child).wait("API service listening", PATIENCE);
        self.child = Some(child);
    }
}

impl Drop for PodmanService {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
