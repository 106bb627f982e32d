//! A whole host in a container that may do nearly everything: systemd as its first process, a Docker and an sshd of its own.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use podspawn::config::CAPABILITIES;

use super::command::Invocation;
use super::engines::fact;
use super::{EngineName, Env, system};

/// Longest that a boot may take, and anything else.
const PATIENCE: Duration = Duration::from_secs(600);

/// What runs before systemd: its control groups are its own to write, what is mounted later is seen by its units as on every
/// host, and slirp4netns finds its device.
const FIRST: &str = "mount --make-rshared /
for dir in /sys /sys/fs/cgroup /sys/fs/cgroup/*; do mount -o remount,bind,rw $dir; done
mkdir -p /dev/net; test -e /dev/net/tun || mknod -m 0666 /dev/net/tun c 10 200";

/// What makes it a host as the distribution installs it: no engine, and of packages only what is asked for.
const BARE: &str = r#"
test -e /etc/apt/apt.conf.d/90lean || dpkg --purge docker.io containerd runc iptables libnss-systemd
printf 'APT::Install-Recommends "false";\nDPkg::Options { "--force-confold"; "--force-unsafe-io"; };\n' >/etc/apt/apt.conf.d/90lean"#;

/// What sets the machine up before podspawn comes: an ordinary user, a key for everybody, and an sshd that somebody has used:
/// where its socket is waited for, it is started by the first connection.
const BEFORE: &str = r#"
systemctl start ssh
useradd --create-home --shell /bin/bash olaf
ssh-keygen -q -t ed25519 -N '' -f /root/key
install -d -m 0700 -o olaf -g olaf /home/olaf/.ssh
install -m 0600 -o olaf -g olaf /root/key.pub /home/olaf/.ssh/authorized_keys
cat >/root/.ssh-config <<'CONFIG'
Host *
  IdentityFile /root/key
  IdentitiesOnly yes
  BatchMode yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  LogLevel ERROR
CONFIG
"#;

/// What this process could have, of what Docker 20.10 knows. A newer one refuses to be told of any that it does not have.
fn own_capabilities() -> Vec<&'static str> {
    let status = std::fs::read_to_string("/proc/self/status").expect("read /proc/self/status");
    let set = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).expect("the bounding set");
    let set = u64::from_str_radix(set.trim(), 16).expect("a number");
    let known = CAPABILITIES.into_iter().enumerate().take_while(|(_, name)| *name != "PERFMON");
    let have = known.filter(|(number, _)| set >> number & 1 == 1);
    have.map(|(_, name)| name).collect()
}

/// See the module. Everything goes when it is dropped.
pub struct Machine {
    id: String,
    env: Env,
}

impl Machine {
    /// Boots one with this program and the smallest image in its Docker.
    pub fn boot() -> Self {
        let machine = Self::start("");
        machine.put(&system::podspawn(), "/usr/local/bin/podspawn");
        machine.sh(BEFORE);
        machine.load(fact("IMAGE_BUSYBOX"));
        machine
    }

    /// Boots one that has a stock sshd, an ordinary user and an empty list of packages, and nothing of podspawn or an engine.
    pub fn bare() -> Self {
        let machine = Self::start(BARE);
        machine.sh(BEFORE);
        machine
    }

    fn start(before: &str) -> Self {
        let machine =
            Self { id: format!("podspawn-it-{}", &system::random_hex()[..12]), env: Env::without_engine() };
        // As `--privileged`, but for what this host itself does not have.
        let capabilities: Vec<String> =
            own_capabilities().into_iter().map(|name| format!("--cap-add={name}")).collect();
        let capabilities: Vec<&str> = capabilities.iter().map(String::as_str).collect();
        let prepare = format!("{FIRST}\n{before}\nexec /sbin/init");
        let options = [
            "--security-opt=seccomp=unconfined",
            "--security-opt=apparmor=unconfined",
            "--security-opt=systempaths=unconfined",
            "--device-cgroup-rule=a *:* rwm",
            "--cgroupns=private",
            "--name",
            &machine.id,
            "--hostname=machine",
            "--env=container=docker",
            "--stop-signal=SIGRTMIN+3",
            "--tmpfs=/run:exec",
            "--tmpfs=/run/lock",
            "--tmpfs=/tmp:exec",
            "--volume=/var/lib/docker",
            // Where a Docker whose images are containerd's keeps them.
            "--volume=/var/lib/containerd",
            "--volume=/home",
            "--add-host=server:127.0.0.1",
            fact("IMAGE_SERVER"),
            "sh",
            "-c",
            &prepare,
        ];
        EngineName::Docker.run(&[&["run", "--detach"][..], &capabilities, &options].concat());
        machine.booted();
        machine
    }

    /// Copies a file of this host's in.
    pub fn put(&self, from: &Path, to: &str) {
        EngineName::Docker.run(&["cp", from.to_str().expect("text"), &format!("{}:{to}", self.id)]);
    }

    /// Waits until every unit that a boot starts has been started.
    fn booted(&self) {
        // Its bus may not be there yet when the first program runs inside.
        let wait = "until systemctl is-system-running --wait; do \
                    [ \"$(systemctl is-system-running)\" != degraded ] || { systemctl --failed; exit 1; }; sleep 0.2; done";
        let _ = self.run(wait).run().ok();
    }

    /// Ends it as `reboot` does, and starts it again.
    pub fn reboot(&self) {
        EngineName::Docker.run(&["restart", "--time=120", &self.id]);
        self.booted();
    }

    /// A shell script of root's inside.
    pub fn run(&self, script: &str) -> Invocation {
        self.with("bash", &["-euo", "pipefail", "-c", script])
    }

    fn with(&self, program: &str, args: &[&str]) -> Invocation {
        let socket = format!("unix://{}", EngineName::Docker.socket());
        let before = ["-H", &socket, "exec", "-i", &self.id, program];
        let args = before.iter().chain(args).map(|arg| (*arg).to_owned());
        self.env.program(fact("DOCKER_CLI"), args.collect::<Vec<_>>()).limit(PATIENCE)
    }

    /// The same, which must succeed; its output.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        self.run(script).run().ok().out().trim_end().to_owned()
    }

    /// `ssh` as a user of the machine, from the machine itself.
    pub fn ssh(&self, user: &str, command: &str) -> Invocation {
        self.with("ssh", &["-F", "/root/.ssh-config", &format!("{user}@127.0.0.1"), command])
    }

    /// Brings an image of this host into its Docker.
    pub fn load(&self, image: &str) {
        let mut save = EngineName::Docker
            .cli()
            .args(["save", image])
            .stdout(Stdio::piped())
            .spawn()
            .expect("docker save");
        let mut load: Command = EngineName::Docker.cli();
        load.args(["exec", "-i", &self.id, "docker", "load"]).stdin(save.stdout.take().expect("a pipe"));
        let output = load.output().expect("docker load");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(save.wait().expect("wait for docker save").success());
    }
}

impl Drop for Machine {
    #[expect(clippy::print_stderr, reason = "shown with the failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let journal = EngineName::Docker
                .cli()
                .args([
                    "exec",
                    &self.id,
                    "journalctl",
                    "--no-pager",
                    "--lines=300",
                    "--unit=podspawn-*",
                    "--unit=ssh",
                    "--unit=docker",
                ])
                .output();
            if let Ok(journal) = journal {
                eprintln!("{}", String::from_utf8_lossy(&journal.stdout));
            }
        }
        let _ = EngineName::Docker.cli().args(["rm", "--force", "--volumes", &self.id]).output();
    }
}
