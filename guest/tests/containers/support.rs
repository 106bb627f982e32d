//! Real containers with the real, static guest as their first process.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use podspawn_wire::{InitConfig, PROTOCOL, User};

/// An engine and a way of running containers on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Docker,
    Docker26,
    Podman,
    Gvisor,
}

pub const ALL: [Engine; 4] = [Engine::Docker, Engine::Docker26, Engine::Podman, Engine::Gvisor];

/// A fact of the test engines, such as `DOCKER_SOCKET`.
pub fn fact(name: &str) -> String {
    static FACTS: OnceLock<String> = OnceLock::new();
    let facts = FACTS.get_or_init(|| {
        std::fs::read_to_string("/run/podspawn-test/engines.env").expect("`make engines` has not been run")
    });
    let line = facts.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    line.unwrap_or_else(|| panic!("no {name} among the test engines' facts")).to_owned()
}

impl Engine {
    pub fn cli(self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub fn command(self, args: &[&str]) -> Command {
        let socket = match self {
            Self::Docker | Self::Gvisor => fact("DOCKER_SOCKET"),
            Self::Docker26 => fact("DOCKER26_SOCKET"),
            Self::Podman => fact("PODMAN_SOCKET"),
        };
        let mut command = Command::new(fact("DOCKER_CLI"));
        command.arg("-H").arg(format!("unix://{socket}")).args(args);
        command
    }
}

/// The guest as it is shipped, where every engine's account can read it; goes with the last machine that has it mounted.
pub struct GuestProgram(PathBuf);

impl GuestProgram {
    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<GuestProgram>> = Mutex::new(Weak::new());
        // A test that failed here has nothing half done behind it.
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Self::copy());
            *shared = Arc::downgrade(&new);
            new
        })
    }

    /// Under a name of its own each time: a container may go a moment after its machine.
    fn copy() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let place = std::env::temp_dir().join(format!("podspawn-guest-test-{}-{count}", std::process::id()));
        let program = Self(place);
        std::fs::copy(built_guest(), program.path()).unwrap();
        std::fs::set_permissions(program.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
        program
    }
}

impl Drop for GuestProgram {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

/// The static guest in cargo's folder, built once per run.
fn built_guest() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let version = Command::new("rustc").arg("-vV").output().unwrap();
        let version = String::from_utf8(version.stdout).unwrap();
        let triple = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("static-guest");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--profile", "guest", "--bin", "podspawn-guest", "--target", triple])
            .arg("--manifest-path")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("RUSTFLAGS", "-C target-feature=+crt-static")
            .env("CARGO_TARGET_DIR", &target)
            .status()
            .unwrap();
        assert!(built.success());
        let built = target.join(triple).join("guest/podspawn-guest");
        assert!(std::fs::metadata(&built).unwrap().len() < 2_000_000, "the guest has grown beyond 2 MB");
        built
    })
}

/// A container under test; removed when it goes out of scope.
pub struct Machine {
    pub engine: Engine,
    pub name: String,
    _guest: Arc<GuestProgram>,
}

/// How a container is to be made.
pub struct Plan {
    pub engine: Engine,
    pub image: String,
    pub config: InitConfig,
    pub options: Vec<String>,
}

impl Plan {
    pub fn new(engine: Engine, image: &str) -> Self {
        let user = User {
            name: "sarah".into(),
            uid: 1000,
            gid: 1000,
            home: "/home/sarah".into(),
            shell: "/bin/bash".into(),
        };
        let config = InitConfig {
            protocol: PROTOCOL,
            user,
            sudo: true,
            no_new_privileges: true,
            readonly_rootfs: false,
            user_dirs: vec!["/workspace".into()],
            volume_dirs: Vec::new(),
            nproc_limit: None,
            socket_uid: None,
            env: vec![("FROM_CONFIG".into(), "yes".into())],
        };
        let mut options: Vec<String> =
            ["--network=none", "--cap-drop=ALL", "--security-opt=no-new-privileges"].map(Into::into).to_vec();
        for capability in ["CHOWN", "SETUID", "SETGID", "DAC_OVERRIDE", "FOWNER", "NET_BIND_SERVICE", "KILL"]
        {
            options.push(format!("--cap-add={capability}"));
        }
        match engine {
            // The sandbox's own threads count there.
            Engine::Gvisor => options.push("--runtime=runsc".into()),
            // Not to be had for rootless on cgroup v1.
            Engine::Podman => {}
            Engine::Docker | Engine::Docker26 => options.push("--pids-limit=256".into()),
        }
        Self { engine, image: fact(image), config, options }
    }

    pub fn option(mut self, option: &str) -> Self {
        self.options.push(option.into());
        self
    }

    pub fn without(mut self, option: &str) -> Self {
        let before = self.options.len();
        self.options.retain(|have| have != option);
        assert_eq!(self.options.len(), before - 1);
        self
    }

    pub fn start(self) -> Machine {
        let config = serde_json::to_string(&self.config).unwrap();
        self.start_with(&config)
    }

    /// With any text for a configuration.
    pub fn start_with(self, config: &str) -> Machine {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("podspawn-guest-test-{}-{count}", std::process::id());
        let guest = GuestProgram::shared();
        let mount = format!("{}:/.podspawn/guest:ro", guest.path().display());
        let mut args = vec!["run", "-d", "--name", &name, "--hostname", "box", "--user", "0", "-v", &mount];
        args.extend(["--label", "podspawn-guest-test", "--entrypoint", "/.podspawn/guest"]);
        args.extend(["--tmpfs", "/run/podspawn:size=64k,mode=0700"]);
        args.extend(["--tmpfs", "/run/podspawn-user:size=64k,mode=0711"]);
        args.extend(self.options.iter().map(String::as_str));
        args.extend([&*self.image, "init", config]);
        let machine = Machine { engine: self.engine, name: name.clone(), _guest: guest };
        let made = self.engine.cli(&args);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        machine
    }
}

impl Machine {
    /// The debian image on Docker with podspawn's defaults.
    pub fn debian() -> Self {
        Plan::new(Engine::Docker, "IMAGE_DEBIAN").start()
    }

    /// The first process as this machine sees it.
    pub fn pid(&self) -> u32 {
        let output = self.engine.cli(&["inspect", "--format", "{{.State.Pid}}", &self.name]);
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    }

    /// What the guest has said on its standard error.
    pub fn log(&self) -> String {
        let output = self.engine.cli(&["logs", &self.name]);
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Shown with the failed test only.
            println!("log of {}: {}", self.name, self.log());
        }
        self.engine.cli(&["rm", "-f", "-v", &self.name]);
    }
}
