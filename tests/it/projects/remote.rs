//! A git server on this host: bare repositories behind `git daemon`, on an address that containers reach too.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::system;

/// Longest that the server may take to listen.
const LIMIT: Duration = Duration::from_secs(20);

/// The server. Dropping it ends it.
pub struct Remote {
    dir: TempDir,
    address: String,
    daemon: Child,
}

impl Remote {
    /// With one repository, `api`: the branches `main` and `feature`, which differ in the file `where`.
    pub fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("podspawn-git-").tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("served")).expect("mkdir");
        let host = host_address();
        let (daemon, address) = serve(&dir.path().join("served"), &host);
        let remote = Self { dir, address, daemon };
        remote.repository("api");
        remote.commit("api", "main", &[("where", "main\n"), ("podfile-none", "")]);
        remote.commit("api", "feature", &[("where", "feature\n")]);
        remote
    }

    /// The address of a repository.
    pub fn url(&self, name: &str) -> String {
        format!("git://{}/{name}", self.address)
    }

    /// The bare repository.
    pub fn bare(&self, name: &str) -> PathBuf {
        self.dir.path().join("served").join(name)
    }

    /// A working tree of it.
    pub fn tree(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("tree-{name}"))
    }

    /// Makes an empty repository whose default branch is `main`, and a working tree of it.
    pub fn repository(&self, name: &str) {
        let (bare, tree) = (self.bare(name), self.tree(name));
        git(self.dir.path(), &["init", "-q", "--bare", "-b", "main", text(&bare)]);
        git(self.dir.path(), &["init", "-q", "-b", "main", text(&tree)]);
        git(&tree, &["remote", "add", "origin", text(&bare)]);
    }

    /// Writes files on a branch, which begins where the last one was, and pushes it.
    pub fn commit(&self, name: &str, branch: &str, files: &[(&str, &str)]) {
        let tree = self.tree(name);
        git(&tree, &["checkout", "-q", "-B", branch]);
        for (file, content) in files {
            let path = tree.join(file);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
            std::fs::write(path, content).expect("write");
        }
        self.push(name, branch);
    }

    /// Commits whatever the working tree holds and pushes it.
    pub fn push(&self, name: &str, branch: &str) {
        let tree = self.tree(name);
        git(&tree, &["add", "-A"]);
        git(&tree, &["commit", "-q", "--allow-empty", "-m", "change"]);
        git(&tree, &["push", "-q", "--force", "origin", &format!("HEAD:{branch}")]);
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // The daemon and what it has started for connections.
        system::signal_group(&self.daemon, Signal::KILL);
        let _ = self.daemon.wait();
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path that is text")
}

/// git with a configuration of its own.
pub fn git(dir: &Path, args: &[&str]) -> String {
    let mut command = Command::new("git");
    command.current_dir(dir).args([
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@t",
        "-c",
        "protocol.file.allow=always",
    ]);
    command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").args(args);
    system::run(&mut command).trim().to_owned()
}

/// An address of this host that is not its loopback.
fn host_address() -> String {
    let route = system::run(Command::new("ip").args(["-4", "-o", "addr", "show", "scope", "global"]));
    let address = route.split_whitespace().skip_while(|word| *word != "inet").nth(1);
    address.and_then(|address| address.split('/').next()).expect("an address of this host").to_owned()
}

/// Starts the daemon on a free port; another process may be quicker to take one.
fn serve(root: &Path, host: &str) -> (Child, String) {
    loop {
        let port = TcpListener::bind((host, 0)).expect("a port").local_addr().expect("its address").port();
        let mut command = Command::new("git");
        command.args(["daemon", "--verbose", "--export-all", "--reuseaddr", "--init-timeout=20"]);
        command.arg(format!("--listen={host}")).arg(format!("--port={port}"));
        command.arg(format!("--base-path={}", text(root))).arg(text(root));
        command
            .env("GIT_CONFIG_COUNT", "1")
            .env("GIT_CONFIG_KEY_0", "safe.directory")
            .env("GIT_CONFIG_VALUE_0", "*");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0);
        let mut daemon = command.spawn().expect("start git daemon");
        let mut said = daemon.stderr.take().expect("a pipe");
        let mut bytes = [0; 4096];
        let begun = Instant::now();
        let mut log = String::new();
        let ready = loop {
            match said.read(&mut bytes) {
                Ok(0) | Err(_) => break false,
                Ok(length) => log.push_str(&String::from_utf8_lossy(&bytes[..length])),
            }
            if log.contains("Ready to rumble") {
                break true;
            }
            assert!(begun.elapsed() < LIMIT, "git daemon does not listen: {log}");
        };
        if ready {
            // What it says about each connection must not fill the pipe.
            std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
            return (daemon, format!("{host}:{port}"));
        }
        system::signal_group(&daemon, Signal::KILL);
        let status = daemon.wait().expect("its end");
        assert!(log.contains("Address already in use") || log.contains("unable to bind"), "{status}: {log}");
    }
}

/// A listener that takes a connection and never answers: whoever clones from it waits.
pub struct Silent {
    listener: TcpListener,
}

impl Silent {
    pub fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").expect("listen") }
    }

    pub fn url(&self) -> String {
        format!("git://{}/api", self.listener.local_addr().expect("an address"))
    }

    /// Waits until somebody has connected and asked; the connection stays open while the result lives.
    pub fn asked(&self) -> TcpStream {
        let (mut stream, _) = self.listener.accept().expect("a connection");
        let mut bytes = [0; 16];
        let _ = stream.read(&mut bytes).expect("a request");
        stream
    }

    /// Answers the question for the default branch, so that the next connection is the clone's.
    pub fn answer_refs(&self) {
        let mut stream = self.asked();
        let id = "0123456789012345678901234567890123456789";
        let line = format!("{id} HEAD\0symref=HEAD:refs/heads/main agent=git/2\n");
        let main = format!("{id} refs/heads/main\n");
        let packet = |line: &str| format!("{:04x}{line}", line.len() + 4);
        let answer = format!("{}{}0000", packet(&line), packet(&main));
        stream.write_all(answer.as_bytes()).expect("answer");
        let _ = stream.read(&mut [0; 16]);
    }
}

/// A way to a server that is closed at first: whoever clones through it waits until it is opened.
pub struct Gate(Silent);

impl Gate {
    pub fn start() -> Self {
        Self(Silent::start())
    }

    pub fn url(&self) -> String {
        self.0.url()
    }

    /// Waits until somebody has connected. Nothing is read.
    pub fn asked(&self) -> TcpStream {
        self.0.listener.accept().expect("a connection").0
    }

    /// Leads this connection to the server from now on.
    pub fn open(&self, here: TcpStream, remote: &Remote) {
        let there = TcpStream::connect(&remote.address).expect("the server listens");
        let twice = |stream: &TcpStream| stream.try_clone().expect("a second handle");
        for (mut from, mut to) in [(twice(&here), twice(&there)), (there, here)] {
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(Shutdown::Write);
            });
        }
    }
}
