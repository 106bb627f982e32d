//! Sessions with services on real engines, and small images to make services of.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use podspawn::names::VolumeName;
use podspawn::session::attach::Guests;
use podspawn::session::{Cancel, Core, Dirs, Exists, Reason, Report, Session, SessionError, Silent, Step};
use podspawn::spec::{ServiceSpec, SessionSpec, VolumeMount};
use podspawn::state::Store;
use podspawn::system::SystemClock;
use podspawn_runtimes::{
    BuildSpec, Chosen, Endpoint, Engine, EngineKind, ExecOutput, ExecSpec, Labels, Runtime,
};
use tempfile::TempDir;

use crate::harness::engines::{EngineName, fact};
use crate::harness::system::random_hex;
use crate::lifecycle::lab::machine;

/// Listens on a port and answers every client with a line.
const SERVER: &str = r#"#!/usr/bin/perl
use IO::Socket::INET;
my $s = IO::Socket::INET->new(LocalPort => $ARGV[0], Listen => 5, ReuseAddr => 1) or die "cannot listen: $!\n";
$| = 1;
print "listening on $ARGV[0]\n";
while (my $c = $s->accept) { print $c "hello from $ENV{GREETING}\n"; close $c }
"#;

/// As images of databases do it: root prepares the data, then somebody else serves.
const DATABASE: &str = r#"#!/bin/sh
set -e
mkdir -p /data
chown 999:999 /data
chmod 700 /data
setpriv --reuid=999 --regid=999 --clear-groups sh -c 'umask 077; date >> /data/starts'
exec setpriv --reuid=999 --regid=999 --clear-groups perl /server 5432
"#;

/// The command of each image, by its name.
const COMMANDS: [(&str, &str); 6] = [
    ("greeter", r#"CMD ["perl", "/server", "7000"]"#),
    ("late", r#"CMD ["sh", "-c", "echo preparing; sleep 4; exec perl /server 7000"]"#),
    ("never", r#"CMD ["sh", "-c", "echo no port today; exec sleep 1000"]"#),
    ("broken", r#"CMD ["sh", "-c", "echo out of luck >&2; sleep 1; exit 3"]"#),
    ("database", r#"ENTRYPOINT ["sh", "/database"]"#),
    (
        "checked",
        "HEALTHCHECK --interval=1s --timeout=5s --retries=30 CMD test -e /healthy\n\
         CMD [\"sh\", \"-c\", \"sleep 3; touch /healthy; exec sleep 1000\"]",
    ),
];

/// Makes an image of a Dockerfile and the files beside it.
pub async fn make_image(engine: &Runtime, tag: &str, files: &[(&str, &str)]) {
    let mut context = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        context.append_data(&mut header, path, content.as_bytes()).expect("an archive");
    }
    let spec = BuildSpec {
        tag: tag.to_owned(),
        dockerfile: "Dockerfile".into(),
        context_tar: context.into_inner().expect("an archive").into(),
        args: BTreeMap::new(),
        target: None,
        labels: Labels::new(),
        builder: Default::default(),
    };
    engine.build(&spec, &mut |_| ()).await.expect("build the image");
}

/// A state directory of its own and a user name of its own on a real engine.
pub struct Place {
    pub core: Core<Runtime, Guests>,
    pub user: String,
    pub dir: TempDir,
}

impl Place {
    pub async fn on(engine: EngineName) -> Self {
        let dir = tempfile::Builder::new().prefix("podspawn-it-").tempdir().expect("a temporary directory");
        // Another account's rootless engine mounts the guest's program from here.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("chmod");
        let root = dir.path();
        let dirs =
            Dirs { locks: root.join("locks"), sessions: root.join("sessions"), guest: root.join("guest") };
        let kind = match engine {
            EngineName::Docker | EngineName::Docker26 | EngineName::Private => EngineKind::Docker,
            EngineName::Podman => EngineKind::Podman,
            EngineName::Gvisor => EngineKind::Gvisor,
        };
        let chosen = Chosen::at(kind, Endpoint::Unix(engine.socket().into()));
        let runtime = Runtime::connect(&chosen).await.expect("the engine answers");
        let store = Store::open(&root.join("state.db")).expect("open the store");
        let uid = rustix::process::getuid().as_raw();
        let core = Core::new(store, runtime, Guests, Arc::new(SystemClock), dirs, uid);
        Self { core, user: format!("t{}", &random_hex()[..10]), dir }
    }

    pub fn engine(&self) -> &Runtime {
        &self.core.engines
    }

    pub fn spec(&self) -> SessionSpec {
        let mut spec = machine(&self.user, "web");
        spec.image = fact("IMAGE_DEBIAN").parse().expect("an image");
        spec.resources.memory = Some(256 << 20);
        if self.engine().facts().kind == EngineKind::Gvisor {
            spec.security.runtime = Some("runsc".into());
        }
        spec
    }

    /// A service of one of the images here.
    pub async fn service(&self, name: &str, image: &str, ports: &[u16]) -> ServiceSpec {
        ServiceSpec {
            name: name.parse().expect("a service"),
            image: self.image(image).await.parse().expect("an image"),
            ports: ports.into(),
            env: BTreeMap::from([("GREETING".into(), format!("the {name}"))]),
            volumes: Vec::new(),
        }
    }

    pub fn volume(&self, spec: &SessionSpec, name: &str, target: &str) -> VolumeMount {
        let name = name.parse::<VolumeName>().expect("a volume");
        VolumeMount { name: spec.key.volume_name(&name), target: target.into() }
    }

    /// Makes an image if the engine does not have it; its name says what is in it.
    async fn image(&self, name: &str) -> String {
        static BUILDING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _one = BUILDING.lock().await;
        let (_, command) = COMMANDS.iter().find(|(known, _)| *known == name).expect("a known image");
        let dockerfile = format!("FROM {}\nCOPY server database /\n{command}\n", fact("IMAGE_DEBIAN"));
        let tag = format!("podspawn-test/service-{name}:2");
        if self.engine().image(&tag).await.expect("look for the image").is_some() {
            return tag;
        }
        let files = [("Dockerfile", dockerfile.as_str()), ("server", SERVER), ("database", DATABASE)];
        make_image(self.engine(), &tag, &files).await;
        tag
    }

    pub async fn try_acquire(&self, spec: &SessionSpec) -> Result<Session, SessionError> {
        let made = self.core.acquire(spec, Exists::Join, &mut Silent, &Cancel::never()).await;
        made.map(|acquired| acquired.session)
    }

    pub async fn acquire(&self, spec: &SessionSpec) -> Session {
        self.try_acquire(spec).await.unwrap_or_else(|error| panic!("{error}: {error:?}"))
    }

    pub async fn destroy(&self, spec: &SessionSpec) {
        self.core.destroy(&spec.key, Reason::Stop, &mut Silent).await.expect("destroy");
    }

    /// What a command prints in a container, run by its own user.
    pub async fn inside(&self, container: &str, command: &str) -> String {
        self.inside_as(container, None, command).await
    }

    pub async fn inside_as(&self, container: &str, user: Option<&str>, command: &str) -> String {
        let argv = ["/bin/sh", "-c", command].map(String::from).into();
        let spec = ExecSpec { argv, user: user.map(String::from), ..ExecSpec::default() };
        let mut running = self.engine().exec(container, &spec).await.expect("start a command");
        let mut text = Vec::new();
        while let Some(piece) = running.output.next().await {
            let (ExecOutput::Stdout(piece) | ExecOutput::Stderr(piece)) = piece.expect("output");
            text.extend_from_slice(&piece);
        }
        String::from_utf8_lossy(&text).trim().to_owned()
    }

    /// Everything that this user has in the engine: how many containers, networks and volumes.
    pub async fn objects(&self) -> (usize, usize, usize) {
        let labels = Labels::from([("podspawn-user".into(), self.user.clone())]);
        let engine = self.engine();
        (
            engine.containers(&labels).await.expect("containers").len(),
            engine.networks(&labels).await.expect("networks").len(),
            engine.volumes(&labels).await.expect("volumes").len(),
        )
    }
}

impl Drop for Place {
    /// Removes what a test left, on purpose (volumes) or by failing.
    fn drop(&mut self) {
        let core = &self.core;
        let labels = Labels::from([("podspawn-user".into(), self.user.clone())]);
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| {
            runtime.block_on(async {
                for record in core.store.all().unwrap_or_default() {
                    // The test has failed already; this is for the next one's sake.
                    let _ = core.destroy(&record.key, Reason::Stop, &mut Silent).await;
                }
                for volume in core.engines.volumes(&labels).await.unwrap_or_default() {
                    let _ = core.engines.remove_volume(&volume.name).await;
                }
            });
        });
    }
}

/// Remembers what it was told.
#[derive(Default)]
pub struct Told(pub Mutex<Vec<String>>);

impl Report for Told {
    fn step(&mut self, step: Step<'_>) {
        let line = match step {
            Step::StartingService { name, .. } => format!("starting {name}"),
            Step::ServiceReady { name, .. } => format!("ready {name}"),
            Step::Warning(text) => format!("warning {text}"),
            _ => return,
        };
        self.0.lock().expect("a list").push(line);
    }
}

impl Told {
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().expect("a list").clone()
    }
}

/// Drives a story; its end may block.
pub fn drive<T>(story: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().expect("a runtime").block_on(story)
}
