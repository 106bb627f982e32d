//! One case's workplace on one engine: unique names, helpers, and a clean-up that runs whatever happens.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use podspawn_runtimes::testing::TestEngines;
use podspawn_runtimes::*;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Docker,
    Docker26,
    Podman,
    Gvisor,
}

/// Longest time that one case may take.
const LIMIT: Duration = Duration::from_secs(150);
/// How many cases work on the engines at once, on however many threads tests run.
static WORKPLACES: Semaphore = Semaphore::const_new(3);
static NUMBER: AtomicU32 = AtomicU32::new(0);

pub(crate) struct Lab {
    pub(crate) which: Which,
    pub(crate) engines: TestEngines,
    pub(crate) engine: Runtime,
    pub(crate) prefix: String,
    pub(crate) labels: Labels,
    images: Mutex<Vec<String>>,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: i64,
    pub(crate) out: String,
    pub(crate) err: String,
}

type Case = Pin<Box<dyn Future<Output = ()>>>;

/// Runs a case, cleans up after it, and fails if it failed or left anything.
pub(crate) fn run(which: Which, case: impl FnOnce(Arc<Lab>) -> Case) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let _place = WORKPLACES.acquire().await.unwrap();
        let engines = TestEngines::load();
        let engine = match which {
            Which::Docker => engines.docker().await,
            Which::Docker26 => engines.docker26().await,
            Which::Podman => engines.podman().await,
            Which::Gvisor => engines.gvisor().await,
        };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("podspawn-conformance-{}-{number}", std::process::id());
        let labels = Labels::from([("podspawn-conformance".into(), prefix.clone())]);
        let lab = Arc::new(Lab { which, engines, engine, prefix, labels, images: Mutex::default() });
        let result = AssertUnwindSafe(tokio::time::timeout(LIMIT, case(lab.clone()))).catch_unwind().await;
        lab.clean().await;
        match result {
            Ok(Ok(())) => {}
            Ok(Err(_)) => panic!("the case did not end within {LIMIT:?}"),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
}

impl Lab {
    /// A name that nobody else uses.
    pub(crate) fn name(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.prefix)
    }

    /// A container that does nothing for ten minutes.
    pub(crate) fn spec(&self, suffix: &str) -> ContainerSpec {
        ContainerSpec {
            name: self.name(suffix),
            image: self.engines.image_debian.clone(),
            command: ["sleep", "600"].map(String::from).to_vec(),
            labels: self.labels.clone(),
            ..ContainerSpec::default()
        }
    }

    /// The same with a shell script as its first process.
    pub(crate) fn script(&self, suffix: &str, script: &str) -> ContainerSpec {
        ContainerSpec { command: ["bash", "-c", script].map(String::from).to_vec(), ..self.spec(suffix) }
    }

    /// Creates and starts it; its name.
    pub(crate) async fn start(&self, spec: &ContainerSpec) -> String {
        self.engine.create_container(spec).await.expect("create the container");
        self.engine.start_container(&spec.name).await.expect("start the container");
        spec.name.clone()
    }

    pub(crate) async fn network(&self, suffix: &str) -> String {
        let name = self.name(suffix);
        let spec = NetworkSpec {
            name: name.clone(),
            labels: self.labels.clone(),
            bridge_name: None,
            internal: false,
        };
        self.engine.create_network(&spec).await.expect("create the network");
        name
    }

    /// Has an image removed when the case is over.
    pub(crate) fn remember_image(&self, reference: &str) {
        self.images.lock().unwrap().push(reference.into());
    }

    /// The packet filter's rules where this Docker keeps its own.
    pub(crate) fn filter_rules(&self) -> String {
        let mut command = match self.which {
            Which::Docker26 => {
                let mut command = std::process::Command::new("ip");
                command.args(["netns", "exec", &self.engines.docker26_netns, "iptables"]);
                command
            }
            Which::Docker | Which::Gvisor | Which::Podman => std::process::Command::new("iptables"),
        };
        let output = command.args(["--wait", "--list-rules"]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs a shell script inside, as root.
    pub(crate) async fn sh(&self, container: &str, script: &str) -> Output {
        self.exec(container, ExecSpec { argv: argv(script), ..ExecSpec::default() }, &[]).await
    }

    /// Runs a command to its end.
    pub(crate) async fn exec(&self, container: &str, spec: ExecSpec, input: &[u8]) -> Output {
        let mut session = self.engine.exec(container, &spec).await.expect("start the command");
        if spec.stdin {
            session.input.write_all(input).await.expect("write the input");
            session.input.shutdown().await.expect("end the input");
        }
        let (mut out, mut err) = (Vec::new(), Vec::new());
        while let Some(piece) = session.output.next().await {
            match piece.expect("read the output") {
                ExecOutput::Stdout(bytes) => out.extend_from_slice(&bytes),
                ExecOutput::Stderr(bytes) => err.extend_from_slice(&bytes),
            }
        }
        let code = self.engine.exec_exit_code(&session.id).await.expect("ask for the status");
        Output {
            code: code.expect("the command has ended").0,
            out: String::from_utf8_lossy(&out).into_owned(),
            err: String::from_utf8_lossy(&err).into_owned(),
        }
    }

    /// Removes everything that carries this case's label, and looks whether it is gone.
    async fn clean(&self) {
        let engine = &self.engine;
        for container in engine.containers(&self.labels).await.expect("list containers") {
            engine.remove_container(&container.id).await.expect("remove a container");
        }
        for network in engine.networks(&self.labels).await.expect("list networks") {
            engine.remove_network(&network.id).await.expect("remove a network");
        }
        for volume in engine.volumes(&self.labels).await.expect("list volumes") {
            engine.remove_volume(&volume.name).await.expect("remove a volume");
        }
        let images = std::mem::take(&mut *self.images.lock().unwrap());
        for image in images.iter().rev() {
            engine.remove_image(image).await.expect("remove an image");
            assert_eq!(engine.image(image).await.expect("look for an image"), None);
        }
        assert_eq!(engine.containers(&self.labels).await.expect("list containers"), []);
        assert_eq!(engine.networks(&self.labels).await.expect("list networks"), []);
        assert_eq!(engine.volumes(&self.labels).await.expect("list volumes"), []);
    }
}

/// A shell script as a command.
pub(crate) fn argv(script: &str) -> Vec<String> {
    ["bash", "-c", script].map(String::from).to_vec()
}

/// Looks at owners and modes as `mode uid:gid name` lines. By perl: under old gVisors coreutils' `stat` fails.
pub(crate) fn stat_script(paths: &str) -> String {
    format!(
        r#"for path in {paths}; do perl -e '@s = lstat(shift); printf "%o %d:%d ", $s[2] & 07777, $s[4], $s[5]' "$path"; echo "$path"; done"#
    )
}

/// The declared error for what an engine cannot do.
pub(crate) fn assert_unsupported<T: std::fmt::Debug>(result: Result<T>) {
    match result {
        Err(EngineError::Unsupported { .. }) => {}
        other => panic!("expected the declared error, got {other:?}"),
    }
}
