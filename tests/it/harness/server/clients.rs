//! Stock clients, and commands of an administrator.

use std::path::Path;

use super::{PATIENCE, Server};
use crate::harness::command::{Invocation, Running};
use crate::harness::{Terminal, system};

impl Server {
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
            // The default of older clients takes a tenth of a second of a processor for every connection.
            "KexAlgorithms=curve25519-sha256".into(),
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
}
