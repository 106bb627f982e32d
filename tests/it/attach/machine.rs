//! A real container with the real guest in it, made straight through an engine, without the session core.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use podspawn::session::attach::{
    Aside, AttachError, AttachRequest, Guests, attach_direct, attach_engine, attach_relay, open_relay,
};
use podspawn::session::{GuestAddress, GuestPort};
use podspawn::state::{AttachWay, FirstProcess};
use podspawn::system::guest_program::install_guest;
use podspawn::system::process::{boot_id, start_time};
use podspawn_runtimes::testing::TestEngines;
use podspawn_runtimes::{ContainerSpec, Engine, EngineKind, Mount, Runtime};
use podspawn_wire::{Exit, GUEST_DIR, GUEST_PROGRAM, InitConfig, PROTOCOL, Program, RunAs, USER_DIR, User};
use tempfile::TempDir;

use super::stand_in::{Attached, attach_with, request};
use crate::harness::EngineName;

/// How a process is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Direct,
    Engine,
    /// Through the engine, over a connection that was opened before and handed over.
    Relay,
}

/// A container of one test; gone with it.
pub struct Machine {
    pub address: GuestAddress,
    /// The way that was found open.
    pub found: AttachWay,
    pub engine: Runtime,
    runtime: tokio::runtime::Runtime,
    _guest: TempDir,
}

impl Machine {
    /// On an engine, from the Debian image.
    pub fn on(engine: EngineName) -> Self {
        Self::with(engine, |_| {})
    }

    /// The same with changes to the container.
    pub fn with(engine: EngineName, change: impl FnOnce(&mut ContainerSpec)) -> Self {
        Self::made(engine, change).unwrap_or_else(|error| panic!("{engine:?}: {error}"))
    }

    /// The same; what went wrong while it was awaited comes back.
    pub fn made(
        engine: EngineName,
        change: impl FnOnce(&mut ContainerSpec),
    ) -> Result<Self, podspawn::session::attach::GuestError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let guest = tempfile::Builder::new().prefix("podspawn-attach-").tempdir().expect("a directory");
        std::fs::set_permissions(guest.path(), std::fs::Permissions::from_mode(0o755)).expect("chmod");
        let program = install_guest(guest.path()).expect("write the guest");
        let mut machine = runtime.block_on(async {
            let engines = TestEngines::load();
            let engine = match engine {
                EngineName::Docker => engines.docker().await,
                EngineName::Docker26 => engines.docker26().await,
                EngineName::Podman => engines.podman().await,
                EngineName::Gvisor => engines.gvisor().await,
                EngineName::Private => unreachable!("no story attaches to that one"),
            };
            let tmpfs = |target: &str, mode: &str| Mount::Tmpfs {
                target: target.into(),
                options: format!("size=64k,mode={mode}"),
            };
            let kind = engine.facts().kind;
            let mut spec = ContainerSpec {
                name: format!("podspawn-attach-{}", uuid()),
                image: engines.image_debian.clone(),
                entrypoint: vec![GUEST_PROGRAM.into(), "init".into(), init()],
                user: Some("0".into()),
                working_dir: Some("/".into()),
                labels: BTreeMap::from([("podspawn-attach-test".into(), "1".into())]),
                mounts: vec![
                    Mount::Bind { source: program, target: GUEST_PROGRAM.into(), read_only: true },
                    tmpfs(GUEST_DIR, "0700"),
                    tmpfs(USER_DIR, "0711"),
                ],
                no_new_privileges: true,
                runtime: (kind == EngineKind::Gvisor).then(|| "runsc".into()),
                ..ContainerSpec::default()
            };
            change(&mut spec);
            let id = engine.create_container(&spec).await.expect("create a container").id;
            Self {
                address: GuestAddress { container_id: id, process: None, socket_dir: None },
                found: AttachWay::Engine,
                engine,
                runtime: tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .expect("a runtime"),
                _guest: guest,
            }
        });
        // From here on the container goes with the value.
        machine.start()?;
        Ok(machine)
    }

    fn start(&mut self) -> Result<(), podspawn::session::attach::GuestError> {
        let id = self.address.container_id.clone();
        let pid = self.runtime.block_on(async {
            self.engine.start_container(&id).await.expect("start the container");
            self.engine.container(&id).await.expect("look at the container").expect("a container").pid
        });
        self.address.process = pid.and_then(|pid| {
            let start_time = start_time(pid).expect("read /proc")?;
            Some(FirstProcess { pid, start_time, boot_id: boot_id().expect("a boot id") })
        });
        let limit = Duration::from_secs(60);
        let ready = self.runtime.block_on(Guests.wait_ready(&self.engine, &self.address, limit))?;
        self.found = ready.attach;
        Ok(())
    }

    /// Attaches one way or the other.
    pub fn attach(&self, way: Way, request: &AttachRequest<'_>) -> Result<Exit, AttachError> {
        match way {
            Way::Direct => attach_direct(&self.address, request),
            // A runtime of its own: calls of several threads do not wait for each other.
            Way::Engine => {
                own_runtime().block_on(attach_engine(&self.engine, &self.address.container_id, request))
            }
            Way::Relay => {
                let opened = own_runtime().block_on(open_relay(&self.engine, &self.address.container_id))?;
                attach_relay(opened, request, &mut Nobody)
            }
        }
    }

    /// Runs a line of shell as the session's user, and collects its output.
    pub fn sh(&self, way: Way, line: &str) -> Attached {
        self.run(way, line, None, |_| {})
    }

    /// The same as root.
    pub fn root(&self, way: Way, line: &str) -> Attached {
        self.run(way, line, None, |request| request.run_as = RunAs::Root)
    }

    /// The same with input, and with changes to the request.
    pub fn run(
        &self,
        way: Way,
        line: &str,
        stdin: Option<std::os::fd::OwnedFd>,
        change: impl FnOnce(&mut AttachRequest<'_>),
    ) -> Attached {
        attach_with(stdin, |request| {
            request.program = Program::CommandLine(line.into());
            change(request);
            self.attach(way, request)
        })
    }

    /// Attaches with these streams.
    pub fn attach_to(
        &self,
        way: Way,
        line: &str,
        stdin: Option<impl AsFd>,
        stdout: impl AsFd,
        stderr: impl AsFd,
        terminal: Option<&str>,
    ) -> Result<Exit, AttachError> {
        let request = AttachRequest {
            program: Program::CommandLine(line.into()),
            stdin: stdin.as_ref().map(AsFd::as_fd),
            terminal: terminal.map(str::to_owned),
            ..request(stdout.as_fd(), stderr.as_fd())
        };
        self.attach(way, &request)
    }

    /// Ends the container at once.
    pub fn kill(&self) {
        own_runtime()
            .block_on(self.engine.kill_container(&self.address.container_id, "SIGKILL"))
            .expect("kill the container");
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let gone = self.runtime.block_on(self.engine.remove_container(&self.address.container_id));
        if !std::thread::panicking() {
            gone.expect("remove the container");
        }
    }
}

fn own_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// What the guest is told. The account is called `tester`.
fn init() -> String {
    let config = InitConfig {
        protocol: PROTOCOL,
        user: User {
            name: "tester".into(),
            uid: 1000,
            gid: 1000,
            home: "/home/tester".into(),
            shell: "/bin/bash".into(),
        },
        sudo: true,
        no_new_privileges: true,
        readonly_rootfs: false,
        user_dirs: vec!["/workspace".into()],
        volume_dirs: Vec::new(),
        nproc_limit: None,
        socket_uid: None,
        env: Vec::new(),
    };
    serde_json::to_string(&config).expect("plain data")
}

fn uuid() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/uuid").expect("a uuid").trim().to_owned()
}

/// Has nothing to say.
struct Nobody;

impl Aside for Nobody {
    fn watched(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
        None
    }

    fn listen(&mut self, _: bool) {}
}
