//! The files of an installation: configuration, PAM service, sshd's configuration.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use podspawn::config::{Deployment, Sources, load};
use podspawn::server::pam::{self, PamLine};
use podspawn::server::setup::CLEARED;

use super::{Server, Wishes};
use crate::harness::engines::{EngineName, fact};
use crate::harness::sshd::Sshd;

impl Server {
    pub(super) fn write_config(&self, wishes: &Wishes) {
        let Self { id, root, .. } = self;
        let root = root.display();
        let (runtime, account) = match self.engine {
            EngineName::Private if wishes.sandboxes => ("gvisor", "null"),
            EngineName::Docker | EngineName::Docker26 | EngineName::Private => ("docker", "null"),
            EngineName::Gvisor => ("gvisor", "null"),
            EngineName::Podman => ("podman", fact("PODMAN_USER")),
        };
        let image = fact(wishes.image);
        // Of no other installation that makes accounts at the same time.
        let first = 1_000_000 + (u32::from_str_radix(&id[..5], 16).expect("hex") * 256);
        let last = first + 255;
        let text = format!(
            "runtime: {runtime}\naccounts: useradd\ndefaults:\n  image: {image}\n  memory: {memory}\nsecurity:\n  pids_limit: {processes}\nsession:\n  grace_period: {grace}\n\
             \x20 mode: {mode}\n  max_lifetime: {lifetime}\nresources:\n  max_per_user: {most}\nserver:\n  forwarding: {forwarding}\n  group: pg{id}\n  account: {account}\n  auth_account: pa{id}\n  git_account: pv{id}\n  first_uid: {first}\n  last_uid: {last}\n  run_dir: {root}/run\n\
             \x20 lib_dir: {root}/lib\nprojects_file: {root}/etc/projects.yaml\nauth:\n  key_dir: {root}/etc/keys\n\
             state:\n  db_path: {root}/state/state.db\n  lock_dir: {root}/state/locks\n  homes_dir: {root}/state/homes\n\
             log:\n  audit_log: {root}/state/audit.jsonl\n",
            grace = wishes.grace,
            mode = wishes.mode,
            most = wishes.most,
            lifetime = wishes.lifetime,
            memory = wishes.memory,
            processes = wishes.processes,
            forwarding = wishes.forwarding,
        );
        fs::write(self.config_file(), text).expect("write");
    }

    /// The service file of this host's sshd, with the module in front.
    pub(super) fn wire_pam(&self) {
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
    fn write_sshd_config(&self, wishes: &Wishes) -> PathBuf {
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
             PermitTunnel no\nPermitUserRC no\nClientAliveInterval {interval}\nClientAliveCountMax {count}\n\
             AcceptEnv PODSPAWN_PROJECT LANG LC_*\nSetEnv {cleared}\n",
            cleared = CLEARED.map(|name| format!("{name}=")).join(" "),
            id = self.id,
            interval = wishes.alive.0,
            count = wishes.alive.1,
        );
        let further = wishes.address.as_ref().map(|address| format!("ListenAddress {address}\n"));
        // Generous to everybody else, so that what container users are denied is denied by the block.
        let rest = format!(
            "Include {root}/ssh/podspawn.conf\n\
             ListenAddress 127.0.0.1\n{further}HostKey {root}/ssh/host_key\nPidFile none\nUsePAM yes\nUseDNS no\n\
             LogLevel VERBOSE\n{startups}Subsystem sftp internal-sftp\n\
             PasswordAuthentication yes\nKbdInteractiveAuthentication no\nPermitUserEnvironment yes\n\
             AuthorizedKeysFile .ssh/authorized_keys {root}/ordinary/%u\nTrustedUserCAKeys {root}/ssh/ca.pub\n\
             AllowStreamLocalForwarding yes\nPermitTunnel yes\nX11Forwarding yes\nAcceptEnv *\n",
            further = further.unwrap_or_default(),
            startups = wishes.startups.map(|most| format!("MaxStartups {most}\n")).unwrap_or_default(),
        );
        // What others have put there for everybody: of no effect for container users.
        let foreign = format!(
            "ForceCommand none\nAuthorizedKeysFile .ssh/authorized_keys {root}/ordinary/%u\n\
             TrustedUserCAKeys {root}/ssh/ca.pub\nAuthenticationMethods publickey password\nPermitTunnel yes\nPermitUserRC yes\n\
             AllowTcpForwarding yes\nAllowStreamLocalForwarding yes\nGatewayPorts yes\nAcceptEnv *\n"
        );
        let rest = format!("{rest}Match User *\n{foreign}Match Address 127.0.0.0/8\n{foreign}Match all\n");
        fs::write(self.path("ssh/podspawn.conf"), block).expect("write");
        let file = self.path("ssh/config");
        fs::write(&file, rest).expect("write");
        file
    }

    /// sshd's configuration file.
    pub fn sshd_config(&self) -> PathBuf {
        self.path("ssh/config")
    }

    /// `server-setup` on these files. The sshd that runs already keeps what it has.
    #[track_caller]
    pub fn set_up(&self) {
        self.set_up_with(&[]);
    }

    /// The same with further flags.
    #[track_caller]
    pub fn set_up_with(&self, flags: &[&str]) {
        let (config, service) = (self.sshd_config(), self.service.clone());
        let args = ["server-setup", "--sshd-config"].map(std::ffi::OsStr::new);
        let args =
            args.into_iter().chain([config.as_os_str(), "--pam-service".as_ref(), service.as_os_str()]);
        let args: Vec<&str> =
            args.map(|arg| arg.to_str().expect("text")).chain(flags.iter().copied()).collect();
        let _ = self.podspawn(&args).run().ok();
    }

    /// Lets the running sshd read its configuration again; returns once it listens again.
    pub fn reload_sshd(&self) {
        self.sshd.as_ref().expect("sshd runs").reload();
    }

    pub(super) fn with_sshd(mut self, wishes: &Wishes) -> Self {
        let config = self.write_sshd_config(wishes);
        let program = Sshd::program(&self.path("ssh"), &format!("podspawn-{}", self.id));
        let resolvers = self.path("ssh/resolv.conf");
        if let Some(resolver) = wishes.resolver {
            fs::write(&resolvers, format!("nameserver {resolver}\n")).expect("write");
        }
        let sshd = Sshd::start(|port| {
            let mut command = Command::new(&program);
            if wishes.resolver.is_some() {
                let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
                command = Command::new("unshare");
                command.args(["--mount", "sh", "-c", script]).args([&resolvers, &program]);
            }
            command.args(["-D", "-e", "-p", &port.to_string(), "-f"]).arg(&config);
            command
        });
        self.sshd_log = sshd.log.clone();
        self.sshd = Some(sshd);
        self
    }
}
