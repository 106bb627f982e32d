//! An installation of the test's own: configuration, sshd's files, PAM's file, group and accounts, below a directory that is
//! root's up to the top. The host's own files are never named.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::harness::command::Invocation;
use crate::harness::{Env, Run, system};

/// What PAM's file holds before.
const PAM: &str = "account required pam_permit.so\n# Sessions.\nsession required pam_permit.so\n";

/// See the module. Everything goes when it is dropped.
pub struct Lab {
    pub group: String,
    pub auth: String,
    /// The account of git.
    pub git: String,
    /// An account of the group, once the group exists.
    pub member: String,
    /// For an account that owns an engine; not there before a story makes it.
    pub engine: String,
    env: Env,
    dir: TempDir,
}

/// Every file below a directory: what it is, its mode, its content.
pub type Snapshot = BTreeMap<PathBuf, (u32, Vec<u8>)>;

impl Lab {
    /// With this text as sshd's configuration; `HERE` stands for the directory, and a host key is added.
    pub fn new(sshd_config: &str) -> Self {
        let dir =
            tempfile::Builder::new().prefix("podspawn-setup-").tempdir_in("/var/lib").expect("a directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
        let id = &system::random_hex()[..8];
        let lab = Self {
            group: format!("sg{id}"),
            auth: format!("sa{id}"),
            git: format!("sv{id}"),
            member: format!("sm{id}"),
            engine: format!("se{id}"),
            env: Env::without_engine(),
            dir,
        };
        for name in ["etc", "ssh"] {
            fs::create_dir(lab.path(name)).expect("mkdir");
        }
        lab.write_config("");
        run(Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(lab.path("host_key")));
        let here = lab.dir.path().to_str().expect("text");
        let text = format!("HostKey {here}/host_key\n{}", sshd_config.replace("HERE", here));
        fs::write(lab.sshd_config(), text).expect("write");
        fs::write(lab.path("pam"), PAM).expect("write");
        // A link is a file of root's below root's directories as a copy is, and costs nothing.
        if fs::hard_link(system::podspawn(), lab.path("podspawn")).is_err() {
            run(Command::new("cp").arg(system::podspawn()).arg(lab.path("podspawn")));
        }
        lab
    }

    /// Replaces the configuration; `server` are further lines of that section.
    pub fn write_config(&self, server: &str) {
        let here = self.dir.path().display();
        let text = format!(
            "server:\n  group: {}\n  auth_account: {}\n  git_account: {}\n  run_dir: {here}/run\n  lib_dir: {here}/lib\n{server}\
             auth:\n  key_dir: {here}/etc/keys\n\
             state:\n  db_path: {here}/state/state.db\n  lock_dir: {here}/state/locks\n  homes_dir: {here}/state/homes\n",
            self.group, self.auth, self.git
        );
        fs::write(self.path("etc/config.yaml"), text).expect("write");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn sshd_config(&self) -> PathBuf {
        self.path("ssh/sshd_config")
    }

    /// What a file holds.
    #[track_caller]
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// `podspawn server-setup` with these flags.
    pub fn setup(&self, flags: &[&str]) -> Invocation {
        self.setup_as(&self.path("podspawn"), flags)
    }

    /// The same with a program of this path.
    pub fn setup_as(&self, program: &Path, flags: &[&str]) -> Invocation {
        let text = |path: PathBuf| path.to_str().expect("text").to_owned();
        let mut args = vec!["--config".to_owned(), text(self.path("etc/config.yaml")), "server-setup".into()];
        args.extend(["--sshd-config".into(), text(self.sshd_config())]);
        args.extend(["--pam-service".into(), text(self.path("pam"))]);
        args.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self.env.program(program.to_str().expect("text"), args)
    }

    /// Any program, with nothing of this process's environment.
    pub fn program(&self, program: &str, args: &[&str]) -> Invocation {
        self.env.program(program, args)
    }

    /// Makes [`Lab::member`].
    pub fn add_member(&self) {
        let home = self.path("home");
        run(Command::new("useradd")
            .args(["-M", "-N", "-g", &self.group, "-p", "*", "-d"])
            .arg(home)
            .arg("-s")
            .arg(self.path("lib/podspawn-shell"))
            .arg(&self.member));
    }

    /// Whether sshd accepts its configuration.
    pub fn is_valid(&self) -> bool {
        let config = self.sshd_config();
        let output = Command::new("/usr/sbin/sshd").arg("-t").arg("-f").arg(config).output().expect("sshd");
        output.status.success()
    }

    /// What sshd says a connection of this account gets.
    #[track_caller]
    pub fn effective(&self, user: &str) -> Vec<String> {
        let connection = format!("user={user},host=localhost,addr=127.0.0.1");
        let output = Command::new("/usr/sbin/sshd")
            .arg("-T")
            .arg("-f")
            .arg(self.sshd_config())
            .args(["-C", &connection])
            .output()
            .expect("sshd");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
    }

    /// Everything that `server-setup` could change here.
    pub fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::new();
        collect(self.dir.path(), &mut snapshot);
        snapshot.remove(&self.path("podspawn"));
        snapshot
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let is_known = |database: &str, name: &str| {
            Command::new("getent").args([database, name]).output().is_ok_and(|output| output.status.success())
        };
        for user in [&self.member, &self.auth, &self.git] {
            if is_known("passwd", user) {
                let _ = Command::new("userdel").arg(user).output();
            }
        }
        if is_known("passwd", &self.engine) {
            let _ = Command::new("userdel").args(["--remove", &self.engine]).output();
        }
        if is_known("group", &self.group) {
            let _ = Command::new("groupdel").arg(&self.group).output();
        }
        if !std::thread::panicking() {
            for name in [&self.member, &self.auth, &self.git, &self.engine] {
                assert!(!is_known("passwd", name), "{name} is left behind");
            }
            assert!(!is_known("group", &self.group), "{} is left behind", self.group);
        }
    }
}

fn collect(dir: &Path, into: &mut Snapshot) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let facts = path.symlink_metadata().expect("a file");
        let content = match facts.is_file() {
            true => fs::read(&path).expect("a readable file"),
            false => {
                fs::read_link(&path).map(|to| to.into_os_string().into_encoded_bytes()).unwrap_or_default()
            }
        };
        into.insert(path.clone(), (facts.mode(), content));
        if facts.is_dir() {
            collect(&path, into);
        }
    }
}

/// Runs a program that has to succeed.
#[track_caller]
pub fn run(command: &mut Command) {
    let output = command.output().expect("start it");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The lines that two answers do not share.
pub fn differences(before: &[String], after: &[String]) -> Vec<String> {
    let lost = before.iter().filter(|line| !after.contains(line)).map(|line| format!("-{line}"));
    let new = after.iter().filter(|line| !before.contains(line)).map(|line| format!("+{line}"));
    lost.chain(new).collect()
}

/// What a run said, line by line.
pub fn said(run: &Run) -> Vec<&str> {
    run.stderr.lines().collect()
}
