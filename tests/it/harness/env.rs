//! A private place to run podspawn in: its own home, owner name and variables; everything in it goes with it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::command::Invocation;
use super::engines::{Account, EngineName, fact};
use super::system;
use super::terminal::Terminal;

/// See the module. Machines of two environments never meet, since each has an owner name of its own.
pub struct Env {
    /// Engine, if the story has one.
    pub engine: Option<EngineName>,
    /// `$USER`: unique, and so the owner of everything that is made here.
    pub user: String,
    /// Image that machines get where the story names none.
    pub image: String,
    account: Option<Account>,
    /// Its one group besides its own, where the system does not know the account.
    group: Option<u32>,
    variables: BTreeMap<String, String>,
    arguments: Vec<String>,
    program: PathBuf,
    // Last, so that it goes when nothing uses it any more.
    root: TempDir,
}

impl Env {
    /// On an engine; the default image is the Debian one.
    pub fn on(engine: EngineName) -> Self {
        let mut env = Self::without_engine();
        env.engine = Some(engine);
        env.account = engine.account();
        if let Some(account) = &env.account {
            env.variables.insert("XDG_RUNTIME_DIR".into(), account.runtime_dir.clone());
            env.arguments = vec!["--runtime".into(), "podman".into()];
        } else {
            env.variables.insert("DOCKER_HOST".into(), format!("unix://{}", engine.socket()));
        }
        if engine == EngineName::Gvisor {
            env.arguments = vec!["--runtime".into(), "gvisor".into()];
        }
        env.image = fact("IMAGE_DEBIAN").into();
        env.write_config(&format!("local:\n  image: {}\n", env.image));
        env.settle();
        env
    }

    /// Without any engine in sight: no variable names one. (Sockets in their well-known places may still answer.)
    pub fn without_engine() -> Self {
        let root = tempfile::Builder::new().prefix("podspawn-it-").tempdir().expect("a temporary directory");
        std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755)).expect("chmod");
        std::fs::create_dir(root.path().join("home")).expect("a home");
        let user = format!("t{}", &system::random_hex()[..10]);
        let mut variables = BTreeMap::new();
        variables.insert("HOME".into(), root.path().join("home").display().to_string());
        variables.insert("USER".into(), user.clone());
        variables.insert("LOGNAME".into(), user.clone());
        variables.insert("PATH".into(), "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin".into());
        variables.insert("TERM".into(), "xterm-256color".into());
        let env = Self {
            engine: None,
            user,
            image: String::new(),
            account: None,
            group: None,
            variables,
            arguments: Vec::new(),
            program: system::podspawn(),
            root,
        };
        env.settle();
        env
    }

    /// The same with no engine named on the command line: it is found.
    pub fn finding_its_engine(mut self) -> Self {
        self.arguments.clear();
        self
    }

    /// As a person on a rootful Docker: an account of its own, in the group of the engine's socket.
    pub fn as_an_ordinary_user(engine: EngineName) -> Self {
        let mut env = Self::on(engine);
        let socket = std::fs::metadata(engine.socket()).expect("the engine's socket");
        assert!(socket.gid() != 0 && socket.mode() & 0o060 == 0o060, "a group may use {}", engine.socket());
        let runtime_dir = env.directory().join("run").display().to_string();
        env.variables.insert("XDG_RUNTIME_DIR".into(), runtime_dir.clone());
        env.account = Some(Account { uid: 1234, gid: 1234, runtime_dir });
        env.group = Some(socket.gid());
        env.settle();
        env
    }

    /// As an account that may use no engine of this host.
    pub fn as_an_outsider() -> Self {
        let mut env = Self::without_engine();
        let runtime_dir = env.directory().join("run").display().to_string();
        let nobody = Account { uid: 65534, gid: 65534, runtime_dir };
        env.variables.insert("XDG_RUNTIME_DIR".into(), nobody.runtime_dir.clone());
        env.account = Some(nobody);
        env.settle();
        env
    }

    /// Gives the home to the account that will use it, and a program that it may execute.
    fn settle(&self) {
        let Some(account) = &self.account else { return };
        for path in [self.home(), self.home().join(".podspawn"), self.home().join(".podspawn/config.yaml")] {
            if path.exists() {
                chown(&path, Some(account.uid), Some(account.gid)).expect("chown");
            }
        }
        if !system::executable_by_everybody(&self.program) {
            // A copy made by another process: one made here could still be open for writing in a child that another
            // test's thread is just starting, and then could not be executed.
            let copied =
                Command::new("cp").arg(&self.program).arg(self.program_path()).status().expect("start cp");
            assert!(copied.success(), "copy the program");
        }
    }

    fn program_path(&self) -> PathBuf {
        if self.account.is_none() || system::executable_by_everybody(&self.program) {
            self.program.clone()
        } else {
            self.root.path().join("podspawn")
        }
    }

    /// Home directory.
    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// Directory that is removed with this environment.
    pub fn directory(&self) -> &Path {
        self.root.path()
    }

    /// Replaces `~/.podspawn/config.yaml`.
    pub fn write_config(&self, text: &str) {
        let dir = self.home().join(".podspawn");
        std::fs::create_dir_all(&dir).expect("mkdir");
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700)).expect("chmod");
        std::fs::write(dir.join("config.yaml"), text).expect("write the configuration");
        self.settle();
    }

    /// Sets a variable for every command of this environment.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.insert(name.into(), value.into());
    }

    /// Unsets a variable for every command of this environment.
    pub fn unset(&mut self, name: &str) {
        self.variables.remove(name);
    }

    /// A command line of podspawn. Nothing runs until the invocation's `run`.
    pub fn podspawn<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Invocation {
        let mut command = self.command(self.program_path());
        command.args(&self.arguments).args(args);
        Invocation::new(command)
    }

    /// A command line of podspawn that another program starts: its words come first.
    pub fn podspawn_by(&self, starter: &[&str], args: &[&str]) -> Invocation {
        let mut command = self.command(starter[0].into());
        command.args(&starter[1..]).arg(self.program_path()).args(&self.arguments).args(args);
        Invocation::new(command)
    }

    /// Any program, with this environment's variables and account.
    pub fn program<S: AsRef<OsStr>>(&self, program: &str, args: impl IntoIterator<Item = S>) -> Invocation {
        let mut command = self.command(program.into());
        command.args(args);
        Invocation::new(command)
    }

    /// A command line of podspawn with a terminal of 80 × 24 as its three streams.
    pub fn terminal<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Terminal {
        self.podspawn(args).terminal(24, 80)
    }

    fn command(&self, program: PathBuf) -> Command {
        let mut command = match &self.account {
            None => Command::new(program),
            Some(account) => {
                let mut command = Command::new("setpriv");
                command.arg(format!("--reuid={}", account.uid)).arg(format!("--regid={}", account.gid));
                match self.group {
                    None => command.arg("--init-groups"),
                    Some(group) => command.arg(format!("--groups={group}")),
                };
                command.arg("--").arg(program);
                command
            }
        };
        command.env_clear().envs(&self.variables).current_dir(self.home());
        command
    }

    /// Name of a machine's container, as podspawn documents it.
    pub fn container(&self, machine: &str) -> String {
        format!("podspawn-{}-{machine}", self.user)
    }

    /// The label that every engine object of this environment's owner carries.
    pub fn label(&self) -> String {
        format!("podspawn-user={}", self.user)
    }

    /// Everything that this owner has in the engine: `kind id` lines. Empty when all is cleared away.
    pub fn objects(&self) -> Vec<String> {
        let Some(engine) = self.engine else { return Vec::new() };
        let kinds = ["container", "network", "volume"];
        kinds
            .iter()
            .flat_map(|kind| {
                engine.labelled(kind, &self.label()).into_iter().map(move |id| format!("{kind} {id}"))
            })
            .collect()
    }

    fn clear(&self) {
        let Some(engine) = self.engine else { return };
        let objects = self.objects();
        if objects.is_empty() {
            return;
        }
        for object in objects {
            let (kind, id) = object.split_once(' ').expect("kind and id");
            let args: &[&str] = if kind == "container" { &["rm", "-f", "-v", id] } else { &[kind, "rm", id] };
            // Whatever podspawn itself removes meanwhile is gone already: the listing afterwards tells.
            let _ = engine.cli().args(args).output();
        }
        assert_eq!(self.objects(), Vec::<String>::new(), "left behind in the engine");
    }
}

impl Drop for Env {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A second panic would end all tests, so nothing here may assert.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.clear()));
        } else {
            self.clear();
        }
    }
}
