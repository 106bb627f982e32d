//! A running sshd is told, and does what it was told.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::lab::{Lab, run, said};

/// An sshd in the foreground; its log line by line.
struct Sshd {
    child: Child,
    log: mpsc::Receiver<String>,
}

impl Sshd {
    fn start(lab: &Lab) -> Self {
        let mut child = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(lab.sshd_config())
            .stderr(Stdio::piped())
            .spawn()
            .expect("start sshd");
        let (sender, log) = mpsc::channel();
        let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let sshd = Self { child, log };
        sshd.logs("Server listening");
        sshd
    }

    /// Waits for a line that contains this.
    #[track_caller]
    fn logs(&self, part: &str) {
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(Duration::from_secs(30)) {
                Ok(line) if line.contains(part) => return,
                Ok(line) => seen.push(line),
                Err(error) => panic!("{part:?}: {error}\n{}", seen.join("\n")),
            }
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_running_sshd_reads_it_at_once_and_lets_container_users_into_the_stub_only() {
    let port =
        TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
    let config = format!("Port {port}\nListenAddress 127.0.0.1\nUsePAM no\nPidFile HERE/pid\n");
    let lab = Lab::new(&config);
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(lab.path("key")));
    let sshd = Sshd::start(&lab);
    let done = lab.setup(&["--service-name", "private-sshd"]).run().ok();
    let lines = said(&done);
    assert_eq!(lines[lines.len() - 2..], ["reloaded private-sshd", "server-setup complete"]);
    sshd.logs("Received SIGHUP; restarting.");
    sshd.logs("Server listening");

    lab.add_member();
    let keys = lab.path("etc/keys").join(&lab.member);
    fs::copy(lab.path("key.pub"), &keys).expect("copy the key");
    run(Command::new("chown").arg(&lab.auth).arg(&keys));
    let ssh = |command: &str| {
        let (key, port) = (lab.path("key").display().to_string(), port.to_string());
        let to = format!("{}@127.0.0.1", lab.member);
        let args = ["-F", "none", "-p", &port, "-i", &key, "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"];
        let rest =
            ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"];
        lab.program("ssh", &[&args[..], &rest, &[&to, command]].concat()).run()
    };
    let login = ssh("id -u");
    assert_eq!((login.status, login.out().as_str()), (1, ""), "{}", login.stderr);
    assert!(login.stderr.contains("broker"), "{}", login.stderr);

    // Taken out again, the same key opens nothing.
    let undone = lab.setup(&["--remove", "--service-name", "private-sshd"]).run().ok();
    assert!(undone.stderr.contains("reloaded private-sshd\n"), "{}", undone.stderr);
    sshd.logs("Received SIGHUP; restarting.");
    sshd.logs("Server listening");
    let login = ssh("id -u");
    assert_eq!(login.status, 255, "{}", login.stderr);
    assert!(login.stderr.contains("Permission denied"), "{}", login.stderr);
}
