//! A host that an administrator has just been given, and what they do there.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use podspawn::system::guest_program::guest_program;
use podspawn::system::pam_module::{PAM_MODULE, pam_module};

use super::page::{Block, Kind, is_shown};
use crate::harness::engines::fact;
use crate::harness::machine::Machine;
use crate::harness::{Run, system};

/// Where the source is checked out, and what `make install` takes of it.
const TREE: &str = "/root/podspawn";
const PARTS: &[&str] = &[
    "Makefile",
    "scripts",
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "LICENSE",
    "config.example.yaml",
    "docs",
    "examples",
    "packaging",
    "profiles",
];

/// The machine of a user: an account that has nothing to do with the server but that it can reach it.
const LAPTOP: &str = "
useradd --create-home --shell /bin/bash laptop
runuser -l laptop -c 'ssh-keygen -q -t ed25519 -N \"\" -f ~/.ssh/id_ed25519'
runuser -l laptop -c 'printf \"StrictHostKeyChecking accept-new\\nLogLevel ERROR\\n\" >~/.ssh/config'
";

/// See the module.
pub struct Host {
    pub machine: Machine,
    page: &'static str,
}

impl Host {
    /// Boots it, with the built source in place, a mirror of the registry that images come from, and a user's machine beside it.
    pub fn new(page: &'static str) -> Self {
        let host = Self { machine: Machine::bare(), page };
        let gateway = host.machine.sh("ip route show default | cut -d' ' -f3");
        let mirror = mirror(&gateway);
        host.machine.sh(&format!(
            "install -d /etc/systemd/system/docker.service.d /etc/containers/registries.conf.d {TREE}/target/release
             printf '[Service]\\nExecStart=\\nExecStart=/bin/sh -c \"exec dockerd -H fd:// --registry-mirror=http://{mirror}\"\\n' \
                 >/etc/systemd/system/docker.service.d/mirror.conf
             # It cleans what root's own Podman left, which has no file system for that in here.
             systemctl mask podman-clean-transient.service
             printf '[[registry]]\\nlocation = \"docker.io\"\\n[[registry.mirror]]\\nlocation = \"{mirror}\"\\ninsecure = true\\n' >/etc/containers/registries.conf.d/mirror.conf"
        ));
        let mut tar = Command::new("tar");
        tar.args(["-c", "-C", env!("CARGO_MANIFEST_DIR")]).args(PARTS);
        let tree = tar.stderr(Stdio::inherit()).output().expect("start tar");
        assert!(tree.status.success());
        let _ = host.machine.run(&format!("tar -x -C {TREE}")).stdin(tree.stdout).run().ok();
        let release = format!("{TREE}/target/release");
        host.machine.put(&system::podspawn(), &format!("{release}/podspawn"));
        for (name, bytes) in [("podspawn-guest", guest_program()), (PAM_MODULE, pam_module())] {
            let _ = host.machine.run(&format!("cat >{release}/{name}")).stdin(bytes).run().ok();
        }
        host.machine.sh(LAPTOP);
        host.machine.sh(&format!("cp /home/laptop/.ssh/id_ed25519.pub {TREE}/sarah.pub"));
        host
    }

    /// Follows blocks in their order: each has to succeed, and to print what the page shows.
    #[track_caller]
    pub fn follow<'a>(&self, blocks: impl IntoIterator<Item = &'a Block>) {
        let mut last: Option<Run> = None;
        for block in blocks {
            let place = format!("docs/{}:{}", self.page, block.line);
            let run = match block.kind {
                Kind::Root => self.machine.run(&format!("exec 2>&1; cd {TREE}\n{}", block.text)),
                Kind::User => self.laptop(&block.text),
                Kind::Output => {
                    let said = last.as_ref().unwrap_or_else(|| panic!("{place}: output of nothing")).out();
                    assert!(
                        is_shown(&block.text, &said),
                        "{place}: shown:\n{}\nprinted:\n{said}",
                        block.text
                    );
                    continue;
                }
            };
            let run = run.run();
            assert_eq!(run.status, 0, "{place}:\n{}\nprinted:\n{}{}", block.text, run.out(), run.stderr);
            last = Some(run);
        }
    }

    /// Something that is typed on the user's machine.
    pub fn laptop(&self, script: &str) -> crate::harness::command::Invocation {
        self.machine
            .run("exec runuser -l laptop -c 'exec 2>&1; bash -euo pipefail -c \"$(cat)\"'")
            .stdin(script)
    }

    /// Everything of this host that podspawn, its users or its engine's account could be found by.
    pub fn traces(&self) -> String {
        self.machine.sh(&format!(
            "find / -xdev -iname '*podspawn*' -not -path '{TREE}*' -not -path '/proc/*' -not -path '/sys/*'
             ls /home
             grep -rl --exclude='*-' podspawn /etc || :
             getent passwd | grep -E 'podspawn|sarah' || :
             getent group | grep podspawn || :
             # What is only remembered by its name is gone.
             systemctl list-units --all --plain --no-legend 'podspawn*' | grep -v ' not-found ' || :
             loginctl list-users --no-legend | grep podspawn || :
             pgrep -a podspawn || :
             {{ iptables-save; nft list ruleset; }} 2>/dev/null | grep -i podspawn || :
             ! command -v docker >/dev/null || {{ docker ps -aq; docker network ls -q --filter name=podspawn; docker volume ls -q; }}"
        ))
    }

    /// What sshd does for an ordinary user, and the files that decide it.
    pub fn ordinary(&self) -> String {
        self.machine
            .sh("sshd -T -C user=olaf,host=h,addr=127.0.0.1; cat /etc/ssh/sshd_config /etc/pam.d/sshd")
    }
}

/// Address of a mirror of the registry, for machines whose gateway this host is. It goes with the test's process.
fn mirror(gateway: &str) -> String {
    let listener = TcpListener::bind((gateway, 0)).expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.expect("a connection");
            let registry = TcpStream::connect(fact("REGISTRY")).expect("the registry");
            for (from, to) in [(&client, &registry), (&registry, &client)] {
                let (from, to) = (from.try_clone().expect("dup"), to.try_clone().expect("dup"));
                std::thread::spawn(move || copy(from, to));
            }
        }
    });
    address
}

/// One direction. Whoever waits at either end sees for themselves when it stops early.
fn copy(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0u8; 65536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}
