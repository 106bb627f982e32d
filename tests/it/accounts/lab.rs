//! A private installation: its own directories, group, accounts and range of uids. Everything in it goes with it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use podspawn::system::accounts::{Passwd, user_by_name};
use tempfile::TempDir;

use crate::harness::command::Invocation;
use crate::harness::{Env, system};

/// A key, as a person has it in a file.
pub const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILsRbeskuVdDTKdTdXDT6M8ttWw4SULembCTAk9riQpC sarah@laptop";

/// Another one.
pub const OTHER: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEbGVjb7aYPg/d1xNzcZI19f\
tgxBPjOKfBv8aQW/igS0t5GIkN5u5tF9OscX6wZug35JyyDWOIwUFQ4eheyqHbE= sarah@desk";

/// See the module.
pub struct Lab {
    /// A word that no other lab's names have.
    pub word: String,
    /// What is called from here.
    pub env: Env,
    accounts: &'static str,
    dir: TempDir,
}

impl Lab {
    /// Accounts are made in this way: `userdb` or `useradd`.
    pub fn new(accounts: &'static str) -> Self {
        let dir = tempfile::Builder::new().prefix("podspawn-it-").tempdir().expect("a temporary directory");
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).expect("chmod");
        let lab = Self {
            word: format!("t{}", &system::random_hex()[..8]),
            env: Env::without_engine(),
            accounts,
            dir,
        };
        lab.configure("");
        std::fs::create_dir(lab.path("lib")).expect("mkdir");
        std::os::unix::fs::symlink(system::podspawn(), lab.path("lib/podspawn-shell")).expect("a link");
        lab
    }

    /// Writes the configuration, with further lines.
    pub fn configure(&self, more: &str) {
        let (dir, word) = (self.dir.path().display(), &self.word);
        let number = u32::from_str_radix(&word[1..7], 16).expect("hexadecimal digits");
        let first = 10_000_000 + number % 1_000_000 * 100;
        let text = format!(
            "accounts: {}\nauth:\n  key_dir: {dir}/keys\nserver:\n  group: {word}-g\n  auth_account: {word}-a\n  \
             run_dir: {dir}/run\n  lib_dir: {dir}/lib\n  first_uid: {first}\n  last_uid: {}\nstate:\n  \
             db_path: {dir}/state/state.db\n  lock_dir: {dir}/state/locks\n  homes_dir: {dir}/state/homes\n{more}",
            self.accounts,
            first + 99
        );
        std::fs::write(self.path("config.yaml"), text).expect("write the configuration");
    }

    /// A path inside.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A user's name that no other lab has.
    pub fn user(&self, name: &str) -> String {
        format!("{}-{name}", self.word)
    }

    /// A command line of this installation.
    pub fn podspawn(&self, args: &[&str]) -> Invocation {
        let config = self.path("config.yaml").display().to_string();
        self.env.podspawn(["--config", config.as_str()].into_iter().chain(args.iter().copied()))
    }

    /// The same without the harness, for what is killed on its way.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(system::podspawn());
        command.env_clear().arg("--config").arg(self.path("config.yaml")).args(args);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        command
    }

    /// The account as the system knows it now. Asked of another process, since this one may remember.
    pub fn account(&self, user: &str) -> Option<String> {
        let output = Command::new("getent").args(["passwd", user]).output().expect("start getent");
        output.status.success().then(|| String::from_utf8(output.stdout).expect("text").trim().to_owned())
    }

    /// The record of a user.
    pub fn record(&self, user: &str) -> Option<serde_json::Value> {
        let text = std::fs::read(self.path("accounts").join(user)).ok()?;
        Some(serde_json::from_slice(&text).expect("a record is JSON"))
    }

    /// The lines of a user's key file.
    pub fn keys(&self, user: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("keys").join(user)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Everything that there is of this installation's users, by path or name. Empty when all is gone.
    pub fn leftovers(&self) -> Vec<String> {
        let mut left = Vec::new();
        for dir in ["keys", "run/homes", "accounts", "state/locks"] {
            for name in names(&self.path(dir)) {
                if ![".lock", ".last-uid", "leases"].contains(&name.as_str()) {
                    left.push(format!("{dir}/{name}"));
                }
            }
        }
        for name in names(Path::new("/etc/userdb")) {
            let target = std::fs::read_link(Path::new("/etc/userdb").join(&name)).unwrap_or_default();
            if name.contains(&self.word) || target.to_string_lossy().contains(&self.word) {
                left.push(format!("/etc/userdb/{name}"));
            }
        }
        for file in ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid"]
        {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let own = [format!("{}-a", self.word), format!("{}-g", self.word)];
            let lines = text.lines().filter(|line| line.contains(&self.word));
            let lines = lines.filter(|line| {
                // The group itself and the account for sshd are everybody's.
                let mut fields = line.split(':');
                !own.iter().any(|name| fields.clone().next() == Some(name)) || {
                    fields.next_back().is_some_and(|members| members.contains(&self.word))
                }
            });
            left.extend(lines.map(|line| format!("{file}: {line}")));
        }
        left
    }

    /// The account that sshd asks for keys as.
    pub fn auth_account(&self) -> Passwd {
        user_by_name(&format!("{}-a", self.word)).expect("a look-up").expect("it was made")
    }

    fn clear(&self) {
        for user in names(&self.path("accounts")) {
            if !user.starts_with('.') {
                // What is left is seen by the test, or was seen before.
                let _ = self.command(&["remove-user", &user, "--force", "--purge"]).status();
            }
        }
        let _ = tool("userdel", &[&format!("{}-a", self.word)]);
        let _ = tool("groupdel", &[&format!("{}-g", self.word)]);
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.clear();
        if !std::thread::panicking() {
            assert_eq!(self.leftovers(), Vec::<String>::new());
        }
    }
}

/// The names in a directory, sorted; none if there is no such directory.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Runs a program of the system.
pub fn tool(program: &str, args: &[&str]) -> Output {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    Command::new(program).args(args).env("PATH", path).output().unwrap_or_else(|e| panic!("{program}: {e}"))
}
